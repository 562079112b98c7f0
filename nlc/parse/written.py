"""A scalar's text with the place of each of its characters in the source, so that parts of an expression have exact spans."""

from __future__ import annotations

from dataclasses import dataclass

from nlc.parse.nodes import Scalar
from nlc.source import Span


@dataclass(frozen=True, slots=True)
class Written:
    """`offsets` has the source offset of every character of `text`; None when escapes hide where they are."""

    text: str
    whole: Span
    offsets: tuple[int, ...] | None

    def span(self, start: int, end: int) -> Span:
        """The source of characters `start` up to `end`; an empty range is the place where it would be written."""
        if self.offsets is None or not self.offsets:
            return self.whole
        if start >= len(self.offsets):
            return Span(self.whole.source, self.offsets[-1] + 1, self.offsets[-1] + 1)
        last = self.offsets[max(start, end - 1)]
        return Span(self.whole.source, self.offsets[start], last + (1 if end > start else 0))


def written(scalar: Scalar) -> Written:
    """The scalar's text, aligned with its source."""
    raw = scalar.span.text
    begin = _begin(raw, scalar.style)
    if raw[begin : begin + len(scalar.text)] == scalar.text:
        return Written(scalar.text, scalar.span, tuple(range(scalar.span.start + begin, scalar.span.start + begin + len(scalar.text))))
    return Written(scalar.text, scalar.span, _aligned(scalar, raw, begin))


def _begin(raw: str, style: str) -> int:
    """Where the content begins: after a quote, or after the line of a block sign."""
    if style in ("|", ">"):
        return raw.find("\n") + 1
    return len(style)


def _aligned(scalar: Scalar, raw: str, position: int) -> tuple[int, ...] | None:
    """Offsets where blanks of the text stand for any run of blanks and line ends; None when other characters differ."""
    offsets: list[int] = []
    for character in scalar.text:
        if not character.isspace():
            while position < len(raw) and raw[position].isspace():
                position += 1
            if position >= len(raw) or raw[position] != character:
                return None
        offsets.append(scalar.span.start + min(position, len(raw) - 1))
        if position < len(raw) and raw[position].isspace() == character.isspace():
            position += 2 if character == scalar.style == "'" else 1  # a quote inside quotes is doubled
    return tuple(offsets)
