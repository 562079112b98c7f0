from __future__ import annotations

import pytest
import torch
from torch import Tensor, nn
from torch.optim import SGD, Optimizer

from nlc.train.levels import EveryStep, Levels, parameters_left
from tests.train.tiny import Momentum, Periods


def weights(*values: float) -> Tensor:
    return torch.tensor(values, requires_grad=True)


def gradients(pairs: list[tuple[Tensor, list[float]]]) -> None:
    """What a backward pass adds."""
    for x, values in pairs:
        x.grad = torch.tensor(values) + (0 if x.grad is None else x.grad)


def three() -> tuple[Levels, list[Tensor]]:
    """Levels that move at every step, at every second on the mean, and at every second on the sum; all descend at rate 1."""
    parts = [weights(0.0, 0.0), weights(0.0), weights(0.0)]
    made = [SGD([x], lr=1.0) for x in parts]
    return Levels([Periods([(made[0], 1, False), (made[1], 2, True), (made[2], 2, False)])]), parts


def test_levels_move_at_their_own_periods_on_what_they_have_gathered() -> None:
    levels, (fast, mean, total) = three()
    for step in (1, 2):
        levels.zero_grad()
        gradients([(fast, [1.0, 0.0]), (mean, [float(step)]), (total, [float(step)])])
        levels.gather(0.0)
        levels.step()
        assert fast.tolist() == [-step, 0]
    assert mean.tolist() == [-1.5] and total.tolist() == [-3]
    assert levels.updates() == {"SGD, every step": 2, "SGD, every 2 steps": 1}


def test_the_length_is_that_of_the_gradients_that_are_used() -> None:
    levels, (fast, mean, total) = three()
    gradients([(fast, [3.0, 4.0]), (mean, [100.0]), (total, [100.0])])
    assert float(levels.gather(0.0)) == 5
    levels.step()
    levels.zero_grad()
    gradients([(fast, [3.0, 4.0]), (mean, [-76.0]), (total, [-88.0])])  # 24 gathered, of which the mean is 12; and 12
    assert float(levels.gather(0.0)) == pytest.approx((25 + 144 + 144) ** 0.5)


def test_clipping_keeps_directions_and_leaves_what_is_not_used() -> None:
    levels, (fast, mean, total) = three()
    gradients([(fast, [3.0, 4.0]), (mean, [100.0]), (total, [100.0])])
    assert float(levels.gather(1.0)) == 5
    assert fast.grad is not None and fast.grad.tolist() == pytest.approx([0.6, 0.8])
    assert mean.grad is not None and mean.grad.tolist() == [100]
    assert float(levels.gather(1.5)) == pytest.approx(1), "what is short enough stays"
    assert fast.grad.tolist() == pytest.approx([0.6, 0.8])


def test_rates_are_parts_of_each_levels_own() -> None:
    first, second = weights(0.0), weights(0.0)
    levels = Levels([EveryStep(SGD([first], lr=2.0)), EveryStep(OwnWord([second], 0.5))])
    assert levels.rates == [2.0, 0.5]
    levels.set_rate(0.25)
    groups = [optimizer.param_groups[0] for part in levels.parts for optimizer, _, _ in part.levels]
    assert (groups[0]["lr"], groups[1]["learning_rate"]) == (0.5, 0.125)
    levels.set_rate(1.0)
    assert (groups[0]["lr"], groups[1]["learning_rate"]) == (2.0, 0.5)


class OwnWord(Optimizer):
    """An optimizer whose rate has the spec's own word."""

    def __init__(self, parameters: list[Tensor], rate: float) -> None:
        super().__init__(parameters, {"learning_rate": rate})


def test_the_state_goes_on() -> None:
    def made() -> tuple[Levels, Tensor]:
        x = weights(1.0)
        return Levels([EveryStep(Momentum([x], 0.5, 0.9))]), x

    def step(levels: Levels, x: Tensor) -> None:
        levels.zero_grad()
        gradients([(x, [1.0])])
        levels.step()

    whole, expected = made()
    for _ in range(4):
        step(whole, expected)
    first, x = made()
    step(first, x)
    step(first, x)
    second, y = made()
    second.load(first.state())
    with torch.no_grad():
        y.copy_(x)
    step(second, y)
    step(second, y)
    assert torch.equal(y, expected) and second.updates() == whole.updates()


def test_parameters_that_nothing_moves_are_left() -> None:
    network = nn.Linear(2, 2)
    frozen = nn.Parameter(torch.zeros(1), requires_grad=False)
    network.register_parameter("frozen", frozen)
    assert parameters_left(network, [EveryStep(SGD([network.bias], lr=1.0))]) == [network.weight]
