"""The shipped optimizers as they are committed: equal to torch's where torch has them, to references where it has not."""

from __future__ import annotations

import copy
from collections.abc import Callable, Mapping
from pathlib import Path
from typing import Any

import pytest
import torch
from torch import Tensor, nn

from nlc.verify.load import load_source

GENERATED = Path(__file__).resolve().parents[2] / "generated" / "optimizers"
STEPS = 200
SHAPES = ((6, 4), (4, 6), (7,), (3, 2, 2), ())
MATRICES = ((6, 4), (4, 6), (5, 5), (6, 4))

Make = Callable[[list[nn.Parameter]], torch.optim.Optimizer]


def shipped(name: str) -> Any:
    """The class of a committed module."""
    module = load_source((GENERATED / f"{name}.py").read_text())
    return getattr(module, module.__all__[0])


TORCH: Mapping[str, Make] = {
    "gradient_descent": lambda weights: torch.optim.SGD(weights, lr=0.01),
    "heavy_ball": lambda weights: torch.optim.SGD(weights, lr=0.01, momentum=0.9),
    "nesterov": lambda weights: torch.optim.SGD(weights, lr=0.01, momentum=0.9, nesterov=True),
    "adam": lambda weights: torch.optim.Adam(weights, lr=1e-3),
    "adamw": lambda weights: torch.optim.AdamW(weights, lr=1e-3, weight_decay=0.01),
    "rmsprop": lambda weights: torch.optim.RMSprop(weights, lr=0.01, alpha=0.99, eps=1e-8),
    "adagrad": lambda weights: torch.optim.Adagrad(weights, lr=0.01, eps=1e-10),
}
"""Torch's optimizer at the defaults of the spec."""


def drawn(shapes: tuple[tuple[int, ...], ...], seed: int = 0) -> list[nn.Parameter]:
    generator = torch.Generator().manual_seed(seed)
    return [nn.Parameter(torch.randn(shape, generator=generator, dtype=torch.float64)) for shape in shapes]


def trained(optimizer: torch.optim.Optimizer, weights: list[nn.Parameter], steps: int = STEPS, seed: int = 1) -> None:
    """Steps along gradients of a noisy quadratic, under a schedule of the learning rate."""
    generator = torch.Generator().manual_seed(seed)
    scheduler = torch.optim.lr_scheduler.CosineAnnealingLR(optimizer, STEPS, eta_min=1e-5)
    for _ in range(steps):
        for weight in weights:
            noise = torch.randn(weight.shape, generator=generator, dtype=torch.float64)
            weight.grad = (weight.detach() + noise).to(weight.dtype)
        optimizer.step()
        scheduler.step()


def gap(ours: list[nn.Parameter], theirs: list[nn.Parameter]) -> float:
    """The distance of all parameters, relative to their norm."""
    one, other = (torch.cat([weight.detach().flatten() for weight in weights]) for weights in (ours, theirs))
    return float((one - other).norm() / other.norm())


@pytest.mark.parametrize("name", TORCH)
def test_200_scheduled_steps_equal_those_of_torch(name: str) -> None:
    ours, theirs = drawn(SHAPES), drawn(SHAPES)
    trained(shipped(name)(ours), ours)
    trained(TORCH[name](theirs), theirs)
    assert gap(ours, theirs) < 1e-12


def test_the_gap_would_show_another_epsilon() -> None:
    ours, theirs = drawn(SHAPES), drawn(SHAPES)
    trained(shipped("adam")(ours, eps=1e-7), ours)
    trained(TORCH["adam"](theirs), theirs)
    assert gap(ours, theirs) > 1e-10


# --- optimizers of matrices ----------------------------------------------------------------------------------------------


@pytest.mark.parametrize("name", ["muon", "m3", "m3_guarded", "delta_momentum_matrix"])
@pytest.mark.parametrize("shape", [(3,), (2, 2, 2), ()])
def test_optimizers_of_matrices_name_the_parameter_that_is_none(name: str, shape: tuple[int, ...]) -> None:
    with pytest.raises(ValueError, match=r"moves matrices, not parameter 1 of shape"):
        shipped(name)([nn.Parameter(torch.ones(2, 2)), nn.Parameter(torch.ones(shape))])
    with pytest.raises(ValueError, match=r"not parameter head\.bias of shape"):
        shipped(name)([("body", nn.Parameter(torch.ones(2, 2))), ("head.bias", nn.Parameter(torch.ones(shape)))])


# --- M3 ------------------------------------------------------------------------------------------------------------------


def m3_by_hand(weight: Tensor, gradients: list[Tensor], period: int = 8) -> Tensor:
    """Algorithm 1 of the paper, printed sums and all."""
    fast, slow, square, slow_direction = (torch.zeros_like(weight) for _ in range(4))
    gathered: list[Tensor] = []
    for step, gradient in enumerate(gradients):
        if step % period == 0 and step:
            slow = slow + 0.9 * torch.stack(gathered).sum(0)
            slow_direction, gathered = m3_direction(slow), []
        gathered.append(gradient)
        fast = fast + 0.9 * gradient
        square = square + 0.999 * gradient**2
        direction = m3_direction(fast) + 0.5 * (m3_direction(slow) if step >= period else slow_direction)
        weight = weight - 0.02 * direction / (square.sqrt() + 1e-8)
    return weight


def m3_direction(matrix: Tensor) -> Tensor:
    """The quintic Newton-Schulz iteration as Jordan et al. print it, with the epsilon of the spec."""
    x = matrix / (matrix.norm() + 1e-8)
    for _ in range(5):
        gram = x @ x.T
        x = 3.4445 * x + (-4.7750 * gram + 2.0315 * gram @ gram) @ x
    return x


@pytest.mark.parametrize("steps", [7, 8, 9, 20])
def test_m3_is_algorithm_1_and_uses_the_slow_momentum_one_step_after_it_moved(steps: int) -> None:
    (weight,) = weights = drawn(((4, 6),))
    start, optimizer = weight.detach().clone(), shipped("m3")(weights)
    generator = torch.Generator().manual_seed(9)
    gradients = [torch.randn(4, 6, generator=generator, dtype=torch.float64) for _ in range(steps)]
    for gradient in gradients:
        weight.grad = gradient
        optimizer.step()
    assert torch.allclose(weight.detach(), m3_by_hand(start, gradients), rtol=1e-10, atol=1e-10)


# --- what every one of them keeps ------------------------------------------------------------------------------------------


ALL = tuple(sorted(path.stem for path in GENERATED.glob("*.py")))


@pytest.mark.parametrize("name", ALL)
@pytest.mark.parametrize("cut", [3, 8, 13])
def test_a_state_saved_anywhere_in_a_period_continues_to_the_bit(name: str, cut: int) -> None:
    ours, theirs = drawn(MATRICES), drawn(MATRICES)
    first, second = shipped(name)(ours), shipped(name)(theirs)
    for optimizer, weights in ((first, ours), (second, theirs)):
        moved(optimizer, weights, 0, cut)
    again = [nn.Parameter(weight.detach().clone()) for weight in theirs]
    restored = shipped(name)(again)
    restored.load_state_dict(copy.deepcopy(second.state_dict()))
    moved(first, ours, cut, 20)
    moved(restored, again, cut, 20)
    assert all(torch.equal(one, other) for one, other in zip(ours, again, strict=True))


def moved(optimizer: torch.optim.Optimizer, weights: list[nn.Parameter], first: int, last: int) -> None:
    for step in range(first, last):
        generator = torch.Generator().manual_seed(step)
        for weight in weights:
            weight.grad = torch.randn(weight.shape, generator=generator, dtype=torch.float64)
        optimizer.step()


@pytest.mark.parametrize("name", ["adam", "m3"])
def test_parameters_count_their_own_steps(name: str) -> None:
    """One that misses some steps moves as it would by itself."""
    together, alone = drawn(MATRICES[:2]), drawn(MATRICES[:2])
    joint = shipped(name)(together)
    apart = [shipped(name)([weight]) for weight in alone]
    for step in range(12):
        for place, weight in enumerate(together):
            has_gradient = place == 0 or step % 3 == 0
            gradient = torch.randn(weight.shape, generator=torch.Generator().manual_seed(step), dtype=torch.float64)
            weight.grad = alone[place].grad = gradient if has_gradient else None
            if has_gradient:
                apart[place].step()
        joint.step()
    assert gap(together, alone) < 1e-14


@pytest.mark.parametrize("name", ALL)
def test_bfloat16_parameters_have_float32_state(name: str) -> None:
    weights = [nn.Parameter(torch.randn(4, 6, generator=torch.Generator().manual_seed(0)).bfloat16())]
    optimizer = shipped(name)(weights)
    trained(optimizer, weights, 10)
    assert weights[0].dtype is torch.bfloat16
    assert {value.dtype for value in optimizer.state[weights[0]].values() if isinstance(value, Tensor)} <= {torch.float32}
