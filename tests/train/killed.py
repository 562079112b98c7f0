"""Trains in child processes that are killed (SIGKILL) as they touch the disk for the n-th time, for every n, and goes on with each run.

`python -m tests.train.killed FOLDER FIRST STRIDE` prints one line of JSON for each moment: what there was when the run was killed, and
whether going on gave exactly what the run gives that nobody kills. Nothing is trained in this process itself, so that it can fork.
"""

from __future__ import annotations

import json
import os
import signal
import sys
from collections.abc import Callable
from dataclasses import replace
from pathlib import Path

import torch
import torch._dynamo  # optimizers import it when they are made: once here rather than in every child

from nlc.diagnostics import CompileError
from nlc.train import resume, train
from nlc.train.checkpoint import checkpoints
from tests.train.tiny import SETTINGS, recipe, write_text

TOUCHES = frozenset({"os.rename", "os.remove", "os.mkdir", "os.truncate"})
"""Audit events that change folders; opening a file to write it is one more, and so is putting it on the disk."""

RUN_SETTINGS = replace(SETTINGS, length=8, batch=2, steps=7, save_every=2, eval_every=3, eval_windows=2)
NOTHING_TO_RESUME = ("NLC715", "NLC723")


def main(folder: Path, first: int, stride: int) -> None:
    """Every `stride`-th moment at which the run touches the disk, one after another."""
    torch.set_num_threads(1)
    data = write_text(folder / "data", count=2, words=30)
    in_child(begin, data, folder / "whole")
    moment = first
    while True:
        run = folder / f"{moment:03}"
        status = in_child(killed_at, moment, data, run)
        if status == 0:
            return
        saved = [path.name for path in checkpoints(run)]
        left = sorted(path.name for path in run.rglob(".*.partial")) if run.exists() else []
        same = in_child(go_on, data, run) == 0 and results(run) == results(folder / "whole")
        print(json.dumps({"moment": moment, "killed": os.WTERMSIG(status), "saved": saved, "left": left, "same": same}), flush=True)
        moment += stride


def begin(data: Path, run: Path) -> None:
    """The run from its beginning."""
    train(recipe(RUN_SETTINGS), [data], run, RUN_SETTINGS)


def go_on(data: Path, run: Path) -> None:
    """The run from where it was killed; when that was before there was any, from its beginning."""
    try:
        resume(recipe(RUN_SETTINGS), run, RUN_SETTINGS)
    except CompileError as error:
        if error.diagnostics[0].code not in NOTHING_TO_RESUME:
            raise
        train(recipe(RUN_SETTINGS), [data], run, RUN_SETTINGS, force=error.diagnostics[0].code == "NLC723")


def killed_at(moment: int, data: Path, run: Path) -> None:
    """The run, killed just before it touches the disk for the n-th time; what it was writing is then on the disk in part."""
    touched = 0

    def touch(path: object) -> None:
        nonlocal touched
        if str(path).startswith(str(run)):
            touched += 1
            if touched == moment:
                os.kill(os.getpid(), signal.SIGKILL)

    def watch(event: str, arguments: tuple[object, ...]) -> None:
        if event in TOUCHES or (event == "open" and set(str(arguments[1])) & set("wa+")):
            touch(arguments[0])

    def torn(descriptor: int) -> None:
        path = os.readlink(f"/proc/self/fd/{descriptor}")
        size = os.fstat(descriptor).st_size
        if touched + 1 == moment and Path(path).is_file():
            os.truncate(path, size // 2)
        touch(path)

    os.fsync = torn  # type: ignore[assignment]
    sys.addaudithook(watch)
    begin(data, run)


def results(run: Path) -> tuple[object, ...]:
    """What must not depend on whether a run was killed."""
    lines = [json.loads(line) for line in (run / "metrics.jsonl").read_text().splitlines()]
    timeless = [{name: value for name, value in line.items() if name not in ("seconds", "tokens_per_second")} for line in lines]
    names = sorted(path.name for path in run.rglob("*"))
    return names, timeless, (run / "model.safetensors").read_bytes(), (run / "loss.svg").read_bytes()


def in_child(work: Callable[..., None], *arguments: object) -> int:
    """How a child process that does the work ends: 0 when it did it, else a status of `os.waitpid`."""
    child = os.fork()
    if child:
        return os.waitpid(child, 0)[1]
    try:
        work(*arguments)
    except BaseException as error:
        print(f"{type(error).__name__}: {error}", file=sys.stderr, flush=True)
        os._exit(1)
    os._exit(0)


if __name__ == "__main__":
    main(Path(sys.argv[1]), int(sys.argv[2]), int(sys.argv[3]))
