"""Two processes under torchrun train what one process trains on all of their data."""

from __future__ import annotations

import json
import shutil
import subprocess
import sys
from collections.abc import Callable, Sequence
from pathlib import Path
from typing import Any

import pytest
import torch
from safetensors.torch import load_file

from nlc.train import Processes, resume
from nlc.train.checkpoint import Checkpoint, checkpoints, read_checkpoint
from nlc.train.parallel import processes
from nlc.train.tree import leaves
from tests.architecture.modules import ROOT
from tests.train.tiny import write_text
from tests.train.together import SPECS, VARIANTS, made, run

Run = Callable[[str], tuple[Path, Path]]


def together(folder: Path, names: Sequence[str]) -> None:
    """Train the variants by two processes."""
    launcher = [sys.executable, "-m", "torch.distributed.run", "--standalone", "--nproc-per-node", "2"]
    command = [*launcher, "-m", "tests.train.together", str(folder), *names]
    done = subprocess.run(command, cwd=ROOT, capture_output=True, text=True, timeout=600, check=False)
    assert done.returncode == 0, done.stdout + done.stderr


def folder_of(place: Path, names: Sequence[str]) -> Path:
    write_text(place / "two" / "data", count=20, words=40)
    write_text(place / "one" / "data", count=20, words=40)
    together(place / "two", names)
    for name in names:
        run(place / "one", name, Processes())
    return place


@pytest.fixture(scope="module")
def place(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return folder_of(tmp_path_factory.mktemp("place"), list(VARIANTS))


def weights(run: Path) -> dict[str, torch.Tensor]:
    return load_file(run / "model.safetensors")


def gap(one: Path, two: Path) -> float:
    first, second = weights(one), weights(two)
    return max(float((tensor.double() - second[name].double()).abs().max()) for name, tensor in first.items())


def lines(run: Path) -> list[dict[str, Any]]:
    return [json.loads(line) for line in (run / "metrics.jsonl").read_text().splitlines()]


@pytest.mark.parametrize("name", [name for name in VARIANTS if name != "single"])
def test_two_processes_train_what_one_does(place: Path, name: str) -> None:
    one, two = place / "one" / name, place / "two" / name
    assert gap(one, two) < 1e-10
    for first, second in zip(lines(one), lines(two), strict=True):
        assert first["updates"] == second["updates"]
        for key in ("train_loss", "held_out_loss", "gradient_norm"):
            assert second[key] == pytest.approx(first[key], rel=1e-10)
        assert second["state_norms"] == pytest.approx(first["state_norms"], rel=1e-8)


def test_two_processes_in_float32_have_the_same_losses(place: Path) -> None:
    first, second = (lines(place / number / "single")[-1] for number in ("one", "two"))
    assert first["step"] == 20 and second["held_out_loss"] == pytest.approx(first["held_out_loss"], abs=1e-5)


def checkpoint(run: Path) -> Checkpoint:
    return read_checkpoint(checkpoints(run)[-1])


def test_a_checkpoint_of_two_processes_is_one_of_all_sequences(place: Path) -> None:
    first, second = (dict(leaves(checkpoint(place / number / "periods").tree)) for number in ("one", "two"))
    assert len(second.pop("random")) == 2 * len(first.pop("random"))
    assert list(first) == list(second)
    for name, x in first.items():
        assert x.shape == second[name].shape and torch.allclose(x.double(), second[name].double(), atol=1e-9), name


@pytest.mark.parametrize("name", ["stream", "periods"])
def test_another_number_of_processes_goes_on(place: Path, name: str, tmp_path: Path) -> None:
    recipe, settings = made(name)
    run = shutil.copytree(place / "two" / name, tmp_path / "run")
    checkpoints(run)[-1].unlink()
    assert resume(recipe, run, settings).steps == settings.steps
    assert gap(place / "one" / name, run) < 1e-10


def test_one_process_does_nothing_of_it() -> None:
    with processes() as own:
        assert own == Processes(count=1, rank=0) and own.writes
        x = torch.arange(6.0).view(3, 2)
        own.average([x])
        assert torch.equal(own.rows(x), x) and torch.equal(own.everyone(x), x[None]) and own.mean(2.5) == 2.5


def test_every_row_is_somebodys(place: Path) -> None:
    batch = torch.arange(12).view(6, 2)
    parts = [Processes(count=3, rank=rank).scattered({"x": batch, "count": torch.tensor(4)}, 6) for rank in range(3)]
    assert sorted(row for part in parts for row in part["x"].tolist()) == batch.tolist()
    assert all(part["count"] == 4 for part in parts)


@pytest.mark.slow
def test_two_processes_train_shipped_specs_as_one_does(tmp_path: Path) -> None:
    folder_of(tmp_path, SPECS)
    for name in SPECS:
        assert gap(tmp_path / "one" / name, tmp_path / "two" / name) < 1e-10, name
