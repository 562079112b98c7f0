from __future__ import annotations

import errno
import json
import os
import signal
from collections.abc import Iterable
from dataclasses import replace
from math import isfinite
from pathlib import Path
from xml.etree import ElementTree

import pytest
import torch
from safetensors import safe_open
from torch import Tensor
from torch.optim import SGD, Optimizer

from nlc.diagnostics import CompileError
from nlc.train import Status, TrainResult, TrainSettings, train
from nlc.train.loop import rate_at, set_rate
from nlc.train.model import LanguageModel
from nlc.train.progress import Watcher, silent
from nlc.train.run import FILES
from tests.train.tiny import INTERFACE, SETTINGS, Momentum, Tiny, write_text


def run(
    folder: Path, settings: TrainSettings = SETTINGS, *, progress: Watcher = silent, force: bool = False, name: str = "run"
) -> TrainResult:
    data = write_text(folder / "data", count=40, words=40)
    return train(Tiny, Momentum, INTERFACE, [data], folder / name, settings, progress, force=force)


def metrics(folder: Path) -> list[dict[str, float | None]]:
    return [json.loads(line) for line in (folder / "metrics.jsonl").read_text().splitlines()]


def untimed(folder: Path) -> list[dict[str, float | None]]:
    return [{name: line[name] for name in ("step", "train_loss", "held_out_loss")} for line in metrics(folder)]


def test_a_run_leaves_its_five_files(tmp_path: Path) -> None:
    result = run(tmp_path)
    folder = tmp_path / "run"
    assert sorted(path.name for path in folder.iterdir()) == sorted(FILES)
    assert not result.is_interrupted and result.steps == SETTINGS.steps
    settings = json.loads((folder / "settings.json").read_text())
    assert settings["memory"] == {"name": "Tiny", "arguments": {"d": 4}}
    assert TrainSettings(**settings["settings"]) == SETTINGS
    summary = json.loads((folder / "summary.json").read_text())
    assert summary["held_out_loss"] == result.held_out_loss
    assert summary["parameters"] > 0 and summary["training_bytes"] > summary["held_out_bytes"] > 0
    assert ElementTree.parse(folder / "loss.svg").getroot().tag.endswith("svg")


def test_metrics_have_a_line_every_ten_steps_and_every_measurement(tmp_path: Path) -> None:
    result = run(tmp_path)
    lines = metrics(tmp_path / "run")
    assert [line["step"] for line in lines] == [5, 10, 12]
    for line in lines:
        assert list(line) == ["step", "train_loss", "held_out_loss", "tokens_per_second", "seconds"]
        assert all(isfinite(value) for value in line.values() if value is not None)
    assert lines[-1]["held_out_loss"] == result.held_out_loss


def test_the_weights_are_those_of_the_model(tmp_path: Path) -> None:
    run(tmp_path)
    expected = LanguageModel(Tiny, INTERFACE, layers=SETTINGS.layers, width=SETTINGS.d_model).state_dict()
    with safe_open(tmp_path / "run" / "model.safetensors", framework="pt") as file:
        assert {name: tuple(file.get_tensor(name).shape) for name in file.keys()} == {
            name: tuple(tensor.shape) for name, tensor in expected.items()
        }


def test_a_run_repeats_with_its_seed_and_differs_with_another(tmp_path: Path) -> None:
    torch.manual_seed(1)
    before = torch.get_rng_state()
    run(tmp_path, name="first")
    assert torch.equal(before, torch.get_rng_state())
    torch.manual_seed(2)
    run(tmp_path, name="second")
    run(tmp_path, replace(SETTINGS, seed=1), name="third")
    first, second, third = (tmp_path / name for name in ("first", "second", "third"))
    assert untimed(first) == untimed(second) != untimed(third)
    for name in ("loss.svg", "model.safetensors"):
        assert (first / name).read_bytes() == (second / name).read_bytes() != (third / name).read_bytes()


def test_training_beats_counting_pairs(tmp_path: Path) -> None:
    result = run(tmp_path, replace(SETTINGS, steps=120, learning_rate=0.3, batch=8, eval_every=60))
    assert result.held_out_loss < result.bigram_loss


@pytest.mark.parametrize("step", [1, 3])
def test_ctrl_c_ends_a_run_with_everything_written(tmp_path: Path, step: int) -> None:
    def press(status: Status) -> None:
        if status.step == step:
            signal.raise_signal(signal.SIGINT)

    handler = signal.getsignal(signal.SIGINT)
    result = run(tmp_path, progress=press)
    assert result.is_interrupted and result.steps == step + 1
    assert sorted(path.name for path in (tmp_path / "run").iterdir()) == sorted(FILES)
    assert metrics(tmp_path / "run")[-1]["held_out_loss"] == result.held_out_loss
    assert signal.getsignal(signal.SIGINT) is handler


def test_a_second_ctrl_c_stops_at_once(tmp_path: Path) -> None:
    def press(status: Status) -> None:
        signal.raise_signal(signal.SIGINT)

    with pytest.raises(KeyboardInterrupt):
        run(tmp_path, progress=press)
    assert (tmp_path / "run" / "loss.svg").exists()


class Exploding(Momentum):
    """Momentum whose weights become infinite at the eighth step."""

    count = 0

    @torch.no_grad()
    def step(self, closure: None = None) -> None:  # type: ignore[override]
        super().step()
        self.count += 1
        if self.count == 8:
            self.param_groups[0]["params"][-1].fill_(float("inf"))


def test_a_loss_that_is_no_number_stops_the_run_and_spares_its_files(tmp_path: Path) -> None:
    data = write_text(tmp_path / "data", count=40, words=40)
    with pytest.raises(CompileError, match="NLC712: the loss is no longer a number at step 9") as caught:
        train(Tiny, Exploding, INTERFACE, [data], tmp_path / "run", SETTINGS)
    assert "--set learning_rate=0.125" in caught.value.diagnostics[0].help
    assert [line["step"] for line in metrics(tmp_path / "run")] == [5]
    assert (tmp_path / "run" / "loss.svg").exists()
    with safe_open(tmp_path / "run" / "model.safetensors", framework="pt") as file:
        assert all(bool(file.get_tensor(name).isfinite().all()) for name in file.keys())


def test_bad_data_is_reported_before_anything_is_written(tmp_path: Path) -> None:
    with pytest.raises(CompileError, match="NLC706"):
        train(Tiny, Momentum, INTERFACE, [tmp_path / "none"], tmp_path / "run", SETTINGS)
    assert not (tmp_path / "run").exists()


def test_an_earlier_run_is_replaced_only_by_force(tmp_path: Path) -> None:
    run(tmp_path)
    note = tmp_path / "run" / "note.txt"
    note.write_text("mine")
    with pytest.raises(CompileError, match=r"NLC710: .* already holds a run"):
        run(tmp_path)
    run(tmp_path, replace(SETTINGS, steps=3), force=True)
    assert [line["step"] for line in metrics(tmp_path / "run")] == [3]
    assert note.read_text() == "mine"


@pytest.mark.parametrize("force", [False, True])
def test_a_folder_of_something_else_is_never_touched(tmp_path: Path, force: bool) -> None:
    taken = tmp_path / "run"
    taken.mkdir()
    (taken / "settings.json").write_text("[]")
    with pytest.raises(CompileError, match=r"NLC710: .* holds no run"):
        run(tmp_path, force=force)
    assert [path.name for path in taken.iterdir()] == ["settings.json"]
    assert (taken / "settings.json").read_text() == "[]"


def test_a_file_in_the_place_of_the_folder_is_refused(tmp_path: Path) -> None:
    (tmp_path / "run").write_text("a file")
    with pytest.raises(CompileError, match="NLC710"):
        run(tmp_path)
    assert (tmp_path / "run").read_text() == "a file"
    with pytest.raises(CompileError, match="NLC711"):
        run(tmp_path, name="run/inside")


def test_a_full_disk_is_reported_and_leaves_no_part_of_a_file(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    def full(descriptor: int) -> None:
        raise OSError(errno.ENOSPC, "No space left on device")

    monkeypatch.setattr(os, "fsync", full)
    with pytest.raises(CompileError, match=r"NLC711: .*settings\.json cannot be written: No space left on device"):
        run(tmp_path)
    assert list((tmp_path / "run").iterdir()) == []


def test_the_rate_rises_and_falls() -> None:
    settings = TrainSettings(steps=100, warmup=10)
    rates = [rate_at(step, settings) for step in range(1, 101)]
    assert rates[:11] == sorted(rates[:11]) and rates[10:] == sorted(rates[10:], reverse=True)
    assert 0 < rates[0] < 0.1 and 0 < rates[-1] < 1e-3 and max(rates) > 0.95
    assert rate_at(1, TrainSettings(steps=1, warmup=0)) == 1


class OwnWord(Optimizer):
    """An optimizer whose rate has the spec's own word."""

    def __init__(self, parameters: Iterable[Tensor]) -> None:
        super().__init__(parameters, {"learning_rate": 1.0})


def test_the_rate_is_set_under_either_name() -> None:
    weights = torch.zeros(2, requires_grad=True)
    for optimizer, key in ((SGD([weights], lr=1.0), "lr"), (OwnWord([weights]), "learning_rate")):
        set_rate(optimizer, 0.25)
        assert optimizer.param_groups[0][key] == 0.25
