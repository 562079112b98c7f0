"""Console blocks of pages: the commands that they show, run in this process, and what they print."""

from __future__ import annotations

import runpy
import shlex
import subprocess
import sys
from collections.abc import Iterator
from contextlib import redirect_stderr, redirect_stdout
from io import StringIO
from pathlib import Path

from nlc.cli import main


def sessions(text: str) -> Iterator[tuple[str, str]]:
    """Each command of a console block, and what it is said to print."""
    for session in ("\n" + text).split("\n$ ")[1:]:
        command, _, expected = session.partition("\n")
        yield command, expected


def run(command: str) -> str:
    """What a command prints, on both streams."""
    program, *words = shlex.split(command)
    printed = StringIO()
    with redirect_stdout(printed), redirect_stderr(printed):
        match program:
            case "nlc":
                assert main(words) in (0, 1, 2)
            case "python":
                runpy.run_path(words[0])
            case "torchrun":
                print(launched(words))
            case "touch":
                Path(words[0]).touch()
            case "cat":
                print(Path(words[0]).read_text())
            case _:
                raise AssertionError(f"the page uses {program}, which a reader may not have")
    return printed.getvalue()


def launched(words: list[str]) -> str:
    """What several processes print."""
    command = [sys.executable, "-m", "torch.distributed.run", *words]
    done = subprocess.run(command, stdout=subprocess.PIPE, stderr=subprocess.STDOUT, text=True, timeout=600, check=False)
    assert done.returncode == 0, done.stdout
    return done.stdout
