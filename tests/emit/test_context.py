"""Levels that learn from the task loss inside the context, beside plain loops over one sequence at a time, with autograd throughout."""

from __future__ import annotations

import copy
from collections.abc import Callable
from pathlib import Path
from types import ModuleType
from typing import Any

import pytest
import torch
from torch import Tensor, nn

from nlc.pipeline import compile_file

SPECS = Path(__file__).resolve().parents[2] / "specs" / "architectures"
PERIODS = {"fast": 2, "medium": 4, "slow": 8}
SHORT = {f"hyperparameters.{name}_period": period for name, period in PERIODS.items()}
SIZES = {"d_model": 5, "d_hidden": 7}
RATE = 0.02
TENSORS = ("W1", "W2")

Weights = dict[str, Tensor]

BLOCK = """
nlc: 1
name: Block
dims: {{d_model: 5, d_hidden: 7}}
inputs: {{x: [d_model]}}
hyperparameters: {{rate: 0.02}}
levels:
  block:
    memory: mlp(d_model, d_hidden, d_model)
    init: learned
    objective: task
    optimizer: {optimizer}
    every: {period} tokens
    backprop: {backprop}
outputs: {{y: block(x)}}
"""


@pytest.fixture(scope="module")
def continuum() -> ModuleType:
    return compile_file(SPECS / "cms_in_context.yaml", **SHORT).load()


@pytest.fixture(scope="module")
def nested() -> ModuleType:
    return compile_file(SPECS / "cms_nested_in_context.yaml", **SHORT).load()


def one_block(tmp_path: Path, period: int, optimizer: str = "gradient_descent(rate)", backprop: str = "none") -> Any:
    path = tmp_path / "block.yaml"
    path.write_text(BLOCK.format(period=period, optimizer=optimizer, backprop=backprop))
    torch.manual_seed(0)
    return compile_file(path).load().Block().double()


def made(module: ModuleType, name: str) -> Any:
    torch.manual_seed(0)
    return getattr(module, name)(**SIZES, rate=RATE).double()


def data(tokens: int, batch: int = 2) -> tuple[Tensor, Tensor]:
    generator = torch.Generator().manual_seed(1)
    x, targets = torch.randn(2, batch, tokens, 5, dtype=torch.double, generator=generator)
    return x, targets


def loss(outputs: Tensor, targets: Tensor) -> Tensor:
    return ((outputs - targets) ** 2 + torch.sin(outputs)).sum(-1)


def normalised(x: Tensor) -> Tensor:
    return x * torch.rsqrt((x * x).mean(-1, keepdim=True) + 1e-6)


def network(x: Tensor, weights: Weights, name: str) -> Tensor:
    return nn.functional.gelu(x @ weights[f"{name}.W1"].T) @ weights[f"{name}.W2"].T


def chain(x: Tensor, weights: Weights) -> Tensor:
    y = x
    for name in PERIODS:
        y = y + network(normalised(y), weights, name)
    return y - x


def by_hand(x: Tensor, targets: Tensor, start: Weights, *, through: bool, resets: bool = False) -> tuple[Tensor, Weights, dict[str, int]]:
    """One sequence, token after token: its outputs, the weights after it, and how often each network moved."""
    weights = {name: tensor + 0 for name, tensor in start.items()}
    outputs, since, moved = [], {name: list[int]() for name in PERIODS}, dict.fromkeys(PERIODS, 0)
    slopes: dict[str, list[Tensor]] = {name: [] for name in weights}
    for t in range(len(x)):
        if resets and t:
            for name, source, period in (("medium", "slow", 8), ("fast", "medium", 4)):
                if t % period == 0:
                    weights |= {f"{name}.{tensor}": weights[f"{source}.{tensor}"] + 0 for tensor in TENSORS}
        read = {name: tensor + 0 for name, tensor in weights.items()}  # how one level has changed another is no path
        y = chain(x[t], read)
        outputs.append(y)
        found = torch.autograd.grad(loss(y, targets[t]), list(read.values()), create_graph=True)
        for name, slope in zip(weights, found, strict=True):
            slopes[name].append(slope if through else slope.detach())
        for name, period in PERIODS.items():
            since[name].append(t + 1)
            if (t + 1) % period == 0:
                assert since[name] == list(range(t + 2 - period, t + 2))  # the boundary counts once
                for tensor in (f"{name}.{item}" for item in TENSORS):
                    weights[tensor] = weights[tensor] - RATE * torch.stack(slopes[tensor]).mean(0)
                    slopes[tensor] = []
                since[name], moved[name] = [], moved[name] + 1
    return torch.stack(outputs), weights, moved


def starts(layer: Any, *, nested: bool = False) -> Weights:
    source = {name: "slow" if nested else name for name in PERIODS}
    return {f"{name}.{tensor}": getattr(layer, f"{source[name]}_start_{tensor}") for name in PERIODS for tensor in TENSORS}


def assert_close(found: Tensor, wanted: Tensor) -> None:
    torch.testing.assert_close(found, wanted, rtol=0, atol=1e-11)


@pytest.mark.parametrize("name", ["sequential", "nested"])
def test_every_network_learns_from_the_loss_of_its_own_tokens_to_first_and_second_order(
    continuum: ModuleType, nested: ModuleType, name: str
) -> None:
    is_nested = name == "nested"
    made_of = (nested, "NestedContinuumMemorySystemInContext") if is_nested else (continuum, "ContinuumMemorySystemInContext")
    layer = made(*made_of)
    x, targets = data(21)
    x.requires_grad_()
    outputs, state = layer(x=x, targets=targets, loss=loss)
    wanted, kept = [], []
    for one, target in zip(x, targets, strict=True):
        output, weights, moved = by_hand(one, target, starts(layer, nested=is_nested), through=is_nested, resets=is_nested)
        assert moved == {"fast": 10, "medium": 5, "slow": 2}
        wanted.append(output)
        kept.append(weights)
    assert_close(outputs, torch.stack(wanted))
    for tensor in kept[0]:
        assert_close(state[tensor], torch.stack([weights[tensor] for weights in kept]))
    leaves = [x, *layer.parameters()]
    total = (outputs * targets).sum() + sum((state[tensor] ** 2).sum() for tensor in kept[0])
    by_loop = (torch.stack(wanted) * targets).sum() + sum((item**2).sum() for weights in kept for item in weights.values())
    for found, slope in zip(torch.autograd.grad(total, leaves), torch.autograd.grad(by_loop, leaves), strict=True):
        assert_close(found, slope)


def test_what_later_tokens_see_has_learned_and_what_is_before_a_period_s_end_has_not(continuum: ModuleType) -> None:
    layer = made(continuum, "ContinuumMemorySystemInContext")
    x, targets = data(8)
    learned, _ = layer(x=x, targets=targets, loss=loss)
    frozen, _ = layer(x=x)
    assert torch.equal(learned[:, :2], frozen[:, :2])
    assert (learned[:, 2:] != frozen[:, 2:]).any(-1).all()


@pytest.mark.parametrize("cut", range(1, 12))
def test_calls_in_pieces_are_one_call_at_every_phase(continuum: ModuleType, cut: int) -> None:
    layer = made(continuum, "ContinuumMemorySystemInContext")
    x, targets = data(12)
    whole, final = layer(x=x, targets=targets, loss=loss)
    first, middle = layer(x=x[:, :cut], targets=targets[:, :cut], loss=loss)
    second, last = layer(x=x[:, cut:], targets=targets[:, cut:], loss=loss, state=middle)
    assert_close(torch.cat((first, second), 1), whole)
    assert all(torch.allclose(last[name], final[name], rtol=0, atol=1e-11) for name in final)


def test_without_a_loss_it_is_the_frozen_network(tmp_path: Path) -> None:
    layer = one_block(tmp_path, period=2)
    x, _ = data(7)
    outputs, state = layer(x=x)
    start = {"block.W1": layer.block_start_W1, "block.W2": layer.block_start_W2}
    assert_close(outputs, network(x, start, "block"))
    assert all(torch.equal(state[name], tensor.expand_as(state[name])) for name, tensor in start.items())


def test_a_period_longer_than_the_sequence_leaves_the_network_as_it_is_to_the_bit(tmp_path: Path) -> None:
    layer = one_block(tmp_path, period=8)
    x, targets = data(7)
    outputs, state = layer(x=x, targets=targets, loss=loss)
    assert torch.equal(outputs, layer(x=x)[0])
    assert torch.equal(state["block.W1"], layer.block_start_W1.expand_as(state["block.W1"]))


def test_one_network_of_period_b_is_minibatch_descent_on_sums(tmp_path: Path) -> None:
    layer = one_block(tmp_path, period=4)
    x, targets = data(12, batch=1)
    _, state = layer(x=x, targets=targets, loss=loss)
    weights = {f"block.{name}": getattr(layer, f"block_start_{name}").detach().clone().requires_grad_() for name in TENSORS}
    optimizer = torch.optim.SGD(list(weights.values()), lr=RATE)
    for batch in (slice(0, 4), slice(4, 8), slice(8, 12)):
        optimizer.zero_grad()
        loss(network(x[0, batch], weights, "block"), targets[0, batch]).sum().backward()
        optimizer.step()
    for name, weight in weights.items():
        assert_close(state[name][0], weight)


OPTIMIZERS: dict[str, Callable[[list[Tensor]], torch.optim.Optimizer]] = {
    "heavy_ball(0.05, 0.9)": lambda weights: torch.optim.SGD(weights, lr=0.05, momentum=0.9),
    "adam(0.05)": lambda weights: torch.optim.Adam(weights, lr=0.05),
    "adamw(0.05)": lambda weights: torch.optim.AdamW(weights, lr=0.05, weight_decay=0.01),
}


@pytest.mark.parametrize("optimizer", OPTIMIZERS)
def test_any_optimizer_takes_the_error(tmp_path: Path, optimizer: str) -> None:
    layer = one_block(tmp_path, period=3, optimizer=optimizer)
    x, targets = data(12, batch=1)
    _, state = layer(x=x, targets=targets, loss=loss)
    weights = {f"block.{name}": getattr(layer, f"block_start_{name}").detach().clone().requires_grad_() for name in TENSORS}
    by_torch = OPTIMIZERS[optimizer](list(weights.values()))
    for begin in range(0, 12, 3):
        by_torch.zero_grad()
        loss(network(x[0, begin : begin + 3], weights, "block"), targets[0, begin : begin + 3]).sum().backward()
        by_torch.step()
    for name, weight in weights.items():
        assert_close(state[name][0], weight)


def test_learning_through_the_slopes_is_a_choice_of_the_spec(tmp_path: Path) -> None:
    slopes = []
    for backprop in ("none", "full"):
        layer = one_block(tmp_path, period=2, backprop=backprop)
        x, targets = data(6)
        outputs, _ = layer(x=x, targets=targets, loss=loss)
        slopes.append(torch.autograd.grad(outputs.square().sum(), layer.block_start_W1)[0])
    assert not torch.allclose(*slopes)


MIXED = """
nlc: 1
name: Mixed
dims: {d_model: 5, d_hidden: 7}
inputs: {x: [d_model]}
levels:
  inside:
    memory: mlp(d_model, d_hidden, d_model)
    init: learned
    objective: task
    optimizer: gradient_descent(0.1)
    every: 4 tokens
  outside:
    memory: mlp(d_model, d_hidden, d_model)
    every: 3 steps
outputs: {y: outside(x + inside(x))}
outer: {objective: task, optimizer: optimizers/gradient_descent(0.2)}
"""


def test_tokens_and_steps_go_together(tmp_path: Path) -> None:
    path = tmp_path / "mixed.yaml"
    path.write_text(MIXED)
    module = compile_file(path).load()
    torch.manual_seed(0)
    layer = module.Mixed().double()
    optimizer = module.optimizers(layer)
    start = copy.deepcopy(layer.state_dict())
    for step in range(1, 7):
        x, targets = data(9)
        before = layer.outside_W1.detach().clone()
        optimizer.zero_grad()
        outputs, _ = layer(x=x + step, targets=targets, loss=loss)
        loss(outputs, targets).mean().backward()
        optimizer.step()
        assert torch.equal(layer.outside_W1, before) is (step % 3 != 0)
    assert not torch.equal(layer.inside_start_W1, start["inside_start_W1"])
