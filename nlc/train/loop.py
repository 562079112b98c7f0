"""A network, the optimizers of its levels and a corpus -> a stream of measurements, one a step: the training loop and nothing else."""

from __future__ import annotations

from collections.abc import Callable, Iterator, Mapping
from dataclasses import dataclass, field
from math import cos, pi
from time import perf_counter

import torch
from torch import Tensor

from nlc.codes import train as codes
from nlc.diagnostics import CompileError
from nlc.train.data import Corpus
from nlc.train.levels import Levels
from nlc.train.parallel import Processes
from nlc.train.recipe import FastLevel, Network
from nlc.train.settings import TrainSettings
from nlc.train.tokens import token_lengths
from nlc.train.tree import Tree, detached, leaves
from nlc.train.windows import Windows, even_windows


@dataclass(frozen=True, slots=True, kw_only=True)
class Status:
    """Where training stands after a step. Losses are in nats per byte; `held_out_loss` is None where it was not measured.

    `seconds` is the time spent on training steps, without the measurements.
    """

    step: int
    steps: int
    train_loss: float
    held_out_loss: float | None
    tokens_per_second: float
    seconds: float
    gradient_norm: float = 0.0
    learning_rate: float = 0.0

    @property
    def seconds_left(self) -> float:
        return (self.steps - self.step) * self.seconds / self.step


@dataclass(slots=True, kw_only=True)
class Training:
    """A training run between two steps. What the future depends on is in `network`, `levels` and `state`, all of it.

    `cursor` counts the batches that were read, `carried` is the state of the sequences when they go on from batch to batch, and
    `last_state` that after the last batch, for measurement alone.
    """

    network: Network
    levels: Levels
    corpus: Corpus
    settings: TrainSettings
    processes: Processes
    step: int = 0
    cursor: int = 0
    seconds: float = 0.0
    carried: Tree = None
    last_state: Tree = None
    windows: Windows = field(init=False)
    lengths: Tensor = field(init=False)

    def __post_init__(self) -> None:
        settings, stream = self.settings, self.settings.text == "stream"
        self.windows = Windows(self.corpus.training, settings.batch, settings.length, settings.seed, stream)
        self.lengths = token_lengths(self.corpus.tokenizer)

    def run(self, stop: Callable[[], bool]) -> Iterator[Status]:
        """Train, yielding after every step; the last one, which `stop` may bring forward, is always measured on the held-out text.

        Raises CompileError when the loss or the gradient is not a finite number; the weights are then those before the step.
        """
        settings = self.settings
        held_out = even_windows(self.corpus.held_out, settings.eval_windows, settings.length)
        while self.step < settings.steps:
            start = perf_counter()
            part = rate_at(self.step + 1, settings)
            self.levels.set_rate(part)
            loss, length = self._step()
            self.seconds += perf_counter() - start
            is_last = self.processes.any(stop()) or self.step == settings.steps
            measures = is_last or self.step % settings.eval_every == 0
            yield Status(
                step=self.step,
                steps=settings.steps,
                train_loss=loss,
                held_out_loss=self.evaluate(held_out) if measures else None,
                tokens_per_second=self.step * settings.tokens_per_step / self.seconds,
                seconds=self.seconds,
                gradient_norm=length,
                learning_rate=part * max(self.levels.rates, default=0.0),
            )
            if is_last:
                return

    def evaluate(self, windows: Tensor) -> float:
        """The loss in nats per byte over (windows, length + 1), each from a fresh state; every process reads its share."""
        total = torch.zeros(2, dtype=torch.float64)
        own = self.processes.rows(windows)
        for part in torch.split(own, self.settings.batch) if len(own) else ():
            with torch.no_grad():
                loss, _ = self.network.loss(part.to(self.settings.device))
            total += torch.tensor([float(loss) * part[:, 1:].numel(), float(self.lengths[part[:, 1:]].sum())], dtype=total.dtype)
        self.processes.average([total])
        return float(total[0] / total[1])

    def tree(self) -> Tree:
        """Everything that the rest of the run depends on; all processes take part."""
        self.levels.share()
        rows = self.settings.batch // self.processes.count
        return {
            "network": {name: tensor.detach() for name, tensor in _tensors(self.network)},
            "levels": self.levels.state(),
            "carried": self.processes.gathered(self.carried, rows),
            "random": self.processes.everyone(torch.get_rng_state()),
            "step": self.step,
            "cursor": self.cursor,
            "seconds": self.seconds,
        }

    def load(self, tree: Tree) -> None:
        """Go on where `tree` was taken, with as many processes as there are now; raises KeyError or ValueError when it does not fit."""
        load_tensors(self.network, tree["network"])
        self.levels.load(tree["levels"])
        self.carried = self.processes.scattered(tree["carried"], self.settings.batch)
        if self.processes.rank < len(tree["random"]):
            torch.set_rng_state(tree["random"][self.processes.rank])
        self.step, self.cursor, self.seconds = tree["step"], tree["cursor"], tree["seconds"]

    def _step(self) -> tuple[float, float]:
        """One update of the levels that are due; returns the loss before it, and the length of the gradient that was used."""
        settings = self.settings
        self.levels.zero_grad()
        total = 0.0
        bytes_per_token = 0.0
        for _ in range(settings.accumulate):
            windows = self.windows[self.cursor]
            own = self.processes.rows(windows)
            bytes_per_token += float(self.lengths[windows[:, 1:]].double().mean())
            loss, state = self.network.loss(own.to(settings.device), None if self.windows.begins(self.cursor) else self.carried)
            (loss / settings.accumulate).backward()  # type: ignore[no-untyped-call]
            self.last_state = detached(state)
            self.carried = self.last_state if self.windows.is_stream else None
            self.cursor += 1
            total += float(loss.detach())
        length = self.levels.gather(settings.clip)
        total = self.processes.mean(total)
        for what, number in (("loss", torch.tensor(total)), ("gradient", length)):
            if not number.isfinite():
                raise CompileError(codes.training_diverged(self.step + 1, what))
        self.levels.step()
        self.step += 1
        return total / bytes_per_token, float(length)


def rate_at(step: int, settings: TrainSettings) -> float:
    """The part of the learning rate used at a step, counted from 1: a linear rise, then down to almost 0, or not at all."""
    rise = min(1.0, step / (settings.warmup + 1))
    done = (step - 1) / settings.steps
    match settings.schedule:
        case "cosine":
            return rise * 0.5 * (1 + cos(pi * done))
        case "linear":
            return rise * (1 - done)
    return rise


def update_counts(fast: tuple[FastLevel, ...], training: Training) -> Mapping[str, int]:
    """How often each level has moved: slow ones since the run began, fast ones for each of the batch's sequences, one after another."""
    settings = training.settings
    spans = [(training.cursor, settings.length)]
    if training.windows.is_stream:
        laps, rest = divmod(training.cursor, training.windows.batches_per_lap)
        spans = [(laps, training.windows.batches_per_lap * settings.length), (1, rest * settings.length)]
    counts = {level.name: sum(int(times * (tokens // level.period)) for times, tokens in spans) for level in fast}
    return {**counts, **training.levels.updates()}


def state_norms(training: Training) -> dict[str, float]:
    """The length of every fast state that is no count: its root mean square over the last batch. All processes take part."""
    squares = {
        name: tensor.double().square().sum() / max(1, tensor.shape[0])
        for name, tensor in leaves(training.last_state)
        if tensor.is_floating_point() and tensor.dim() > 1
    }
    training.processes.average(list(squares.values()))
    return {name: float(square.sqrt()) for name, square in squares.items()}


def load_tensors(network: Network, tensors: Mapping[str, Tensor]) -> None:
    """Give a network the parameters and buffers of a checkpoint; raises ValueError when they are others."""
    own = dict(_tensors(network))
    if {name: tensor.shape for name, tensor in own.items()} != {name: tensor.shape for name, tensor in tensors.items()}:
        raise ValueError("the parameters are those of another network")
    with torch.no_grad():
        for name, tensor in own.items():
            tensor.copy_(tensors[name])


def _tensors(network: Network) -> Iterator[tuple[str, Tensor]]:
    """Parameters and buffers, each once under its first name."""
    yield from network.module.named_parameters()
    yield from network.module.named_buffers()
