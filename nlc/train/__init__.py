"""Turns a compiled memory, a compiled optimizer and files of text into a trained byte-level language model and its run folder.

It knows of the memory only the names, sizes and ranges of its inputs, so that any sequence memory can be trained; of the compiler it
sees no stage. What it does not do: resume a run, decode from one.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import asdict, dataclass, field
from pathlib import Path

import torch
from torch import nn
from torch.optim import Optimizer

from nlc.train.data import Corpus, bigram_loss, read_corpus
from nlc.train.interface import MemoryInput, MemoryInterface, MemoryOutput, memory_interface
from nlc.train.interruption import stop_requests
from nlc.train.loop import Status, fit
from nlc.train.model import LanguageModel
from nlc.train.progress import Watcher, show_progress, silent
from nlc.train.report import ReportSection, write_report
from nlc.train.run import Metric, RunFolder, open_run
from nlc.train.settings import Setting, TrainSettings, memory_settings, settings_from_pairs

__all__ = [
    "MemoryInput",
    "MemoryInterface",
    "MemoryOutput",
    "ReportSection",
    "Setting",
    "Status",
    "TrainResult",
    "TrainSettings",
    "memory_interface",
    "memory_settings",
    "settings_from_pairs",
    "show_progress",
    "silent",
    "train",
    "write_report",
]

STEPS_PER_METRIC = 10


@dataclass(frozen=True, slots=True, kw_only=True)
class TrainResult:
    """How a run ended. Losses are in nats per byte; `is_interrupted` when Ctrl-C ended it early, with everything written."""

    run: Path
    steps: int
    train_loss: float
    held_out_loss: float
    bigram_loss: float
    tokens_per_second: float
    seconds: float
    is_interrupted: bool


@dataclass(slots=True)
class _Recorder:
    """Gathers the losses of a few steps into one metric, and writes what is new to the run folder."""

    folder: RunFolder
    network: nn.Module
    metrics: list[Metric] = field(default_factory=list)
    train_losses: list[float] = field(default_factory=list)

    def record(self, status: Status) -> None:
        self.train_losses.append(status.train_loss)
        is_measured = status.held_out_loss is not None
        if not is_measured and status.step % STEPS_PER_METRIC:
            return
        metric = Metric(
            step=status.step,
            train_loss=sum(self.train_losses) / len(self.train_losses),
            held_out_loss=status.held_out_loss,
            tokens_per_second=round(status.tokens_per_second, 1),
            seconds=round(status.seconds, 3),
        )
        self.train_losses.clear()
        self.metrics.append(metric)
        self.folder.add_metric(metric)
        if is_measured:
            self.folder.write_weights(self.network)


def train(
    memory_class: type[nn.Module],
    optimizer_class: Callable[..., Optimizer],
    memory: MemoryInterface,
    data: Sequence[Path],
    run: Path,
    settings: TrainSettings,
    progress: Watcher = silent,
    *,
    force: bool = False,
) -> TrainResult:
    """Train a language model around the memory and leave settings, metrics, a picture, a summary and weights in the folder `run`.

    `optimizer_class` takes parameters, `learning_rate` and `decay`. Raises CompileError: for bad data or a taken folder before
    anything is written; for a full disk, or a loss that is no number, with what was written before intact.
    """
    corpus = read_corpus(data, settings.length)
    baseline = bigram_loss(corpus)
    network = _seeded_network(memory_class, memory, settings)
    optimizer = optimizer_class(network.parameters(), learning_rate=settings.learning_rate, decay=settings.decay)
    folder = open_run(run, force=force)
    folder.write_settings(settings, memory, data)
    recorder = _Recorder(folder, network)
    try:
        with stop_requests() as stop:
            for status in fit(network, optimizer, corpus, settings, stop):
                progress(status)
                recorder.record(status)
    finally:
        folder.write_picture(f"{memory.name}: loss on bytes of text", recorder.metrics, baseline)
    result = _result(run, recorder.metrics, settings, baseline)
    folder.write_summary(_summary(result, network, corpus))
    return result


def _seeded_network(memory_class: type[nn.Module], memory: MemoryInterface, settings: TrainSettings) -> LanguageModel:
    with torch.random.fork_rng(devices=()):
        torch.manual_seed(settings.seed)
        return LanguageModel(memory_class, memory, layers=settings.layers, width=settings.d_model)


def _result(run: Path, metrics: Sequence[Metric], settings: TrainSettings, baseline: float) -> TrainResult:
    """The last metric as a result: the last step is always measured."""
    last = metrics[-1]
    return TrainResult(
        run=run,
        steps=last.step,
        train_loss=last.train_loss,
        held_out_loss=float("nan") if last.held_out_loss is None else last.held_out_loss,
        bigram_loss=baseline,
        tokens_per_second=last.tokens_per_second,
        seconds=last.seconds,
        is_interrupted=last.step < settings.steps,
    )


def _summary(result: TrainResult, network: nn.Module, corpus: Corpus) -> dict[str, object]:
    numbers = {name: value for name, value in asdict(result).items() if name != "run"}
    return {
        **numbers,
        "parameters": sum(parameter.numel() for parameter in network.parameters()),
        "training_bytes": len(corpus.training),
        "held_out_bytes": len(corpus.held_out),
        "torch": torch.__version__,
        "threads": torch.get_num_threads(),
    }
