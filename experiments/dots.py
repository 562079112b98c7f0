"""Rows of losses -> a picture with a line for each row and a dot for each loss, on one logarithmic scale."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from math import floor, isfinite, log10

from nlc.graph.svg import EDGE, disc, document, line, text
from nlc.graph.text import NAME, NOTE, TITLE

LEFT, RIGHT, TOP, STEP, BELOW = 340.0, 860.0, 96.0, 24.0, 48.0
MOST = 10.0
"""Greater losses are drawn at the right end of the scale."""

PALE, STRONG = "#b9c4cf", "#1d5fa6"


@dataclass(frozen=True, slots=True)
class Row:
    """A name, a note beside it, and two kinds of losses; those that are not finite are as if they were MOST."""

    name: str
    note: str
    pale: tuple[float, ...]
    strong: tuple[float, ...]


def picture(title: str, legend: tuple[str, str], rows: Sequence[Row]) -> str:
    """The rows below one another; the legend says what the pale and the strong dots are."""
    low, high = floor(log10(min(value for row in rows for value in (*row.pale, *row.strong) if isfinite(value)))), round(log10(MOST))
    bottom = TOP + STEP * len(rows)

    def place(value: float) -> float:
        shown = min(value, MOST) if isfinite(value) else MOST
        return LEFT + (log10(shown) - low) / (high - low) * (RIGHT - LEFT)

    parts = [text(24, 36, title, TITLE), *_legend(legend)]
    for power in range(low, high + 1):
        x = place(10.0**power)
        parts += [
            line(x, TOP - 8, x, bottom, PALE),
            text(x, bottom + 20, f"{10.0**power:g}{' and more' if power == high else ''}", NOTE, "middle"),
        ]
    for number, row in enumerate(rows):
        y = TOP + STEP * (number + 0.5)
        parts += [text(24, y + 4.5, row.name, NAME), text(LEFT - 16, y + 4.5, row.note, NOTE, "end")]
        parts += [disc(place(value), y, 3.5, colour) for values, colour in ((row.pale, PALE), (row.strong, STRONG)) for value in values]
    parts.append(line(LEFT, bottom, RIGHT, bottom, EDGE))
    says = f"{legend[0]} and {legend[1]}: {', '.join(row.name for row in rows)}"
    return document(RIGHT + 48, bottom + BELOW, title, says, parts)


def _legend(legend: tuple[str, str]) -> Iterator[str]:
    for x, colour, says in ((LEFT, PALE, legend[0]), (LEFT + 260, STRONG, legend[1])):
        yield disc(x + 6, 62, 3.5, colour)
        yield text(x + 18, 66.5, says, NOTE)
