"""A run that was stopped goes on exactly as it would have gone on, and only as what it was."""

from __future__ import annotations

import json
import shutil
import signal
from collections.abc import Sequence
from dataclasses import replace
from pathlib import Path

import pytest
import torch
from torch import Tensor, nn
from torch.optim import SGD

from nlc.diagnostics import CompileError
from nlc.train import Recipe, Status, TrainResult, TrainSettings, resume, train
from nlc.train.checkpoint import checkpoints, read_checkpoint
from nlc.train.levels import LevelOptimizers
from tests.train.tiny import SETTINGS, Momentum, Periods, recipe, write_text

STREAM = replace(SETTINGS, text="stream", length=4, batch=2)
VARIANTS = {
    "random windows": SETTINGS,
    "a stream, whose states are carried": STREAM,
    "several batches a step": replace(STREAM, accumulate=3),
    "bfloat16": replace(SETTINGS, precision="bfloat16"),
    "float64, without a schedule": replace(SETTINGS, precision="float64", schedule="constant", clip=0.0),
}


def with_periods(settings: TrainSettings) -> Recipe:
    """The network with its levels at periods of their own: 1, 2 and 5 steps."""

    def optimizers(made: nn.Module) -> Sequence[LevelOptimizers]:
        parts: list[list[Tensor]] = [[], [], []]
        for number, parameter in enumerate(made.parameters()):
            parts[number % 3].append(parameter)
        first, second, third = (Momentum(part, 0.05, 0.9) for part in parts)
        return [Periods([(first, 1, False), (second, 2, True), (third, 5, False)])]

    return replace(recipe(settings), optimizers=optimizers)


def begun(folder: Path, settings: TrainSettings, made: Recipe, stop: int = 0, name: str = "run") -> TrainResult:
    """A run, stopped by Ctrl-C after the step that follows `stop`, unless it is 0."""

    def press(status: Status) -> None:
        if status.step == stop:
            signal.raise_signal(signal.SIGINT)

    return train(made, [write_text(folder / "data", count=40, words=40)], folder / name, settings, press)


def outcome(run: Path) -> tuple[object, ...]:
    lines = [json.loads(line) for line in (run / "metrics.jsonl").read_text().splitlines()]
    losses = [(line["step"], line["updates"], line["state_norms"]) for line in lines if line["step"] == lines[-1]["step"]]
    return losses, (run / "model.safetensors").read_bytes()


@pytest.mark.parametrize("name", VARIANTS)
def test_going_on_is_exact(tmp_path: Path, name: str) -> None:
    settings = VARIANTS[name]
    begun(tmp_path, settings, recipe(settings), name="whole")
    for stop in (1, 6, 10):
        folder = tmp_path / f"stopped {stop}"
        assert begun(folder, settings, recipe(settings), stop).is_interrupted
        assert not resume(recipe(settings), folder / "run", settings).is_interrupted
        assert outcome(folder / "run") == outcome(tmp_path / "whole")


def test_checkpoints_at_every_phase_of_every_period_go_on_exactly(tmp_path: Path) -> None:
    settings = replace(STREAM, save_every=1)
    begun(tmp_path, settings, with_periods(settings), name="whole")
    seen = set()
    for stop in range(1, settings.steps - 1):
        folder = tmp_path / f"stopped {stop}"
        begun(folder, settings, with_periods(settings), stop)
        seen.add(((stop + 1) % 2, (stop + 1) % 5))
        resume(with_periods(settings), folder / "run", settings)
        assert outcome(folder / "run") == outcome(tmp_path / "whole")
    assert len(seen) == 10


def test_what_a_period_has_gathered_is_part_of_a_checkpoint(tmp_path: Path) -> None:
    settings = replace(SETTINGS, save_every=3, steps=3)
    begun(tmp_path, settings, with_periods(settings))
    (part,) = read_checkpoint(checkpoints(tmp_path / "run")[-1]).tree["levels"]
    assert part["steps"] == 3
    assert any(gradient.abs().sum() > 0 for gradient in part["gradients"][2])


def test_a_run_can_be_made_longer(tmp_path: Path) -> None:
    settings = replace(SETTINGS, schedule="constant")
    begun(tmp_path, settings, recipe(settings), name="short")
    longer = replace(settings, steps=20)
    result = resume(recipe(longer), tmp_path / "short", longer)
    begun(tmp_path, longer, recipe(longer), name="long")
    assert result.steps == 20 and outcome(tmp_path / "short")[1] == outcome(tmp_path / "long")[1]
    assert json.loads((tmp_path / "short" / "settings.json").read_text())["settings"]["steps"] == 20


def test_a_run_that_has_ended_ends_again(tmp_path: Path) -> None:
    begun(tmp_path, SETTINGS, recipe())
    before = outcome(tmp_path / "run")
    assert resume(recipe(), tmp_path / "run", SETTINGS).steps == SETTINGS.steps
    assert outcome(tmp_path / "run") == before


def test_a_run_goes_on_without_the_text_it_began_with(tmp_path: Path) -> None:
    begun(tmp_path, SETTINGS, recipe(), stop=4)
    shutil.rmtree(tmp_path / "data")
    assert resume(recipe(), tmp_path / "run", SETTINGS).steps == SETTINGS.steps


def problem(run: Path, settings: TrainSettings = SETTINGS, made: Recipe | None = None) -> str:
    """The message that going on ends with; it must leave the folder as it was."""
    before = {path: path.read_bytes() for path in run.rglob("*") if path.is_file()}
    with pytest.raises(CompileError) as caught:
        resume(made or recipe(settings), run, settings)
    assert {path: path.read_bytes() for path in run.rglob("*") if path.is_file()} == before
    return str(caught.value)


def test_only_a_run_can_go_on(tmp_path: Path) -> None:
    assert problem(tmp_path / "none") == f"NLC715: {tmp_path / 'none'} holds no run"
    (tmp_path / "settings.json").write_text('{"format": "something else"}')
    assert problem(tmp_path).startswith("NLC715")


def test_a_run_does_not_go_on_as_something_else(tmp_path: Path) -> None:
    begun(tmp_path, SETTINGS, recipe(), stop=4)
    assert problem(tmp_path / "run", made=recipe(digest="another spec")).startswith("NLC718: ")
    assert problem(tmp_path / "run", made=recipe(replace(SETTINGS, d_model=8))).startswith("NLC718: ")
    other = recipe(optimizer=lambda parameters: SGD(list(parameters), 0.25, momentum=0.5, nesterov=True))
    assert problem(tmp_path / "run", made=replace(other, name="Other")).startswith("NLC718: ")


def test_a_run_does_not_go_on_with_other_tokens(tmp_path: Path) -> None:
    begun(tmp_path, SETTINGS, recipe(), stop=4)
    (tmp_path / "run" / "text" / "tokenizer.json").write_text(
        '{"name": "bpe", "tokenizer": {"model": {"type": "BPE", "vocab": {"a": 0}, "merges": []}}}'
    )
    assert problem(tmp_path / "run").startswith("NLC719: ")


def test_a_damaged_checkpoint_is_reported_with_the_way_out(tmp_path: Path) -> None:
    settings = replace(SETTINGS, save_every=4)
    begun(tmp_path, settings, recipe())
    first, second = checkpoints(tmp_path / "run")
    second.write_bytes(second.read_bytes()[:-9])
    assert problem(tmp_path / "run", settings).startswith(f"NLC717: {second} was cut short")
    second.unlink()
    assert read_checkpoint(first).step == 8
    assert resume(recipe(), tmp_path / "run", settings).steps == 12


def test_no_steps_left_is_reported(tmp_path: Path) -> None:
    begun(tmp_path, SETTINGS, recipe())
    assert problem(tmp_path / "run", replace(SETTINGS, steps=6)) == "NLC727: the run has done 12 steps, and is to end after 6"


def test_random_numbers_of_a_run_are_its_own(tmp_path: Path) -> None:
    torch.manual_seed(3)
    before = torch.get_rng_state()
    begun(tmp_path, SETTINGS, recipe(), stop=4)
    resume(recipe(), tmp_path / "run", SETTINGS)
    assert torch.equal(torch.get_rng_state(), before)
