"""A read of a vector -> the read of every row of a matrix: `momentum(gradient)`, where the network takes one row at a time.

What is a vector for one row is a matrix for all, what is a number a vector; products with a matrix are taken from the other side.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence

from nlc.ir.algebra import (
    Add,
    Compare,
    Divide,
    Dot,
    Expr,
    Extremum,
    Input,
    Map,
    MatMul,
    Power,
    Scale,
    Softmax,
    Spread,
    StopGradient,
    Sum,
    Times,
    Where,
    contains,
)
from nlc.ir.build import apply_map, divide, matmul, power, scale, spread, times, total, transpose
from nlc.ir.dims import Dim, Shape
from nlc.resolve.alignment import ShapeClash


class NoRows(Exception):
    """Part of a read has no counterpart for all rows at once."""


def of_each_row(read: Callable[[Sequence[Expr]], Expr], arguments: Sequence[Expr]) -> Expr | None:
    """The read of every row of the one argument, a matrix; None where that means nothing."""
    if len(arguments) != 1 or len(arguments[0].shape) != 2:
        return None
    (matrix,) = arguments
    row = Input("row", matrix.shape[1:])
    try:
        return _Rows(row, matrix).of(read([row]))
    except (NoRows, ShapeClash):
        return None


class _Rows:
    """Expressions over one `row` -> over all rows of a `matrix`."""

    def __init__(self, row: Input, matrix: Expr) -> None:
        self.row, self.matrix, self.number = row, matrix, matrix.shape[0]

    def of(self, node: Expr) -> Expr:
        """The values for all rows: (number, *shape); raises NoRows."""
        if node == self.row:
            return self.matrix
        if not self._varies(node):
            return self._repeated(node)
        match node:
            case MatMul(left, right) if not self._varies(left) and len(right.shape) == 1:
                return matmul(self.of(right), transpose(left))
            case Scale(by, x) if not self._varies(by):
                return scale(by, self.of(x))
            case Scale(by, x):
                return times(self._wide(self.of(by), x.shape), self.of(x))
            case Divide(x, by) if by.shape == () and not self._varies(by):
                return divide(self.of(x), by)
            case Divide(x, by):
                return divide(self.of(x), self._wide(self.of(by), x.shape))
            case Power(x, exponent) if not self._varies(exponent):
                return power(self.of(x), exponent)
            case Dot(left, right):
                return total(times(self.of(left), self.of(right)), 1)
            case Sum(x):
                return total(self.of(x), 1)
            case Spread(x, None):
                return self._wide(self.of(x), node.shape)
            case Softmax(x):
                return Softmax(self.of(x), 1, self._shape(node.shape))
        return self._entries(node)

    def _entries(self, node: Expr) -> Expr:
        """What is done to each entry alone."""
        shape = self._shape(node.shape)
        match node:
            case Add(terms):
                return Add(tuple(self.of(term) for term in terms), shape)
            case Times(left, right):
                return times(self.of(left), self.of(right))
            case Map(function, x):
                return apply_map(function, self.of(x))
            case StopGradient(x):
                return StopGradient(self.of(x), shape)
            case Extremum(function, left, right):
                return Extremum(function, self.of(left), self.of(right), shape)
            case Compare(operator, left, right):
                return Compare(operator, self.of(left), self.of(right), shape)
            case Where(condition, then, otherwise):
                wide = self.of(condition)
                condition = spread(wide, 0, shape) if len(wide.shape) < len(shape) else wide
                return Where(condition, self.of(then), self.of(otherwise), shape)
        raise NoRows

    def _varies(self, node: Expr) -> bool:
        return contains(node, lambda part: part == self.row)

    def _repeated(self, node: Expr) -> Expr:
        """What is the same for all rows."""
        return spread(node, None if node.shape == () else 1, self._shape(node.shape))

    def _wide(self, numbers: Expr, shape: Shape) -> Expr:
        """A number for each row, in every entry of the row."""
        return spread(numbers, 0, self._shape(shape)) if shape and len(numbers.shape) == 1 else numbers

    def _shape(self, shape: Shape) -> tuple[Dim, ...]:
        if len(shape) > 1:
            raise NoRows
        return (self.number, *shape)
