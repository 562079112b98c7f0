"""A timetable -> SVG elements: a row per component, a column per tick, a disc where it moves."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass

from nlc.graph import svg
from nlc.graph.columns import PADDING
from nlc.graph.layout import MARGIN
from nlc.graph.svg import BAND, INK, MUTED, PAPER, Piece
from nlc.graph.text import CLOCK, COUNT, NOTE, shortened
from nlc.graph.timetable import Entry, Group, Timetable, updates

ROW = 20.0
WIDEST_COLUMN = 32.0
APART = 18.0
"""Pixels between the columns of two families."""

DISC, DISC_WITH_COUNT = 4.5, 8.0
MOST_COUNTED = 9
"""A disc has room for one digit; `+` is for more updates at one tick."""

MOST_FOR_NAMES = 210.0
"""The width of the column of names, at most."""

HEADING = "Timetable"
CAPTION = "disc: an update (with a number: so many within the tick); bar: many updates within every tick"


@dataclass(frozen=True, slots=True)
class Grid:
    """Where the columns of one family stand, and between which y the rows."""

    group: Group
    left: float
    column: float
    top: float
    bottom: float

    @property
    def right(self) -> float:
        return self.left + self.column * self.group.ticks

    def middle(self, tick: int) -> float:
        """The x of a tick, counted from 1."""
        return self.left + self.column * (tick - 0.5)


def timetable_piece(table: Timetable, top: float, right: float) -> Piece:
    """The timetable, from the left margin to `right`."""
    heads = top + 3.4 * ROW
    left = MARGIN + PADDING + min(max(NOTE.width(entry.name) for entry in table.entries), MOST_FOR_NAMES) + PADDING
    grids = tuple(_grids(table, left, right, heads))
    parts = [svg.text(MARGIN, top + ROW, HEADING, CLOCK), svg.text(MARGIN + CLOCK.width(HEADING) + PADDING, top + ROW, CAPTION, NOTE)]
    parts += [part for grid in grids for part in _columns(grid)]
    for number, entry in enumerate(table.entries):
        y = heads + ROW * (number + 0.5)
        parts.append(svg.text(MARGIN + PADDING, y + 4, shortened(entry.name, NOTE, MOST_FOR_NAMES), NOTE))
        parts += [part for grid in grids for part in _row(entry, grid, y)]
    return Piece(tuple(parts), grids[-1].bottom)


def _grids(table: Timetable, left: float, right: float, top: float) -> Iterator[Grid]:
    ticks = sum(group.ticks for group in table.groups)
    column = min((right - left - APART * (len(table.groups) - 1)) / ticks, WIDEST_COLUMN)
    for group in table.groups:
        grid = Grid(group, left, column, top, top + ROW * len(table.entries))
        yield grid
        left = grid.right + APART


def _columns(grid: Grid) -> Iterator[str]:
    """The family's name, the numbers of its ticks, and lines between them."""
    yield svg.rectangle(grid.left, grid.top, grid.right, grid.bottom, BAND)
    yield svg.text(grid.left, grid.top - ROW - 3, grid.group.name, NOTE)
    for tick in range(1, grid.group.ticks + 1):
        yield svg.text(grid.middle(tick), grid.top - 5, str(tick), NOTE, "middle")
        if tick > 1:
            x = grid.middle(tick) - grid.column / 2
            yield svg.line(x, grid.top, x, grid.bottom, PAPER)


def _row(entry: Entry, grid: Grid, y: float) -> Iterator[str]:
    counts = {tick: updates(entry.clock, grid.group.family, tick) for tick in range(1, grid.group.ticks + 1)}
    if None in counts.values():
        yield svg.rectangle(grid.left + 4, y - 2, grid.right - 4, y + 2, MUTED, radius=2)
    for tick, count in counts.items():
        if count == 1:
            yield svg.disc(grid.middle(tick), y, DISC, INK)
        elif count:
            yield svg.disc(grid.middle(tick), y, DISC_WITH_COUNT, INK)
            yield svg.text(grid.middle(tick), y + 4, str(count) if count <= MOST_COUNTED else "+", COUNT, "middle")
    if entry.note_in is grid.group.family:
        yield svg.text(grid.left + 4, y + 4, entry.note, NOTE)
