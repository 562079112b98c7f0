"""LevelOrder -> the whole picture: header, legend, levels with their boxes and wires, timetable, one below the other."""

from __future__ import annotations

from collections.abc import Iterator

from nlc.graph import svg
from nlc.graph.cards import cards, output_text
from nlc.graph.columns import ARROW, PADDING, Cell, Label
from nlc.graph.draw_timetable import timetable_parts, timetable_height
from nlc.graph.layout import MARGIN, ROW, WIDTH, Line, Plan, clock_text, plan
from nlc.graph.text import CLOCK, NOTE, TITLE, counted, listed, shortened, wrapped
from nlc.graph.timetable import timetable
from nlc.graph.wires import KINDS, Kind
from nlc.ir.model import Model
from nlc.ir.order import Level, LevelOrder

MEANINGS: tuple[tuple[Kind, str], ...] = (
    ("same tick", "the new state of this tick"),
    ("older state", "an older state"),
    ("forward", "through another block's output"),
)
FILLS = ((svg.FAST, "one state per sequence"), (svg.SLOW, "one state, shared"))
SAMPLE = 26.0
"""The width of a sample in the legend."""


def draw_levels(order: LevelOrder) -> str:
    """The picture as SVG text, WIDTH pixels wide unless very many levels read one another; the same bytes for the same order."""
    header = _header(order.model)
    legend = _Legend(MARGIN + len(header) * 1.0)
