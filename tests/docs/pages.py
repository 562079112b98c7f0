"""Pages as data: their fenced and indented blocks, each with the text before it; and outputs in which `...` stands for anything."""

from __future__ import annotations

import re
from collections.abc import Iterator, Sequence
from dataclasses import dataclass

FENCE = re.compile(r"```(\S*)")
QUOTED = re.compile(r"`([^`\n]+)`")


@dataclass(frozen=True, slots=True)
class Block:
    """A block of a page: its language (empty when it is indented), its text, the text since the block before, its first line."""

    language: str
    text: str
    before: str
    line: int

    @property
    def quoted(self) -> list[str]:
        """What the text before says between backquotes, in order."""
        return QUOTED.findall(self.before)


def blocks(page: str) -> Iterator[Block]:
    """The fenced and the indented blocks of a page, in order."""
    before: list[str] = []
    lines = page.splitlines()
    number = 0
    while number < len(lines):
        fence = FENCE.fullmatch(lines[number])
        is_block = fence is not None or lines[number].startswith("    ")
        if not is_block:
            before.append(lines[number])
            number += 1
            continue
        end = _end(lines, number, fenced=fence is not None)
        body = lines[number + 1 : end] if fence else [line[4:] for line in lines[number:end]]
        yield Block(fence[1] if fence else "", "\n".join(body).rstrip() + "\n", "\n".join(before), number + 1)
        before = []
        number = end + (1 if fence else 0)


def _end(lines: Sequence[str], start: int, *, fenced: bool) -> int:
    """Where a block ends: at the closing fence, or after the last line that is indented or blank."""
    if fenced:
        return next(number for number in range(start + 1, len(lines)) if lines[number] == "```")
    return next((number for number in range(start, len(lines)) if lines[number] and not lines[number].startswith("    ")), len(lines))


def agrees(expected: str, printed: str) -> bool:
    """Whether an output is the expected one: a line `...` stands for any lines, `...` within a line for any text."""
    pattern = "".join(_pattern(line) for line in expected.rstrip().splitlines())
    return re.fullmatch(pattern, "".join(f"{line.rstrip()}\n" for line in printed.rstrip().splitlines())) is not None


def _pattern(line: str) -> str:
    if line.strip() == "...":
        return r"(?:.*\n)*?"
    return re.escape(line.rstrip()).replace(re.escape("..."), ".*") + r"\n"
