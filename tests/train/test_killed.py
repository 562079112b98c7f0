"""Whenever a run is killed, also in the middle of a save, going on gives exactly what it would have given (tests/train/killed.py)."""

from __future__ import annotations

import json
import os
import signal
import subprocess
import sys
from pathlib import Path

import pytest

from tests.architecture.modules import ROOT

pytestmark = pytest.mark.skipif(not Path("/proc/self/fd").exists() or not hasattr(os, "fork"), reason="forks, and reads /proc")


def moments(folder: Path, first: int, stride: int) -> list[dict[str, object]]:
    command = [sys.executable, "-m", "tests.train.killed", str(folder), str(first), str(stride)]
    done = subprocess.run(command, cwd=ROOT, capture_output=True, text=True, timeout=600, check=False)
    assert done.returncode == 0, done.stderr
    found = [json.loads(line) for line in done.stdout.splitlines()]
    assert [item for item in found if not item["same"]] == [], done.stderr
    assert {item["killed"] for item in found} == {signal.SIGKILL}
    return found


def test_a_run_that_is_killed_goes_on_as_if_it_had_not_been(tmp_path: Path) -> None:
    assert len(moments(tmp_path, 4, 9)) >= 8


@pytest.mark.slow
def test_whenever_it_is_killed(tmp_path: Path) -> None:
    found = moments(tmp_path, 1, 1)
    assert len(found) >= 60
    in_a_save = [item for item in found if any(".safetensors" in str(name) for name in item["left"])]  # type: ignore[attr-defined]
    assert len(in_a_save) >= 8, "also while a checkpoint is written, and when half of it is on the disk"
