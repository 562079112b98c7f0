"""An expression over all tokens of a block -> torch code in which states that are steady are read by products of matrices.

Values are (copies, tokens, *shape); what is the same at all tokens is (copies, *shape), and gets a dim of size 1 for them. The position,
and with it which periods end and which update this is, is known as Python numbers.
"""

from __future__ import annotations

from dataclasses import dataclass, replace

from nlc.emit.fused import BatchedProduct, step_along, without_sign
from nlc.emit.pieces import ATOM, Piece, wrapped
from nlc.emit.scope import leaf
from nlc.emit.torch_printer import TorchPrinter
from nlc.ir.algebra import Add, Due, Expr, Input, MatMul, Named, Outer, Scale, State, Tick, Transpose, When, children, contains, walk
from nlc.ir.build import replace as replaced


@dataclass(frozen=True, slots=True)
class FusingPrinter(TorchPrinter):
    """Prints sums of two terms in one call, where torch has one."""

    def piece(self, node: Expr) -> Piece:
        """The code of a node, as broadcasting leaves it."""
        return self.fused(node) or TorchPrinter.piece(self, node)

    def terms(self, node: Expr) -> tuple[str, ...]:
        """The same as a tensor of its whole shape, a sum as its terms; one, where one call adds them."""
        fused = self.fused(node)
        return TorchPrinter.terms(self, node) if fused is None else (fused.text,)

    def fused(self, node: Expr) -> Piece | None:
        """The one call, if there is one."""
        if node in self.known:
            return None
        match node:
            case Add((start, step), shape) if len(shape) == 2:
                return self._step(self.piece(start), *without_sign(step))
        return None

    def _step(self, start: Piece, sign: str, step: Expr) -> Piece | None:
        """From a matrix along another."""
        match step:
            case Scale(by, direction) if start.binding == ATOM and start.full and start.rank is not None and step not in self.known:
                factor, along = self.piece(by), self.piece(direction)
                return step_along(start, along, factor, sign) if factor.rank is None and along.full and along.rank is not None else None
        return None


@dataclass(frozen=True, slots=True, kw_only=True)
class BlockPrinter(FusingPrinter):
    """`at_end` prints what is steady, and values at the block's last token; `tokens` is the text of how many tokens there are.

    The streams in `timed` have a dim of tokens; of those in `totals` the sums over the block alone are known.
    """

    at_end: TorchPrinter
    tokens: str
    timed: frozenset[Expr] = frozenset()
    totals: frozenset[str] = frozenset()

    def piece(self, node: Expr) -> Piece:
        """The code of a node, as broadcasting leaves it."""
        if node in self.known:
            return TorchPrinter.piece(self, node)
        if is_new_read(node):
            return self._moved(node)
        if contains(node, is_state) and not varies(node):
            piece = self.at_end.piece(node)
            return piece if piece.rank is None else Piece(f"{wrapped(piece, ATOM)}.unsqueeze(1)", ATOM, piece.rank, piece.full)
        match node:
            case MatMul(left, right) if _is_read(node):
                return self._read(left, right).piece()
        return FusingPrinter.piece(self, node)

    def fused(self, node: Expr) -> Piece | None:
        """A read of a steady matrix at every token, on top of something else."""
        match node:
            case Add((first, second), shape) if len(shape) == 1 and node not in self.known:
                return self._added(first, second) or self._added(second, first)
        return None

    def _added(self, base: Expr, term: Expr) -> Piece | None:
        sign, product = without_sign(term)
        match product:
            case MatMul(left, right) if _is_read(product) and product not in self.known and any(part in self.timed for part in walk(right)):
                start = self._aligned(base, product.shape)
                return None if start.rank is None or without_sign(base)[0] else self._read(left, right).added_to(start, sign)
        return None

    def _read(self, matrix: Expr, vector: Expr) -> BatchedProduct:
        """A steady matrix times a vector of every token."""
        transposed = self.at_end.atom(matrix.x) if isinstance(matrix, Transpose) else f"{self.at_end.atom(matrix)}.mT"
        return BatchedProduct(self.whole(vector), Piece(transposed), 1)

    def _moved(self, node: Expr) -> Piece:
        """What reads a level that moves at the block's end: its old state, but at the last token the new one."""
        before = self.whole(as_before(node)).text
        return Piece(f"_moved_at_end({before}, {self.at_end.text(node)}, {self.tokens})", ATOM, len(node.shape))

    def summed(self, node: Expr) -> Piece:
        """The sum over the tokens of the block: one product of matrices for an outer product."""
        match node:
            case Input(name) if name in self.totals:
                return self.at_end.piece(node)
            case Outer():
                return self.product(node).piece()
        return Piece(f"{self.atom(node)}.sum(1)", ATOM, len(node.shape))

    def product(self, node: Outer) -> BatchedProduct:
        """The sum of an outer product over the tokens of the block."""
        return BatchedProduct(Piece(f"{wrapped(self.whole(node.left), ATOM)}.mT"), self.whole(node.right), 2)


def block_leaf(node: Expr, values: dict[Expr, str]) -> Piece:
    """What a leaf is inside a block."""
    piece = leaf(node, values)
    return replace(piece, rank=None) if isinstance(node, Tick | Due) else piece


def is_state(node: Expr) -> bool:
    """Whether the node is a state."""
    return isinstance(node, State)


def varies(node: Expr, lasting: frozenset[str] = frozenset()) -> bool:
    """Whether a value may change from token to token inside a block; the streams in `lasting` are known not to."""

    def moves(part: Expr) -> bool:
        match part:
            case Input(name):
                return name not in lasting
            case State(when=when):
                return when is When.CURRENT
        return isinstance(part, Named)

    return contains(node, moves)


def _is_read(node: MatMul) -> bool:
    """Whether a product reads a steady matrix at vectors."""
    return len(node.right.shape) == 1 and contains(node.left, is_state) and not varies(node.left)


def is_over_streams(node: Expr) -> bool:
    """Whether a value changes with the streams alone."""
    return contains(node, lambda part: isinstance(part, Input)) and not contains(node, lambda part: isinstance(part, Named | State))


def is_new_read(node: Expr) -> bool:
    """Whether the node is what a level gives by its new state: the state at a vector, or the smallest expression that it stands in."""
    if not _reads_new(node):
        return False
    match node:
        case MatMul(left, right) if len(right.shape) == 1 and not is_over_streams(left):
            return True
    below = [child for child in children(node) if _reads_new(child)]
    return not below or (len(node.shape) < 2 and all(len(child.shape) == 2 for child in below))


def _reads_new(node: Expr) -> bool:
    return contains(node, lambda part: isinstance(part, State) and part.when is When.CURRENT)


def as_before(node: Expr) -> Expr:
    """The expression with the states of levels as they were before a move."""
    return replaced(node, lambda part: replace(part, when=When.PREVIOUS) if isinstance(part, State) else None)
