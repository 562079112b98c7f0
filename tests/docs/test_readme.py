"""The README quotes: every block is an excerpt of a file or of an output that it names, and its commands exist."""

from __future__ import annotations

import re
import shlex
from collections.abc import Iterable, Iterator, Sequence
from contextlib import redirect_stdout
from functools import cache
from io import StringIO

import pytest

from nlc.cli import COMMANDS, main
from nlc.pipeline import STAGES
from tests.architecture.modules import ROOT
from tests.docs.pages import Block, blocks

PAGE = (ROOT / "README.md").read_text()
BLOCKS = tuple(blocks(PAGE))
SHELL = re.compile(r"(make|nlc|pip|python) ")
TARGET = re.compile(r"^([a-z-]+):", re.MULTILINE)


def commands_before(count: int) -> list[tuple[str, ...]]:
    """The `nlc COMMAND SPEC` that were named up to a block, last first; a command without a spec is about the spec named before."""
    found: list[tuple[str, ...]] = []
    spec: tuple[str, ...] = ()
    for block in BLOCKS[: count + 1]:
        for words in (tuple(shlex.split(text)) for text in block.quoted if text.startswith("nlc ")):
            spec = words[2:] or spec
            found.append((*words[1:2], *spec))
    return found[::-1]


def files_before(count: int) -> list[str]:
    """The texts of the files that were named up to a block, last first."""
    named = [text for block in BLOCKS[: count + 1] for text in block.quoted]
    return [(ROOT / name).read_text() for name in reversed(named) if (ROOT / name).is_file()]


@cache
def output(words: tuple[str, ...]) -> str:
    printed = StringIO()
    with redirect_stdout(printed):
        main(words)
    return printed.getvalue()


def sources(count: int) -> Iterator[str]:
    """What a block may quote: the files named before it, then the outputs of the last commands named before it."""
    yield from files_before(count)
    yield from (output(words) for words in commands_before(count)[:2] if words[0] in ("explain", "verify", "show"))


def is_excerpt(lines: Sequence[str], text: str) -> bool:
    """Whether the lines occur in the text, in this order; blanks count as one, and `...` leaves something out."""
    present = (" ".join(line.split()) for line in text.splitlines())
    return all(any(_occurs(line, candidate) for candidate in present) for line in lines if line.split() not in ([], ["..."]))


def _occurs(line: str, candidate: str) -> bool:
    parts = [re.escape(" ".join(part.split())) for part in line.split("...")]
    return re.search(".*".join(parts), candidate) is not None


@pytest.mark.parametrize("count", range(len(BLOCKS)), ids=lambda count: f"line {BLOCKS[count].line}")
def test_block_is_true(count: int, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.chdir(ROOT)
    block = BLOCKS[count]
    lines = block.text.splitlines()
    if not block.language and SHELL.match(lines[0]):
        check_shell(lines)
    elif re.search(r"-\w+->", block.text):
        assert re.findall(r"-(\w+)->", block.text) == [*(stage.name for stage in STAGES), "verify"]
    else:
        assert any(is_excerpt(lines, text) for text in sources(count)), "quotes nothing that is named before it"


def check_shell(lines: Iterable[str]) -> None:
    """Targets of the Makefile and commands of nlc are those that there are."""
    targets = set(TARGET.findall((ROOT / "Makefile").read_text()))
    for line in lines:
        program, *words = shlex.split(line, comments=True) or [""]
        assert program in ("", "make", "nlc", "pip", "python")
        if program in ("make", "nlc"):
            assert words[0] in (targets if program == "make" else COMMANDS), line


def test_an_excerpt_keeps_the_order_and_the_words() -> None:
    block = Block("", "one\n...\nthree  is ... here\n", "", 1)
    lines = block.text.splitlines()
    assert is_excerpt(lines, "zero\n  one\ntwo\nthree is 3 and here\n")
    assert not is_excerpt(lines, "three is 3 and here\none\n")
    assert not is_excerpt(lines, "one\nthree is 3\n")
