"""A model -> the head of its picture: name, what it says, its context flow and outputs; then what the signs mean."""

from __future__ import annotations

from collections.abc import Iterator

from nlc.graph import svg
from nlc.graph.cards import output_text
from nlc.graph.layout import MARGIN, ROW, WIDTH
from nlc.graph.svg import FILLS, HEAD, Fill, Piece
from nlc.graph.text import FORMULA, NOTE, TITLE, shortened, wrapped
from nlc.graph.wires import Kind
from nlc.ir.model import Model

RIGHT = WIDTH - MARGIN
FLOW_LEFT = MARGIN + 92.0
"""Where the names of streams and outputs begin."""

SAYS_LINES, FLOW_LINES = 3, 2

Sign = Kind | Fill
MEANINGS: tuple[tuple[tuple[Sign, str], ...], ...] = (
    (
        ("same tick", "reads the new state of this tick"),
        ("older state", "reads an older state"),
        ("forward", "reads through another block's output"),
    ),
    (("per sequence", "one state per sequence"), ("shared", "one state for all")),
)
"""The lines of the legend."""

RULES = "In each box: name and memory, objective, optimizer. Wires join where one bends into another, else they cross."

SAMPLE, APART, LEGEND_ROW = 30.0, 20.0, 20.0
"""The width of a sample in the legend, and the distance from one entry, or one line, to the next."""


def header(model: Model) -> Piece:
    """The model in words."""
    y = MARGIN + 14
    parts = [svg.text(MARGIN, y, shortened(model.name, TITLE, RIGHT - MARGIN), TITLE)]
    for line in wrapped(model.says, NOTE, RIGHT - MARGIN, SAYS_LINES):
        y += ROW
        parts.append(svg.text(MARGIN, y, line, NOTE))
    for name, words in _flows(model):
        lines = wrapped(words, FORMULA, RIGHT - FLOW_LEFT, FLOW_LINES)
        parts.append(svg.text(MARGIN, y + ROW + 6, name, NOTE))
        parts += [svg.text(FLOW_LEFT, y + ROW * number + 6, line, FORMULA) for number, line in enumerate(lines, start=1)]
        y += ROW * len(lines) + 6
    return Piece(tuple(parts), y + 8)


def _flows(model: Model) -> Iterator[tuple[str, str]]:
    if model.inputs:
        yield "context flow", ", ".join(stream.name for stream in model.inputs)
    if model.outputs:
        yield "outputs", ", ".join(output_text(output) for output in model.outputs)


def legend(top: float) -> Piece:
    """What the signs mean."""
    parts: list[str] = []
    for number, signs in enumerate(MEANINGS, start=1):
        x, y = MARGIN, top + number * LEGEND_ROW
        for sign, words in signs:
            parts += [*_sample(sign, x, y - 4), svg.text(x + SAMPLE + 8, y, words, NOTE)]
            x += SAMPLE + 8 + NOTE.width(words) + APART
    y += LEGEND_ROW
    return Piece((*parts, svg.text(MARGIN, y, RULES, NOTE)), y + 10)


def _sample(sign: Sign, x: float, y: float) -> Iterator[str]:
    """A wire or a box in small, its middle at y."""
    match sign:
        case "per sequence" | "shared":
            yield svg.rectangle(x, y - 7, x + SAMPLE, y + 7, FILLS[sign], svg.EDGE, 3)
        case _:
            yield svg.wire(sign, [((x, y), (x + SAMPLE - HEAD, y))])
            yield svg.arrowhead(sign, x + SAMPLE, y, "right")
