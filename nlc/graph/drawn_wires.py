"""A plan -> its wires as SVG elements, laid like rails: wires join where one bends into the other, and only cross elsewhere.

So what reads what can be told without doubt: a component reads another where a wire leads to it without a sharp turn.
"""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from dataclasses import dataclass

from nlc.graph import svg
from nlc.graph.layout import Plan
from nlc.graph.svg import HEAD, Stroke
from nlc.graph.text import listed
from nlc.graph.wires import Lane, Port, Rail

BEND = 6.0
"""The radius of a bend, where there is room."""


@dataclass(frozen=True, slots=True)
class End:
    """An end of a rail: its x, whether it leads up or down from there, to which y (a lane has its own), and whether it brings or takes."""

    x: float
    is_up: bool
    tip: float | None
    brings: bool


def wires(plan: Plan) -> Iterator[str]:
    """Every wire, with an arrowhead at each reader."""
    ends = {rail: _ends(rail, plan) for rail in plan.rail_y}
    for lane, x in plan.lane_x.items():
        top, *_, bottom = sorted((plan.rail_y[rail], _radius(ends[rail])) for rail in ends if lane in rail.lanes)
        stroke = ((x, top[0] + top[1]), (x, bottom[0] - bottom[1]))
        yield svg.titled(f"others read {lane.source}: {lane.kind}", [svg.wire(lane.kind, [stroke])])
    for rail in plan.rails:
        strokes = _bent(ends[rail], plan.rail_y[rail]) if rail in ends else _straight(rail, plan)
        heads = (_head(rail, port, plan) for port in rail.ports if port.is_reader)
        yield svg.titled(_sentence(rail), [svg.wire(rail.kind, strokes), *heads])


def _sentence(rail: Rail) -> str:
    readers = tuple(port.name for port in rail.ports if port.is_reader)
    sources = tuple(port.name for port in rail.ports if not port.is_reader) or tuple(lane.source for lane in rail.lanes)
    return f"{listed(readers) if readers else 'others'} {'reads' if len(readers) == 1 else 'read'} {listed(sources)}: {rail.kind}"


def _straight(rail: Rail, plan: Plan) -> Iterator[Stroke]:
    source, reader = rail.ports
    x = plan.places[rail, reader]
    yield (x, _tip(source, plan)), (x, _tip(reader, plan))


def _ends(rail: Rail, plan: Plan) -> tuple[End, ...]:
    ports = [End(plan.places[rail, port], port.is_above, _tip(port, plan), not port.is_reader) for port in rail.ports]
    leaves = any(end.brings for end in ports)
    lanes = [End(plan.lane_x[lane], _leads_up(lane, rail.gap, leaves=leaves), None, not leaves) for lane in rail.lanes]
    return (*ports, *lanes)


def _leads_up(lane: Lane, gap: int, *, leaves: bool) -> bool:
    """Whether a lane leads up from a gap: to its readers when it leaves there, else back to its source."""
    return max(lane.gaps) == gap if leaves else lane.gaps[0] < gap


def _radius(ends: Sequence[End]) -> float:
    """The radius of a rail's bends: two that meet, from what brings and to what takes, have room side by side."""
    apart = [abs(end.x - other.x) for end in ends for other in ends if end.brings and not other.brings]
    return min(BEND, *(distance / 2 for distance in apart))


def _bent(ends: Sequence[End], y: float) -> Iterator[Stroke]:
    """A rail at some y, with bends from what brings towards what takes."""
    left, right, radius = min(end.x for end in ends), max(end.x for end in ends), _radius(ends)
    yield (left + radius, y), (right - radius, y)
    for end in ends:
        start = (end.x, y - radius if end.is_up else y + radius)
        if end.tip is not None:
            yield (end.x, end.tip), start
        others = [other.x for other in ends if other.brings is not end.brings]
        for side in (-1, 1):
            if any((x - end.x) * side > 0 for x in others):
                yield start, (end.x, y), (end.x + side * radius, y)


def _edge(port: Port, plan: Plan) -> float:
    """The y of the edge of a port's box."""
    line = plan.lines[plan.cells[port.name].line]
    return line.box_bottom if port.is_above else line.box_top


def _tip(port: Port, plan: Plan) -> float:
    """Where a wire ends: at the edge, or at a reader before it."""
    return _edge(port, plan) + (0 if not port.is_reader else HEAD if port.is_above else -HEAD)


def _head(rail: Rail, port: Port, plan: Plan) -> str:
    return svg.arrowhead(rail.kind, plan.places[rail, port], _edge(port, plan), "up" if port.is_above else "down")
