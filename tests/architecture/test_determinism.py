"""The same specs give the same bytes: under any hash seed, from any folder, and as they are committed."""

from __future__ import annotations

import os
import subprocess
import sys
from pathlib import Path

import pytest

from tests.architecture.modules import ROOT

ENVIRONMENTS = {
    "seed 0, another folder": ({"PYTHONHASHSEED": "0"}, False),
    "seed 1, the root": ({"PYTHONHASHSEED": "1"}, True),
    "seed 2, another folder and language": ({"PYTHONHASHSEED": "2", "LC_ALL": "C", "TZ": "Asia/Tokyo"}, False),
}


def tree(folder: Path) -> dict[str, bytes]:
    return {path.relative_to(folder).as_posix(): path.read_bytes() for path in sorted(folder.rglob("*.py"))}


@pytest.mark.parametrize("name", [pytest.param(name, marks=[] if "language" in name else [pytest.mark.slow]) for name in ENVIRONMENTS])
def test_build_gives_the_committed_bytes(name: str, tmp_path: Path) -> None:
    variables, at_root = ENVIRONMENTS[name]
    built = tmp_path / "built"
    specs = "specs" if at_root else str(ROOT / "specs")
    done = subprocess.run(
        [sys.executable, "-m", "nlc", "build", specs, "-o", str(built)],
        cwd=ROOT if at_root else tmp_path,
        env={**os.environ, "PYTHONPATH": str(ROOT), **variables},
        capture_output=True,
        text=True,
        timeout=120,
        check=False,
    )
    assert done.returncode == 0, done.stderr
    assert tree(built)
    assert tree(built) == tree(ROOT / "generated")


def test_every_spec_has_its_generated_module() -> None:
    specs = {path.relative_to(ROOT / "specs").with_suffix(".py").as_posix() for path in (ROOT / "specs").rglob("*.yaml")}
    assert set(tree(ROOT / "generated")) == {path for path in specs if not path.startswith("parts/")}
