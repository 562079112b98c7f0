"""Texts -> what fits where: widths estimated without a font, shortened and wrapped lines, characters that XML allows."""

from __future__ import annotations

import re
from collections.abc import Iterator
from dataclasses import dataclass
from html import escape
from unicodedata import east_asian_width

FORMULA_ADVANCE = 0.61
"""The width of a character of the usual fixed-width fonts, in units of the font size; none is wider."""

SANS_ADVANCES = (
    ("'ijlI.,:;|!", 0.41),
    (" frt()[]/-\"`°·", 0.46),
    ("mwMW@%→", 1.0),
    ("ABCDEFGHJKLNOPQRSTUVXYZ=+<>~#&—…", 0.84),
)
"""The widest advance among the usual system fonts (DejaVu Sans and Verdana are wide), in units of the font size."""

OTHER_NARROW, OTHER_WIDE = 0.64, 1.4
BOLD = 1.13
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
        return OTHER_WIDE
    if is_formula:
        return FORMULA_ADVANCE
    return next((advance for members, advance in SANS_ADVANCES if character in members), OTHER_NARROW if character.isascii() else 0.9)


TITLE = Font("title", 17, is_bold=True)
NAME = Font("name", 13.5, is_bold=True)
CLOCK = Font("clock", 13, is_bold=True)
FORMULA = Font("formula", 12, is_formula=True)
NOTE = Font("note", 12)
COUNT = Font("count", 11, is_bold=True)
FONTS = (TITLE, NAME, CLOCK, FORMULA, NOTE, COUNT)


def shortened(text: str, font: Font, width: float) -> str:
    """The text, or as much of its beginning as fits into a width, with an ellipsis."""
    if font.width(text) <= width:
        return text
    fitting = (text[:length].rstrip() + "…" for length in range(len(text) - 1, 0, -1))
    return next((cut for cut in fitting if font.width(cut) <= width), "…")


def wrapped(text: str, font: Font, width: float, lines: int) -> tuple[str, ...]:
    """The words of a text on at most so many lines of a width; what does not fit ends with an ellipsis."""
    broken = list(_broken(text.split(), font, width))
    kept = broken[: lines - 1] + ([" ".join(broken[lines - 1 :])] if len(broken) >= lines else [])
    return tuple(shortened(line, font, width) for line in kept)


def _broken(words: list[str], font: Font, width: float) -> Iterator[str]:
    line = ""
    for word in words:
        if line and font.width(f"{line} {word}") > width:
            yield line
            line = word
        else:
            line = f"{line} {word}".lstrip()
    if line:
        yield line


def counted(count: int, noun: str) -> str:
    """`1 level`, `3 levels`."""
    return f"{count} {noun}" if count == 1 else f"{count} {noun}s"


def listed(words: tuple[str, ...]) -> str:
    """`a`, `a and b`, `a, b and c`."""
    return " and ".join([", ".join(words[:-1]), words[-1]] if len(words) > 1 else words)


def xml_text(text: str) -> str:
    """The text with markup escaped and with what no XML document may hold replaced."""
    return escape(NOT_IN_XML.sub("\ufffd", text))
