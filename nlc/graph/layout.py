"""Levels, edges and cards -> a plan: where every band, box, rail and lane stands, in pixels, with no wire through a box."""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass

from nlc.graph.cards import Card
from nlc.graph.columns import PADDING, Cell, cells, lines_of
from nlc.graph.ports import Places, is_straight, port_places
from nlc.graph.text import CLOCK
from nlc.graph.wires import Lane, Rail, colours, rails
from nlc.ir.order import Edge, Level

WIDTH, MARGIN = 800.0, 16.0
LABEL_LEAST, LABEL_MOST = 156.0, 230.0
"""The width of what is said about a level, left of its boxes."""

SMALLEST_AREA, WIDENING = 320.0, 1.25
"""Room for boxes; a picture in which lanes leave less, or in which wires find too few places at boxes, becomes wider than WIDTH."""

ROW = 17.0
"""From one line of text to the next."""

STRIP, NO_STRIP = 24.0, 10.0
"""Between a line's edge and its boxes, with and without labels of what enters or leaves."""

LANE, SLOT = 10.0, 10.0
"""Pixels between neighbouring lanes, and between neighbouring rails of a gap."""

GAP, OUTER_GAP = 26.0, 8.0
"""The height of a gap with one rail or none; of one above the first line or below the last without rails."""


@dataclass(frozen=True, slots=True)
class Line:
    """A line of boxes down the picture: its edges, and those of its boxes."""

    top: float
    box_top: float
    box_bottom: float
    bottom: float


@dataclass(frozen=True, slots=True)
class Plan:
    """Everything placed; a rail without a y is one straight vertical wire."""

    width: float
    label_left: float
    area_left: float
    area_right: float
    levels: tuple[Level, ...]
    cells: Mapping[str, Cell]
    lines: tuple[Line, ...]
    rails: tuple[Rail, ...]
    places: Places
    rail_y: Mapping[Rail, float]
    lane_x: Mapping[Lane, float]
    bottom: float

    def band(self, level: Level) -> tuple[Line, Line]:
        """The first and the last line of a level."""
        numbers = [self.cells[name].line for name in level.components]
        return self.lines[min(numbers)], self.lines[max(numbers)]


def plan(levels: tuple[Level, ...], edges: Sequence[Edge], cards: Sequence[Card], top: float) -> Plan:
    """Where everything stands, from `top` down: first what stands beside what, then what stands below what."""
    names = lines_of(levels)
    wires = rails(edges, {name: number for number, line in enumerate(names) for name in line})
    numbers = _lane_numbers(wires)
    gutter = LANE * (max(numbers.values()) + 2) if numbers else 0.0
    area_left = MARGIN + min(max(LABEL_LEAST, *(CLOCK.width(clock_text(level)) + 2 * PADDING for level in levels)), LABEL_MOST)
    area = max(WIDTH - MARGIN - gutter - area_left, SMALLEST_AREA)
    while (places := port_places(wires, cell_of := cells(names, cards, area_left, area_left + area - PADDING))) is None:
        area *= WIDENING
    area_right = area_left + area
    lane_x = {lane: area_right + LANE * (number + 1) for lane, number in numbers.items()}

    slots = _slots(wires, places, lane_x)
    counts = [max((slot + 1 for rail, slot in slots.items() if rail.gap == gap), default=0) for gap in range(len(names) + 1)]
    heights = [_gap_height(count, is_outer=gap in (0, len(names))) for gap, count in enumerate(counts)]
    lines = tuple(_lines(cell_of, heights, top))
    gap_tops = (top, *(line.bottom for line in lines))
    return Plan(
        width=area_right + gutter + MARGIN,
        label_left=MARGIN + PADDING,
        area_left=area_left,
        area_right=area_right,
        levels=levels,
        cells=cell_of,
        lines=lines,
        rails=wires,
        places=places,
        rail_y={rail: gap_tops[rail.gap] + GAP / 2 + slot * SLOT for rail, slot in slots.items()},
        lane_x=lane_x,
        bottom=gap_tops[-1] + heights[-1],
    )


def clock_text(level: Level) -> str:
    """The clock in the words of a spec: `every 16 tokens`."""
    words = str(level.clock)
    return words if words in ("always", "never") else f"every {words}"


def _lane_numbers(wires: Sequence[Rail]) -> dict[Lane, int]:
    """Lanes side by side from the boxes outwards, the short ones nearest; those that never meet share a number."""
    lanes = dict.fromkeys(lane for rail in wires for lane in rail.lanes)
    ordered = sorted(lanes, key=lambda lane: (lane.last - lane.first, lane.first, lane.source, lane.kind))
    return dict(zip(ordered, colours([(lane.first, lane.last) for lane in ordered]), strict=True))


def _slots(wires: Sequence[Rail], places: Places, lane_x: Mapping[Lane, float]) -> dict[Rail, int]:
    """The place of each rail in its gap, counted from above; rails that overlap have different ones."""
    slots: dict[Rail, int] = {}
    for gap in dict.fromkeys(rail.gap for rail in wires):
        spans = [(_span(rail, places, lane_x), rail) for rail in wires if rail.gap == gap and not is_straight(rail, places)]
        numbers = colours([(left - SLOT, right + SLOT) for (left, right), _ in spans])
        slots |= {rail: number for (_, rail), number in zip(spans, numbers, strict=True)}
    return slots


def _span(rail: Rail, places: Places, lane_x: Mapping[Lane, float]) -> tuple[float, float]:
    """The rail's left and right end."""
    ends = [*(places[rail, port] for port in rail.ports), *(lane_x[lane] for lane in rail.lanes)]
    return min(ends), max(ends)


def _lines(cell_of: Mapping[str, Cell], heights: Sequence[float], top: float) -> Iterator[Line]:
    """The lines of boxes, one below the other, with gaps of some heights above them."""
    bottom = top
    for number, height in enumerate(heights[:-1]):
        here = [cell for cell in cell_of.values() if cell.line == number]
        line_top = bottom + height
        box_top = line_top + (STRIP if any(cell.enters for cell in here) else NO_STRIP)
        box_bottom = box_top + max(len(cell.rows) for cell in here) * ROW + PADDING
        bottom = box_bottom + (STRIP if any(cell.leaves for cell in here) else NO_STRIP)
        yield Line(line_top, box_top, box_bottom, bottom)


def _gap_height(count: int, *, is_outer: bool) -> float:
    return OUTER_GAP if is_outer and not count else GAP + SLOT * max(0, count - 1)
