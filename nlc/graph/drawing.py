"""A plan -> SVG elements: bands with what is said about their levels, boxes with their words, wires on top."""

from __future__ import annotations

from collections.abc import Iterator

from nlc.graph import svg
from nlc.graph.columns import ARROW, PADDING, Cell, Label
from nlc.graph.layout import MARGIN, ROW, Line, Plan, clock_text
from nlc.graph.svg import BAND, EDGE, FILLS, Piece
from nlc.graph.text import CLOCK, NOTE, listed, shortened
from nlc.graph.wires import Lane, Rail
from nlc.ir.order import Level

STUB = 17.0
"""The length of the arrows of what enters and leaves."""


def levels(plan: Plan) -> Piece:
    """All levels and what passes between them."""
    parts = (
        *(part for level in plan.levels for part in _band(level, plan)),
        *(_box(cell, plan.lines[cell.line]) for cell in plan.cells.values()),
        *(svg.titled(f"{lane.source} is read by others: {lane.kind}", _lane(lane, plan)) for lane in plan.lane_x),
        *(svg.titled(_sentence(rail), _rail(rail, plan)) for rail in plan.rails),
    )
    return Piece(parts, plan.bottom)


def _band(level: Level, plan: Plan) -> Iterator[str]:
    """A level's band, its clock, and its three numbers: the speed rank and the paper's two."""
    first, last = plan.band(level)
    yield svg.rectangle(MARGIN, first.top, plan.area_right, last.bottom, BAND, radius=6)
    words = (f"speed rank {level.speed_rank}", f"level {level.number_slowest_highest}, fastest = 1", f"level {level.number_slowest_first}, slowest = 1")
    x, y = plan.label_left, first.box_top + ROW
    yield svg.text(x, y, shortened(clock_text(level), CLOCK, plan.area_left - x), CLOCK)
    for number, text in enumerate(words, start=1):
        yield svg.text(x, y + number * ROW, text, NOTE)


def _box(cell: Cell, line: Line) -> str:
    return svg.titled(f"{cell.card.name}\nobjective: {cell.card.objective}\noptimizer: {cell.card.optimizer}", _box_parts(cell, line))


def _box_parts(cell: Cell, line: Line) -> Iterator[str]:
    fill = FILLS["per sequence" if cell.card.is_fast else "shared"]
    yield svg.rectangle(cell.left, line.box_top, cell.right, line.box_bottom, fill, EDGE, 5)
    for number, row in enumerate(cell.rows, start=1):
        x, y = cell.left + PADDING, line.box_top + number * ROW
        for words, font in row:
            yield svg.text(x, y + 1, words, font)
            x += font.width(words) + PADDING
    for label in cell.enters:
        yield from _label(label, line.box_top - STUB, line.box_top)
    for label in cell.leaves:
        yield from _label(label, line.box_bottom, line.box_bottom + STUB)


def _label(label: Label, top: float, bottom: float) -> Iterator[str]:
    yield svg.wire(label.kind, [(label.x, top, label.x, bottom - 7)])
    yield svg.arrowhead(label.kind, label.x, bottom, "down")
    yield svg.text(label.x + ARROW, top + STUB - 5, label.text, NOTE)


def _sentence(rail: Rail) -> str:
    sources = [lane.source for lane in rail.lanes] or [port.name for port in rail.ports if not port.is_reader]
    readers = [port.name for port in rail.ports if port.is_reader] or ["others"]
    return f"{listed(readers)} {'reads' if len(readers) == 1 and readers != ['others'] else 'read'} {listed(sources)}: {rail.kind}"


def _rail(rail: Rail, plan: Plan) -> Iterator[str]:
    """A rail with its ends at boxes; dots where more than two strokes meet."""
    ends = [(plan.places[rail, port], _edge(plan, port.name, port.is_above), port) for port in rail.ports]
    if rail not in plan.rail_y:
        (x, start, _), (_, tip, reader) = ends
        yield svg.wire(rail.kind, [(x, start, x, tip + (7 if reader.is_above else -7))])
        yield svg.arrowhead(rail.kind, x, tip, "up" if reader.is_above else "down")
        return
    y = plan.rail_y[rail]
    across = [*(x for x, _, _ in ends), *(plan.lane_x[lane] for lane in rail.lanes)]
    shortened = [(x, tip if not port.is_reader else tip + (7 if port.is_above else -7)) for x, tip, port in ends]
    yield svg.wire(rail.kind, [(min(across), y, max(across), y), *((x, y, x, tip) for x, tip in shortened)])
    for x, tip, port in ends:
        if port.is_reader:
            yield svg.arrowhead(rail.kind, x, tip, "up" if port.is_above else "down")
        if min(across) < x < max(across):
            yield svg.junction(rail.kind, x, y)
