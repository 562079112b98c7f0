"""Turns an expression of nlc's algebra into its normal form, a `Polynomial` over symbolic dims.

Complete for polynomial (and scalar rational) identities meant for all sizes, sound for the rest: a function that these rules do not know
is a letter that stands for equal values when its arguments have equal normal forms.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import replace
from fractions import Fraction
from types import MappingProxyType

from nlc.ir.algebra import (
    LEAVES,
    Add,
    Compare,
    Constant,
    Divide,
    Dot,
    Expr,
    Extremum,
    Eye,
    Full,
    Hyperparameter,
    Input,
    Map,
    MatMul,
    Norm,
    Now,
    Outer,
    Power,
    Scale,
    Size,
    Softmax,
    Spread,
    State,
    StopGradient,
    Sum,
    Times,
    Transpose,
    Where,
    WindowSum,
    children,
)  # fmt: skip
from nlc.ir.calculus import Derivative, Embedding, Inverse, LastUnit
from nlc.ir.dims import Dim, Shape
from nlc.ir.recents import Recent
from nlc.verify.differentials import gradient
from nlc.verify.effort import LimitReached
from nlc.verify.inverses import inverted
from nlc.verify.letters import UNIT, Atom, Function, Letter
from nlc.verify.polynomial import (
    Polynomial,
    add,
    all_ones,
    identity,
    letter_polynomial,
    number,
    size,
    subtract,
    times_number,
    transpose,
)  # fmt: skip
from nlc.verify.products import dot, multiply, power, scale, times
from nlc.verify.quotients import reciprocal, root
from nlc.verify.windows import is_datum

__all__ = ["LimitReached", "normal_form"]

ODD = frozenset({"sin", "sinh", "tanh", "sign"})
EVEN = frozenset({"cos", "cosh", "abs", "normal_density"})
SYMMETRY: Mapping[str, int] = MappingProxyType({**dict.fromkeys(ODD, -1), **dict.fromkeys(EVEN, 1)})
"""f(-x) = SYMMETRY[f] * f(x)."""

AT_ZERO: Mapping[str, Fraction] = MappingProxyType(
    {
        **dict.fromkeys((*ODD, "abs", "relu", "silu", "gelu", "floor", "ceil"), Fraction(0)),
        **dict.fromkeys(("exp", "cos", "cosh"), Fraction(1)),
        **dict.fromkeys(("sigmoid", "normal_cdf"), Fraction(1, 2)),
    }
)
"""Values at 0 that are rational."""

LARGEST_POWER = 64

Values = Mapping[Expr, Polynomial]
"""What is known of leaves; a leaf that is not in it stands for itself."""


def normal_form(node: Expr, values: Values = MappingProxyType({})) -> Polynomial:
    """The normal form of an expression; raises LimitReached when it is too large, ZeroDivisionError for a division by the number 0."""
    if isinstance(node, LEAVES):
        return values[node] if node in values else _leaf(node)
    if isinstance(node, Derivative):
        return normal_form(gradient(node.of, node.by), values)
    parts = [normal_form(child, values) for child in children(node)]
    match node:
        case Add():
            return add(*parts)
        case Scale():
            return scale(parts[0], parts[1])
        case Times():
            return times(parts[0], parts[1])
        case Divide(_, by):
            inverse = reciprocal(parts[1])
            return scale(inverse, parts[0]) if by.shape == () else times(parts[0], inverse)
        case MatMul(left) if len(left.shape) == 2:
            return multiply(parts[0], parts[1])
        case Transpose():
            return transpose(parts[0])
        case Outer(left, right) if len(left.shape) == len(right.shape) == 1:
            return multiply(parts[0], transpose(parts[1]))
        case Dot():
            return dot(parts[0], parts[1])
        case Norm():
            return root(dot(parts[0], parts[0]))
        case StopGradient() | Now():
            return parts[0]
        case WindowSum():
            return _window_sum(node, parts[0])
        case Power():
            return _power(node, parts)
        case Softmax(x) if len(x.shape) == 1:
            exponentials = _letter(Map("exp", x, x.shape), parts)
            return scale(reciprocal(dot(exponentials, all_ones(exponentials.rows, UNIT))), exponentials)
        case Inverse():
            return inverted(parts[0])
        case Sum(x, axis):
            return _sum(node, parts[0], x.shape, axis)
        case Spread(x, axis, shape):
            return _spread(node, parts[0], x.shape, axis, shape)
        case Where(condition):
            chosen = subtract(parts[1], parts[2])
            gated = scale(parts[0], chosen) if condition.shape == () else times(parts[0], chosen)
            return add(parts[2], gated)
    return _function(node, parts)


def borders(shape: Shape) -> tuple[Dim, Dim]:
    """Rows and columns of a shape: a vector is one column, and so is an array of more than two dims (its entries in a row)."""
    if len(shape) == 2:
        return shape[0], shape[1]
    rows = UNIT
    for dim in shape:
        rows = rows * dim
    return rows, UNIT


def _leaf(node: Expr) -> Polynomial:
    match node:
        case Constant(value):
            return number(value)
        case Full(value, shape):
            return times_number(value, all_ones(*borders(shape)))
        case Eye(shape):
            return identity(shape[0])
        case Size(dim):
            return size(dim)
    rows, columns = borders(node.shape)
    return letter_polynomial(Letter(leaf_text(node), False, rows, columns, Atom(node)))


def leaf_text(node: Expr) -> str:
    """The name of a leaf's letter: unambiguous, without spaces."""
    match node:
        case Input(name, _, delayed):
            return f"{'delayed' if delayed else 'input'}:{name}"
        case Hyperparameter(name):
            return f"rate:{name}"
        case State(component, part, _, when, period):
            return f"{when.value}:{component}/{part}/{period}"
    kind = type(node).__name__.lower()
    if isinstance(node, Embedding | LastUnit):
        return f"{kind}:{'x'.join(str(dim) for dim in node.shape)}".replace(" ", "")
    return ":".join((kind, *(str(getattr(node, name)) for name in ("component", "part", "name", "axis") if hasattr(node, name))))


def _window_sum(node: WindowSum, x: Polynomial) -> Polynomial:
    """A sum over a window, term by term: what is the same at every datum stands before it."""
    total: list[Polynomial] = []
    for (factors, word), coefficient in x.terms.items():
        outside = tuple(item for item in factors if not is_datum(item[0]))
        inside = tuple(item for item in factors if item not in outside)
        if any(is_datum(letter) for letter in word):
            summed = _letter(node, [Polynomial(x.rows, x.columns, {(inside, word): Fraction(1)})])
            total.append(scale(Polynomial(UNIT, UNIT, {(outside, ()): coefficient}), summed))
        else:
            weight = _letter(WindowSum(node.x, ()), [Polynomial(UNIT, UNIT, {(inside, ()): Fraction(1)})])
            total.append(scale(weight, Polynomial(x.rows, x.columns, {(outside, word): coefficient})))
    return add(*total) if total else Polynomial(x.rows, x.columns, {})


def _power(node: Power, parts: list[Polynomial]) -> Polynomial:
    base, exponent = parts[0], parts[1].number
    if exponent is not None and exponent.denominator == 1 and abs(exponent) <= LARGEST_POWER:
        return power(base if exponent >= 0 else reciprocal(base), abs(int(exponent)))
    if exponent is not None and exponent.denominator == 2 and abs(exponent) <= LARGEST_POWER:
        half = root(base)
        return power(half if exponent > 0 else reciprocal(half), abs(exponent.numerator))
    return _function(node, parts)


def _sum(node: Sum, x: Polynomial, shape: Shape, axis: int | None) -> Polynomial:
    if axis is None or len(shape) == 1:
        return dot(x, all_ones(x.rows, x.columns))
    if len(shape) != 2:
        return _function(node, [x])
    along = transpose(x) if axis == 0 else x
    return multiply(along, all_ones(along.columns, UNIT))


def _spread(node: Spread, x: Polynomial, inner: Shape, axis: int | None, shape: Shape) -> Polynomial:
    rows, columns = borders(shape)
    if inner == ():
        return scale(x, all_ones(rows, columns))
    if len(shape) != 2 or len(inner) != 1:
        return _function(node, [x])
    if axis == 0:
        return multiply(x, all_ones(UNIT, columns))
    return multiply(all_ones(rows, UNIT), transpose(x))


def _function(node: Expr, parts: list[Polynomial]) -> Polynomial:
    """A letter for a function of which these rules know little."""
    match node:
        case Map("sqrt"):
            return root(parts[0])
        case Map(function) if parts[0].is_zero and function in AT_ZERO:
            return times_number(AT_ZERO[function], all_ones(*borders(node.shape)))
        case Map(function) if function in SYMMETRY and _is_negative(parts[0]):
            return times_number(SYMMETRY[function], _letter(node, [times_number(-1, parts[0])]))
        case Compare(operator) if operator.startswith(">"):
            return _letter(Compare(operator.replace(">", "<"), node.right, node.left, node.shape), [subtract(parts[1], parts[0])])
        case Compare():
            return _letter(node, [subtract(parts[0], parts[1])])
        case Extremum():
            return _letter(node, sorted(parts, key=lambda part: part.key))
    return _letter(node, parts)


def _is_negative(x: Polynomial) -> bool:
    return not x.is_zero and x.terms[x.ordered[0]] < 0


def _letter(node: Expr, parts: list[Polynomial]) -> Polynomial:
    """The function's letter; an elementwise function of a transposed matrix is the transposed function of the matrix."""
    rows, columns = borders(node.shape)
    name = _function_name(node)
    text = f"{name}[{'; '.join(part.key for part in parts)}]"
    if columns != UNIT and isinstance(node, Map | Power | Extremum):
        flipped = [transpose(part) for part in parts]
        flipped_text = f"{name}[{'; '.join(part.key for part in flipped)}]"
        if flipped_text < text:
            turned = replace(node, shape=(columns, rows))
            return transpose(letter_polynomial(Letter(flipped_text, False, columns, rows, Function(turned, tuple(flipped)))))
    return letter_polynomial(Letter(text, False, rows, columns, Function(node, tuple(parts))))


def _function_name(node: Expr) -> str:
    details = (str(getattr(node, name)) for name in ("function", "operator", "axis", "tokens") if hasattr(node, name))
    dims = "x".join(str(dim) for dim in node.shape).replace(" ", "") if isinstance(node, Spread | Recent) else ""
    return ":".join((type(node).__name__.lower(), *details, dims))
