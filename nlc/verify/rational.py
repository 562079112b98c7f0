"""Evaluates expressions of nlc's algebra on small tensors, in exact fractions or in floats: an opinion apart from the normal form.

A tensor is its shape and its entries in row-major order. Functions that leave the rational numbers raise `NotRational` in exact
arithmetic.
"""

from __future__ import annotations

import math
from collections.abc import Callable, Iterator, Mapping
from dataclasses import dataclass
from fractions import Fraction
from functools import reduce
from itertools import product
from typing import Any

from nlc.ir.algebra import (  # fmt: skip
    Add,
    Compare,
    Constant,
    Divide,
    Dot,
    Expr,
    Extremum,
    Eye,
    Full,
    Input,
    Join,
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
    Split,
    Spread,
    StopGradient,
    Sum,
    Times,
    Transpose,
    Where,
    children,
)  # fmt: skip
from nlc.ir.build import EPSILON
from nlc.ir.calculus import Derivative, Embedding, Inverse, LastUnit
from nlc.ir.dims import Shape
from nlc.ir.maps import MAPS
from nlc.ir.recents import Convolve, Delay, Recent, Shift
from nlc.verify.arithmetic import EXACT, Arithmetic, NotRational, Number
from nlc.verify.differentials import gradient
from nlc.verify.dual import Dual, slope_of
from nlc.verify.elimination import inverted

Sizes = Mapping[str, int]


@dataclass(frozen=True, slots=True)
class Tensor:
    """Entries in row-major order."""

    shape: tuple[int, ...]
    entries: tuple[Number, ...]

    @property
    def nested(self) -> object:
        """The entries as texts in nested lists, exact fractions as `1/2`."""
        return _nested(self.shape, tuple(str(entry) for entry in self.entries))


def _nested(shape: tuple[int, ...], entries: tuple[str, ...]) -> object:
    if not shape:
        return entries[0]
    step = len(entries) // shape[0] if shape[0] else 0
    return [_nested(shape[1:], entries[index * step : (index + 1) * step]) for index in range(shape[0])]


def converted(tensor: Tensor, arithmetic: Arithmetic) -> Tensor:
    """A tensor of exact numbers in another arithmetic."""
    return Tensor(tensor.shape, tuple(arithmetic.number(Fraction(entry)) for entry in tensor.entries))


# --- evaluation --------------------------------------------------------------------------------------------------


def differentiating(arithmetic: Arithmetic) -> Arithmetic:
    """The same arithmetic on dual numbers, whose slopes are derivatives."""

    def function(name: str) -> Callable[[Number], Number]:
        def apply(x: Any) -> Any:
            if not isinstance(x, Dual):
                return arithmetic.functions[name](x)
            leaf = Input("x", ())
            slope = evaluate(MAPS[name].derivative(leaf), {leaf: Tensor((), (x.value,))}, {}, arithmetic).entries[0]
            return Dual(arithmetic.functions[name](x.value), x.slope * slope)

        return apply

    def power(base: Any, exponent: Any) -> Any:
        if not isinstance(base, Dual):
            return arithmetic.power(base, exponent)
        return Dual(arithmetic.power(base.value, exponent), arithmetic.power(base.value, exponent - 1) * exponent * base.slope)

    functions = {name: function(name) for name in arithmetic.functions if name in MAPS}
    return Arithmetic(arithmetic.number, functions, power, is_dual=True)


def shape_of(shape: Shape, sizes: Sizes) -> tuple[int, ...]:
    """A symbolic shape in numbers."""
    return tuple(dim.size(sizes) for dim in shape)


def evaluate(node: Expr, values: Mapping[Expr, Tensor], sizes: Sizes, arithmetic: Arithmetic = EXACT) -> Tensor:
    """The value of an expression; raises KeyError for a leaf without a value and ArithmeticError or ValueError where it has none."""
    if node in values:
        return values[node]
    shape = shape_of(node.shape, sizes)
    match node:
        case Constant(value) | Full(value):
            return Tensor(shape, (arithmetic.number(value),) * math.prod(shape))
        case Size(dim):
            return Tensor((), (arithmetic.number(dim.value(sizes)),))
        case LastUnit():
            return Tensor(shape, tuple(arithmetic.number(Fraction(int(row == shape[0] - 1))) for row in range(shape[0])))
        case Eye() | Embedding():
            return Tensor(shape, tuple(arithmetic.number(Fraction(int(row == column))) for row, column in _places(shape)))
    if isinstance(node, Derivative):
        return _derivative(node, values, sizes, arithmetic)
    parts = [] if isinstance(node, Recent) else [evaluate(child, values, sizes, arithmetic) for child in children(node)]
    if not parts:
        raise KeyError(node)
    return _apply(node, parts, shape, sizes, arithmetic)


def _derivative(node: Derivative, values: Mapping[Expr, Tensor], sizes: Sizes, arithmetic: Arithmetic) -> Tensor:
    """The slope along each entry of the leaf."""
    if arithmetic.is_dual:
        return evaluate(gradient(node.of, node.by), values, sizes, arithmetic)
    point = evaluate(node.by, values, sizes, arithmetic)
    slopes: list[Number] = []
    for place in range(len(point.entries)):
        entries: tuple[Any, ...] = tuple(Dual(entry, entry * 0 + int(at == place)) for at, entry in enumerate(point.entries))
        moved = {**values, node.by: Tensor(point.shape, entries)}
        slopes.append(slope_of(evaluate(node.of, moved, sizes, differentiating(arithmetic)).entries[0]))
    return Tensor(point.shape, tuple(slopes))


def _apply(node: Expr, parts: list[Tensor], shape: tuple[int, ...], sizes: Sizes, arithmetic: Arithmetic) -> Tensor:
    """The value of a node, given those of its parts. Values are those of one place: it splits and joins where there is only one."""
    first, last = parts[0], parts[-1]
    match node:
        case MatMul():
            return _matmul(first, last, shape)
        case Transpose():
            rows, columns = first.shape
            return Tensor(shape, tuple(first.entries[row * columns + column] for column in range(columns) for row in range(rows)))
        case Outer():
            return Tensor(shape, tuple(left * right for left in first.entries for right in last.entries))
        case Dot():
            return Tensor((), (_sum(left * right for left, right in zip(first.entries, last.entries, strict=True)),))
        case Norm():
            return Tensor((), (_function("sqrt", arithmetic)(_sum(entry * entry for entry in first.entries)),))
        case Sum(_, axis):
            return _total(first, axis, shape)
        case Spread(_, axis):
            return Tensor(shape, tuple(first.entries[place[axis] if axis is not None else 0] for place in _places(shape)))
        case Softmax(_, axis):
            return _softmax(first, axis, arithmetic)
        case LayerNorm():
            return _layer_norm(first, arithmetic)
        case Inverse():
            return Tensor(shape, inverted(first.entries, shape[0], arithmetic.number(Fraction(1))))
        case StopGradient():
            return first
        case Delay(_, tokens):
            count = math.prod(shape)
            return Tensor(shape, first.entries[-tokens * count :][:count])
        case Shift():
            return Tensor(shape, (*first.entries, *last.entries)[len(last.entries) :])
        case Convolve():
            return _convolved(first, parts[1], last)
        case Rotary(_, _, base):
            return _turned(first, last.entries[0], base, arithmetic)
        case Split(_, axis) | Join(_, axis):
            if sizes.get(axis) != 1:
                raise ValueError(f"no place along {axis} is known of others")
            return Tensor(shape, first.entries)
    return Tensor(shape, tuple(_entry(node, entries, arithmetic) for entries in _aligned(parts, math.prod(shape))))


def _aligned(parts: list[Tensor], count: int) -> Iterator[tuple[Number, ...]]:
    """The operands of every entry; scalars are repeated."""
    return zip(*(part.entries * count if part.shape == () else part.entries for part in parts), strict=True)


def _entry(node: Expr, entries: tuple[Number, ...], arithmetic: Arithmetic) -> Number:
    match node:
        case Add():
            return _sum(iter(entries))
        case Scale() | Times():
            return entries[0] * entries[1]
        case Divide():
            return entries[0] / entries[1]
        case Power():
            return arithmetic.power(*entries)
        case Map(function):
            return _function(function, arithmetic)(entries[0])
        case Extremum(function):
            return max(entries) if function == "maximum" else min(entries)
        case Compare(operator):
            return arithmetic.number(Fraction(int(_holds(operator, *entries))))
        case Where():
            return entries[1] if entries[0] else entries[2]
    raise KeyError(node)


def _holds(operator: str, left: Number, right: Number) -> bool:
    table = {"<": left < right, "<=": left <= right, ">": left > right, ">=": left >= right}
    return table[operator]


def _function(name: str, arithmetic: Arithmetic) -> Callable[[Number], Number]:
    if name not in arithmetic.functions:
        raise NotRational(name)
    return arithmetic.functions[name]


def _sum(entries: Iterator[Number]) -> Number:
    return reduce(lambda left, right: left + right, entries)


def _places(shape: tuple[int, ...]) -> Iterator[tuple[int, ...]]:
    return product(*(range(size) for size in shape))


def _convolved(x: Tensor, kernel: Tensor, recent: Tensor) -> Tensor:
    """Row j of the kernel times the value j ticks before, entry by entry, added up."""
    (width, count), oldest_first = kernel.shape, (*recent.entries, *x.entries)
    ago = [oldest_first[(width - 1 - tokens) * count :][:count] for tokens in range(width)]
    columns = [kernel.entries[place::count] for place in range(count)]
    return Tensor(x.shape, tuple(_sum(column[row] * ago[row][place] for row in range(width)) for place, column in enumerate(columns)))


def _turned(x: Tensor, place: Number, base: int, arithmetic: Arithmetic) -> Tensor:
    """Entries j and j + half turned by place / base ** (j / half); the last of an odd number stays."""
    half = len(x.entries) // 2
    left, right, last = x.entries[:half], x.entries[half : 2 * half], x.entries[2 * half :]
    cosine, sine = _function("cos", arithmetic), _function("sin", arithmetic)
    angles = [place / arithmetic.power(arithmetic.number(Fraction(base)), arithmetic.number(Fraction(j, half))) for j in range(half)]
    turns = [(cosine(angle), sine(angle)) for angle in angles]
    ahead = (one * turn[0] - two * turn[1] for one, two, turn in zip(left, right, turns, strict=True))
    aside = (one * turn[1] + two * turn[0] for one, two, turn in zip(left, right, turns, strict=True))
    return Tensor(x.shape, (*ahead, *aside, *last))


def _matmul(left: Tensor, right: Tensor, shape: tuple[int, ...]) -> Tensor:
    inner = right.shape[0]
    columns = math.prod(right.shape[1:])
    rows = len(left.entries) // inner
    entries = (
        _sum(left.entries[row * inner + index] * right.entries[index * columns + column] for index in range(inner))
        for row in range(rows)
        for column in range(columns)
    )
    return Tensor(shape, tuple(entries))


def _total(x: Tensor, axis: int | None, shape: tuple[int, ...]) -> Tensor:
    if axis is None or len(x.shape) == 1:
        return Tensor((), (_sum(iter(x.entries)),))
    columns: dict[tuple[int, ...], list[Number]] = {}
    for place, entry in zip(_places(x.shape), x.entries, strict=True):
        columns.setdefault(place[:axis] + place[axis + 1 :], []).append(entry)
    return Tensor(shape, tuple(_sum(iter(columns[place])) for place in _places(shape)))


def _softmax(x: Tensor, axis: int, arithmetic: Arithmetic) -> Tensor:
    exponentials = tuple(_function("exp", arithmetic)(entry - max(x.entries)) for entry in x.entries)
    sums: dict[tuple[int, ...], Number] = {}
    places = [place[:axis] + place[axis + 1 :] for place in _places(x.shape)]
    for place, entry in zip(places, exponentials, strict=True):
        sums[place] = sums.get(place, 0.0) + entry
    return Tensor(x.shape, tuple(entry / sums[place] for place, entry in zip(places, exponentials, strict=True)))


def _layer_norm(x: Tensor, arithmetic: Arithmetic) -> Tensor:
    count = arithmetic.number(Fraction(len(x.entries)))
    mean = _sum(iter(x.entries)) / count
    centred = tuple(entry - mean for entry in x.entries)
    epsilon = arithmetic.number(EPSILON.value)
    deviation = _function("sqrt", arithmetic)(_sum(entry * entry for entry in centred) / count + epsilon)
    return Tensor(x.shape, tuple(entry / deviation for entry in centred))
