"""What every command answers to good input (0), bad specs (1) and wrong usage (2): never a traceback."""

from __future__ import annotations

import os
import subprocess
import sys
from collections.abc import Iterator
from pathlib import Path

import pytest

from nlc.cli import COMMANDS, main
from tests.front.hostile import spec

ROOT = Path(__file__).parents[2]
LONG = "x" * 5000
NOBODY = 65534

STATUSES: tuple[tuple[str, int], ...] = (
    ("", 2), ("unknown", 2), ("--version", 0), ("--help", 0), *((f"{command} --help", 0) for command in COMMANDS),
    ("check good.yaml", 0), ("check several", 0), ("check architectures/delta_rule", 0), ("check link.yaml", 0),
    ("check bad.yaml", 1), ("check good.yaml bad.yaml", 1), ("check --format json bad.yaml", 1), ("check no_text.yaml", 1),
    ("check --format xml good.yaml", 2), ("check", 2), ("check ''", 2), ("check missing.yaml", 2), ("check empty", 2),
    ("check a\0b", 2), (f"check {LONG}", 2), ("check /dev/null", 2), ("check ring.yaml", 2), ("check pipe.yaml", 2),
    ("check ../../../etc/passwd", 2), ("check good.yaml/inside", 2), ("check \udcff.yaml", 2),
    ("show good.yaml", 0), ("show --stage parse good.yaml", 0), ("show bad.yaml", 1),
    ("show --stage unknown good.yaml", 2), ("show several", 2), ("show missing", 2), (f"show {LONG}", 2),
    ("explain good.yaml", 0), ("explain bad.yaml", 1), ("explain refused.yaml", 1), ("explain missing", 2),
    ("new Fresh", 0), ("new lower", 2), ("new ../Up", 2), ("new Good", 2), (f"new {LONG}", 2),
    ("build good.yaml -o out", 0), ("build several -o out", 0), ("build bad.yaml -o out", 1), ("build good.yaml bad.yaml -o out", 1),
    ("build good.yaml -o file", 1), ("build good.yaml -o /proc/none", 1), ("build --check good.yaml -o nowhere", 1),
    ("build missing", 2), ("build good.yaml -o a\0b", 2), (f"build good.yaml -o {LONG}", 2), ("build --unknown good.yaml", 2),
    ("verify bad.yaml", 1), ("verify missing", 2), ("verify empty", 2),
    ("train bad.yaml --data file", 1), ("train good.yaml", 2), ("train missing --data file", 2),
)  # fmt: skip
"""A command line and its exit status, in the folder below."""


@pytest.fixture(autouse=True)
def folder(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Iterator[Path]:
    """A folder with a little of everything."""
    monkeypatch.chdir(tmp_path)
    for name in ("good", "several/one", "several/two"):
        (tmp_path / name).parent.mkdir(exist_ok=True)
        Path(f"{name}.yaml").write_text(spec())
    Path("bad.yaml").write_text("nlc: 1\nname: \u03bb\n")
    Path("refused.yaml").write_text(spec(every="(2 tokens) / 3"))
    Path("no_text.yaml").write_bytes(b"\xff\xfe\x00")
    Path("file").write_text("mine\n")
    Path("empty").mkdir()
    Path("link.yaml").symlink_to("good.yaml")
    Path("ring.yaml").symlink_to("ring.yaml")
    os.mkfifo("pipe.yaml")
    Path("closed").mkdir(mode=0)
    yield tmp_path
    assert Path("file").read_text() == "mine\n"


@pytest.mark.parametrize(("line", "status"), STATUSES, ids=lambda value: repr(value)[:40])
def test_status(line: str, status: int, capsys: pytest.CaptureFixture[str]) -> None:
    words = ["" if word == "''" else word for word in line.split(" ") if word]
    try:
        found = main(words)
    except SystemExit as stop:  # argparse's way to end
        found = int(stop.code or 0)
    assert found == status
    printed = capsys.readouterr()
    assert "Traceback" not in printed.out + printed.err
    if status == 1:
        assert printed.err == "", "what is wrong with a spec is what the command has to say"
    if status == 2:
        assert printed.out == "" and printed.err, "what is wrong with the usage is no result"


IN_A_PROCESS = ("check bad.yaml", "check missing.yaml", "show --stage unknown good.yaml", "explain bad.yaml", "verify missing")


@pytest.mark.parametrize("line", IN_A_PROCESS)
@pytest.mark.parametrize("encoding", ["ascii", "utf-8"])
def test_no_traceback_in_a_process_of_its_own(line: str, encoding: str) -> None:
    environment = {**os.environ, "PYTHONPATH": str(ROOT), "PYTHONIOENCODING": encoding}
    done = subprocess.run([sys.executable, "-m", "nlc", *line.split()], capture_output=True, env=environment, check=False)
    assert done.returncode == dict(STATUSES)[line]
    assert b"Traceback" not in done.stderr + done.stdout


def test_a_pipe_that_closes_is_no_mistake_of_nlc() -> None:
    command = f"{sys.executable} -m nlc check bad.yaml --format json | true"
    done = subprocess.run(["bash", "-c", command], capture_output=True, env={**os.environ, "PYTHONPATH": str(ROOT)}, check=False)
    assert b"Traceback" not in done.stderr


@pytest.fixture
def powerless(folder: Path) -> Iterator[None]:
    """Everything is permitted to root, so be somebody else; modules are loaded before."""
    assert main(["build", "good.yaml", "-o", "before"]) == 0
    folder.chmod(0o755)
    user = os.geteuid()
    if user == 0:
        os.seteuid(NOBODY)
    yield
    os.seteuid(user)


@pytest.mark.usefixtures("powerless")
def test_a_folder_without_permission() -> None:
    assert main(["check", "closed"]) == 2
    assert main(["check", "closed/good.yaml"]) == 2
    assert main(["build", "good.yaml", "-o", "closed"]) == 1
