"""Operands of different shapes -> operands of one shape, by the names of their dims; and the error when there is no such shape."""

from __future__ import annotations

from dataclasses import dataclass, field

from nlc.codes import resolve as codes
from nlc.diagnostics import CompileError, Diagnostic
from nlc.ir.algebra import Expr, Eye
from nlc.ir.build import constant, negate, scale, spread
from nlc.ir.dims import Dim, Shape, shape_text
from nlc.ir.spec import Syntax
from nlc.source import Span


class ShapeClash(CompileError):
    """Two shapes that should be one; `pairs` are the dims that differ (none when even the ranks differ)."""

    def __init__(self, diagnostic: Diagnostic, pairs: tuple[tuple[Dim, Dim], ...] = ()) -> None:
        super().__init__(diagnostic)
        self.pairs = pairs


@dataclass(frozen=True, slots=True)
class EyeOfAnySize:
    """The word `eye`, times a scalar, until its neighbour says which size it has."""

    by: Expr = field(default_factory=lambda: constant(1))

    def begun(self, shape: Shape, span: Span) -> Expr:
        """Ones on the diagonal of a matrix of any shape, and zeros beside it: what a state starts from; raises ShapeClash for a vector."""
        return scale(self.by, Eye(shape)) if len(shape) == 2 else self.sized(shape, span)

    def sized(self, shape: Shape, span: Span) -> Expr:
        """The identity as large as a square matrix; raises ShapeClash for any other shape."""
        if len(shape) != 2 or shape[0] != shape[1]:
            pairs = ((shape[0], shape[1]),) if len(shape) == 2 else ()
            raise ShapeClash(codes.wrong_shape(span, "the identity `eye`", shape_text(shape), "as large as a square matrix"), pairs)
        return scale(self.by, Eye(shape))


def scaled(by: Expr, x: Expr | EyeOfAnySize) -> Expr | EyeOfAnySize:
    """A scalar times something that may still be the identity of any size."""
    if isinstance(x, EyeOfAnySize):
        return EyeOfAnySize(scale(by, x.by))
    return negate(x) if by == constant(-1) else scale(by, x)


def align(x: Expr, shape: Shape, span: Span) -> Expr | None:
    """x repeated to a larger shape, or None when it cannot be; raises CompileError when a vector fits both dims."""
    if x.shape == shape:
        return x
    if x.shape == ():
        return spread(x, None, shape)
    if len(x.shape) == 1 and len(shape) == 2 and x.shape[0] in shape:
        if shape[0] == shape[1]:
            raise CompileError(codes.ambiguous_dim(span, "the vector could go along", str(x.shape[0])))
        return spread(x, shape.index(x.shape[0]), shape)
    return None


def conform(operator: str, left: tuple[Syntax, Expr], right: tuple[Syntax, Expr]) -> tuple[Expr, Expr]:
    """Both operands in one shape: a scalar is repeated, a vector goes along the dim of a matrix that it names."""
    (left_syntax, first), (right_syntax, second) = left, right
    if first.shape == second.shape:
        return first, second
    if (aligned := align(first, second.shape, left_syntax.span)) is not None:
        return aligned, second
    if (aligned := align(second, first.shape, right_syntax.span)) is not None:
        return first, aligned
    same_rank = len(first.shape) == len(second.shape)
    pairs = tuple(pair for pair in zip(first.shape, second.shape, strict=False) if pair[0] != pair[1]) if same_rank else ()
    places = (left_syntax.span, shape_text(first.shape)), (right_syntax.span, shape_text(second.shape))
    raise ShapeClash(codes.shapes_differ(operator, *places), pairs)
