"""The folder of a run: settings, text, metrics, picture, checkpoints, summary and weights, each file written whole."""

from __future__ import annotations

import json
import os
import shutil
from collections.abc import Mapping, Sequence
from dataclasses import asdict, dataclass, field
from pathlib import Path
from typing import Any

from safetensors.torch import save
from torch import nn

from nlc.codes import train as codes
from nlc.diagnostics import CompileError
from nlc.train import checkpoint, data
from nlc.train.files import PARTIAL, clear_partial, write_whole, writing
from nlc.train.recipe import Recipe
from nlc.train.settings import TrainSettings, settings_as_json
from nlc.train.svg import Series, line_chart
from nlc.train.tree import packed

SETTINGS, METRICS, PICTURE, SUMMARY, WEIGHTS = "settings.json", "metrics.jsonl", "loss.svg", "summary.json", "model.safetensors"
BOARD = "tensorboard"
FILES = (SETTINGS, METRICS, PICTURE, SUMMARY, WEIGHTS)
POSITIONS, EVALUATION = "positions.svg", "evaluation.json"
"""What `nlc evaluate` adds."""

FOLDERS = (checkpoint.FOLDER, data.FOLDER, BOARD)
FORMAT = "nlc run 2"


@dataclass(frozen=True, slots=True, kw_only=True)
class Metric:
    """A line of metrics.jsonl: the mean training loss since the line before, and the held-out loss where it was measured.

    `updates` says how often each level has moved, `state_norms` how long the states of the fast ones were at the end of the last batch.
    """

    step: int
    train_loss: float
    held_out_loss: float | None
    tokens_per_second: float
    seconds: float
    learning_rate: float = 0.0
    gradient_norm: float = 0.0
    updates: Mapping[str, int] = field(default_factory=dict)
    state_norms: Mapping[str, float] = field(default_factory=dict)


@dataclass(frozen=True, slots=True)
class RunFolder:
    """A folder that belongs to one run."""

    path: Path

    def write_settings(self, settings: TrainSettings, recipe: Recipe, files: Sequence[Path]) -> None:
        """What the run is of; written first, so that the folder is known as a run's."""
        about = {"name": recipe.name, "digest": recipe.digest, **recipe.made_of}
        own = settings_as_json(settings, is_wrapped=recipe.is_wrapped)
        self._write_json(SETTINGS, {"format": FORMAT, "spec": about, "data": [str(path) for path in files], "settings": own})

    def change_settings(self, settings: TrainSettings, recipe: Recipe) -> None:
        """Write down settings that were changed when the run went on."""
        own = settings_as_json(settings, is_wrapped=recipe.is_wrapped)
        self._write_json(SETTINGS, {**read_settings(self.path), "settings": own})

    def add_metric(self, metric: Metric) -> None:
        target = self.path / METRICS
        with writing(target), target.open("a", encoding="utf-8") as file:
            file.write(json.dumps(asdict(metric)) + "\n")

    def metrics_until(self, step: int) -> list[Metric]:
        """The metrics up to a step; what was written after it, or only in part, is removed from the file."""
        target = self.path / METRICS
        kept = []
        with writing(target):
            lines = target.read_text(encoding="utf-8").splitlines() if target.exists() else []
        for line in lines:
            try:
                metric = Metric(**json.loads(line))
            except (ValueError, TypeError):
                break
            if metric.step <= step:
                kept.append(metric)
        write_whole(target, "".join(json.dumps(asdict(metric)) + "\n" for metric in kept).encode())
        return kept

    def write_weights(self, network: nn.Module) -> None:
        """The parameters and buffers alone, for use elsewhere."""
        _, tensors = packed({**dict(network.named_parameters()), **dict(network.named_buffers())})
        write_whole(self.path / WEIGHTS, save({name: tensor.cpu() for name, tensor in tensors.items()}, metadata={"format": FORMAT}))

    def write_picture(self, title: str, metrics: Sequence[Metric], bigram_loss: float) -> None:
        write_whole(self.path / PICTURE, loss_picture(title, metrics, bigram_loss).encode())

    def write_summary(self, summary: Mapping[str, object]) -> None:
        self._write_json(SUMMARY, {"format": FORMAT, **summary})

    def _write_json(self, name: str, content: Mapping[str, object]) -> None:
        write_whole(self.path / name, (json.dumps(content, indent=2) + "\n").encode())


def open_run(path: Path, *, force: bool = False) -> RunFolder:
    """The folder of a new run. One that holds anything is refused, except that `force` clears the files of an earlier run."""
    with writing(path):
        holds_anything = os.path.lexists(path) and (not path.is_dir() or any(not _is_first_of_run(item) for item in path.iterdir()))
        if holds_anything:
            if not (force and is_run(path)):
                raise CompileError(codes.run_folder_taken(str(path), is_run=is_run(path)))
            for name in (*FILES, POSITIONS, EVALUATION):
                (path / name).unlink(missing_ok=True)
            for name in FOLDERS:
                shutil.rmtree(path / name, ignore_errors=True)
        path.mkdir(parents=True, exist_ok=True)
        clear_partial(path)
    return RunFolder(path)


def _is_first_of_run(path: Path) -> bool:
    """Whether a file is what a run that was killed at once has left: the settings in part."""
    return path.name.startswith(f".{SETTINGS}.") and path.name.endswith(PARTIAL)


def read_settings(path: Path) -> dict[str, Any]:
    """What the run in a folder is of; raises CompileError when it holds none."""
    try:
        content = json.loads((path / SETTINGS).read_bytes())
    except (OSError, ValueError):
        content = None
    if not (isinstance(content, dict) and content.get("format") == FORMAT):
        raise CompileError(codes.no_run(str(path)))
    return content


def is_run(path: Path) -> bool:
    """Whether a folder was written by an earlier run."""
    try:
        read_settings(path)
    except CompileError:
        return False
    return True


def loss_picture(title: str, metrics: Sequence[Metric], bigram_loss: float) -> str:
    """The losses of a run over its steps, as SVG, with the bigram baseline across."""
    training = Series("training", "#9aa5b1", tuple((float(metric.step), metric.train_loss) for metric in metrics))
    held_out = Series(
        "held out",
        "#1f5fbf",
        tuple((float(metric.step), metric.held_out_loss) for metric in metrics if metric.held_out_loss is not None),
        has_markers=True,
    )
    baseline = ("bigram counts", bigram_loss)
    return line_chart(title=title, x_label="step", y_label="loss (nats per byte)", series=(training, held_out), baseline=baseline)
