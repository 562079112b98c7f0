"""Turns a network, an optimizer and a corpus into a stream of measurements, one a step: the training loop and nothing else."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from dataclasses import dataclass
from math import cos, pi
from time import perf_counter

import torch
from torch import Tensor, nn
from torch.optim import Optimizer

from nlc.codes import train as codes
from nlc.diagnostics import CompileError
from nlc.train.data import Corpus, even_windows, random_windows
from nlc.train.model import next_byte_loss
from nlc.train.settings import TrainSettings


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

    @property
    def seconds_left(self) -> float:
        return (self.steps - self.step) * self.seconds / self.step


def fit(network: nn.Module, optimizer: Optimizer, corpus: Corpus, settings: TrainSettings, stop: Callable[[], bool]) -> Iterator[Status]:
    """Train, yielding after every step; the last one, which `stop` may bring forward, is always measured on the held-out text.

    Raises CompileError when the loss or the gradient is not a finite number; the weights are then those before the step.
    """
    generator = torch.Generator().manual_seed(settings.seed)
    held_out = even_windows(corpus.held_out, settings.eval_windows, settings.length)
    seconds = 0.0
    for step in range(1, settings.steps + 1):
        start = perf_counter()
        set_rate(optimizer, settings.learning_rate * rate_at(step, settings))
        windows = random_windows(corpus.training, settings.batch, settings.length, generator)
        train_loss = _step(network, optimizer, windows, step, settings)
        seconds += perf_counter() - start
        is_last = step == settings.steps or stop()
        yield Status(
            step=step,
            steps=settings.steps,
            train_loss=train_loss,
            held_out_loss=evaluate(network, held_out, settings.batch) if is_last or step % settings.eval_every == 0 else None,
            tokens_per_second=step * settings.batch * settings.length / seconds,
            seconds=seconds,
        )
        if is_last:
            return


def rate_at(step: int, settings: TrainSettings) -> float:
    """The part of the learning rate used at a step, counted from 1: a linear rise, then half a cosine down to almost 0."""
    rise = min(1.0, step / (settings.warmup + 1))
    return rise * 0.5 * (1 + cos(pi * (step - 1) / settings.steps))


def set_rate(optimizer: Optimizer, rate: float) -> None:
    """Give every group the rate, under the key that torch's schedulers drive, or else the spec's own word."""
    for group in optimizer.param_groups:
        group["lr" if "lr" in group else "learning_rate"] = rate


def evaluate(network: nn.Module, windows: Tensor, batch: int) -> float:
    """The mean loss in nats per byte over (windows, length + 1)."""
    with torch.no_grad():
        losses = [float(next_byte_loss(network, part)) * len(part) for part in torch.split(windows, batch)]
    return sum(losses) / len(windows)


def _step(network: nn.Module, optimizer: Optimizer, windows: Tensor, step: int, settings: TrainSettings) -> float:
    """One update along the gradient rescaled to length 1; returns the loss before it."""
    optimizer.zero_grad()
    loss = next_byte_loss(network, windows)
    loss.backward()  # type: ignore[no-untyped-call]
    gradients = [parameter.grad for parameter in network.parameters() if parameter.grad is not None]
    length = nn.utils.get_total_norm(gradients)
    for what, number in (("loss", loss), ("gradient", length)):
        if not number.isfinite():
            raise CompileError(codes.training_diverged(step, what, settings.learning_rate))
    for gradient in gradients:
        gradient.div_(length.clamp(min=torch.finfo(length.dtype).tiny))
    optimizer.step()
    return float(loss.detach())
