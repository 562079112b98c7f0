"""An expression of the algebra -> torch code that computes it.

A value is a tensor (..., *shape), where ... stands for batch, axes and (over a whole sequence) time, or a plain Python number.
Broadcasting is used: a `Piece` says which dims of the shape its text really has, and dims are made explicit only where torch needs them.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping
from dataclasses import dataclass, field, replace
from functools import singledispatchmethod

from nlc.codes import emit as codes
from nlc.diagnostics import CompileError
from nlc.emit.dims import dim_text
from nlc.emit.functions import SPELLINGS
from nlc.emit.norms import over_root_mean_square, unit_vector
from nlc.emit.pieces import (
    ATOM,
    CHOICE,
    COMPARISON,
    PRODUCT,
    SUM,
    UNARY,
    WEIGHTS,
    Piece,
    dims_text,
    joined_dims,
    multiplied,
    number_piece,
    raised,
    rank_of,
    short_index,
    solved,
    with_dims,
    wrapped,
)
from nlc.ir.algebra import (
    Add,
    Compare,
    Constant,
    Divide,
    Dot,
    Due,
    Expr,
    Extremum,
    Eye,
    Full,
    Join,
    LayerNorm,
    Map,
    MatMul,
    Norm,
    Outer,
    Parameter,
    Power,
    Rotary,
    Scale,
    Size,
    Softmax,
    Split,
    Spread,
    StopGradient,
    Sum,
    Times,
    Transpose,
    Where,
    children,
    walk,
)  # fmt: skip
from nlc.ir.calculus import Inverse
from nlc.ir.dims import Dim, Shape
from nlc.ir.show import expression_text
from nlc.source import NOWHERE

Leaf = Callable[[Expr], Piece]


@dataclass(frozen=True, slots=True)
class TorchPrinter:
    """Prints expressions; `leaf` writes streams, states, hyperparameters and named values, `like` is a tensor of their dtype and device.

    `known` has the variables of values that are more than leaves. What is in `bare` comes without a dim for the axis that it does not
    have: where there is one value for all places along it (`is_bare`: before a split, after a join) it is printed as it is, elsewhere it
    gets that dim. With `clamps` a bound that is a number is written with `clamp`, whose derivative at the bound is another one.
    `dim` writes a size.
    """

    leaf: Leaf
    like: str
    bare: frozenset[Expr] = frozenset()
    known: Mapping[Expr, str] = field(default_factory=dict)
    is_bare: bool = False
    clamps: bool = False
    dim: Callable[[Dim], str] = dim_text

    def text(self, node: Expr) -> str:
        """The expression as a tensor of its whole shape."""
        return self.whole(node).text

    def atom(self, node: Expr) -> str:
        """The same, to be subscripted or to call a method of."""
        return wrapped(self.whole(node), ATOM)

    def terms(self, node: Expr) -> tuple[str, ...]:
        """The same, a sum as its terms: each after the first begins with its sign."""
        if not isinstance(node, Add) or node in self.known or not self.piece(node).full:
            return (self.text(node),)
        return self._signed(node)

    def number(self, node: Expr) -> str | None:
        """The expression as a Python number; None when it needs a tensor."""
        piece = self.piece(node)
        return piece.text if piece.rank is None else None

    # --- one method a node -------------------------------------------------------------------------------------------

    def piece(self, node: Expr) -> Piece:
        """The code of a node, as broadcasting leaves it."""
        piece = self._piece(node)
        if self.known and node in self.known:
            piece = Piece(self.known[node], rank=None if piece.rank is None else len(node.shape))
        if self.bare and not self.is_bare and node in self.bare:
            return Piece(f"{wrapped(piece, ATOM)}.unsqueeze({-1 - len(node.shape)})", ATOM, piece.rank, piece.full)
        return piece

    @singledispatchmethod
    def _piece(self, node: Expr) -> Piece:
        return self.leaf(node)

    @_piece.register
    def _(self, node: Split) -> Piece:
        x = replace(self, is_bare=True).whole(node.x)
        if not node.shape:
            return Piece(x.text, x.binding)
        return Piece(f"torch.unflatten({x.text}, -1, ({self.dim(Dim.named(node.axis))}, -1))", ATOM, 1)

    @_piece.register
    def _(self, node: Join) -> Piece:
        x = replace(self, is_bare=False).whole(node.x)
        if not node.x.shape:
            return Piece(x.text, x.binding, 1) if self.is_bare else Piece(f"{wrapped(x, ATOM)}.unsqueeze(-2)", ATOM, 1)
        return Piece(f"{wrapped(x, ATOM)}.flatten(-2){'' if self.is_bare else '.unsqueeze(-2)'}", ATOM, 1)

    @_piece.register
    def _(self, node: Constant | Full) -> Piece:
        return number_piece(node.value)

    @_piece.register
    def _(self, node: Size) -> Piece:
        text = self.dim(node.dim)
        return Piece(text, SUM if " " in text else ATOM, None)

    @_piece.register
    def _(self, node: Eye) -> Piece:
        sizes = ", ".join(self.dim(dim) for dim in dict.fromkeys(node.shape))
        return Piece(f"torch.eye({sizes}, dtype={self.like}.dtype, device={self.like}.device)", ATOM, 2)

    @_piece.register
    def _(self, node: StopGradient) -> Piece:
        x = self.piece(node.x)
        return x if x.rank is None else Piece(f"{wrapped(x, ATOM)}.detach()", ATOM, x.rank, x.full)

    @_piece.register
    def _(self, node: Add) -> Piece:
        pieces = [self._aligned(term, node.shape) for term in node.terms]
        return Piece(" ".join(self._signed(node)), SUM, *joined_dims(pieces))

    @_piece.register
    def _(self, node: Scale) -> Piece:
        match node.by:
            case Constant(value) if value == -1:
                x = self.piece(node.x)
                return Piece(f"-{wrapped(x, PRODUCT)}", min(x.binding, UNARY), x.rank, x.full)
        return self._product(node.by, node.x, node.shape)

    @_piece.register
    def _(self, node: Times) -> Piece:
        return self._product(node.left, node.right, node.shape)

    @_piece.register
    def _(self, node: Divide) -> Piece:
        if (x := unit_vector(node)) is not None:
            return Piece(f"torch.nn.functional.normalize({self.whole(x).text}, dim=-1)", ATOM, 1)
        if (found := over_root_mean_square(node)) is not None:
            x, eps = found
            return Piece(f"torch.nn.functional.rms_norm({self.whole(x).text}, {self._size(x.shape)}, eps={eps!r})", ATOM, 1)
        over, under = self._aligned(node.x, node.shape), self._aligned(node.by, node.shape)
        return Piece(f"{wrapped(over, PRODUCT)} / {wrapped(under, UNARY)}", PRODUCT, *joined_dims([over, under]))

    @_piece.register
    def _(self, node: Power) -> Piece:
        return raised(self._aligned(node.x, node.shape), self._aligned(node.exponent, node.shape))

    @_piece.register
    def _(self, node: Map) -> Piece:
        x, spelling = self.piece(node.x), SPELLINGS[node.function]
        template = spelling.number if x.rank is None else spelling.tensor
        return Piece(template.format(x=x.text, atom=wrapped(x, ATOM)), ATOM, x.rank, x.full)

    @_piece.register
    def _(self, node: Extremum) -> Piece:
        pieces = [self._aligned(side, node.shape) for side in (node.left, node.right)]
        rank, full = joined_dims(pieces)
        if rank is None:
            return Piece(f"{node.function[:3]}({pieces[0].text}, {pieces[1].text})", ATOM, None)
        bounds = [piece for piece in pieces if piece.rank is None]
        if self.clamps and bounds:
            (value,) = (piece for piece in pieces if piece.rank is not None)
            side = "min" if node.function == "maximum" else "max"
            return Piece(f"{wrapped(value, ATOM)}.clamp({side}={bounds[0].text})", ATOM, value.rank, value.full)
        left, right = (self.as_tensor(piece) for piece in pieces)
        return Piece(f"torch.{node.function}({left}, {right})", ATOM, rank, full)

    @_piece.register
    def _(self, node: Compare) -> Piece:
        left, right = self._aligned(node.left, node.shape), self._aligned(node.right, node.shape)
        return Piece(f"{wrapped(left, SUM)} {node.operator} {wrapped(right, SUM)}", COMPARISON, *joined_dims([left, right]))

    @_piece.register
    def _(self, node: Where) -> Piece:
        then, otherwise = (self._aligned(part, node.shape) for part in (node.then, node.otherwise))
        # The end of a period is one answer for all sequences and entries: it needs no dims.
        condition = self.leaf(node.condition) if isinstance(node.condition, Due) else self._aligned(node.condition, node.shape)
        rank, full = joined_dims([condition, then, otherwise])
        if condition.rank is None:
            first, second = (self.as_large(side, other) for side, other in ((then, otherwise), (otherwise, then)))
            return Piece(f"{first} if {condition.text} else {second}", CHOICE, rank, full and then.full and otherwise.full)
        first = then.text if otherwise.rank is not None else self.as_tensor(then)
        return Piece(f"torch.where({condition.text}, {first}, {otherwise.text})", ATOM, rank, full)

    @_piece.register
    def _(self, node: Spread) -> Piece:
        x = self.piece(node.x)
        if x.rank is None or node.shape == node.x.shape:
            return x
        if node.axis is None or node.x.shape == ():
            return with_dims(x, rank_of(node.shape))
        index = ", ".join([":" if axis == node.axis else "None" for axis in range(len(node.shape))])
        return Piece(f"{wrapped(x, ATOM)}[..., {short_index(index)}]", ATOM, len(node.shape), False)

    @_piece.register
    def _(self, node: MatMul) -> Piece:
        if isinstance(node.left, Inverse):
            return solved(self.whole(node.left.x), self.whole(node.right))
        left, right = self.whole(node.left), self.whole(node.right)
        if len(node.right.shape) == 1 and all(isinstance(part, Parameter) for part in walk(node.left) if not children(part)):
            return Piece(f"{wrapped(right, PRODUCT)} @ {wrapped(left, ATOM)}.mT", PRODUCT, 1)
        return multiplied(left, right)

    @_piece.register
    def _(self, node: Transpose) -> Piece:
        return Piece(f"{wrapped(self.whole(node.x), ATOM)}.mT", ATOM, 2)

    @_piece.register
    def _(self, node: Inverse) -> Piece:
        return Piece(f"_inverse({self.whole(node.x).text})", ATOM, 2)

    @_piece.register
    def _(self, node: Outer) -> Piece:
        left, right = self.whole(node.left), self.whole(node.right)
        return Piece(f"{wrapped(left, ATOM)}[..., None] * {wrapped(right, ATOM)}[..., None, :]", PRODUCT, 2)

    @_piece.register
    def _(self, node: Dot) -> Piece:
        dims = dims_text(rank_of(node.left.shape))
        if node.left == node.right:
            return Piece(f"{wrapped(self.whole(node.left), ATOM)}.square().sum({dims})")
        left, right = self.whole(node.left), self.piece(node.right)
        return Piece(f"({wrapped(left, PRODUCT)} * {wrapped(right, UNARY)}).sum({dims})")

    @_piece.register
    def _(self, node: Sum) -> Piece:
        rank = rank_of(node.x.shape)
        dims = dims_text(rank) if node.axis is None else str(node.axis - rank)
        return Piece(f"{wrapped(self.whole(node.x), ATOM)}.sum({dims})", ATOM, len(node.shape))

    @_piece.register
    def _(self, node: Norm) -> Piece:
        dims = f", dim={dims_text(rank)}" if (rank := rank_of(node.x.shape)) else ""
        return Piece(f"torch.linalg.vector_norm({self.whole(node.x).text}{dims})")

    @_piece.register
    def _(self, node: Softmax) -> Piece:
        return Piece(f"{wrapped(self.whole(node.x), ATOM)}.softmax({node.axis - len(node.shape)})", ATOM, len(node.shape))

    @_piece.register
    def _(self, node: Rotary) -> Piece:
        return Piece(f"_rotary({self.whole(node.x).text}, {self.text(node.place)}, {node.base})", ATOM, 1)

    @_piece.register
    def _(self, node: LayerNorm) -> Piece:
        return Piece(f"torch.nn.functional.layer_norm({self.whole(node.x).text}, {self._size(node.shape)})", ATOM, 1)

    # --- shapes ------------------------------------------------------------------------------------------------------

    def whole(self, node: Expr) -> Piece:
        """The code of a node as a tensor that has all dims of its shape."""
        piece = self.piece(node)
        if piece.rank is None:
            return Piece(f"{self.like}.new_full({self._size(node.shape)}, {piece.text})", ATOM, len(node.shape))
        if piece.full:
            return piece
        return Piece(f"{wrapped(piece, PRODUCT)} * {self.like}.new_ones({self._size(node.shape)})", PRODUCT, len(node.shape))

    def _size(self, shape: Shape) -> str:
        if shape == WEIGHTS:
            return f"{self.like}.shape"
        sizes = [self.dim(dim) for dim in shape]
        return f"({sizes[0]},)" if len(sizes) == 1 else f"({', '.join(sizes)})"

    def as_tensor(self, piece: Piece) -> str:
        """The piece as a tensor, if only one of a single entry."""
        return f"{self.like}.new_full((), {piece.text})" if piece.rank is None else piece.text

    def as_large(self, piece: Piece, other: Piece) -> str:
        """The text of a choice; a number beside a tensor is a tensor too."""
        if piece.rank is not None or other.rank is None:
            return wrapped(piece, SUM)
        return f"torch.zeros_like({other.text})" if piece.text == "0" else f"torch.full_like({other.text}, {piece.text})"

    def _aligned(self, node: Expr, shape: Shape) -> Piece:
        """The code of a node with the trailing dims of a shape, so that it broadcasts over it."""
        piece = self.piece(node)
        return piece if len(node.shape) == len(shape) else with_dims(piece, rank_of(shape))

    def _product(self, left: Expr, right: Expr, shape: Shape) -> Piece:
        pieces = [self._aligned(left, shape), self._aligned(right, shape)]
        return Piece(f"{wrapped(pieces[0], PRODUCT)} * {wrapped(pieces[1], UNARY)}", PRODUCT, *joined_dims(pieces))

    def _signed(self, node: Add) -> tuple[str, ...]:
        texts = [wrapped(self._aligned(node.terms[0], node.shape), SUM)]
        for term in node.terms[1:]:
            match term:
                case Scale(Constant(value), x, shape) if value < 0:
                    term, sign = x if value == -1 else Scale(Constant(-value), x, shape), "-"
                case Constant(value, shape) | Full(value, shape) if value < 0:
                    term, sign = Full(-value, shape), "-"
                case _:
                    sign = "+"
            texts.append(f"{sign} {wrapped(self._aligned(term, node.shape), PRODUCT)}")
        return tuple(texts)


def unwritable(node: Expr) -> CompileError:
    """The error for a node that no torch code of this version computes."""
    return CompileError(codes.not_emitted(getattr(node, "span", NOWHERE), f"`{expression_text(node)}`"))
