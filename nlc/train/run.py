"""Turns the measurements of a run into its folder: settings, metrics, picture, summary and weights, each file written whole."""

from __future__ import annotations

import json
import os
from collections.abc import Iterator, Mapping, Sequence
from contextlib import contextmanager
from dataclasses import asdict, dataclass
from pathlib import Path

from safetensors.torch import save
from torch import nn

from nlc.codes import train as codes
from nlc.diagnostics import CompileError
from nlc.train.interface import MemoryInterface
from nlc.train.settings import TrainSettings
from nlc.train.svg import Series, line_chart

SETTINGS, METRICS, PICTURE, SUMMARY, WEIGHTS = "settings.json", "metrics.jsonl", "loss.svg", "summary.json", "model.safetensors"
FILES = (SETTINGS, METRICS, PICTURE, SUMMARY, WEIGHTS)
FORMAT = "nlc run 1"


@dataclass(frozen=True, slots=True, kw_only=True)
class Metric:
    """A line of metrics.jsonl: the mean training loss since the line before, and the held-out loss where it was measured."""

    step: int
    train_loss: float
    held_out_loss: float | None
    tokens_per_second: float
    seconds: float


@dataclass(frozen=True, slots=True)
class RunFolder:
    """A folder that belongs to one run."""

    path: Path

    def write_settings(self, settings: TrainSettings, interface: MemoryInterface, data: Sequence[Path]) -> None:
        memory = {"name": interface.name, "arguments": dict(interface.arguments)}
        self._write_json(SETTINGS, {"format": FORMAT, "memory": memory, "data": [str(path) for path in data], "settings": asdict(settings)})

    def add_metric(self, metric: Metric) -> None:
        target = self.path / METRICS
        with writing(target), target.open("a", encoding="utf-8") as file:
            file.write(json.dumps(asdict(metric)) + "\n")

    def write_weights(self, network: nn.Module) -> None:
        tensors = {name: tensor.detach().contiguous() for name, tensor in network.state_dict().items()}
        write_whole(self.path / WEIGHTS, save(tensors, metadata={"format": FORMAT}))

    def write_picture(self, title: str, metrics: Sequence[Metric], bigram_loss: float) -> None:
        write_whole(self.path / PICTURE, loss_picture(title, metrics, bigram_loss).encode())

    def write_summary(self, summary: Mapping[str, object]) -> None:
        self._write_json(SUMMARY, {"format": FORMAT, **summary})

    def _write_json(self, name: str, content: Mapping[str, object]) -> None:
        write_whole(self.path / name, (json.dumps(content, indent=2) + "\n").encode())


def open_run(path: Path, *, force: bool = False) -> RunFolder:
    """The folder of a new run. One that holds anything is refused, except that `force` clears the files of an earlier run."""
    with writing(path):
        holds_anything = os.path.lexists(path) and (not path.is_dir() or any(path.iterdir()))
        if holds_anything:
            if not (force and is_run(path)):
                raise CompileError(codes.run_folder_taken(str(path), is_run=is_run(path)))
            for name in FILES:
                (path / name).unlink(missing_ok=True)
        path.mkdir(parents=True, exist_ok=True)
    return RunFolder(path)


def is_run(path: Path) -> bool:
    """Whether a folder was written by an earlier run."""
    try:
        content = json.loads((path / SETTINGS).read_bytes())
    except (OSError, ValueError):
        return False
    return isinstance(content, dict) and content.get("format") == FORMAT


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


def write_whole(path: Path, content: bytes) -> None:
    """Write a file so that readers see the old content or the new, never a part; raises CompileError when the system refuses."""
    partial = path.with_name(f".{path.name}.{os.getpid()}.partial")
    with writing(path):
        try:
            with partial.open("wb") as file:
                file.write(content)
                file.flush()
                os.fsync(file.fileno())
            partial.replace(path)
        finally:
            partial.unlink(missing_ok=True)


@contextmanager
def writing(path: Path) -> Iterator[None]:
    """Inside the block, the system's refusals become a diagnostic about the path."""
    try:
        yield
    except OSError as error:
        raise CompileError(codes.cannot_write(str(path), error.strerror or str(error))) from error
