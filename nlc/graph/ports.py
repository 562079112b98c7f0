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

Places = Mapping[tuple[Rail, Port], float]


def port_places(rails: Sequence[Rail], cells: Mapping[str, Cell]) -> dict[tuple[Rail, Port], float]:
    """The x of every port. Straight rails, which have two ports at one x, take their places first."""
    places: dict[tuple[Rail, Port], float] = {}
    for _, group in groupby(rails, key=lambda rail: rail.gap):
        taken: list[float] = []
        here = list(group)
        for rail, low, high, desired in _straight(here, cells):
            taken.append(_free(desired, low, high, taken))
            places |= {(rail, port): taken[-1] for port in rail.ports}
        for rail in here:
            for port in rail.ports:
                if (rail, port) not in places:
                    low, high = _reach(port, cells)
                    taken.append(_free(_toward(rail, port, cells), low, high, taken))
                    places[rail, port] = taken[-1]
    return places


def is_straight(rail: Rail, places: Places) -> bool:
    """Whether a rail is one vertical wire from a box down or up to another."""
    return not rail.lanes and len({places[rail, port] for port in rail.ports}) == 1


def _straight(rails: Sequence[Rail], cells: Mapping[str, Cell]) -> Iterator[tuple[Rail, float, float, float]]:
    """The rails that can be straight: with the x from and to which they can be, and the x at which they would best be."""
    pairs: dict[tuple[str, ...], list[Rail]] = {}
    for rail in rails:
        if not rail.lanes and len(rail.ports) == 2 and rail.ports[0].is_above != rail.ports[1].is_above:
            pairs.setdefault(tuple(sorted(port.name for port in rail.ports)), []).append(rail)
    for both in pairs.values():
        reaches = [_reach(port, cells) for port in both[0].ports]
        low, high = max(low for low, _ in reaches), min(high for _, high in reaches)
        if low < high:
            for number, rail in enumerate(sorted(both, key=lambda rail: KINDS.index(rail.kind))):
                yield rail, low, high, (low + high) / 2 + APART * (number - (len(both) - 1) / 2)


def _reach(port: Port, cells: Mapping[str, Cell]) -> tuple[float, float]:
    return cells[port.name].reach(is_top=not port.is_above)


def _toward(rail: Rail, port: Port, cells: Mapping[str, Cell]) -> float:
    """Toward the other ends of the rail: to the right for lanes, else the middle of the other boxes."""
    if rail.lanes:
        return cells[port.name].right
    middles = [(cells[other.name].left + cells[other.name].right) / 2 for other in rail.ports if other != port]
    return sum(middles) / len(middles)


def _free(desired: float, low: float, high: float, taken: Sequence[float]) -> float:
    """The place between low and high nearest to the desired one that keeps its distance from those taken."""
    wanted = min(max(desired, low), high)
    for spacing in SPACINGS:
        steps = range(int((high - low) / spacing) + 1)
        candidates = [wanted, *(wanted + sign * step * spacing for step in steps for sign in (1, -1))]
        free = (x for x in candidates if low <= x <= high and all(abs(x - other) >= spacing for other in taken))
        found = next(free, None)
        if found is not None:
            return found
    return wanted
