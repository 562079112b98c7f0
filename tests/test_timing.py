"""The limits of tests that time something: they hold on a slow machine, and ten times the work is too much."""

from __future__ import annotations

from pathlib import Path

import pytest

from nlc.cli import main
from tests import timing
from tests.front.hostile import GROWING
from tests.front.test_hostile import SOON
from tests.timing import is_in_time


def test_the_limit_grows_with_the_yardstick(monkeypatch: pytest.MonkeyPatch) -> None:
    assert not is_in_time(1e-9, timing._pure_python)
    monkeypatch.setattr(timing, "YARDSTICK", 1e-12)  # as on a machine that is slower by so much
    assert is_in_time(1e-9, timing._pure_python)


def test_ten_times_the_work_is_noticed(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """The slowest of the hostile texts, checked ten times over, is what a check that is ten times slower would be."""
    monkeypatch.chdir(tmp_path)
    Path("bad.yaml").write_text(GROWING["a product of many errors"][0], encoding="utf-8")
    assert is_in_time(SOON, lambda: main(["check", "bad.yaml"]))
    assert not is_in_time(SOON, lambda: [main(["check", "bad.yaml"]) for _ in range(10)], patience=1)
