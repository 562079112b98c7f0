"""The smallest memory, optimizer and corpus to train with: what the tests of nlc/train share."""

from __future__ import annotations

from collections.abc import Callable, Iterable, Sequence
from pathlib import Path
from typing import Any

import torch
from torch import Tensor, nn
from torch.optim import Optimizer

from nlc.train import MemoryInput, MemoryInterface, MemoryOutput, Recipe, TrainSettings, memory_recipe
from nlc.train.tokens import ALPHABET

HEADS, D = 2, 4

INTERFACE = MemoryInterface(
    name="Tiny",
    inputs=(
        MemoryInput(name="q", axes=(HEADS,), shape=(D,), is_address=True),
        MemoryInput(name="k", axes=(HEADS,), shape=(D,), is_address=True),
        MemoryInput(name="values", axes=(HEADS,), shape=(D,)),
        MemoryInput(name="beta", axes=(HEADS,), low=0.0, high=1.0),
    ),
    outputs=(MemoryOutput(name="y", axes=(HEADS,), shape=(D,)),),
    arguments={"d": D},
)

SETTINGS = TrainSettings(layers=1, d_model=16, heads=HEADS, length=16, batch=4, steps=12, warmup=2, eval_every=5, eval_windows=4)


class Tiny(nn.Module):
    """The delta rule, token by token."""

    def __init__(self, d: int) -> None:
        super().__init__()
        self.d = d

    def forward(self, *, q: Tensor, k: Tensor, values: Tensor, beta: Tensor, state: Tensor | None = None) -> tuple[Tensor, Tensor]:
        memory = q.new_zeros(*values.shape[:1], *values.shape[2:], self.d) if state is None else state
        outputs = []
        for t in range(q.shape[1]):
            error = torch.einsum("bhvk,bhk->bhv", memory, k[:, t]) - values[:, t]
            memory = memory - beta[:, t, :, None, None] * error[..., None] * k[:, t, :, None, :]
            outputs.append(torch.einsum("bhvk,bhk->bhv", memory, q[:, t]))
        return torch.stack(outputs, dim=1), memory

    def step(self, *, q: Tensor, k: Tensor, values: Tensor, beta: Tensor, state: Tensor) -> tuple[Tensor, Tensor]:
        output, memory = self(q=q[:, None], k=k[:, None], values=values[:, None], beta=beta[:, None], state=state)
        return output[:, 0], memory


class Momentum(Optimizer):
    """m = decay m - rate g; w = w + m, with the rate under the key of torch's schedulers."""

    def __init__(self, parameters: Iterable[Tensor], learning_rate: float, decay: float) -> None:
        super().__init__(parameters, {"lr": learning_rate, "decay": decay})

    @torch.no_grad()
    def step(self, closure: None = None) -> None:  # type: ignore[override]
        for group in self.param_groups:
            for weights in group["params"]:
                momentum = self.state[weights].setdefault("momentum", torch.zeros_like(weights))
                momentum.mul_(group["decay"]).add_(weights.grad, alpha=-group["lr"])
                weights.add_(momentum)


def momentum(parameters: Sequence[Tensor]) -> Optimizer:
    return Momentum(parameters, 0.25, 0.9)


def recipe(
    settings: TrainSettings = SETTINGS,
    *,
    optimizer: Callable[[Sequence[Tensor]], Optimizer] = momentum,
    digest: str = "the spec",
    vocabulary: int = ALPHABET,
) -> Recipe:
    return memory_recipe(Tiny, None, INTERFACE, optimizer, settings, digest=digest, vocabulary=vocabulary)


def write_text(folder: Path, *, count: int = 1, words: int = 400) -> Path:
    """A folder of small files in which the next byte is easy to tell, each different from the others."""
    folder.mkdir(parents=True, exist_ok=True)
    for number in range(count):
        (folder / f"{number:03}.txt").write_text("".join(f"the {number * 7 % 10} of {word % 3}; " for word in range(words)))
    return folder


class Periods:
    """Optimizers at their own periods, as `optimizers(module)` of an emitted module gives them."""

    def __init__(self, levels: list[tuple[Optimizer, int, bool]]) -> None:
        self.levels = levels
        self.steps = 0

    def zero_grad(self) -> None:
        for optimizer, period, _ in self.levels:
            if self.steps % period == 0:
                optimizer.zero_grad()

    def step(self) -> None:
        self.steps += 1
        for optimizer, period, averages in self.levels:
            if self.steps % period == 0:
                for gradient in _gradients(optimizer) if averages else []:
                    if gradient is not None:
                        gradient.div_(period)
                optimizer.step()

    def state_dict(self) -> dict[str, Any]:
        states = [optimizer.state_dict() for optimizer, _, _ in self.levels]
        return {"optimizers": states, "steps": self.steps, "gradients": [_gradients(optimizer) for optimizer, _, _ in self.levels]}

    def load_state_dict(self, state_dict: dict[str, Any]) -> None:
        self.steps = state_dict["steps"]
        for (optimizer, _, _), state, gradients in zip(self.levels, state_dict["optimizers"], state_dict["gradients"], strict=True):
            optimizer.load_state_dict(state)
            for x, gradient in zip(_parameters(optimizer), gradients, strict=True):
                x.grad = None if gradient is None else gradient.clone()


def _parameters(optimizer: Optimizer) -> list[Tensor]:
    return [x for group in optimizer.param_groups for x in group["params"]]


def _gradients(optimizer: Optimizer) -> list[Tensor | None]:
    return [x.grad for x in _parameters(optimizer)]
