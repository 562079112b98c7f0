"""An expression as a polynomial in some states together: its degree, and the terms of a sum that is affine in them."""

from __future__ import annotations

from collections.abc import Callable, Sequence

from nlc.ir.algebra import (
    ONE,
    ZERO,
    Add,
    Divide,
    Dot,
    Expr,
    Map,
    MatMul,
    Outer,
    Power,
    Scale,
    Spread,
    State,
    Sum,
    Times,
    Transpose,
    Where,
    children,
    contains,
    is_number,
)
from nlc.ir.build import divide, dot, full, matmul, outer, scale, spread, times, total, transpose
from nlc.ir.calculus import Inverse

NONLINEAR = 2
"""The degree of everything that is not affine in the state."""

MOST_TERMS = 64
"""A product of sums with more terms stays whole: the terms of a product of n sums double with each."""


def degree(node: Expr, *states: State) -> int:
    """0 when the node is free of the states, 1 when it is affine in them together, else NONLINEAR."""
    if node in states:
        return 1
    return _degree_over(node, [degree(child, *states) for child in children(node)])


def _degree_over(node: Expr, below: Sequence[int]) -> int:
    """The degree of a node whose operands have the degrees `below`."""
    if not any(below):
        return 0
    match node:
        case Add() | Transpose() | Sum() | Spread():
            return max(below)
        case Scale() | Times() | MatMul() | Outer() | Dot():
            return min(NONLINEAR, sum(below))
        case Divide() if below[1] == 0:
            return below[0]
        case Where() if below[0] == 0:
            return max(below[1:])
    return NONLINEAR


def first_nonlinear(node: Expr, *states: State) -> Expr | None:
    """The innermost, leftmost part of an expression that is not affine in the states together; None when all of it is."""
    return _scanned(node, states)[1]


def _scanned(node: Expr, states: tuple[State, ...]) -> tuple[int, Expr | None]:
    """The degree of a node and its first nonlinear part, each part looked at once."""
    if node in states:
        return 1, None
    degrees = []
    for child in children(node):
        found, part = _scanned(child, states)
        if part is not None:
            return NONLINEAR, part
        degrees.append(found)
    found = _degree_over(node, degrees)
    return found, node if found == NONLINEAR else None


def terms(node: Expr, *states: State) -> tuple[Expr, ...]:
    """The terms of a sum equal to the node, products multiplied out over the states; numbers and scalars stand in front of each term.

    Vectors and scalars that are free of the states stay whole, as the user wrote them. Matrices do not: a free matrix, too, is a
    sum of outer products if it can be one.
    """
    if node in states or (degree(node, *states) == 0 and len(node.shape) < 2):
        return (node,)
    match node:
        case Add(parts):
            return tuple(term for part in parts for term in terms(part, *states))
        case Scale(left, right):
            return _products(scale, left, right, states)
        case Times(left, right):
            return _products(times, left, right, states)
        case MatMul(left, right):
            return _products(_product, left, right, states)
        case Outer(left, right):
            return _products(outer, left, right, states)
        case Dot(left, right):
            return _products(dot, left, right, states)
        case Divide(x, by) if by.shape == ():
            return tuple(scale(divide(ONE, by), term) for term in terms(x, *states))
        case Divide(x, by):
            return tuple(times(divide(full(1, by.shape), by), term) for term in terms(x, *states))
        case Transpose(x):
            return tuple(transpose(term) for term in terms(x, *states))
        case Sum(x, axis):
            return tuple(total(term, axis) for term in terms(x, *states))
        case Spread(x, axis):
            return tuple(spread(term, axis, node.shape) for term in terms(x, *states))
        case Where(condition, then, otherwise) if condition.shape == () and not degree(condition, *states):
            return (*_where(condition, then, states), *_where(condition, otherwise, states, is_then=False))
    return (node,)


def _where(condition: Expr, x: Expr, states: Sequence[State], *, is_then: bool = True) -> tuple[Expr, ...]:
    """The terms of one branch, each with a scalar in front that is zero where the other branch is taken.

    A branch whose vectors may be infinite stays whole: nothing times infinity is not nothing.
    """
    found = []
    for term in () if is_number(x, 0) else terms(x, *states):
        coefficient, core = _factor(term)
        if contains(core, _may_be_infinite):
            return (Where(condition, x, full(0, x.shape), x.shape) if is_then else Where(condition, full(0, x.shape), x, x.shape),)
        share = Where(condition, coefficient, ZERO, ()) if is_then else Where(condition, ZERO, coefficient, ())
        found.append(scale(share, core))
    return tuple(found)


def _factor(term: Expr) -> tuple[Expr, Expr]:
    """The scalar in front of a term, and the rest."""
    if not isinstance(term, Scale):
        return ONE, term
    inner, core = _factor(term.x)
    return scale(term.by, inner), core


def _may_be_infinite(node: Expr) -> bool:
    """Whether a node may make infinite numbers of finite ones."""
    return isinstance(node, Divide | Power | Inverse) or (isinstance(node, Map) and node.function in ("exp", "log", "sinh", "cosh"))


def _products(product: Callable[[Expr, Expr], Expr], left: Expr, right: Expr, states: Sequence[State]) -> tuple[Expr, ...]:
    ones, others = terms(left, *states), terms(right, *states)
    if len(ones) * len(others) > MOST_TERMS:
        return (product(left, right),)
    return tuple(product(one, other) for one in ones for other in others)


def _product(left: Expr, right: Expr) -> Expr:
    """left @ right of two terms, with outer products taken apart: what reads the state is then of the form S @ vector."""
    match left, right:
        case (Scale(by, x), _):
            return scale(by, _product(x, right))
        case (_, Scale(by, x)):
            return scale(by, _product(left, x))
        case (Outer(column, row), _) if len(right.shape) == 1:
            return scale(dot(row, right), column)
        case (Outer(column, row), _):
            return outer(column, _product(transpose(right), row))
        case (_, Outer(column, row)):
            return outer(_product(left, column), row)
        case (MatMul(first, second), _):
            return _product(first, _product(second, right))
    return matmul(left, right)
