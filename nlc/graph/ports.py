"""Rails and cells -> where each rail meets each box: straight down where it can, and no two wires of a gap in one place."""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from itertools import groupby

from nlc.graph.columns import Cell
from nlc.graph.wires import KINDS, Port, Rail

SPACINGS = (28.0, 14.0, 7.0, 3.5)
"""Pixels between neighbouring wires: the widest that leaves a place."""

APART = 56.0
"""Pixels between straight wires that join the same two boxes."""

Key = tuple[Rail, Port]
Places = Mapping[Key, float]
Wish = tuple[tuple[Key, ...], float, float, float]
"""Ports that want one x: which x, and from which x to which x it can be."""


def port_places(rails: Sequence[Rail], cells: Mapping[str, Cell]) -> Places | None:
    """The x of every port, or None when the boxes are too narrow for all their wires."""
    places: dict[tuple[Rail, Port], float] = {}
    for _, group in groupby(rails, key=lambda rail: rail.gap):
        taken: list[float] = []
        for ports, desired, low, high in _wishes(list(group), cells):
            place = _free(desired, low, high, taken)
            if place is None:
                return None
            taken.append(place)
            places |= dict.fromkeys(ports, place)
    return places


def is_straight(rail: Rail, places: Places) -> bool:
    """Whether a rail is one vertical wire from a box down or up to another."""
    return not rail.lanes and len({places[rail, port] for port in rail.ports}) == 1


def _wishes(rails: Sequence[Rail], cells: Mapping[str, Cell]) -> Iterator[Wish]:
    """The ports of one gap with the x that they would best have; straight rails, both of whose ports have one x, come first."""
    straight = tuple(_straight(rails, cells))
    yield from straight
    placed = {key for wish in straight for key in wish[0]}
    for rail in rails:
        for port in rail.ports:
            if (rail, port) not in placed:
                yield ((rail, port),), _toward(rail, port, cells), *_reach(port, cells)


def _straight(rails: Sequence[Rail], cells: Mapping[str, Cell]) -> Iterator[Wish]:
    pairs: dict[frozenset[str], list[Rail]] = {}
    for rail in rails:
        if not rail.lanes and len(rail.ports) == 2 and rail.ports[0].is_above != rail.ports[1].is_above:
            pairs.setdefault(frozenset(port.name for port in rail.ports), []).append(rail)
    for both in pairs.values():
        reaches = [_reach(port, cells) for port in both[0].ports]
        low, high = max(low for low, _ in reaches), min(high for _, high in reaches)
        if low < high:
            for number, rail in enumerate(sorted(both, key=lambda rail: KINDS.index(rail.kind))):
                desired = (low + high) / 2 + APART * (number - (len(both) - 1) / 2)
                yield tuple((rail, port) for port in rail.ports), desired, low, high


def _reach(port: Port, cells: Mapping[str, Cell]) -> tuple[float, float]:
    return cells[port.name].reach(is_top=not port.is_above)


def _toward(rail: Rail, port: Port, cells: Mapping[str, Cell]) -> float:
    """Toward the other ends of the rail: to the right for lanes, else the middle of the other boxes."""
    if rail.lanes:
        return cells[port.name].right
    middles = [(cells[other.name].left + cells[other.name].right) / 2 for other in rail.ports if other != port]
    return sum(middles) / len(middles)


def _free(desired: float, low: float, high: float, taken: Sequence[float]) -> float | None:
    """The place between low and high nearest to the desired one that keeps its distance from those taken; None when there is none."""
    wanted = min(max(desired, low), high)
    for spacing in SPACINGS:
        steps = range(int((high - low) / spacing) + 1)
        candidates = [wanted, *(wanted + sign * step * spacing for step in steps for sign in (1, -1))]
        free = (x for x in candidates if low <= x <= high and all(abs(x - other) >= spacing for other in taken))
        found = next(free, None)
        if found is not None:
            return found
    return None
