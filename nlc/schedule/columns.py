"""Decays of a matrix that are the same in every row -> one number per column."""

from __future__ import annotations

from nlc.ir.algebra import Add, Divide, Expr, Full, Map, Power, Scale, Spread, Times
from nlc.ir.build import add, divide, full, power, scale, spread, times


def per_column(node: Expr) -> Expr | None:
    """The vector that a matrix repeats in every row; None when its rows may differ."""
    match node:
        case Spread(x, 1):
            return x
        case Spread(x, None):
            return spread(x, None, node.shape[1:])
        case Full(value):
            return full(value, node.shape[1:])
        case Add(terms):
            columns = [per_column(term) for term in terms]
            found = [column for column in columns if column is not None]
            return add(*found) if len(found) == len(terms) else None
        case Scale(by, x):
            column = per_column(x)
            return None if column is None else scale(by, column)
        case Map(function, x):
            column = per_column(x)
            return None if column is None else Map(function, column, column.shape)
    return _of_two(node)


def _of_two(node: Expr) -> Expr | None:
    """A product, quotient or power of two matrices, or of a matrix and a scalar."""
    match node:
        case Times(left, right):
            first, second = per_column(left), per_column(right)
            return None if first is None or second is None else times(first, second)
        case Divide(x, by) | Power(x, by):
            first, second = per_column(x), by if by.shape == () else per_column(by)
            if first is None or second is None:
                return None
            return divide(first, second) if isinstance(node, Divide) else power(first, second)
    return None
