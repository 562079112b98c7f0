"""The adjoint of every differentiable node, as a table: how a cotangent of the node flows to its operands.

For y = f(x, ...) and the cotangent g of y, a row gives for each operand x the tensor that, for every change dx, has the inner
product with dx that g has with the change of y. A condition has no cotangent (None): it does not vary.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping
from dataclasses import dataclass
from types import MappingProxyType
from typing import Any

from nlc.ir.algebra import (
    HALF,
    MINUS_ONE,
    ONE,
    Add,
    Compare,
    Divide,
    Dot,
    Expr,
    Extremum,
    LayerNorm,
    Map,
    MatMul,
    Norm,
    Outer,
    Power,
    Rotary,
    Scale,
    Size,
    Softmax,
    Spread,
    Sum,
    Times,
    Transpose,
    Where,
)
from nlc.ir.build import (
    EPSILON,
    add,
    apply_map,
    constant,
    divide,
    dot,
    full,
    matmul,
    negate,
    outer,
    power,
    scale,
    spread,
    subtract,
    times,
    total,
    transpose,
)
from nlc.ir.calculus import Inverse
from nlc.ir.dims import Shape
from nlc.ir.maps import MAPS

Cotangents = tuple[Expr | None, ...]


@dataclass(frozen=True, slots=True)
class Adjoint:
    """One row: the node type, its name in derivations, the rule in words, its citation, and the rule itself."""

    node: type[Any]
    name: str
    says: str
    cite: str
    pull: Callable[[Any, Expr], Cotangents]


def _add(node: Add, cotangent: Expr) -> Cotangents:
    return (cotangent,) * len(node.terms)


def _scale(node: Scale, cotangent: Expr) -> Cotangents:
    return dot(cotangent, node.x), scale(node.by, cotangent)


def _times(node: Times, cotangent: Expr) -> Cotangents:
    return times(cotangent, node.right), times(cotangent, node.left)


def _divide(node: Divide, cotangent: Expr) -> Cotangents:
    product = dot(cotangent, node.x) if node.by.shape == () else times(cotangent, node.x)
    return divide(cotangent, node.by), negate(divide(product, power(node.by, constant(2))))


def _power(node: Power, cotangent: Expr) -> Cotangents:
    slope = scale(node.exponent, power(node.x, add(node.exponent, MINUS_ONE)))
    return times(cotangent, slope), dot(cotangent, times(node, apply_map("log", node.x)))


def _map(node: Map, cotangent: Expr) -> Cotangents:
    return (times(cotangent, MAPS[node.function].derivative(node.x)),)


def _extremum(node: Extremum, cotangent: Expr) -> Cotangents:
    wins, draws = (">", ">=") if node.function == "maximum" else ("<", "<=")

    def share(one: Expr, other: Expr) -> Expr:
        tie = _where(Compare(draws, one, other, node.shape), scale(HALF, cotangent), full(0, node.shape))
        return _where(Compare(wins, one, other, node.shape), cotangent, tie)

    return share(node.left, node.right), share(node.right, node.left)


def _choice(node: Where, cotangent: Expr) -> Cotangents:
    nothing = full(0, node.shape)
    return None, _where(node.condition, cotangent, nothing), _where(node.condition, nothing, cotangent)


def _spread(node: Spread, cotangent: Expr) -> Cotangents:
    if node.axis is None:
        return (total(cotangent),)
    for axis in reversed(range(len(node.shape))):
        if axis != node.axis:
            cotangent = total(cotangent, axis)
    return (cotangent,)


def _apply(node: MatMul, cotangent: Expr) -> Cotangents:
    is_vector = len(node.right.shape) == 1
    to_left = outer(cotangent, node.right) if is_vector else matmul(cotangent, transpose(node.right))
    return to_left, matmul(transpose(node.left), cotangent)


def _transpose(node: Transpose, cotangent: Expr) -> Cotangents:
    return (transpose(cotangent),)


def _inverse(node: Inverse, cotangent: Expr) -> Cotangents:
    inverse = Inverse(transpose(node.x), node.shape)
    return (negate(matmul(inverse, matmul(cotangent, inverse))),)


def _outer(node: Outer, cotangent: Expr) -> Cotangents:
    return matmul(cotangent, node.right), matmul(transpose(cotangent), node.left)


def _dot(node: Dot, cotangent: Expr) -> Cotangents:
    return scale(cotangent, node.right), scale(cotangent, node.left)


def _sum(node: Sum, cotangent: Expr) -> Cotangents:
    return (_along(cotangent, node.axis, node.x.shape),)


def _norm(node: Norm, cotangent: Expr) -> Cotangents:
    # Where the norm is zero x is zero too: dividing by one there gives the slope zero, and no 0 / 0 to differentiate later.
    length = Where(Compare(">", node, full(0, ()), ()), node, ONE, ())
    return (scale(cotangent, divide(node.x, length)),)


def _softmax(node: Softmax, cotangent: Expr) -> Cotangents:
    axis = None if len(node.shape) == 1 else node.axis
    mean = dot(node, cotangent) if axis is None else total(times(node, cotangent), axis)
    return (times(node, subtract(cotangent, _along(mean, axis, node.shape))),)


def _rotary(node: Rotary, cotangent: Expr) -> Cotangents:
    return Rotary(cotangent, negate(node.place), node.base, node.shape), None


def deviation(x: Expr) -> Expr:
    """What a layer norm divides a vector by, when its mean is taken off."""
    size = Size(x.shape[0])
    centred = subtract(x, spread(divide(total(x), size), None, x.shape))
    return apply_map("sqrt", add(divide(dot(centred, centred), size), EPSILON))


def _layer_norm(node: LayerNorm, cotangent: Expr) -> Cotangents:
    size, by = Size(node.shape[0]), deviation(node.x)
    mean, along = divide(total(cotangent), size), divide(dot(cotangent, node), size)
    off = scale(divide(along, by), node)
    return (subtract(subtract(divide(cotangent, by), spread(divide(mean, by), None, node.shape)), off),)


def _where(condition: Expr, then: Expr, otherwise: Expr) -> Expr:
    return Where(condition, then, otherwise, then.shape)


def _along(x: Expr, summed: int | None, shape: Shape) -> Expr:
    """x, left over from a sum along an axis (None: along all), repeated along it again."""
    return spread(x, None if summed is None else 1 - summed, shape)


ADJOINTS: tuple[Adjoint, ...] = (
    Adjoint(Add, "sum", "d(x + y) = dx + dy", "calculus", _add),
    Adjoint(Scale, "scaling", "d(a x) = da x + a dx", "calculus", _scale),
    Adjoint(Times, "elementwise product", "d(x * y) = dx * y + x * dy", "calculus", _times),
    Adjoint(Divide, "quotient", "d(x / y) = dx / y - x dy / y**2", "calculus", _divide),
    Adjoint(Power, "power", "d(x**n) = n x**(n - 1) dx + x**n log(x) dn, the last for x > 0", "calculus", _power),
    Adjoint(Map, "elementwise map", "d f(x) = f'(x) * dx", "calculus", _map),
    Adjoint(Extremum, "extremum", "the change of the larger (smaller) one; at a tie the mean of both", "nlc", _extremum),
    Adjoint(Where, "choice", "the change of the branch that is taken", "nlc", _choice),
    Adjoint(Spread, "repetition", "the adjoint of repeating is summing", "calculus", _spread),
    Adjoint(MatMul, "apply", "d(M x) = dM x + M dx", "calculus", _apply),
    Adjoint(Transpose, "transpose", "d(M^T) = dM^T", "calculus", _transpose),
    Adjoint(Inverse, "inverse", "d(M^-1) = -M^-1 dM M^-1", "calculus", _inverse),
    Adjoint(Outer, "outer product", "d(x y^T) = dx y^T + x dy^T", "calculus", _outer),
    Adjoint(Dot, "inner product", "d<x, y> = <dx, y> + <x, dy>", "calculus", _dot),
    Adjoint(Sum, "total", "the adjoint of summing is repeating", "calculus", _sum),
    Adjoint(Norm, "norm", "d|x| = <x, dx> / |x|, and 0 at x = 0", "calculus", _norm),
    Adjoint(Rotary, "rotation", "the adjoint of a rotation is the rotation back", "calculus", _rotary),
    Adjoint(Softmax, "softmax", "d s = s * (dx - <s, dx>)", "calculus", _softmax),
    Adjoint(LayerNorm, "layer norm", "d n = (dx - mean(dx) - mean(n * dx) n) / deviation", "calculus", _layer_norm),
)

ADJOINT_OF: Mapping[type[Any], Adjoint] = MappingProxyType({row.node: row for row in ADJOINTS})
