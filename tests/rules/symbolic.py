"""The polynomial nodes of the algebra evaluated entry by entry with sympy: the exact judge of rules, at small sizes."""

from __future__ import annotations

from collections.abc import Mapping

import numpy
import sympy  # type: ignore[import-untyped]
from numpy.typing import NDArray

from nlc.ir.algebra import (
    Add,
    Constant,
    Divide,
    Dot,
    Expr,
    Eye,
    Full,
    MatMul,
    Outer,
    Power,
    Scale,
    Spread,
    Sum,
    Times,
    Transpose,
    children,
)
from nlc.ir.dims import Shape
from tests.derive.numeric import sizes

Entries = NDArray[numpy.object_]


def symbols(name: str, shape: Shape) -> Entries:
    """A tensor of distinct real symbols."""
    extent = sizes(shape)
    entries = numpy.empty(extent, dtype=object)
    for index in numpy.ndindex(*extent):
        entries[index] = sympy.Symbol("_".join((name, *map(str, index))), real=True)
    return entries


def entries(node: Expr, leaves: Mapping[Expr, Entries]) -> Entries:
    """The value of an expression, every entry a sympy expression; a 0-dimensional array for a scalar."""
    if node in leaves:
        return leaves[node]
    return numpy.array(_operation(node, tuple(entries(child, leaves) for child in children(node))), dtype=object)


def _operation(node: Expr, parts: tuple[Entries, ...]) -> object:
    match node:
        case Constant(value) | Full(value):
            return numpy.full(sizes(node.shape), sympy.Rational(value.numerator, value.denominator), dtype=object)
        case Eye():
            return numpy.array(sympy.eye(sizes(node.shape)[0]).tolist(), dtype=object)
        case Add():
            return sum(parts[1:], start=parts[0])
        case Scale() | Times():
            return parts[0] * parts[1]
        case Divide():
            return parts[0] / parts[1]
        case Power():
            return parts[0] ** parts[1]
        case Spread(_, axis):
            column = numpy.expand_dims(parts[0], 1 - axis) if axis is not None and len(node.shape) == 2 else parts[0]
            return numpy.broadcast_to(column, sizes(node.shape))
        case MatMul():
            return parts[0] @ parts[1]
        case Transpose():
            return parts[0].T
        case Outer():
            return numpy.multiply.outer(parts[0], parts[1])
        case Dot():
            return (parts[0] * parts[1]).sum()
        case Sum(_, axis):
            return parts[0].sum(axis)
    raise AssertionError(f"{type(node).__name__} is not a polynomial node")


def derivative(scalar: Entries, by: Entries) -> Entries:
    """The entrywise derivative of a scalar."""
    result = numpy.empty(by.shape, dtype=object)
    for index in numpy.ndindex(*by.shape):
        result[index] = sympy.diff(scalar.item(), by[index])
    return result


def same(left: Entries, right: Entries) -> bool:
    """Whether two tensors are equal entry by entry, for all values of their symbols."""
    difference = numpy.atleast_1d(left - right)
    return left.shape == right.shape and all(sympy.expand(sympy.together(entry)).equals(0) for entry in difference.flat)
