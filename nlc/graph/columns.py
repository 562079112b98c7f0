"""Lines of components and their cards -> cells: where each box stands across the picture, and its words cut to fit."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from itertools import pairwise
from math import ceil

from nlc.graph.cards import Card
from nlc.graph.text import FORMULA, NAME, NOTE, Font, shortened, wrapped
from nlc.graph.wires import Kind
from nlc.ir.order import Level

MOST_IN_A_LINE = 3
PADDING, BETWEEN = 12.0, 16.0
"""Pixels inside a box, and between two boxes of a line."""

ARROW = 12.0
"""From the arrow of a label to its text."""

LABEL_SHARE = 0.55
"""How much of a box's edge labels may take; the rest is for wires."""

OBJECTIVE_LINES = 2

Row = tuple[tuple[str, Font], ...]
"""Texts side by side."""


@dataclass(frozen=True, slots=True)
class Label:
    """What enters a box from the context flow, or leaves it as output: an arrow at x and a text beside it."""

    text: str
    kind: Kind | None
    x: float


@dataclass(frozen=True, slots=True)
class Cell:
    """A component's place across the picture: its box from `left` to `right`, and where wires may meet its two edges."""

    card: Card
    line: int
    left: float
    right: float
    rows: tuple[Row, ...]
    enters: tuple[Label, ...]
    leaves: tuple[Label, ...]

    def reach(self, *, is_top: bool) -> tuple[float, float]:
        """The part of the upper or lower edge that is free for wires."""
        labels = self.enters if is_top else self.leaves
        last = max((label.x + ARROW + NOTE.width(label.text) + PADDING for label in labels), default=self.left + PADDING)
        return min(last, self.right - PADDING), self.right - PADDING


def lines_of(levels: Sequence[Level]) -> tuple[tuple[str, ...], ...]:
    """The components of a level stand side by side, on several lines when they are many."""
    return tuple(line for level in levels for line in _split(level.components))


def _split(names: tuple[str, ...]) -> Iterator[tuple[str, ...]]:
    lines = ceil(len(names) / MOST_IN_A_LINE)
    ends = [len(names) * number // lines for number in range(lines + 1)]
    return (names[start:end] for start, end in pairwise(ends))


def cells(lines: Sequence[Sequence[str]], cards: Sequence[Card], left: float, right: float) -> dict[str, Cell]:
    """The cells of all components, in the order of the lines; the boxes of a line share its width equally."""
    card_of = {card.name: card for card in cards}
    found = {}
    for number, names in enumerate(lines):
        width = (right - left - BETWEEN * (len(names) - 1)) / len(names)
        for place, name in enumerate(names):
            found[name] = _cell(card_of[name], number, left + place * (width + BETWEEN), width)
    return found


def _cell(card: Card, line: int, left: float, width: float) -> Cell:
    room = width * LABEL_SHARE
    new, old = (", ".join(leaving.name for leaving in card.leaves if leaving.is_new is is_new) for is_new in (True, False))
    return Cell(
        card=card,
        line=line,
        left=left,
        right=left + width,
        rows=tuple(_rows(card, width - 2 * PADDING)),
        enters=tuple(_labels(((None, ", ".join(card.enters)),), left + PADDING, room)),
        leaves=tuple(_labels((("same tick", new), ("older state", old)), left + PADDING, room)),
    )


def _labels(texts: Sequence[tuple[Kind | None, str]], x: float, room: float) -> Iterator[Label]:
    written = [(kind, text) for kind, text in texts if text]
    for kind, text in written:
        label = Label(shortened(text, NOTE, room / len(written) - ARROW - PADDING), kind, x)
        yield label
        x += ARROW + NOTE.width(label.text) + PADDING


def _rows(card: Card, width: float) -> Iterator[Row]:
    """Name and memory (on one row when both fit), objective, optimizer."""
    heads = tuple((shortened(words, font, width), font) for words, font in ((card.name, NAME), (card.memory, NOTE)) if words)
    if NAME.width(card.name) + PADDING + NOTE.width(card.memory) <= width:
        yield heads
    else:
        yield from ((head,) for head in heads)
    yield from (((line, FORMULA),) for line in wrapped(card.objective, FORMULA, width, OBJECTIVE_LINES))
    yield ((shortened(card.optimizer, NOTE, width), NOTE),)
