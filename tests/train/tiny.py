"""The smallest memory, optimizer and corpus to train with: what the tests of nlc/train share."""

from __future__ import annotations

from collections.abc import Iterable
from pathlib import Path

import torch
from torch import Tensor, nn
from torch.optim import Optimizer

from nlc.train import MemoryInput, MemoryInterface, MemoryOutput, TrainSettings

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


def write_text(folder: Path, *, count: int = 1, words: int = 400) -> Path:
    """A folder of small files in which the next byte is easy to tell, each different from the others."""
    folder.mkdir(parents=True, exist_ok=True)
    for number in range(count):
        (folder / f"{number:03}.txt").write_text("".join(f"the {number * 7 % 10} of {word % 3}; " for word in range(words)))
    return folder
