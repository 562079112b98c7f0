"""Emitted optimizers are torch optimizers: their steps, groups, states, schedules, and what they refuse."""

from __future__ import annotations

import copy
from collections.abc import Callable
from typing import Any

import pytest
import torch
from torch import Tensor, nn

from tests import models
from tests.emit.systems import CLIPPED, emitted_class, program_from, program_of

HEAVY_BALL = emitted_class(program_of(models.heavy_ball()))
MOMENTUM = emitted_class(program_of(models.momentum()))
SPARE = emitted_class(program_from(CLIPPED))
ALL = (HEAVY_BALL, MOMENTUM, SPARE)


def parameters(seed: int = 0, dtype: torch.dtype = torch.float32) -> list[nn.Parameter]:
    generator = torch.Generator().manual_seed(seed)
    return [nn.Parameter(torch.randn(shape, generator=generator).to(dtype)) for shape in ((3, 4), (5,), ())]


def trained(optimizer: torch.optim.Optimizer, weights: list[nn.Parameter], steps: int = 5, each: Callable[[], None] = lambda: None) -> None:
    """Steps along pseudo-random gradients."""
    generator = torch.Generator().manual_seed(1)
    for _ in range(steps):
        for weight in weights:
            weight.grad = torch.randn(weight.shape, generator=generator).to(weight.dtype)
        optimizer.step()
        each()


def test_heavy_ball_is_sgd_with_momentum_bit_for_bit() -> None:
    ours, theirs = parameters(), parameters()
    trained(HEAVY_BALL(ours, learning_rate=0.1, decay=0.9), ours)
    trained(torch.optim.SGD(theirs, lr=0.1, momentum=0.9), theirs)
    assert all(torch.equal(left, right) for left, right in zip(ours, theirs, strict=True))


def test_momentum_keeps_the_rate_inside_its_memory() -> None:
    (weight,) = weights = [nn.Parameter(torch.tensor([1.0, 2.0], dtype=torch.float64))]
    optimizer = MOMENTUM(weights, learning_rate=0.5, decay=0.25)
    weight.grad = torch.tensor([4.0, 8.0], dtype=torch.float64)
    optimizer.step()
    optimizer.param_groups[0]["lr"] = 0.0
    optimizer.step()
    assert weight.tolist() == [1.0 - 2.0 - 0.5, 2.0 - 4.0 - 1.0]
    assert optimizer.state[weight]["momentum"].tolist() == [-0.5, -1.0]


def test_sums_over_the_group_and_elementwise_functions() -> None:
    ours = [nn.Parameter(weight.detach().double()) for weight in parameters()]
    gradients = [torch.randn_like(weight) for weight in ours]
    expected = []
    rate = min(1.0, 1 / (sum(float(gradient.square().sum()) for gradient in gradients) ** 0.5 + 1e-3))
    for weight, gradient in zip(ours, gradients, strict=True):
        scale = (1 - 0.9) * gradient**2
        expected.append((1 - 0.1 * 0.01) * weight.detach() - 0.1 * (rate * gradient / (scale.sqrt() + 1e-3)))
        weight.grad = gradient
    SPARE(ours).step()
    assert all(torch.allclose(left, right, rtol=1e-12) for left, right in zip(ours, expected, strict=True))


def test_schedulers_change_the_learning_rate() -> None:
    ours, theirs = parameters(), parameters()
    for weights, optimizer in ((ours, HEAVY_BALL(ours, learning_rate=1.0)), (theirs, torch.optim.SGD(theirs, lr=1.0, momentum=0.9))):
        scheduler = torch.optim.lr_scheduler.StepLR(optimizer, step_size=2, gamma=0.1)
        trained(optimizer, weights, each=scheduler.step)
        assert optimizer.param_groups[0]["lr"] == pytest.approx(0.01)
    assert all(torch.equal(left, right) for left, right in zip(ours, theirs, strict=True))


def test_groups_have_hyperparameters_of_their_own() -> None:
    first, second = parameters()[:2]
    optimizer = MOMENTUM([{"params": [first]}, {"params": [second], "learning_rate": 0.5, "decay": 0.0}], learning_rate=0.1)
    assert [(group["lr"], group["decay"]) for group in optimizer.param_groups] == [(0.1, 0.9), (0.5, 0.0)]
    before = [first.detach().clone(), second.detach().clone()]
    for weight in (first, second):
        weight.grad = torch.ones_like(weight)
    optimizer.step()
    assert torch.allclose(first, before[0] - 0.1)
    assert torch.allclose(second, before[1] - 0.5)


@pytest.mark.parametrize("optimizer_class", ALL, ids=lambda item: item.__name__)
def test_a_saved_state_continues_to_the_bit(optimizer_class: Callable[..., Any]) -> None:
    ours, theirs = parameters(), parameters()
    first, other = optimizer_class(ours), optimizer_class(theirs)
    trained(first, ours)
    trained(other, theirs)
    again = [nn.Parameter(weight.detach().clone()) for weight in theirs]
    restored = optimizer_class(again)
    restored.load_state_dict(copy.deepcopy(other.state_dict()))
    trained(first, ours)
    trained(restored, again)
    assert all(torch.equal(left, right) for left, right in zip(ours, again, strict=True))


@pytest.mark.parametrize("optimizer_class", ALL, ids=lambda item: item.__name__)
def test_closure_missing_gradients_and_wide_states(optimizer_class: Callable[..., Any]) -> None:
    moved, still = (nn.Parameter(torch.ones(2, dtype=torch.bfloat16)) for _ in range(2))
    optimizer = optimizer_class([moved, still])

    def closure() -> Tensor:
        optimizer.zero_grad()
        loss: Tensor = moved.square().sum()
        loss.backward()  # type: ignore[no-untyped-call]
        return loss

    assert optimizer.step(closure) == 2.0
    assert optimizer.step() is None
    assert (moved != 1).all() and (still == 1).all() and still not in optimizer.state
    assert moved.dtype is torch.bfloat16
    assert {value.dtype for value in optimizer.state[moved].values()} == {torch.float32}


@pytest.mark.parametrize("value", [float("nan"), float("inf"), "0.1", None, True])
def test_hyperparameters_must_be_finite_numbers(value: object) -> None:
    with pytest.raises(ValueError, match="decay must be a finite number"):
        HEAVY_BALL(parameters(), decay=value)


def test_learning_rates_must_not_be_negative() -> None:
    with pytest.raises(ValueError, match=r"learning_rate must not be negative, but it is -0\.1"):
        HEAVY_BALL(parameters(), learning_rate=-0.1)
    with pytest.raises(ValueError, match="learning_rate must not be negative"):
        HEAVY_BALL([{"params": parameters(), "learning_rate": -1}])


@pytest.mark.parametrize("gradient", [torch.eye(2).to_sparse(), torch.eye(2) * 1j])
def test_sparse_and_complex_gradients_are_refused(gradient: Tensor) -> None:
    weight = nn.Parameter(torch.eye(2) if gradient.is_sparse else torch.eye(2) * 1j)
    weight.grad = gradient
    with pytest.raises(ValueError, match="neither sparse nor complex"):
        HEAVY_BALL([weight]).step()
