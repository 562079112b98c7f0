"""Every mistake has its exact message: tests/bad/CODE-what.yaml beside the text that `nlc check` prints about it.

`UPDATE=1 pytest tests/test_bad.py` rewrites the texts; read the difference before committing it.
"""

from __future__ import annotations

import os
import re
from collections.abc import Mapping
from pathlib import Path
from types import MappingProxyType

import pytest

from nlc.cli import main
from tests.architecture.codes import CODE_FILES, rows, stage
from tests.architecture.modules import ROOT, Module

BAD = Path(__file__).parent / "bad"
SPECS = sorted(BAD.glob("*.yaml"))
NAME = re.compile(r"(NLC\d{3})-[a-z0-9]+(-[a-z0-9]+)*")

ELSEWHERE: Mapping[str, tuple[str, str]] = MappingProxyType(
    {
        "NLC102": ("tests/parse", "about a text of more than 1 MiB"),
        "NLC113": ("tests/parse", "about a text of more than 50,000 values"),
        "NLC181": ("tests/parse", "about a spec of more than 64 files"),
        "NLC501": ("tests/schedule", "about the length of chunks, which is not said in a spec"),
        "NLC18": ("tests/parse", "about --set, not about a spec alone"),
        "NLC6": ("tests/emit", "about the files to be written, not about a spec"),
        "NLC7": ("tests/train", "about data, settings and runs, not about a spec"),
    }
)
"""Codes, by how they begin, that no file in tests/bad can bring about: where their tests are, and why there."""


@pytest.mark.parametrize("spec", SPECS, ids=lambda path: path.stem)
def test_message(spec: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]) -> None:
    monkeypatch.chdir(BAD)
    monkeypatch.setenv("NO_COLOR", "1")
    named = NAME.fullmatch(spec.stem)
    assert named, "a bad spec is called after its code and what is wrong: NLC305-same-tick-cycle.yaml"
    assert main(["check", spec.name]) == 1
    output, notes = capsys.readouterr()
    printed = output + notes
    assert re.findall(r"^error\[(NLC\d{3})\]", printed, re.MULTILINE)[:1] == [named[1]]
    expected = spec.with_suffix(".txt")
    if os.environ.get("UPDATE") == "1":
        expected.write_text(printed)
    assert expected.exists(), "run: make update"
    assert printed == expected.read_text()


def test_every_message_has_its_spec() -> None:
    assert SPECS
    assert {path.stem for path in BAD.glob("*.txt")} == {path.stem for path in SPECS}


@pytest.mark.parametrize("module", CODE_FILES, ids=stage)
def test_every_code_is_brought_about(module: Module) -> None:
    shown = {path.stem[:6] for path in SPECS}
    assert [row.number for row in rows(module) if row.number not in shown and not is_tested_elsewhere(row.number)] == []


def is_tested_elsewhere(code: str) -> bool:
    folders = [folder for beginning, (folder, _) in ELSEWHERE.items() if code.startswith(beginning)]
    return any(code in path.read_text() for folder in folders for path in (ROOT / folder).rglob("test_*.py"))
