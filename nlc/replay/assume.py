"""Random values modulo the prime -> values that satisfy the equations which a proof assumes: solved for one leaf at a time."""

from __future__ import annotations

from collections.abc import Callable, Iterator, Mapping
from itertools import product
from random import Random

from nlc.replay.evaluate import MODULAR, Node, Values, evaluate, leaf_key
from nlc.replay.numbers import PRIME, Remainder, Unlucky

Residual = Callable[[tuple[Remainder, ...]], list[int]]


def leaves(node: Node) -> Iterator[Node]:
    """The leaves of an expression that have a value of their own."""
    if node["kind"] in ("Constant", "Full", "Eye", "Embedding", "LastUnit", "Size"):
        return
    if not node["operands"]:
        yield node
    for operand in node["operands"]:
        yield from leaves(operand)


def exponents(node: Node) -> Iterator[Node]:
    """The leaves that stand in exponents."""
    if node["kind"] == "Power":
        yield from leaves(node["operands"][1])
    for operand in node["operands"]:
        yield from exponents(operand)


def satisfying(assumed: list[tuple[Node, Node]], free: set[str], values: Values, sizes: Mapping[str, int], random: Random) -> Values:
    """The values with some free leaves changed so that every equation holds; raises Unlucky when none are found."""
    choices = [[key for key in dict.fromkeys(leaf_key(leaf) for side in pair for leaf in leaves(side)) if key in free] for pair in assumed]
    for keys in product(*choices):
        found = dict(values)
        for pair, key in zip(assumed, keys, strict=True):
            entries = _solved(_residual(pair, key, found, sizes), found[key], random)
            if entries is None:
                break
            found[key] = entries
        else:
            if all(evaluate(left, found, sizes, MODULAR) == evaluate(right, found, sizes, MODULAR) for left, right in assumed):
                return found
    raise Unlucky("no values satisfy what is assumed")


def _residual(pair: tuple[Node, Node], key: str, values: Values, sizes: Mapping[str, int]) -> Residual:
    def residual(entries: tuple[Remainder, ...]) -> list[int]:
        moved = {**values, key: entries}
        left, right = (evaluate(side, moved, sizes, MODULAR) for side in pair)
        return [(first - second).value for first, second in zip(left, right, strict=True)]

    return residual


def _solved(residual: Residual, start: tuple[Remainder, ...], random: Random) -> tuple[Remainder, ...] | None:
    return _solved_as_linear(residual, start) or _solved_as_quadratic(residual, start, random)


def _solved_as_linear(residual: Residual, start: tuple[Remainder, ...]) -> tuple[Remainder, ...] | None:
    """The start moved to where a residual that is affine in the entries is zero."""
    offset = residual(start)
    slopes = []
    for place in range(len(start)):
        moved = tuple(entry + Remainder(int(at == place)) for at, entry in enumerate(start))
        slopes.append([(value - base) % PRIME for value, base in zip(residual(moved), offset, strict=True)])
    step = _linear_solution([[column[row] for column in slopes] for row in range(len(offset))], [-value % PRIME for value in offset])
    if step is None:
        return None
    found = tuple(entry + Remainder(part) for entry, part in zip(start, step, strict=True))
    return found if not any(residual(found)) else None


def _linear_solution(matrix: list[list[int]], wanted: list[int]) -> list[int] | None:
    """Some solution of linear equations modulo the prime, unknowns that are free left at 0."""
    width = len(matrix[0]) if matrix else 0
    rows = [[*row, value] for row, value in zip(matrix, wanted, strict=True)]
    pivots: list[int] = []
    for column in range(width):
        place = next((row for row in range(len(pivots), len(rows)) if rows[row][column]), None)
        if place is None:
            continue
        top = len(pivots)
        rows[top], rows[place] = rows[place], rows[top]
        inverse = pow(rows[top][column], -1, PRIME)
        rows[top] = [entry * inverse % PRIME for entry in rows[top]]
        for row in range(len(rows)):
            if row != top and rows[row][column]:
                factor = rows[row][column]
                rows[row] = [(entry - factor * other) % PRIME for entry, other in zip(rows[row], rows[top], strict=True)]
        pivots.append(column)
    if any(row[-1] for row in rows[len(pivots) :]):
        return None
    solution = [0] * width
    for row, column in enumerate(pivots):
        solution[column] = rows[row][-1]
    return solution


def _solved_as_quadratic(residual: Residual, start: tuple[Remainder, ...], random: Random) -> tuple[Remainder, ...] | None:
    """One number that is quadratic in one entry, made zero by a root."""
    if len(residual(start)) != 1:
        return None
    place = random.randrange(len(start))

    def at(value: int) -> tuple[Remainder, ...]:
        return (*start[:place], Remainder(value % PRIME), *start[place + 1 :])

    zero, one, two = (residual(at(value))[0] for value in (0, 1, 2))
    half = pow(2, -1, PRIME)
    square = (two - 2 * one + zero) * half % PRIME
    linear = (one - zero - square) % PRIME
    if not square:
        return None
    inside = (linear * linear - 4 * square * zero) % PRIME
    root = pow(inside, (PRIME + 1) // 4, PRIME)
    found = at((root - linear) * pow(2 * square, -1, PRIME))
    return found if not any(residual(found)) else None
