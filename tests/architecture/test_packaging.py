"""What is installed: the wheel carries library, templates and specs; every version is pinned; installations obey the pins."""

from __future__ import annotations

import re
import subprocess
import sys
import tomllib
import zipfile
from pathlib import Path

from tests.architecture.modules import ROOT


def normalised(requirement: str) -> str:
    return re.sub(r"[-_.]+", "-", re.split(r"[<>=~!;\[ ]", requirement)[0]).lower()


def below(folder: str, *suffixes: str) -> set[str]:
    return {path.relative_to(ROOT).as_posix() for path in (ROOT / folder).rglob("*") if path.suffix in suffixes}


def test_the_wheel_carries_what_nlc_reads(tmp_path: Path) -> None:
    command = [sys.executable, "-m", "build", "--wheel", "--no-isolation", "--outdir", str(tmp_path), str(ROOT)]
    done = subprocess.run(command, cwd=tmp_path, capture_output=True, text=True, timeout=120, check=False)
    assert done.returncode == 0, done.stdout + done.stderr
    (wheel,) = tmp_path.glob("*.whl")
    carried = {name for name in zipfile.ZipFile(wheel).namelist() if ".dist-info/" not in name}
    assert carried == {"nlc/py.typed", *below("nlc", ".py", ".yaml", ".j2", ".json"), *(f"nlc/{path}" for path in below("specs", ".yaml"))}


def test_every_requirement_is_pinned() -> None:
    project = tomllib.loads((ROOT / "pyproject.toml").read_text())
    extras = project["project"]["optional-dependencies"].values()
    required = [*project["build-system"]["requires"], *project["project"]["dependencies"], *(item for extra in extras for item in extra)]
    lines = [line for line in (ROOT / "constraints.txt").read_text().splitlines() if not line.startswith("#")]
    assert [line for line in lines if not re.fullmatch(r"[\w.-]+==[\w.]+", line)] == []
    assert {normalised(item) for item in required} <= {normalised(line) for line in lines}


def test_every_installation_obeys_the_pins() -> None:
    text = (ROOT / "Makefile").read_text()
    installations = [line for line in text.splitlines() if "pip install" in line]
    assert installations
    assert all("--constraint constraints.txt" in line for line in installations)
    assert "index-url" not in text
