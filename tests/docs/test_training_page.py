"""The page about training, done as it says, and its table of settings against the settings."""

from __future__ import annotations

import re
from dataclasses import fields
from pathlib import Path

import pytest

from nlc.train.settings import TRAIN_SETTINGS, TrainSettings
from tests.architecture.modules import ROOT
from tests.docs.console import run, sessions
from tests.docs.pages import agrees, blocks

PAGE = (ROOT / "docs" / "training.md").read_text()
ROW = re.compile(r"^\| `(\w+)` \| ([\w.]+) \| (.*) \|$", re.MULTILINE)


@pytest.mark.slow
def test_the_page_prints_what_it_shows(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.chdir(tmp_path)
    monkeypatch.setenv("NO_COLOR", "1")
    for block in blocks(PAGE):
        if block.language == "python":
            (tmp_path / block.quoted[-1]).write_text(block.text)
        else:
            assert block.language == "console", f"line {block.line}: a block that nobody runs"
            for command, expected in sessions(block.text):
                printed = run(command)
                assert agrees(expected, printed), f"line {block.line}: $ {command}\n{printed}"


def test_the_table_has_every_setting_with_its_default_and_its_words() -> None:
    rows = {name: (default, says) for name, default, says in ROW.findall(PAGE)}
    assert list(rows) == [item.name for item in fields(TrainSettings)]
    for setting in TRAIN_SETTINGS:
        default, says = rows[setting.name]
        value = getattr(TrainSettings(), setting.name)
        assert default == (value if setting.words else f"{value:g}")
        assert all(f"`{word}`" in says for word in setting.words[1:])
