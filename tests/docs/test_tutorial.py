"""The tutorial, done as it says: files written, edits applied, commands run in an empty folder, and every output compared."""

from __future__ import annotations

import sys
from collections.abc import Iterator
from pathlib import Path

import pytest
import torch

from tests.architecture.modules import ROOT
from tests.docs.console import run, sessions
from tests.docs.pages import Block, agrees, blocks

PAGE = ROOT / "docs" / "tutorial" / "index.md"
SPEC = "forgetful.yaml"


@pytest.fixture
def folder(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Iterator[Path]:
    """An empty folder to work in, from which modules can be imported and are forgotten afterwards."""
    monkeypatch.chdir(tmp_path)
    monkeypatch.syspath_prepend(str(tmp_path))
    known = set(sys.modules)
    yield tmp_path
    for name in set(sys.modules) - known:
        if str(getattr(sys.modules[name], "__file__", "")).startswith(str(tmp_path)):
            del sys.modules[name]


def test_the_tutorial_prints_what_it_shows(folder: Path) -> None:
    torch.manual_seed(0)
    for block in blocks(PAGE.read_text()):
        follow(block, folder)


def follow(block: Block, folder: Path) -> None:
    """Do what a block shows; a block that shows nothing to do is a mistake of the page."""
    match block.language:
        case "yaml" | "python":
            (folder / block.quoted[-1]).write_text(block.text)
        case "diff":
            path = folder / SPEC
            path.write_text(edited(path.read_text(), block))
        case "console":
            for command, expected in sessions(block.text):
                printed = run(command)
                assert agrees(expected, printed), f"line {block.line}: $ {command}\n{printed}"
        case _:
            raise AssertionError(f"line {block.line}: a block that nobody runs")


def edited(text: str, block: Block) -> str:
    """The text with the lines of a diff replaced, which must stand there once."""
    lines = block.text.splitlines()
    old = "".join(f"{line[1:]}\n" for line in lines if line[0] in " -")
    new = "".join(f"{line[1:]}\n" for line in lines if line[0] in " +")
    assert text.count(old) == 1, f"line {block.line}: the spec does not have this once:\n{old}"
    return text.replace(old, new)


def test_an_output_that_differs_is_noticed() -> None:
    shown = "one\n...\nthree is ... here\n"
    assert agrees(shown, "one\ntwo\ntwo\nthree is 3 here\n")
    assert agrees(shown, "one\nthree is 3 here\n")
    assert not agrees(shown, "one\ntwo\nthree is 3 there\n")
    assert not agrees(shown, "one\ntwo\nthree is 3 here\nfour\n")


def test_an_edit_of_what_is_not_there_is_noticed() -> None:
    block = Block("diff", " one\n-two\n+three\n", "", 1)
    assert edited("zero\none\ntwo\n", block) == "zero\none\nthree\n"
    with pytest.raises(AssertionError, match="does not have this once"):
        edited("zero\ntwo\n", block)
