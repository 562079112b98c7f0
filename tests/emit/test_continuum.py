"""The continuum memory system of steps beside plain training loops: who moves when, on which data, and what is left alone."""

from __future__ import annotations

import copy
from pathlib import Path
from types import ModuleType
from typing import Any

import pytest
import torch
from torch import Tensor, nn

from nlc.pipeline import compile_file

SPEC = Path(__file__).resolve().parents[2] / "specs" / "architectures" / "cms.yaml"
SIZES = {"d_model": 6, "d_hidden": 10}

ONE = """
nlc: 1
name: One
dims: {{d_model: 6, d_hidden: 10}}
inputs: {{x: [d_model]}}
hyperparameters: {{learning_rate: {rate}}}
levels:
  block:
    memory: mlp(d_model, d_hidden, d_model)
    every: {period} steps
    reduce: sum
outputs: {{y: block(x)}}
outer: {{objective: task, optimizer: gradient_descent_spec(learning_rate)}}
"""


def one_block(tmp_path: Path, period: int, rate: float = 0.05) -> ModuleType:
    path = tmp_path / "one.yaml"
    path.write_text(ONE.format(period=period, rate=rate).replace("gradient_descent_spec", "optimizers/gradient_descent"))
    return compile_file(path).load()


@pytest.fixture(scope="module")
def continuum() -> ModuleType:
    return compile_file(SPEC, **{"hyperparameters.medium_period": 2, "hyperparameters.slow_period": 6}).load()


def normalised(x: Tensor) -> Tensor:
    return x * torch.rsqrt((x * x).mean(-1, keepdim=True) + 1e-6)


def chain(x: Tensor, weights: dict[str, Tensor]) -> Tensor:
    """What the blocks add to x, one after another."""
    y = x
    for name in ("fast", "medium", "slow"):
        y = y + nn.functional.gelu(normalised(y) @ weights[f"{name}_W1"].T) @ weights[f"{name}_W2"].T
    return y - x


def data(count: int) -> list[tuple[Tensor, Tensor]]:
    torch.manual_seed(3)
    return [(torch.randn(2, 4, 6, dtype=torch.double), torch.randn(2, 4, 6, dtype=torch.double)) for _ in range(count)]


def train(layer: Any, optimizer: Any, some: list[tuple[Tensor, Tensor]]) -> None:
    for x, target in some:
        optimizer.zero_grad()
        (layer(x=x)[0] - target).square().mean().backward()
        optimizer.step()


def test_every_level_learns_at_its_own_period_from_all_data_since(continuum: ModuleType) -> None:
    torch.manual_seed(0)
    layer = continuum.ContinuumMemorySystem(**SIZES, learning_rate=0.02).double()
    weights = {name: parameter.detach().clone().requires_grad_() for name, parameter in layer.named_parameters()}
    periods = {"fast": 1, "medium": 2, "slow": 6}
    by_hand = {name: torch.optim.AdamW([weights[f"{name}_W1"], weights[f"{name}_W2"]], lr=0.02, weight_decay=0.01) for name in periods}
    optimizer = continuum.optimizers(layer)
    moved = dict.fromkeys(periods, 0)
    for step, (x, target) in enumerate(data(23), start=1):
        before = {name: parameter.detach().clone() for name, parameter in layer.named_parameters()}
        train(layer, optimizer, [(x, target)])
        (chain(x, weights) - target).square().mean().backward()  # gradients add up until their level moves
        for name, period in periods.items():
            moved[name] += not torch.equal(before[f"{name}_W1"], dict(layer.named_parameters())[f"{name}_W1"])
            if step % period == 0:
                by_hand[name].step()
                by_hand[name].zero_grad()
        for name, parameter in layer.named_parameters():
            torch.testing.assert_close(parameter, weights[name], rtol=0, atol=1e-11)
    assert moved == {"fast": 23, "medium": 11, "slow": 3}


def test_one_block_of_period_b_is_minibatch_descent_on_sums(tmp_path: Path) -> None:
    module = one_block(tmp_path, period=4)
    layer = module.One().double()
    weights = {name: parameter.detach().clone().requires_grad_() for name, parameter in layer.named_parameters()}
    optimizer = module.optimizers(layer)
    some = data(12)
    train(layer, optimizer, some)
    for batch in (some[:4], some[4:8], some[8:]):
        loss = torch.stack(
            [(nn.functional.gelu(x @ weights["block_W1"].T) @ weights["block_W2"].T - target).square().mean() for x, target in batch]
        ).sum()
        for weight, gradient in zip(weights.values(), torch.autograd.grad(loss, list(weights.values())), strict=True):
            weight.data -= 0.05 * gradient
    for name, parameter in layer.named_parameters():
        torch.testing.assert_close(parameter, weights[name], rtol=0, atol=1e-13)


def test_a_period_longer_than_the_run_leaves_the_parameters_as_they_are_to_the_bit(tmp_path: Path) -> None:
    module = one_block(tmp_path, period=13)
    layer = module.One().double()
    start = {name: parameter.detach().clone() for name, parameter in layer.named_parameters()}
    train(layer, module.optimizers(layer), data(12))
    assert all(torch.equal(parameter, start[name]) for name, parameter in layer.named_parameters())


def test_trained_networks_at_rate_0_are_the_frozen_networks(continuum: ModuleType) -> None:
    torch.manual_seed(1)
    trained = {f"{name}_{tensor}": torch.randn(*shape).double() for name in ("fast", "medium", "slow") for tensor, shape in SHAPES.items()}
    layer = continuum.ContinuumMemorySystem(**SIZES, learning_rate=0.0).double()
    layer.load_state_dict(trained)
    some = data(12)
    wanted = [chain(x, trained) for x, _ in some]
    train(layer, continuum.optimizers(layer), some)
    for (x, _), y in zip(some, wanted, strict=True):
        torch.testing.assert_close(layer(x=x)[0], y, rtol=0, atol=1e-12)
    assert all(torch.equal(parameter, trained[name]) for name, parameter in layer.named_parameters())


SHAPES = {"W1": (10, 6), "W2": (6, 10)}


@pytest.mark.parametrize("cut", range(1, 11))
def test_training_goes_on_from_every_phase_of_every_period(continuum: ModuleType, cut: int) -> None:
    torch.manual_seed(2)
    layer = continuum.ContinuumMemorySystem(**SIZES, learning_rate=0.02).double()
    optimizer = continuum.optimizers(layer)
    some = data(12)
    train(layer, optimizer, some[:cut])
    resumed = continuum.ContinuumMemorySystem(**SIZES, learning_rate=0.02).double()
    resumed.load_state_dict(copy.deepcopy(layer.state_dict()))
    other = continuum.optimizers(resumed)
    other.load_state_dict(copy.deepcopy(optimizer.state_dict()))
    train(layer, optimizer, some[cut:])
    train(resumed, other, some[cut:])
    assert all(torch.equal(one, two) for one, two in zip(layer.parameters(), resumed.parameters(), strict=True))


def test_periods_were_read_when_the_spec_was_compiled_and_are_no_arguments(continuum: ModuleType) -> None:
    with pytest.raises(TypeError):
        continuum.ContinuumMemorySystem(medium_period=3)
