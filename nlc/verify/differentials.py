"""An expression and one of its leaves -> the gradient, as an expression: the verifier's own calculus, apart from that of `derive`.

The gradient is what, for every small change of the leaf, has the inner product with it that is the change of the expression.
"""

from __future__ import annotations

from collections.abc import Iterator

from nlc.ir.algebra import (
    MINUS_ONE,
    ONE,
    Add,
    Compare,
    Divide,
    Dot,
    Expr,
    Extremum,
    Map,
    MatMul,
    Norm,
    Outer,
    Power,
    Scale,
    Softmax,
    Spread,
    StopGradient,
    Sum,
    Times,
    Transpose,
    Where,
    contains,
)
from nlc.ir.build import add, constant, divide, dot, full, matmul, negate, outer, power, scale, spread, subtract, times, total, transpose
from nlc.ir.calculus import Derivative, Inverse
from nlc.ir.maps import MAPS
from nlc.ir.show import expression_text

Share = tuple[Expr, Expr]
"""An operand, and what a change of it contributes per unit."""


class NotDifferentiable(Exception):
    """No rule says how a node depends on the leaf."""


def gradient(of: Expr, by: Expr) -> Expr:
    """The gradient of a scalar with respect to a leaf; raises NotDifferentiable."""
    found = tuple(_reaching(of, ONE, by))
    return add(*found) if found else full(0, by.shape)


def _reaching(node: Expr, weight: Expr, by: Expr) -> Iterator[Expr]:
    """What each occurrence of the leaf contributes to the change of <weight, node>."""
    if node == by:
        yield weight
    elif contains(node, lambda part: part == by):
        for operand, share in _shares(node, weight):
            yield from _reaching(operand, share, by)


def _shares(node: Expr, weight: Expr) -> tuple[Share, ...]:
    match node:
        case Add(terms):
            return tuple((term, weight) for term in terms)
        case Scale(factor, x):
            return (factor, dot(weight, x)), (x, scale(factor, weight))
        case Divide(x, by):
            below = power(by, constant(2))
            total_of = dot(weight, x) if by.shape == () else times(weight, x)
            return (x, divide(weight, by)), (by, negate(divide(total_of, below)))
        case MatMul(left, right):
            to_left = outer(weight, right) if len(right.shape) == 1 else matmul(weight, transpose(right))
            return (left, to_left), (right, matmul(transpose(left), weight))
        case Outer(left, right):
            return (left, matmul(weight, right)), (right, matmul(transpose(weight), left))
        case Dot(left, right):
            return (left, scale(weight, right)), (right, scale(weight, left))
        case Transpose(x):
            return ((x, transpose(weight)),)
        case Inverse(x):
            turned = transpose(node)
            return ((x, negate(matmul(matmul(turned, weight), turned))),)
        case Derivative(of, by):
            return ((gradient(of, by), weight),)
        case StopGradient():
            return ()
    return _entrywise(node, weight)


def _entrywise(node: Expr, weight: Expr) -> tuple[Share, ...]:
    match node:
        case Times(left, right):
            return (left, times(weight, right)), (right, times(weight, left))
        case Power(x, exponent) if not contains(exponent, lambda part: part == x):
            slope = scale(exponent, power(x, add(exponent, MINUS_ONE)))
            return ((x, times(weight, slope)),)
        case Map(function, x) if function in MAPS:
            return ((x, times(weight, MAPS[function].derivative(x))),)
        case Norm(x):
            return ((x, scale(weight, divide(x, node))),)
        case Sum(x, None):
            return ((x, spread(weight, None, x.shape)),)
        case Sum(x, int() as axis):
            return ((x, spread(weight, 1 - axis, x.shape)),)
        case Spread(x, None):
            return ((x, total(weight)),)
        case Spread(x, int() as axis):
            return ((x, total(weight, 1 - axis)),)
        case Softmax(x) if len(x.shape) == 1:
            return ((x, times(node, subtract(weight, spread(dot(node, weight), None, node.shape)))),)
        case Where(condition, then, otherwise):
            zero = full(0, node.shape)
            return (then, Where(condition, weight, zero, node.shape)), (otherwise, Where(condition, zero, weight, node.shape))
        case Extremum(function, left, right):
            first = Compare(">=" if function == "maximum" else "<=", left, right, node.shape)
            return _entrywise(Where(first, left, right, node.shape), weight)
    raise NotDifferentiable(expression_text(node))
