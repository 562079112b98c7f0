"""What the class that steps levels at their own periods must do, whatever those of the spec: shown on torch's SGD and made-up periods."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from dataclasses import dataclass
from functools import partial
from typing import Any

import torch
from torch import Tensor, nn

from nlc.verify.observe import Failure, Pair, attempt
from nlc.verify.square import Square

STEPS = 13
PERIODS: tuple[tuple[int, bool], ...] = ((1, False), (2, True), (3, False), (4, True))
"""Steps of a period, and whether gradients are averaged over it or summed."""

RESTORED: tuple[tuple[int | None, torch.dtype], ...] = (
    (None, torch.float32),
    (0, torch.float32),
    (6, torch.float32),
    (11, torch.float64),
)
"""After how many steps a loop is saved, and goes on with new parameters, of a dtype, and optimizers; None is not at all."""

STILL = 2
"""Steps at which no gradient arrives: a level without any does not move."""

Make = Callable[[list[tuple[torch.optim.Optimizer, int, bool]]], Any]


@dataclass(frozen=True, slots=True)
class Loop:
    """Two parameters for each period, in groups of their own, and the class on trial around their optimizers."""

    weights: tuple[tuple[nn.Parameter, nn.Parameter], ...]
    levels: Any


def level_optimizer_squares(make: Make) -> Iterator[Square]:
    """The weights after every step against a plain sum of the gradients of every period, to the bit."""
    wanted = _expected()
    for before, dtype in RESTORED:
        case = "from the first step to the last" if before is None else f"saved and restored after {before} steps"
        pair = Pair("contract", "LevelOptimizers", case, 1, 1)
        found = attempt(partial(run_levels, make, before, dtype))
        yield from pair.failed(found, "weights") if isinstance(found, Failure) else [pair.equality("weights", wanted, found)]


def _gradient(step: int, level: int, place: int) -> float:
    """What flows into a weight at a step, counted from 1: multiples of 12, which every period divides."""
    return 12.0 * ((step * step + 5 * level + 3 * place) % 7 - 3)


def _expected() -> dict[str, Tensor]:
    named: dict[str, Tensor] = {}
    for level, (period, averages) in enumerate(PERIODS):
        for place in range(2):
            weight = 0.0
            for step in range(1, STEPS + 1):
                if step % period == 0:
                    gathered = sum(_gradient(past, level, place) for past in range(step - period + 1, step + 1) if past > STILL)
                    weight -= gathered / period if averages else gathered
                named[f"weight {level}.{place} after step {step}"] = torch.tensor([weight])
    return named


def run_levels(make: Make, restored_after: int | None, dtype: torch.dtype) -> dict[str, Tensor]:
    """The weights after every step of a loop that is saved, and goes on, after so many steps."""
    loop = _loop(make)
    named: dict[str, Tensor] = {}
    for step in range(1, STEPS + 1):
        if step - 1 == restored_after:
            loop = _restored(make, loop, dtype)
        loop.levels.zero_grad()
        for level, weights in enumerate(loop.weights):
            for place, weight in enumerate(weights):
                if step > STILL:
                    (weight * _gradient(step, level, place)).sum().backward()  # type: ignore[no-untyped-call]
        loop.levels.step()
        for level, weights in enumerate(loop.weights):
            named |= {f"weight {level}.{place} after step {step}": weight.detach().clone() for place, weight in enumerate(weights)}
    return named


def _loop(make: Make, dtype: torch.dtype = torch.float32) -> Loop:
    weights = tuple((nn.Parameter(torch.zeros(1, dtype=dtype)), nn.Parameter(torch.zeros(1, dtype=dtype))) for _ in PERIODS)
    optimizers = [torch.optim.SGD([{"params": [one]}, {"params": [two]}], lr=1.0) for one, two in weights]
    return Loop(weights, make([(item, *period) for item, period in zip(optimizers, PERIODS, strict=True)]))


def _restored(make: Make, old: Loop, dtype: torch.dtype) -> Loop:
    """A new loop with the weights of the old one, and what it saved; the old one then goes on, which is no matter of the new one."""
    saved = old.levels.state_dict()
    new = _loop(make, dtype)
    with torch.no_grad():
        for mine, its in zip(new.weights, old.weights, strict=True):
            for weight, other in zip(mine, its, strict=True):
                weight.copy_(other)
    new.levels.load_state_dict(saved)
    for weights in old.weights:
        for weight in weights:
            if weight.grad is not None:
                weight.grad.fill_(float("nan"))
    return new
