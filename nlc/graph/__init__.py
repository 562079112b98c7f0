"""LevelOrder -> a picture of it as SVG text: levels as rows by frequency, what reads what, and a timetable.

Nothing is decided here: levels, edges and clocks come with the order, so that systems which are not compiled yet can be drawn too.
"""

from __future__ import annotations

from nlc.graph.picture import draw_levels
from nlc.graph.svg import is_drawn_by_nlc

__all__ = ["draw_levels", "is_drawn_by_nlc"]
