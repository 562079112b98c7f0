"""Building the algebra: functions that fold numbers and flatten sums, and otherwise keep the order in which the user wrote things."""

from __future__ import annotations

import dataclasses
from collections.abc import Callable
from fractions import Fraction
from typing import Any

from nlc.ir.algebra import (
    MINUS_ONE,
    ZERO,
    Add,
    Compare,
    Constant,
    Divide,
    Dot,
    Expr,
    Extremum,
    Eye,
    Full,
    Join,
    LayerNorm,
    Map,
    MatMul,
    Norm,
    Now,
    Outer,
    Power,
    Rotary,
    Scale,
    Softmax,
    Split,
    Spread,
    StopGradient,
    Sum,
    Times,
    Transpose,
    Where,
    WindowMean,
    WindowSoftmax,
    WindowSum,
    children,
    is_number,
)
from nlc.ir.calculus import Derivative, Inverse
from nlc.ir.dims import Shape
from nlc.ir.recents import Convolve, Delay, Recent, Shift, rebuild_of_past

EPSILON = Constant(Fraction(1, 100_000))
"""What is added under the root of `layer_norm`."""


def rebuild(node: Expr, parts: tuple[Expr, ...]) -> Expr:
    """The node with its operands replaced, through the building functions below."""
    match node:
        case Add():
            return add(*parts)
        case Scale():
            return scale(*parts)
        case Times():
            return times(*parts)
        case Divide():
            return divide(*parts)
        case Power():
            return power(*parts)
        case Map(function):
            return Map(function, parts[0], node.shape)
        case Extremum(function):
            return Extremum(function, parts[0], parts[1], node.shape)
        case Compare(operator):
            return Compare(operator, parts[0], parts[1], node.shape)
        case Where():
            return Where(parts[0], parts[1], parts[2], node.shape)
        case Spread(_, axis):
            return spread(parts[0], axis, node.shape)
        case MatMul():
            return matmul(*parts)
        case Transpose():
            return transpose(*parts)
        case Outer():
            return outer(*parts)
        case Dot():
            return dot(*parts)
        case Sum(_, axis):
            return total(parts[0], axis)
        case Norm():
            return Norm(parts[0])
        case Softmax(_, axis):
            return Softmax(parts[0], axis, node.shape)
        case LayerNorm():
            return LayerNorm(parts[0], node.shape)
        case Split(_, axis):
            return Split(parts[0], axis, node.shape)
        case Join(_, axis):
            return Join(parts[0], axis, node.shape)
        case StopGradient():
            return StopGradient(parts[0], node.shape)
        case Recent() | Shift() | Delay() | Convolve():
            return rebuild_of_past(node, parts)
        case Rotary(_, _, base):
            return Rotary(parts[0], parts[1], base, node.shape)
        case Now() | WindowSum() | WindowSoftmax() | WindowMean():
            return _rebuild_over_window(node, parts)
        case Derivative():
            return Derivative(parts[0], parts[1], node.shape)
        case Inverse():
            return Inverse(parts[0], node.shape)
    return node


def _rebuild_over_window(node: Now | WindowSum | WindowSoftmax | WindowMean, parts: tuple[Expr, ...]) -> Expr:
    match node:
        case Now():
            return now(parts[0])
        case WindowSum():
            return window_sum(parts[0])
        case WindowSoftmax():
            return WindowSoftmax(parts[0])
        case WindowMean(scores):
            return WindowMean(parts[: len(scores)], parts[len(scores) :], node.shape)


def replace(node: Expr, change: Callable[[Expr], Expr | None]) -> Expr:
    """Every node for which `change` gives something is replaced by it (outermost first); the rest is rebuilt."""
    changed = change(node)
    if changed is not None:
        return changed
    parts = children(node)
    new = tuple(replace(part, change) for part in parts)
    return node if new == parts else rebuild(node, new)


def shaped(node: Expr, shape: Shape) -> Expr:
    """The same kind of node, of another shape."""
    kind: Any = node
    changed: Expr = dataclasses.replace(kind, shape=shape)
    return changed


def constant(value: Fraction | int) -> Constant:
    """An exact number as a scalar."""
    return Constant(Fraction(value))


def full(value: Fraction | int, shape: Shape) -> Expr:
    """A tensor of one number: `Constant` when it is a scalar."""
    return Full(Fraction(value), shape) if shape else Constant(Fraction(value))


def add(*terms: Expr) -> Expr:
    """The sum; nested sums are flattened, zeros dropped, numbers added up (kept where the first one stood)."""
    shape = terms[0].shape
    flat = [part for term in terms for part in (term.terms if isinstance(term, Add) else (term,))]
    assert all(term.shape == shape for term in flat), [term.shape for term in flat]
    numbers = [term.value for term in flat if isinstance(term, Constant | Full)]
    if len(numbers) > 1:
        first = next(index for index, term in enumerate(flat) if isinstance(term, Constant | Full))
        flat[first] = full(sum(numbers, Fraction(0)), shape)
        flat = [term for index, term in enumerate(flat) if index == first or not isinstance(term, Constant | Full)]
    flat = [term for term in flat if not is_number(term, 0)]
    if not flat:
        return full(0, shape)
    return flat[0] if len(flat) == 1 else Add(tuple(flat), shape)


def negate(x: Expr) -> Expr:
    """-x."""
    return scale(MINUS_ONE, x)


def subtract(left: Expr, right: Expr) -> Expr:
    """left - right."""
    return add(left, negate(right))


def scale(by: Expr, x: Expr) -> Expr:
    """A scalar times x; numbers are folded and pulled to the front, so a product has at most one."""
    assert by.shape == (), by.shape
    match by, x:
        case (Constant(value), Constant(other)):
            return constant(value * other)
        case (Constant(value), Full(other, shape)):
            return full(value * other, shape)
        case (_, Constant()):
            return scale(x, by)
    if is_number(by, 0) or is_number(x, 0):
        return full(0, x.shape)
    if is_number(by, 1):
        return x
    match by, x:
        case (Constant(value), Scale(Constant(other), rest)):
            return scale(constant(value * other), rest)
        case (Constant(), Add(terms)) if by.value == -1:
            return add(*(scale(by, term) for term in terms))
        case (Scale(Constant() as number, rest), _):
            return scale(number, scale(rest, x))
        case (_, Scale(Constant() as number, rest)) if not isinstance(by, Constant):
            return scale(number, scale(by, rest))
    return Scale(by, x, x.shape)


def times(left: Expr, right: Expr) -> Expr:
    """The elementwise product of equal shapes; scalars go through `scale`."""
    if left.shape == ():
        return scale(left, right)
    if right.shape == ():
        return scale(right, left)
    assert left.shape == right.shape, (left.shape, right.shape)
    match left, right:
        case (Full(value), _):
            return scale(constant(value), right)
        case (_, Full(value)):
            return scale(constant(value), left)
        case (Scale(by, x), _):
            return scale(by, times(x, right))
        case (_, Scale(by, x)):
            return scale(by, times(left, x))
        case (Spread(x, None), _):
            return scale(x, right)
        case (_, Spread(x, None)):
            return scale(x, left)
    return Times(left, right, left.shape)


def divide(x: Expr, by: Expr) -> Expr:
    """x over a number, a scalar or something of its own shape."""
    if isinstance(by, Constant) and by.value:
        return scale(constant(1 / by.value), x)
    if is_number(x, 0):
        return x
    if isinstance(x, Scale) and isinstance(x.by, Constant):
        return scale(x.by, divide(x.x, by))
    return Divide(x, by, x.shape)


def power(x: Expr, exponent: Expr) -> Expr:
    """x ** exponent; whole powers of numbers are computed, the powers 0 and 1 disappear."""
    if is_number(exponent, 1):
        return x
    if is_number(exponent, 0):
        return full(1, x.shape)
    match x, exponent:
        case (Constant(value), Constant(times_)) if times_.denominator == 1 and abs(times_) <= 64 and (value or times_ > 0):
            return constant(value ** int(times_))
    return Power(x, exponent, x.shape)


def apply_map(function: str, x: Expr) -> Expr:
    """An elementwise function of `nlc.ir.maps.MAPS`, applied."""
    return Map(function, x, x.shape)


def spread(x: Expr, axis: int | None, shape: Shape) -> Expr:
    """x repeated over `shape`: a scalar everywhere, or a vector along the axis that has its dim."""
    if x.shape == shape:
        return x
    if isinstance(x, Constant | Full):
        return full(x.value, shape)
    if isinstance(x, Scale):
        return scale(x.by, spread(x.x, axis, shape)) if x.shape else Spread(x, axis, shape)
    return Spread(x, axis, shape)


def matmul(left: Expr, right: Expr) -> Expr:
    """left @ right, with scalars pulled out and the identity and zeros folded away."""
    assert left.shape[-1] == right.shape[0], (left.shape, right.shape)
    shape = left.shape[:-1] + right.shape[1:]
    if isinstance(left, Eye) and left.shape == left.shape[::-1]:
        return right
    if isinstance(right, Eye) and right.shape == right.shape[::-1]:
        return left
    if is_number(left, 0) or is_number(right, 0):
        return full(0, shape)
    match left, right:
        case (Scale(by, x), _):
            return scale(by, matmul(x, right))
        case (_, Scale(by, x)):
            return scale(by, matmul(left, x))
    return MatMul(left, right, shape)


def transpose(x: Expr) -> Expr:
    """x^T, pushed inwards through what has a simpler transpose."""
    rows, columns = x.shape
    match x:
        case Transpose(inner):
            return inner
        case Outer(left, right):
            return outer(right, left)
        case Scale(by, inner):
            return scale(by, transpose(inner))
        case Add(terms):
            return add(*(transpose(term) for term in terms))
        case Eye() | Full() if rows == columns:
            return x
    return Transpose(x, (columns, rows))


def outer(left: Expr, right: Expr) -> Expr:
    """left right^T, with scalars pulled out."""
    shape = left.shape + right.shape
    if is_number(left, 0) or is_number(right, 0):
        return full(0, shape)
    match left, right:
        case (Scale(by, x), _):
            return scale(by, outer(x, right))
        case (_, Scale(by, x)):
            return scale(by, outer(left, x))
    return Outer(left, right, shape)


def dot(left: Expr, right: Expr) -> Expr:
    """The inner product, with scalars pulled out; of two scalars, their product."""
    assert left.shape == right.shape, (left.shape, right.shape)
    if left.shape == ():
        return scale(left, right)
    if is_number(left, 0) or is_number(right, 0):
        return ZERO
    match left, right:
        case (Scale(by, x), _):
            return scale(by, dot(x, right))
        case (_, Scale(by, x)):
            return scale(by, dot(left, x))
    return Dot(left, right)


def total(x: Expr, axis: int | None = None) -> Expr:
    """The sum over all entries, or over one axis."""
    if x.shape == ():
        return x
    if isinstance(x, Scale):
        return scale(x.by, total(x.x, axis))
    if is_number(x, 0):
        return full(0, () if axis is None else x.shape[:axis] + x.shape[axis + 1 :])
    if axis is None or len(x.shape) == 1:
        return Sum(x, None, ())
    return Sum(x, axis, x.shape[:axis] + x.shape[axis + 1 :])


def now(x: Expr) -> Expr:
    """x at the update's own token; numbers are the same at every datum."""
    return x if isinstance(x, Now | Constant | Full) else Now(x, x.shape)


def window_sum(x: Expr) -> Expr:
    """The sum over the data of a window, with numbers pulled out."""
    if isinstance(x, Scale) and isinstance(x.by, Constant):
        return scale(x.by, window_sum(x.x))
    return full(0, x.shape) if is_number(x, 0) else WindowSum(x, x.shape)
