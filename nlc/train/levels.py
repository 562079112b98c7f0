"""The optimizers of slow levels, each at its own period -> one step of all: rates, averaging over processes, clipping, moving.

A gradient is clipped where it is used: at a step, those of all levels that move are taken together, each as its optimizer will see it.
"""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from dataclasses import dataclass, field
from typing import Any, Protocol

import torch
from torch import Tensor, nn
from torch.optim import Optimizer

from nlc.train.parallel import Processes
from nlc.train.tree import Tree

RATE_KEYS = ("lr", "learning_rate")


class LevelOptimizers(Protocol):
    """What `optimizers(module)` of an emitted module gives: (optimizer, period in steps, whether gradients are averaged) for each level."""

    levels: list[tuple[Optimizer, int, bool]]
    steps: int

    def zero_grad(self) -> None: ...

    def step(self) -> None: ...

    def state_dict(self) -> dict[str, Any]: ...

    def load_state_dict(self, state_dict: dict[str, Any]) -> None: ...


class EveryStep:
    """One torch optimizer that moves at every step, in the same words."""

    def __init__(self, optimizer: Optimizer) -> None:
        self.levels = [(optimizer, 1, False)]
        self.steps = 0

    def zero_grad(self) -> None:
        self.levels[0][0].zero_grad()

    def step(self) -> None:
        self.steps += 1
        self.levels[0][0].step()

    def state_dict(self) -> dict[str, Any]:
        return {"optimizer": self.levels[0][0].state_dict(), "steps": self.steps}

    def load_state_dict(self, state_dict: dict[str, Any]) -> None:
        self.levels[0][0].load_state_dict(state_dict["optimizer"])
        self.steps = state_dict["steps"]


@dataclass(slots=True)
class Levels:
    """All slow levels of a network. `rates` are the learning rates of their groups as they were made, which a schedule multiplies."""

    parts: Sequence[LevelOptimizers]
    processes: Processes = field(default_factory=Processes)
    rates: list[float] = field(init=False)

    def __post_init__(self) -> None:
        self.rates = [float(group[key]) for group, key in self._rated_groups()]

    def set_rate(self, part: float) -> None:
        """Give every group a part of its own rate, under the key that torch's schedulers drive, or else the spec's own word."""
        for (group, key), rate in zip(self._rated_groups(), self.rates, strict=True):
            group[key] = part * rate

    def zero_grad(self) -> None:
        """Forget the gradients that were used; those of a period that has not ended stay."""
        for part in self.parts:
            part.zero_grad()

    def gather(self, clip: float) -> Tensor:
        """Average and clip the gradients of the levels that move at this step (0: no clipping); returns their length before."""
        due = list(self._due())
        self.processes.average([gradient for gradient, _ in due])
        lengths = [gradient.norm() / weight for gradient, weight in due]
        length = torch.stack([x.double() for x in lengths]).norm() if lengths else torch.zeros((), dtype=torch.float64)
        if clip and length > clip:
            for gradient, _ in due:
                gradient.mul_(clip / length)
        return length

    def step(self) -> None:
        """Move every level whose period ends at this step."""
        for part in self.parts:
            part.step()

    def updates(self) -> dict[str, int]:
        """How often each kind of level has moved, by its optimizer and period."""
        rows = ((optimizer, period, part.steps) for part in self.parts for optimizer, period, _ in part.levels)
        return {f"{type(optimizer).__name__}, {_every(period)}": steps // period for optimizer, period, steps in rows}

    def share(self) -> None:
        """Average what unfinished periods have gathered, so that all processes, and a checkpoint, hold the same."""
        rows = [(x, period, part.steps) for part in self.parts for optimizer, period, _ in part.levels for x in _parameters(optimizer)]
        self.processes.average([x.grad for x, period, steps in rows if x.grad is not None and steps % period])

    def state(self) -> Tree:
        """What `load` goes on from."""
        return [part.state_dict() for part in self.parts]

    def load(self, state: Tree) -> None:
        for part, own in zip(self.parts, state, strict=True):
            part.load_state_dict(own)

    def _due(self) -> Iterator[tuple[Tensor, int]]:
        """The gradients that are used at this step, and what each will be divided by."""
        for part in self.parts:
            for optimizer, period, averages in part.levels:
                if (part.steps + 1) % period == 0:
                    yield from ((x.grad, period if averages else 1) for x in _parameters(optimizer) if x.grad is not None)

    def _rated_groups(self) -> Iterator[tuple[dict[str, Any], str]]:
        """Every group that has a learning rate, with its key."""
        for part in self.parts:
            for optimizer, _, _ in part.levels:
                yield from ((group, key) for group in optimizer.param_groups for key in RATE_KEYS if key in group)


def trained_parameters(part: LevelOptimizers) -> Iterator[Tensor]:
    """The parameters that some level's optimizer moves."""
    for optimizer, _, _ in part.levels:
        yield from _parameters(optimizer)


def parameters_left(network: nn.Module, parts: Sequence[LevelOptimizers]) -> list[nn.Parameter]:
    """The parameters that ask for gradients and that no level's optimizer moves."""
    taken = {id(x) for part in parts for x in trained_parameters(part)}
    return [x for x in network.parameters() if x.requires_grad and id(x) not in taken]


def _parameters(optimizer: Optimizer) -> list[Tensor]:
    return [x for group in optimizer.param_groups for x in group["params"]]


def _every(period: int) -> str:
    return "every step" if period == 1 else f"every {period} steps"
