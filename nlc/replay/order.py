"""A claim about the order of levels -> whether Definition 2 of Nested Learning, read again from the clocks and same-tick reads, agrees."""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from fractions import Fraction
from typing import Any


def holds(order: Mapping[str, Any]) -> bool:
    """Whether every two names of the chain compare as the signs between them say; signs that point both ways say nothing."""
    names, signs = order["names"], order["relations"]
    if len(signs) != len(names) - 1 or len(names) < 2:
        raise ValueError("a chain has a sign between every two names")
    return all(_sign(order, names[i], names[j]) == sign for i, j, sign in _implied(signs) if names[i] != names[j])


def _implied(signs: list[str]) -> Iterator[tuple[int, int, str]]:
    for start in range(len(signs)):
        seen = "~"
        for place in range(start, len(signs)):
            if signs[place] not in ("~", seen):
                if seen != "~":
                    break
                seen = signs[place]
            yield start, place + 1, seen


def _sign(order: Mapping[str, Any], left: str, right: str) -> str:
    if _is_faster(order, left, right):
        return ">"
    return "<" if _is_faster(order, right, left) else "~"


def _is_faster(order: Mapping[str, Any], left: str, right: str) -> bool:
    """More frequent, or equally frequent while the right one's new state needs the left one's at the same tick."""
    one, other = _speed(order, left), _speed(order, right)
    return one < other or (one == other and left in _needed(order, right))


def _speed(order: Mapping[str, Any], name: str) -> tuple[int, Fraction]:
    family, period = order["clocks"][name]
    return int(family), Fraction(period)


def _needed(order: Mapping[str, Any], reader: str) -> set[str]:
    """Everything whose new state a reader needs, directly or through others."""
    found: set[str] = set()
    waiting = {reader}
    while waiting:
        waiting = {source for name, source in order["needs"] if name in waiting} - found
        found |= waiting
    return found
