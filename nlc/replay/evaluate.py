"""Expressions of a certificate -> their values, entry by entry, over any numbers."""

from __future__ import annotations

import json
import math
from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import dataclass, replace
from fractions import Fraction
from itertools import product
from typing import Any

from nlc.replay.numbers import PRIME, Function, Pair, Remainder, Unlucky, exact, hashed, modular, of_pairs, remainder

LEAF_WORDS = ("kind", "name", "component", "part", "when", "period", "axis", "delayed", "unit")

ENTRYWISE = ("Add", "Scale", "Times", "Divide", "Power", "Map", "Compare", "Where", "Extremum")

LARGEST_POWER = 10_000
DATA = 2
"""Of a window that sums are over."""

Node = Mapping[str, Any]
Values = Mapping[str, tuple[Any, ...]]


class Unsupported(Exception):
    """An expression that this checker does not know."""


@dataclass(frozen=True, slots=True)
class Field:
    """A kind of numbers: what a fraction is in it, its functions, and what a comparison gives."""

    number: Callable[[Fraction], Any]
    function: Function
    compare: Callable[[str, Any, Any], Any]
    has_slopes: bool = False


def _gate(operator: str, left: Remainder, right: Remainder) -> Remainder:
    if operator.startswith(">"):
        operator, left, right = operator.replace(">", "<"), right, left
    return hashed(operator, (left - right).value)


def _truth(operator: str, left: Fraction, right: Fraction) -> Fraction:
    return Fraction({"<": left < right, "<=": left <= right, ">": left > right, ">=": left >= right}[operator])


MODULAR = Field(remainder, modular, _gate)
EXACT = Field(Fraction, exact, _truth)


def leaf_key(node: Node) -> str:
    """The name under which a leaf's value is kept; recent values of an expression are a leaf, named by that."""
    if node["kind"] == "Recent":
        return f"Recent:{json.dumps([node['shape'], node['operands']], sort_keys=True)}"
    return ":".join(str(node.get(word, "")) for word in LEAF_WORDS)


def sizes_of(node: Node, sizes: Mapping[str, int]) -> tuple[int, ...]:
    """The shape of an expression in numbers."""
    return tuple(_whole(dim, sizes) for dim in node["shape"])


def dim_value(dim: Sequence[Any], sizes: Mapping[str, int]) -> Fraction:
    """A size, a sum of products of names, as a number."""
    return sum(
        (Fraction(factor) * math.prod(Fraction(sizes[name]) ** power for name, power in names) for factor, names in dim), Fraction(0)
    )


def _whole(dim: Sequence[Any], sizes: Mapping[str, int]) -> int:
    value = dim_value(dim, sizes)
    if value.denominator != 1 or value < 1:
        raise Unlucky("a size that is not whole")
    return int(value)


def evaluate(node: Node, values: Values, sizes: Mapping[str, int], field: Field) -> tuple[Any, ...]:
    """The entries of an expression, row by row; raises Unlucky, Unsupported, or KeyError for a leaf without a value."""
    shape = sizes_of(node, sizes)
    count = math.prod(shape)
    match node["kind"]:
        case "Constant" | "Full":
            return (field.number(Fraction(node["value"])),) * count
        case "Size":
            return (field.number(dim_value(node["dim"], sizes)),)
        case "LastUnit":
            return tuple(field.number(Fraction(row == count - 1)) for row in range(count))
        case "Eye" | "Embedding":
            return tuple(field.number(Fraction(row == column)) for row in range(shape[0]) for column in range(shape[1]))
        case "Derivative":
            return _slopes(node, values, sizes, field)
        case "WindowSum":
            return _over_data(node["operands"][0], values, sizes, field)
        case "WindowSoftmax":
            raise Unsupported("a softmax over a window")
    if not node["operands"] or (node["kind"] == "Recent" and field is not MODULAR):
        return values[leaf_key(node)]
    parts = [evaluate(operand, values, sizes, field) for operand in node["operands"]]
    inner = [sizes_of(operand, sizes) for operand in node["operands"]]
    found = _linear(node, parts, inner, shape, field)
    if found is None and field is MODULAR and node["kind"] not in ENTRYWISE:
        return _opaque(node, parts, count)
    return found if found is not None else _entrywise(node, parts, count, field)


def _opaque(node: Node, parts: list[tuple[Any, ...]], count: int) -> tuple[Any, ...]:
    """A function of which nothing is known but that equal arguments give equal values."""
    name = f"{node['kind']}:{node.get('function', '')}:{node.get('axis', '')}"
    entries = [entry.value for part in parts for entry in part]
    return tuple(hashed(name, place, *entries) for place in range(count))


def _linear(node: Node, parts: list[tuple[Any, ...]], inner: list[tuple[int, ...]], shape: tuple[int, ...], field: Field) -> Any:
    first, last = parts[0], parts[-1]
    match node["kind"]:
        case "MatMul":
            rows, middle = inner[0]
            columns = math.prod(inner[1][1:])
            return tuple(
                total(first[row * middle + at] * last[at * columns + column] for at in range(middle))
                for row in range(rows)
                for column in range(columns)
            )
        case "Transpose":
            rows, columns = inner[0]
            return tuple(first[row * columns + column] for column in range(columns) for row in range(rows))
        case "Outer":
            return tuple(left * right for left in first for right in last)
        case "Dot":
            return (total(left * right for left, right in zip(first, last, strict=True)),)
        case "Norm":
            return (field.function("sqrt", total(entry * entry for entry in first)),)
        case "Sum":
            return _summed(first, inner[0], node["axis"])
        case "Spread":
            axis = node["axis"]
            return tuple(first[place[axis] if axis is not None else 0] for place in product(*map(range, shape)))
        case "Softmax" if len(shape) == 1:
            powers = [field.function("exp", entry) for entry in first]
            return tuple(power / total(powers) for power in powers)
        case "Inverse":
            return _inverted(first, shape[0], field)
        case "StopGradient" | "Now":
            return first
        case "Delay":
            count = math.prod(shape)
            return first[len(first) - node["tokens"] * count :][:count]
        case "Shift":
            return (*first, *last)[len(last) :]
        case "Convolve":
            return _convolved(first, parts[1], last)
    return None


def _convolved(x: tuple[Any, ...], kernel: tuple[Any, ...], recent: tuple[Any, ...]) -> tuple[Any, ...]:
    """Row j of the kernel times the value j ticks before, entry by entry, added up; `recent` has the oldest first."""
    count, taps = len(x), len(recent) // len(x) + 1
    history = [*(recent[row * count : (row + 1) * count] for row in range(taps - 1)), x]
    return tuple(total(kernel[row * count + place] * history[taps - 1 - row][place] for row in range(taps)) for place in range(count))


def _summed(entries: tuple[Any, ...], shape: tuple[int, ...], axis: int | None) -> tuple[Any, ...]:
    if axis is None or len(shape) == 1:
        return (total(entries),)
    rows, columns = shape
    if axis == 0:
        return tuple(total(entries[row * columns + column] for row in range(rows)) for column in range(columns))
    return tuple(total(entries[row * columns : (row + 1) * columns]) for row in range(rows))


def total(entries: Any) -> Any:
    """The sum of at least one number."""
    first, *rest = entries
    for entry in rest:
        first = first + entry
    return first


def _entrywise(node: Node, parts: list[tuple[Any, ...]], count: int, field: Field) -> tuple[Any, ...]:
    wide = [part * count if len(part) == 1 else part for part in parts]
    return tuple(_entry(node, entries, field) for entries in zip(*wide, strict=True))


def _entry(node: Node, entries: tuple[Any, ...], field: Field) -> Any:
    match node["kind"]:
        case "Add":
            return total(entries)
        case "Scale" | "Times":
            return entries[0] * entries[1]
        case "Divide":
            if field is EXACT and not entries[1]:
                raise Unlucky("a division by zero")
            return entries[0] / entries[1]
        case "Power":
            return _power(entries[0], _exponent(node["operands"][1], entries[1]), field)
        case "Map":
            return field.function(node["function"], entries[0])
        case "Compare":
            return field.compare(node["operator"], *entries)
        case "Where":
            return entries[2] + entries[0] * (entries[1] - entries[2])
        case "Extremum" if field is EXACT:
            return max(entries) if node["function"] == "maximum" else min(entries)
        case "Extremum" if field is MODULAR:
            return hashed(node["function"], *sorted(entry.value for entry in entries))
    raise Unsupported(node["kind"])


def _exponent(node: Node, entry: Any) -> Fraction:
    """An exponent as a number: as written, else what it comes to, modulo the prime the whole number nearest to 0."""
    plain = Fraction(node["value"]) if "value" in node else _plain_number(entry)
    return plain - PRIME if plain > PRIME // 2 else plain


def _plain_number(entry: Any) -> Fraction:
    if isinstance(entry, Pair):
        if entry.slope != entry.slope * 0:
            raise Unsupported("the slope of an exponent")
        return _plain_number(entry.value)
    return Fraction(entry.value if isinstance(entry, Remainder) else entry)


def _power(base: Any, exponent: Fraction, field: Field) -> Any:
    if exponent.denominator > 2:
        raise Unsupported("a power that is no whole or half number")
    if abs(exponent.numerator) > LARGEST_POWER:
        raise Unsupported("a power of too many digits")
    root = base if exponent.denominator == 1 else field.function("sqrt", base)
    result = field.number(Fraction(1))
    for _ in range(abs(exponent.numerator)):
        result = result * root
    return result if exponent >= 0 else field.number(Fraction(1)) / result


def _slopes(node: Node, values: Values, sizes: Mapping[str, int], field: Field) -> tuple[Any, ...]:
    """The slope along each entry of the leaf."""
    if field.has_slopes:
        raise Unsupported("a derivative of a derivative")
    of, by = node["operands"]
    zero, one = field.number(Fraction(0)), field.number(Fraction(1))
    raised = replace(
        field,
        number=lambda number: Pair(field.number(number), zero),
        function=of_pairs(field.function),
        compare=lambda operator, left, right: Pair(field.compare(operator, left.value, right.value), zero),
        has_slopes=True,
    )
    flat = {name: tuple(Pair(entry, zero) for entry in entries) for name, entries in values.items()}
    point = values[leaf_key(by)]
    found = []
    for place in range(len(point)):
        moved = tuple(Pair(entry, one if at == place else zero) for at, entry in enumerate(point))
        found.append(evaluate(of, {**flat, leaf_key(by): moved}, sizes, raised)[0].slope)
    return tuple(found)


def _over_data(of: Node, values: Values, sizes: Mapping[str, int], field: Field) -> tuple[Any, ...]:
    """The sum over the data of a window, each with values of its own for what the window keeps."""
    kept = list(_data(of))
    parts = []
    for place in range(DATA):
        there = {leaf_key(leaf): _datum(leaf, place, values, field) for leaf in kept}
        drawn = {_whole_window(leaf): values.get(_whole_window(leaf), values.get(leaf_key(leaf), ())) for leaf in kept}
        parts.append(evaluate(of, {**values, **drawn, **there}, sizes, field))
    return tuple(total(entries) for entries in zip(*parts, strict=True))


def _data(node: Node) -> Iterator[Node]:
    if node["kind"] in ("Window", "Age"):
        yield node
    for operand in node["operands"] if node["kind"] != "WindowSum" else ():
        yield from _data(operand)


def _datum(leaf: Node, place: int, values: Values, field: Field) -> tuple[Any, ...]:
    """What a window keeps at one of its data, the oldest first: a counterexample says it, else it is made of what was drawn."""
    if leaf["kind"] == "Age":
        return (field.number(Fraction(DATA - 1 - place)),)
    key = leaf_key({**leaf, "part": f"{leaf['part']}_{place + 1}"})
    if key in values:
        return values[key]
    drawn = values[_whole_window(leaf)] if _whole_window(leaf) in values else values[leaf_key(leaf)]
    return tuple(_moved(entry, place) for entry in drawn)


def _whole_window(leaf: Node) -> str:
    """Where what was drawn for a window is kept while its data are gone through: sums may stand in sums."""
    return f"whole {leaf_key(leaf)}"


def _moved(entry: Any, place: int) -> Any:
    return Pair(_moved(entry.value, place), entry.slope * 0) if isinstance(entry, Pair) else hashed("datum", place, entry.value)


def _inverted(entries: tuple[Any, ...], size: int, field: Field) -> tuple[Any, ...]:
    zero, one = field.number(Fraction(0)), field.number(Fraction(1))
    rows = [[*entries[row * size : (row + 1) * size], *(one if at == row else zero for at in range(size))] for row in range(size)]
    for column in range(size):
        pivot = next((row for row in range(column, size) if _plain(rows[row][column]) != _plain(zero)), None)
        if pivot is None:
            raise Unlucky("a singular matrix")
        rows[column], rows[pivot] = rows[pivot], rows[column]
        head = rows[column][column]
        rows[column] = [entry / head for entry in rows[column]]
        for row in range(size):
            if row != column:
                factor = rows[row][column]
                rows[row] = [entry - factor * other for entry, other in zip(rows[row], rows[column], strict=True)]
    return tuple(entry for row in rows for entry in row[size:])


def _plain(number: Any) -> Any:
    return number.value if isinstance(number, Pair) else number
