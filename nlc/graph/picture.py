"""LevelOrder -> the whole picture: header, legend, levels with their boxes and wires, timetable, one below the other."""

from __future__ import annotations

from nlc.graph import svg
from nlc.graph.cards import cards
from nlc.graph.drawing import levels
from nlc.graph.drawn_timetable import timetable_piece
from nlc.graph.header import header, legend
from nlc.graph.layout import MARGIN, clock_text, plan
from nlc.graph.text import counted, listed
from nlc.graph.timetable import timetable
from nlc.ir.order import LevelOrder


def draw_levels(order: LevelOrder) -> str:
    """The picture as SVG text, 800 pixels wide unless very many levels read one another; the same bytes for the same order."""
    above = header(order.model)
    signs = legend(above.bottom)
    places = plan(order.levels, order.edges, cards(order), signs.bottom)
    drawn = levels(places)
    table = timetable_piece(timetable(order.levels), drawn.bottom + MARGIN / 2, places.width - MARGIN)
    pieces = (above, signs, drawn, table)
    title = f"The levels of {order.model.name}, fastest first"
    return svg.document(places.width, table.bottom + MARGIN, title, _description(order), [part for piece in pieces for part in piece.parts])


def _description(order: LevelOrder) -> str:
    """The picture in sentences."""
    says = [f"{counted(len(order.levels), 'level')}, {counted(len(order.model.components), 'component')}."]
    says += [f"Level {level.number_slowest_highest} ({clock_text(level)}): {listed(level.components)}." for level in order.levels]
    says += [f"{edge.reader} reads {edge.source}: {edge.kind}." for edge in order.edges]
    return " ".join(says)
