"""A plan -> SVG elements: bands with what is said about their levels, boxes with their words, wires on top."""

from __future__ import annotations

from collections.abc import Iterator

from nlc.graph import svg
from nlc.graph.columns import ARROW, PADDING, Cell, Label
from nlc.graph.drawn_wires import wires
from nlc.graph.layout import MARGIN, ROW, Line, Plan, clock_text
from nlc.graph.svg import BAND, EDGE, FILLS, HEAD, Piece
from nlc.graph.text import CLOCK, NOTE, shortened
from nlc.ir.order import Level

STUB = 17.0
"""The length of the arrows of what enters and leaves."""

LABEL_ROW = 16.0
"""From one line of what is said about a level to the next."""


def levels(plan: Plan) -> Piece:
    """All levels and what passes between them."""
    parts = (
        *(part for level in plan.levels for part in _band(level, plan)),
        *(_box(cell, plan.lines[cell.line]) for cell in plan.cells.values()),
        *wires(plan),
    )
    return Piece(parts, plan.bottom)


def _band(level: Level, plan: Plan) -> Iterator[str]:
    """A level's band, its clock, and its three numbers: the speed rank and the paper's two."""
    first, last = plan.band(level)
    yield svg.rectangle(MARGIN, first.top, plan.area_right, last.bottom, BAND, radius=6)
    counts = ((level.number_slowest_highest, "fastest"), (level.number_slowest_first, "slowest"))
    words = (f"speed rank {level.speed_rank}", *(f"level {count} ({end} = 1)" for count, end in counts))
    x, y = plan.label_left, (first.top + first.bottom) / 2 - ROW
    yield svg.text(x, y, shortened(clock_text(level), CLOCK, plan.area_left - x), CLOCK)
    for number, text in enumerate(words, start=1):
        yield svg.text(x, y + number * LABEL_ROW, text, NOTE)


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
    yield svg.wire(label.kind, [((label.x, top), (label.x, bottom - HEAD))])
    yield svg.arrowhead(label.kind, label.x, bottom, "down")
    yield svg.text(label.x + ARROW, top + STUB - 5, label.text, NOTE)
