"""Texts -> what fits where: widths estimated without a font, shortened and wrapped lines, characters that XML allows."""

from __future__ import annotations

import re
from collections.abc import Mapping
from dataclasses import dataclass
from html import escape
from itertools import accumulate, takewhile
from types import MappingProxyType
from unicodedata import east_asian_width

FORMULA_ADVANCE = 0.61
"""The width of a character of the usual fixed-width fonts, in units of the font size; none is wider."""

SANS_ADVANCES: Mapping[str, float] = MappingProxyType(
    {
        **dict.fromkeys("' ijl.,:;|", 0.35),
        **dict.fromkeys('frtI!()[]/-"`', 0.43),
        **dict.fromkeys("cszJ_*", 0.56),
        **dict.fromkeys("kvxy", 0.6),
        **dict.fromkeys("ABCDEFGHKLNOPQRSTUVXYZ=+<>~#&", 0.84),
        **dict.fromkeys("mwMW@%…", 1.01),
    }
)
"""The widest advance of a character among the usual system fonts (DejaVu Sans is the widest), in units of the font size."""

OTHER, OTHER_NOT_ASCII, WIDE = 0.645, 1.0, 1.4
BOLD = 1.16
ELLIPSIS = "…"
NOT_IN_XML = re.compile("[^\t\n\r\x20-\ud7ff\ue000-\ufffd\U00010000-\U0010ffff]")


@dataclass(frozen=True, slots=True)
class Font:
    """How a text is set: the CSS class that says so, and what its width is estimated from."""

    name: str
    size: float
    is_bold: bool = False
    is_formula: bool = False

    def width(self, text: str) -> float:
        """An estimate of the text's width in pixels that is not too small."""
        advance = sum(_advance(character, self.is_formula) for character in text)
        return advance * self.size * (BOLD if self.is_bold else 1)


def _advance(character: str, is_formula: bool) -> float:
    if not character.isascii() and east_asian_width(character) in "WF":
        return WIDE
    if is_formula:
        return FORMULA_ADVANCE
    return SANS_ADVANCES.get(character, OTHER if character.isascii() else OTHER_NOT_ASCII)


TITLE = Font("title", 17, is_bold=True)
NAME = Font("name", 13.5, is_bold=True)
CLOCK = Font("clock", 13, is_bold=True)
FORMULA = Font("formula", 11.5, is_formula=True)
NOTE = Font("note", 12)
COUNT = Font("count", 11, is_bold=True)
FONTS = (TITLE, NAME, CLOCK, FORMULA, NOTE, COUNT)


def shortened(text: str, font: Font, width: float) -> str:
    """The text, or as much of its beginning as fits into a width, with an ellipsis."""
    if font.width(text) <= width:
        return text
    ends = accumulate(font.width(character) for character in text)
    fitting = sum(1 for _ in takewhile(lambda end: end <= width - font.width(ELLIPSIS), ends))
    return text[:fitting].rstrip() + ELLIPSIS


def wrapped(text: str, font: Font, width: float, lines: int) -> tuple[str, ...]:
    """The words of a text on at most so many lines of a width; what does not fit ends with an ellipsis."""
    words = text.split()
    found: list[str] = []
    while words:
        count = _fitting(words, font, width) if len(found) + 1 < lines else len(words)
        found.append(shortened(" ".join(words[:count]), font, width))
        words = words[count:]
    return tuple(found)


def _fitting(words: list[str], font: Font, width: float) -> int:
    """How many of the words fit on one line; at least one, which may have to be shortened."""
    space = font.width(" ")
    ends = accumulate(font.width(word) + space for word in words)
    return max(1, sum(1 for _ in takewhile(lambda end: end - space <= width, ends)))


def counted(count: int, noun: str) -> str:
    """`1 level`, `3 levels`."""
    return f"{count} {noun}" if count == 1 else f"{count} {noun}s"


def listed(words: tuple[str, ...]) -> str:
    """`a`, `a and b`, `a, b and c`."""
    return " and ".join([", ".join(words[:-1]), words[-1]] if len(words) > 1 else words)


def xml_text(text: str) -> str:
    """The text with markup escaped and with what no XML document may hold replaced."""
    return escape(NOT_IN_XML.sub("\ufffd", text))
