from __future__ import annotations

import errno
import json
import os
import signal
import sys
from dataclasses import replace
from math import isfinite, log
from pathlib import Path
from typing import Any
from xml.etree import ElementTree

import pytest
import torch
from safetensors import safe_open
from safetensors.torch import load_file

from nlc.commands.training import new_run
from nlc.diagnostics import CompileError
from nlc.train import Processes, Recipe, Status, TrainResult, TrainSettings, train
from nlc.train.checkpoint import checkpoints
from nlc.train.data import open_corpus
from nlc.train.loop import rate_at
from nlc.train.model import LanguageModel
from nlc.train.progress import Watcher, silent
from nlc.train.recipe import made_network
from nlc.train.run import FILES
from tests.train.tiny import INTERFACE, SETTINGS, Momentum, Tiny, recipe, write_text


def run(
    folder: Path, settings: TrainSettings = SETTINGS, *, progress: Watcher = silent, force: bool = False, name: str = "run"
) -> TrainResult:
    data = write_text(folder / "data", count=40, words=40)
    return train(recipe(settings), [data], folder / name, settings, progress, force=force)


LEFT = sorted((*FILES, "checkpoints", "text"))
"""What every run leaves."""


def metrics(folder: Path) -> list[dict[str, Any]]:
    return [json.loads(line) for line in (folder / "metrics.jsonl").read_text().splitlines()]


def untimed(folder: Path) -> list[dict[str, Any]]:
    return [{name: value for name, value in line.items() if name not in ("tokens_per_second", "seconds")} for line in metrics(folder)]


def test_a_run_leaves_its_files(tmp_path: Path) -> None:
    result = run(tmp_path)
    folder = tmp_path / "run"
    assert sorted(path.name for path in folder.iterdir()) == LEFT
    assert not result.is_interrupted and result.steps == SETTINGS.steps
    settings = json.loads((folder / "settings.json").read_text())
    assert settings["spec"] == {"name": "Tiny", "digest": "the spec", "memory": "Tiny", "arguments": {"d": 4}}
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
        assert all(isfinite(value) for value in line.values() if isinstance(value, float))
        assert line["updates"] == {"Momentum, every step": line["step"]}
        assert set(line["state_norms"]) == {"0.recent", "0.memory"} and all(value > 0 for value in line["state_norms"].values())
        assert line["gradient_norm"] > 0 and 0 < line["learning_rate"] <= 0.25
    assert lines[-1]["held_out_loss"] == result.held_out_loss


def test_the_weights_are_those_of_the_model(tmp_path: Path) -> None:
    run(tmp_path)
    expected = dict(LanguageModel(Tiny, INTERFACE, layers=SETTINGS.layers, width=SETTINGS.d_model).named_parameters())
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
    result = run(tmp_path, replace(SETTINGS, steps=120, batch=8, eval_every=60))
    assert result.held_out_loss < result.bigram_loss


@pytest.mark.parametrize("step", [1, 3])
def test_ctrl_c_ends_a_run_with_everything_written(tmp_path: Path, step: int) -> None:
    def press(status: Status) -> None:
        if status.step == step:
            signal.raise_signal(signal.SIGINT)

    handler = signal.getsignal(signal.SIGINT)
    result = run(tmp_path, progress=press)
    assert result.is_interrupted and result.steps == step + 1
    assert sorted(path.name for path in (tmp_path / "run").iterdir()) == LEFT
    assert [path.name for path in checkpoints(tmp_path / "run")] == [f"step-{step + 1:09}.safetensors"]
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
    settings = replace(SETTINGS, save_every=3)
    exploding = recipe(settings, optimizer=lambda parameters: Exploding(parameters, 0.25, 0.9))
    with pytest.raises(CompileError, match="NLC712: the loss is no longer a number at step 9") as caught:
        train(exploding, [data], tmp_path / "run", settings)
    assert "try a smaller rate" in caught.value.diagnostics[0].help
    assert [line["step"] for line in metrics(tmp_path / "run")] == [5]
    assert (tmp_path / "run" / "loss.svg").exists()
    assert [path.name for path in checkpoints(tmp_path / "run")] == ["step-000000003.safetensors", "step-000000006.safetensors"]
    with safe_open(checkpoints(tmp_path / "run")[-1], framework="pt") as file:
        assert all(bool(file.get_tensor(name).isfinite().all()) for name in file.keys() if name.startswith("network."))


def test_bad_data_is_reported_before_anything_is_written(tmp_path: Path) -> None:
    with pytest.raises(CompileError, match="NLC706"):
        train(recipe(), [tmp_path / "none"], tmp_path / "run", SETTINGS)
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


@pytest.mark.parametrize(
    ("settings", "made", "message"),
    [
        (SETTINGS, recipe(vocabulary=255), "NLC720: Tiny knows 255 tokens, and the text has 256"),
        (
            replace(SETTINGS, tokens="bpe", vocabulary=400, length=70),
            recipe(vocabulary=400),
            r"NLC721: too few tokens: the training or the held-out text has \d+, and a window of 70 needs 71",
        ),
        (
            replace(SETTINGS, text="stream", batch=4000),
            recipe(),
            r"NLC722: 1\d,\d+ tokens cannot be read as 4,000 streams in windows of 16",
        ),
    ],
)
def test_texts_that_do_not_fit_are_reported(tmp_path: Path, settings: TrainSettings, made: Recipe, message: str) -> None:
    data = write_text(tmp_path / "data", words=140 if settings.tokens == "bpe" else 1200)
    with pytest.raises(CompileError, match=message):
        train(made, [data], tmp_path / "run", settings)


def test_a_batch_that_cannot_be_shared_is_reported(tmp_path: Path) -> None:
    with pytest.raises(CompileError, match="NLC725: a batch of 4 cannot be shared evenly by 3 processes") as caught:
        train(recipe(), [write_text(tmp_path / "data")], tmp_path / "run", SETTINGS, processes=Processes(count=3, rank=0))
    assert caught.value.diagnostics[0].help == "for example: --set batch=6"
    assert not (tmp_path / "run").exists()


def test_several_processes_on_a_device_are_refused(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(torch.cuda, "is_available", lambda: True)
    with pytest.raises(CompileError, match="NLC728: 2 processes train on the processor, not on cuda"):
        train(recipe(), [tmp_path], tmp_path / "run", replace(SETTINGS, device="cuda"), processes=Processes(count=2, rank=0))


@pytest.mark.skipif(torch.cuda.is_available(), reason="there is such a device")
def test_a_missing_device_is_reported_before_anything_is_written(tmp_path: Path) -> None:
    with pytest.raises(CompileError, match="NLC726: torch sees no cuda device here"):
        train(recipe(), [write_text(tmp_path / "data")], tmp_path / "run", replace(SETTINGS, device="cuda"))
    assert not (tmp_path / "run").exists()


def test_what_learns_in_the_context_is_not_trained_without_its_loss() -> None:
    with pytest.raises(CompileError, match="NLC729: `fast` of ContinuumMemorySystemInContext learns from the task loss"):
        new_run("architectures/cms_in_context", None, ())


def test_what_learns_in_the_context_is_not_compiled_by_torch() -> None:
    with pytest.raises(CompileError, match="NLC730: levels of HopeAttentionInContext learn from its loss inside the context"):
        new_run("models/hope_attention_in_context", None, ("compiled=1",))


def test_a_missing_board_is_reported_before_anything_is_written(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setitem(sys.modules, "torch.utils.tensorboard", None)
    with pytest.raises(CompileError, match="NLC724: --tensorboard needs the package `tensorboard`"):
        train(recipe(), [write_text(tmp_path / "data")], tmp_path / "run", SETTINGS, tensorboard=True)
    assert not (tmp_path / "run").exists()


def weights(folder: Path) -> dict[str, torch.Tensor]:
    return {name: tensor.double() for name, tensor in load_file(folder / "model.safetensors").items()}


def test_several_small_batches_are_one_large_batch(tmp_path: Path) -> None:
    settings = replace(SETTINGS, precision="float64", batch=4)
    run(tmp_path, settings, name="one")
    run(tmp_path, replace(settings, batch=2, accumulate=2), name="two")
    run(tmp_path, replace(settings, batch=2), name="other")
    one, two, other = (weights(tmp_path / name) for name in ("one", "two", "other"))
    assert all(torch.allclose(one[name], two[name], atol=1e-12) for name in one)
    assert not all(torch.allclose(one[name], other[name], atol=1e-6) for name in one)


def test_a_gradient_is_clipped(tmp_path: Path) -> None:
    settings = replace(SETTINGS, steps=1, clip=0.01)
    run(tmp_path, settings, name="clipped")
    run(tmp_path, replace(settings, clip=0.0), name="whole")
    assert metrics(tmp_path / "whole")[0]["gradient_norm"] == metrics(tmp_path / "clipped")[0]["gradient_norm"] > 0.01
    first = dict(made_network(recipe(settings), settings).module.named_parameters())
    moved = {
        name: torch.cat([(tensor - first[key].detach().double()).flatten() for key, tensor in weights(tmp_path / name).items()]).norm()
        for name in ("clipped", "whole")
    }
    assert float(moved["clipped"] / moved["whole"]) == pytest.approx(0.01 / metrics(tmp_path / "whole")[0]["gradient_norm"], rel=1e-3)


def test_bfloat16_is_for_the_arithmetic_and_not_for_the_weights(tmp_path: Path) -> None:
    run(tmp_path, replace(SETTINGS, precision="bfloat16"), name="half")
    run(tmp_path, name="single")
    half, single = metrics(tmp_path / "half")[-1]["held_out_loss"], metrics(tmp_path / "single")[-1]["held_out_loss"]
    assert half != single and half == pytest.approx(single, rel=0.01)
    assert all(tensor.dtype == torch.float32 for tensor in load_file(tmp_path / "half" / "model.safetensors").values())


def test_joined_bytes_are_measured_in_bytes_too(tmp_path: Path) -> None:
    settings = replace(SETTINGS, tokens="bpe", vocabulary=280, steps=1, learning_rate=0.0, warmup=0)
    data = write_text(tmp_path / "data", count=40, words=40)
    still = recipe(settings, vocabulary=280, optimizer=lambda parameters: Momentum(parameters, 0.0, 0.9))
    result = train(still, [data], tmp_path / "run", settings)
    corpus = open_corpus(tmp_path / "run")
    per_token = corpus.held_out_bytes / len(corpus.held_out)
    assert per_token > 1.5
    assert result.held_out_loss == pytest.approx(log(280) / per_token, rel=0.05)


@pytest.mark.slow
def test_a_compiled_loss_trains_to_the_same_weights(tmp_path: Path) -> None:
    settings = replace(SETTINGS, precision="float64", steps=2, length=2, eval_windows=1)
    run(tmp_path, settings, name="plain")
    run(tmp_path, replace(settings, compiled=1), name="compiled")
    plain, compiled = weights(tmp_path / "plain"), weights(tmp_path / "compiled")
    assert all(torch.allclose(plain[name], compiled[name], atol=1e-10) for name in plain)


def test_the_rate_rises_and_falls() -> None:
    settings = TrainSettings(steps=100, warmup=10)
    rates = [rate_at(step, settings) for step in range(1, 101)]
    assert rates[:11] == sorted(rates[:11]) and rates[10:] == sorted(rates[10:], reverse=True)
    assert 0 < rates[0] < 0.1 and 0 < rates[-1] < 1e-3 and max(rates) > 0.95
    assert rate_at(1, TrainSettings(steps=1, warmup=0)) == 1


def test_other_schedules_fall_evenly_or_not_at_all() -> None:
    linear = TrainSettings(steps=10, warmup=0, schedule="linear")
    assert [rate_at(step, linear) for step in (1, 6, 10)] == pytest.approx([1, 0.5, 0.1])
    assert {rate_at(step, replace(linear, schedule="constant")) for step in (1, 6, 10)} == {1}
