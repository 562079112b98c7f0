"""Muon as it is committed: its reference, torch's own, and what a spec may change in it."""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest
import torch
from torch import Tensor, nn

from nlc import pipeline
from nlc.pipeline import compile_file
from nlc.verify.load import load_source
from nlc.verify.optimizer_contract import optimizer_contract
from tests.emit.test_shipped_optimizers import MATRICES, Make, drawn, gap, shipped

SPEC = Path(__file__).resolve().parents[2] / "specs" / "optimizers" / "muon.yaml"
STEPS = 200


class Reference(torch.optim.Optimizer):
    """Muon as its authors describe it, matrix by matrix; with a `period`, the iteration starts anew that rarely."""

    def __init__(self, weights: list[nn.Parameter], lr: float, decay: float = 0.95, weight_decay: float = 0.1, period: int = 1) -> None:
        super().__init__(weights, {"lr": lr, "decay": decay, "weight_decay": weight_decay})
        self.period, self.count = period, 0

    @torch.no_grad()
    def step(self, closure: Any = None) -> None:
        """One step of every matrix."""
        for group in self.param_groups:
            for weight in group["params"]:
                momentum = self.state[weight].setdefault("momentum", torch.zeros_like(weight))
                momentum.mul_(group["decay"]).add_(weight.grad)
                ahead = weight.grad + group["decay"] * momentum
                x = ahead / (ahead.norm() + 1e-7) if self.count % self.period == 0 else self.state[weight]["iterate"]
                for _ in range(5):
                    square = x @ x.T
                    x = 3.4445 * x - 4.7750 * square @ x + 2.0315 * square @ square @ x
                self.state[weight]["iterate"] = x
                weight.mul_(1 - group["lr"] * group["weight_decay"])
                weight.sub_(group["lr"] * max(1, weight.shape[0] / weight.shape[1]) ** 0.5 * x)
        self.count += 1


def gradients(weights: list[nn.Parameter]) -> Iterator[list[Tensor]]:
    """Those of a bowl around a point that wanders, so that they depend on where an optimizer went."""
    shapes = tuple(tuple(weight.shape) for weight in weights)
    for step in range(STEPS):
        yield [weight.detach() - target for weight, target in zip(weights, drawn(shapes, 1 + step), strict=True)]


def followed(make: Make, dtype: torch.dtype = torch.float64) -> list[nn.Parameter]:
    """Matrices after all steps, with a learning rate that falls to a tenth."""
    weights = [nn.Parameter(matrix.detach().to(dtype)) for matrix in drawn(MATRICES)]
    optimizer = make(weights)
    scheduler = torch.optim.lr_scheduler.LambdaLR(optimizer, lambda step: 1 - 0.9 * step / STEPS)
    for slopes in gradients(weights):
        for weight, slope in zip(weights, slopes, strict=True):
            weight.grad = slope.to(dtype)
        optimizer.step()
        scheduler.step()
    return weights


def ours(weights: list[nn.Parameter]) -> torch.optim.Optimizer:
    made: torch.optim.Optimizer = shipped("muon")(weights, learning_rate=0.02)
    return made


def changed(tmp_path: Path, *changes: tuple[str, str]) -> Any:
    """The class of Muon with other words in its spec."""
    text = SPEC.read_text()
    for old, new in changes:
        assert old in text
        text = text.replace(old, new)
    (tmp_path / "muon.yaml").write_text(text)
    return compile_file(tmp_path / "muon.yaml").load().Muon


def test_muon_is_its_reference() -> None:
    assert gap(followed(ours), followed(lambda weights: Reference(weights, 0.02))) < 1e-12


def test_muon_is_that_of_torch_up_to_its_bfloat16_products() -> None:
    theirs = followed(lambda weights: torch.optim.Muon(weights, lr=0.02, momentum=0.95, weight_decay=0.1), torch.float32)
    # One iterate of torch's is off by some units of bfloat16, 2**-8 each; five of them, which the later steps forget again.
    assert gap(followed(ours, torch.float32), theirs) < 5 * 2**-8


def test_products_in_bfloat16_change_muon_by_as_much() -> None:
    def narrow(weights: list[nn.Parameter]) -> torch.optim.Optimizer:
        made: torch.optim.Optimizer = shipped("muon")(weights, learning_rate=0.02, matmul_dtype=torch.bfloat16)
        return made

    assert 1e-6 < gap(followed(narrow, torch.float32), followed(ours, torch.float32)) < 5 * 2**-8


def test_newton_schulz_brings_singular_values_together() -> None:
    (weight,) = weights = drawn(((8, 20),))
    optimizer = shipped("muon")(weights, learning_rate=1.0, weight_decay=0.0)
    start, weight.grad = weight.detach().clone(), torch.randn(8, 20, generator=torch.Generator().manual_seed(2), dtype=torch.float64)
    optimizer.step()
    values = torch.linalg.svdvals(start - weight.detach())
    assert 0.6 < float(values.min()) <= float(values.max()) < 1.3


@pytest.mark.parametrize("period", [2, 4])
def test_the_iteration_may_go_on_for_several_steps(period: int, tmp_path: Path) -> None:
    made = changed(tmp_path, ("reset: step", f"reset: {period} steps"))
    theirs = followed(lambda weights: Reference(weights, 0.02, period=period))
    assert gap(followed(lambda weights: made(weights, learning_rate=0.02)), theirs) < 1e-12


def test_sizes_of_a_matrix_are_those_of_each() -> None:
    """Tall matrices take longer steps, by the root of their sides' ratio; wide ones do not."""
    for shape, factor in (((8, 2), 2.0), ((2, 8), 1.0)):
        (weight,) = weights = drawn((shape,))
        optimizer = shipped("muon")(weights, learning_rate=1.0, weight_decay=0.0)
        start, weight.grad = weight.detach().clone(), torch.eye(*shape, dtype=torch.float64)
        optimizer.step()
        assert torch.linalg.svdvals(start - weight.detach()).tolist() == pytest.approx([factor * shrunk()] * 2, rel=1e-9)


def shrunk() -> float:
    """What five iterations make of two singular values that are equal: a first gradient of 1, looked ahead, over the norm of both."""
    ahead = 1 + 0.95
    value = ahead / (ahead * 2**0.5 + 1e-7)
    for _ in range(5):
        value = 3.4445 * value - 4.7750 * value**3 + 2.0315 * value**5
    return value


def test_means_and_identities_of_matrices(tmp_path: Path) -> None:
    """`mean` and `eye` know the sizes of each matrix."""
    words = "inner(weights, mean(gradient) * (eye + gradient @ transpose(gradient)) @ gradient)"
    made = changed(tmp_path, ("inner(weights, orthogonalised)", words))
    weights = drawn(((6, 4), (3, 3), (6, 4)))
    optimizer = made(weights, learning_rate=0.5, weight_decay=0.0)
    expected = []
    for weight in weights:
        gradient = weight.grad = weight.detach() ** 2
        rate = 0.5 * max(1.0, weight.shape[0] / weight.shape[1]) ** 0.5
        step = gradient.mean() * (torch.eye(len(weight), dtype=torch.float64) + gradient @ gradient.T) @ gradient
        expected.append(weight.detach() - rate * step)
    optimizer.step()
    assert all(torch.allclose(one, other, rtol=1e-12) for one, other in zip(weights, expected, strict=True))


def test_a_dtype_of_products_that_is_not_computed_in_is_seen() -> None:
    program = pipeline.compile_program(SPEC)
    text = pipeline.emit(program)
    ignoring = text.replace("stacked.to(dtype or torch", "stacked.to(torch")
    assert ignoring != text
    opened = [square for square in optimizer_contract(program, load_source(ignoring).Muon) if not square.closed]
    assert [(square.right, square.quantity) for square in opened] == [("products", "dtype of products")]
