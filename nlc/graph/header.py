"""A model -> the head of its picture: name, what it says, its context flow and outputs; then what the signs mean."""

from __future__ import annotations

from collections.abc import Iterator

from nlc.graph import svg
from nlc.graph.cards import output_text
from nlc.graph.layout import MARGIN, ROW, WIDTH
from nlc.graph.svg import FILLS, Fill, Piece
from nlc.graph.text import FORMULA, NOTE, TITLE, shortened, wrapped
from nlc.graph.wires import Kind
from nlc.ir.model import Model

RIGHT = WIDTH - MARGIN
FLOW_LEFT = MARGIN + 92.0
"""Where the names of streams and outputs begin."""

SAYS_LINES, FLOW_LINES = 3, 2

MEANINGS: tuple[tuple[Kind | Fill, str], ...] = (
    ("same tick", "reads the new state of this tick"),
    ("older state", "reads an older state"),
    ("forward", "reads through another block's output"),
    ("per sequence", "one state per sequence"),
    ("shared", "one state for all"),
)
SAMPLE, APART = 30.0, 20.0
"""The width of a sample in the legend, and the distance from one entry to the next."""


def header(model: Model) -> Piece:
    """The model in words."""
    y = MARGIN + 14
    parts = [svg.text(MARGIN, y, shortened(model.name, TITLE, RIGHT - MARGIN), TITLE)]
    for line in wrapped(model.says, NOTE, RIGHT - MARGIN, SAYS_LINES):
        y += ROW
        parts.append(svg.text(MARGIN, y, line, NOTE))
    for name, words in (("context flow", [stream.name for stream in model.inputs]), ("outputs", [output_text(item) for item in model.outputs])):
        y += 6 if words else 0
        for number, line in enumerate(wrapped(", ".join(words), FORMULA, RIGHT - FLOW_LEFT, FLOW_LINES)):
            y += ROW
            parts += [svg.text(MARGIN, y, name, NOTE)] if number == 0 else []
            parts.append(svg.text(FLOW_LEFT, y, line, FORMULA))
    return Piece(tuple(parts), y + 8)


def legend(top: float) -> Piece:
    """What the signs mean, on as many lines as it takes."""
    x, y = MARGIN, top + ROW
    parts: list[str] = []
    for sign, words in MEANINGS:
        width = SAMPLE + 8 + NOTE.width(words)
        if x + width > RIGHT:
            x, y = MARGIN, y + ROW + 2
        parts += [*_sample(sign, x, y - 4), svg.text(x + SAMPLE + 8, y, words, NOTE)]
        x += width + APART
    return Piece(tuple(parts), y + 10)


def _sample(sign: Kind | Fill, x: float, y: float) -> Iterator[str]:
    """A wire or a box in small, its middle at y."""
    match sign:
        case "per sequence" | "shared":
            yield svg.rectangle(x, y - 7, x + SAMPLE, y + 7, FILLS[sign], svg.EDGE, 3)
        case _:
            yield svg.wire(sign, [(x, y, x + SAMPLE - 7, y)])
            yield svg.arrowhead(sign, x + SAMPLE, y, "right")
