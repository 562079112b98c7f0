"""The shipped optimizers follow their relatives in torch: 200 steps in float64, under a schedule."""

from __future__ import annotations

from collections.abc import Callable, Iterator, Mapping
from functools import cache
from pathlib import Path
from types import MappingProxyType
from typing import Any

import pytest
import torch
from torch import Tensor, nn

from nlc.pipeline import compile_file

SPECS = Path(__file__).resolve().parents[2] / "specs" / "optimizers"
STEPS = 200
MATRICES = ((4, 6), (6, 4), (5, 5))
TENSORS = (*MATRICES, (7,), ())

Make = Callable[[list[nn.Parameter]], torch.optim.Optimizer]


def _torch(name: str, **settings: Any) -> Make:
    return lambda weights: getattr(torch.optim, name)(weights, **settings)


RELATIVES: Mapping[str, tuple[dict[str, float], Make]] = MappingProxyType(
    {
        "heavy_ball": ({"learning_rate": 0.02, "decay": 0.8}, _torch("SGD", lr=0.02, momentum=0.8)),
        "nesterov": ({"learning_rate": 0.02, "decay": 0.8}, _torch("SGD", lr=0.02, momentum=0.8, nesterov=True)),
        "adam": ({"learning_rate": 0.02, "beta2": 0.98}, _torch("Adam", lr=0.02, betas=(0.9, 0.98))),
        "adamw": ({"learning_rate": 0.02, "weight_decay": 0.1}, _torch("AdamW", lr=0.02, weight_decay=0.1)),
        "rmsprop": ({"learning_rate": 0.02}, _torch("RMSprop", lr=0.02, alpha=0.99, eps=1e-8)),
        "adagrad": ({"learning_rate": 0.1}, _torch("Adagrad", lr=0.1, eps=1e-10)),
    }
)
"""An emitted optimizer's settings, and the torch optimizer that it is compared with."""


@cache
def emitted(name: str) -> Callable[..., torch.optim.Optimizer]:
    compiled = compile_file(SPECS / f"{name}.yaml")
    found: Callable[..., torch.optim.Optimizer] = getattr(compiled.load(), compiled.program.model.name)
    return found


def drawn(shapes: tuple[tuple[int, ...], ...], seed: int = 0) -> list[Tensor]:
    generator = torch.Generator().manual_seed(seed)
    return [torch.randn(shape, generator=generator, dtype=torch.float64) for shape in shapes]


def gradients(weights: list[nn.Parameter]) -> Iterator[list[Tensor]]:
    """Those of a bowl around a point that wanders, so that they depend on where an optimizer went."""
    shapes = tuple(tuple(weight.shape) for weight in weights)
    for step in range(STEPS):
        yield [weight.detach() - target for weight, target in zip(weights, drawn(shapes, 1 + step), strict=True)]


def trained(make: Make, shapes: tuple[tuple[int, ...], ...], dtype: torch.dtype = torch.float64) -> list[nn.Parameter]:
    """Parameters after all steps, with a learning rate that falls to a tenth."""
    weights = [nn.Parameter(tensor.to(dtype)) for tensor in drawn(shapes)]
    optimizer = make(weights)
    scheduler = torch.optim.lr_scheduler.LambdaLR(optimizer, lambda step: 1 - 0.9 * step / STEPS)
    for slopes in gradients(weights):
        for weight, slope in zip(weights, slopes, strict=True):
            weight.grad = slope.to(dtype)
        optimizer.step()
        scheduler.step()
    return weights


def gap(ours: list[nn.Parameter], theirs: list[nn.Parameter]) -> float:
    """The largest distance of two parameters, relative to the norm of one."""
    distances = (float((left - right).detach().norm() / right.detach().norm()) for left, right in zip(ours, theirs, strict=True))
    return max(distances)


@pytest.mark.parametrize("name", RELATIVES)
def test_200_steps_under_a_schedule_are_those_of_torch(name: str) -> None:
    settings, make = RELATIVES[name]
    ours = trained(lambda weights: emitted(name)(weights, **settings), TENSORS)
    assert gap(ours, trained(make, TENSORS)) < 1e-12


def test_a_small_change_of_a_setting_would_be_noticed() -> None:
    settings, make = RELATIVES["adam"]
    ours = trained(lambda weights: emitted("adam")(weights, **(settings | {"eps": 1.001e-8})), TENSORS)
    assert gap(ours, trained(make, TENSORS)) > 1e-12


class Reference(torch.optim.Optimizer):
    """Muon as its authors describe it, matrix by matrix."""

    def __init__(self, weights: list[nn.Parameter], lr: float, decay: float, weight_decay: float) -> None:
        super().__init__(weights, {"lr": lr, "decay": decay, "weight_decay": weight_decay})

    @torch.no_grad()
    def step(self, closure: Any = None) -> None:
        """One step of every matrix."""
        for group in self.param_groups:
            for weight in group["params"]:
                buffer = self.state[weight].setdefault("momentum", torch.zeros_like(weight))
                buffer.mul_(group["decay"]).add_(weight.grad)
                ahead = weight.grad + group["decay"] * buffer
                x = ahead / (ahead.norm() + 1e-7)
                for _ in range(5):
                    square = x @ x.T
                    x = 3.4445 * x - 4.7750 * square @ x + 2.0315 * square @ square @ x
                weight.mul_(1 - group["lr"] * group["weight_decay"])
                weight.sub_(group["lr"] * max(1, weight.shape[0] / weight.shape[1]) ** 0.5 * x)


def _muon(weights: list[nn.Parameter]) -> torch.optim.Optimizer:
    return emitted("muon")(weights, learning_rate=0.02, decay=0.9, weight_decay=0.1)


def test_muon_is_its_reference() -> None:
    theirs = trained(lambda weights: Reference(weights, 0.02, 0.9, 0.1), MATRICES)
    assert gap(trained(_muon, MATRICES), theirs) < 1e-12


def test_muon_is_that_of_torch_up_to_its_bfloat16_products() -> None:
    theirs = trained(_torch("Muon", lr=0.02, momentum=0.9, weight_decay=0.1), MATRICES, torch.float32)
    ours = trained(_muon, MATRICES, torch.float32)
    # One iterate of torch's is off by some units of bfloat16, 2**-8 each; five of them, which the later steps forget again.
    assert gap(ours, theirs) < 5 * 2**-8


def test_products_in_bfloat16_change_muon_by_as_much() -> None:
    def narrow(weights: list[nn.Parameter]) -> torch.optim.Optimizer:
        return emitted("muon")(weights, learning_rate=0.02, decay=0.9, weight_decay=0.1, matmul_dtype=torch.bfloat16)

    wide = trained(_muon, MATRICES, torch.float32)
    assert 0 < gap(trained(narrow, MATRICES, torch.float32), wide) < 5 * 2**-8


def test_muon_refuses_what_is_no_matrix_and_names_it() -> None:
    with pytest.raises(ValueError, match=r"Muon moves matrices.*bias.*\(7,\)"):
        emitted("muon")([("weight", nn.Parameter(torch.ones(2, 3))), ("bias", nn.Parameter(torch.ones(7)))])
