"""Slow levels: parameters of the module, moved by its own `optimizers` at their own periods."""

from __future__ import annotations

import copy
from pathlib import Path
from types import ModuleType

import pytest
import torch
from torch import Tensor

from nlc.pipeline import compile_file

SPECS = Path(__file__).resolve().parents[2] / "specs"
STEPS = 30

PERIODS = """
nlc: 1
name: Periods
dims: {d: 6}
inputs: {x: [d]}
hyperparameters: {rate: 0.05}
levels:
  every_step:
    memory: matrix(d, d)
    every: step
  summed:
    memory: matrix(d, d)
    every: 2 steps
    optimizer: gradient_descent(rate)
  averaged:
    memory: vector(d)
    every: 4 steps
    reduce: mean
    init: 0.5
    optimizer: heavy_ball(learning_rate = rate / 2, decay = 0.5)
  frozen:
    memory: matrix(d, d)
    every: never
  memory:
    memory: matrix(d, d)
    keys: every_step(x)
    values: summed(x) + averaged
    objective: dot
    optimizer: gradient_descent(1)
    every: token
outputs:
  y: memory(frozen(x))
outer: {objective: task, optimizer: momentum(0.1)}
"""


@pytest.fixture
def periods(tmp_path: Path) -> ModuleType:
    path = tmp_path / "periods.yaml"
    path.write_text(PERIODS)
    return compile_file(path).load()


def test_a_layer_trained_by_its_own_optimizers_is_the_layer_written_by_hand() -> None:
    module = compile_file(SPECS / "architectures" / "linear_attention_layer.yaml").load()
    torch.manual_seed(0)
    layer = module.LinearAttentionLayer(d_model=24, heads=3, learning_rate=0.05, decay=0.9).double()
    by_hand = {name: parameter.detach().clone().requires_grad_() for name, parameter in layer.named_parameters()}
    reference = torch.optim.SGD(by_hand.values(), lr=0.05, momentum=0.9)
    optimizer = module.optimizers(layer)
    for _ in range(STEPS):
        x, target = 0.3 * torch.randn(2, 2, 70, 24, dtype=torch.double)
        y, _ = layer(x=x)
        optimizer.zero_grad()
        (y - target).square().mean().backward()
        optimizer.step()
        reference.zero_grad()
        (written_by_hand(x, by_hand, heads=3) - target).square().mean().backward()
        reference.step()
        gaps = [(by_hand[name] - parameter).abs().max().item() for name, parameter in layer.named_parameters()]
        assert max(gaps) < 1e-10


def written_by_hand(x: Tensor, weights: dict[str, Tensor], heads: int) -> Tensor:
    """Linear attention between projections, over (batch, time, d_model)."""
    batch, time, _ = x.shape
    query, key, value = ((x @ weights[f"project_{name}"].T).view(batch, time, heads, -1).transpose(1, 2) for name in "qkv")
    read = (query @ key.mT).tril() @ value
    return read.transpose(1, 2).reshape(batch, time, -1) @ weights["project_out"].T


DECAYED = """
nlc: 1
name: Decayed
dims: {d: 6}
inputs: {x: [d]}
hyperparameters: {rate: 0.05, decay: 0.5}
levels:
  by_its_optimizer:
    memory: matrix(d, d)
    every: step
  by_both:
    memory: matrix(d, d)
    every: step
    retention: 1 - rate
outputs: {y: by_its_optimizer(by_both(x))}
outer: {objective: task, optimizer: "adamw(learning_rate = rate, weight_decay = decay)", every: 2 steps}
"""


def test_a_weight_decay_is_applied_once_and_a_levels_own_retention_beside_it(tmp_path: Path) -> None:
    path = tmp_path / "decayed.yaml"
    path.write_text(DECAYED)
    module = compile_file(path).load()
    torch.manual_seed(4)
    layer = module.Decayed().double()
    by_hand = {name: parameter.detach().clone().requires_grad_() for name, parameter in layer.named_parameters()}
    reference = torch.optim.AdamW(by_hand.values(), lr=0.05, weight_decay=0.5)
    optimizer = module.optimizers(layer)
    for step in range(1, 9):
        x = torch.randn(2, 5, 6, dtype=torch.double)
        optimizer.zero_grad()
        layer(x=x)[0].square().mean().backward()
        optimizer.step()
        (x @ by_hand["by_both"].T @ by_hand["by_its_optimizer"].T).square().mean().backward()
        if step % 2 == 0:
            before = by_hand["by_both"].detach().clone()
            reference.step()
            reference.zero_grad()
            with torch.no_grad():  # torch's step is decay * before - direction
                by_hand["by_both"].sub_(0.05 * (1 - 0.05 * 0.5) * before)
        for name, parameter in layer.named_parameters():
            torch.testing.assert_close(parameter, by_hand[name], rtol=0, atol=1e-12)


def gradients_of(layer: torch.nn.Module, x: Tensor) -> dict[str, Tensor]:
    y, _ = layer(x=x)
    moving = {name: parameter for name, parameter in layer.named_parameters() if parameter.requires_grad}
    found = torch.autograd.grad(y.square().sum() / 100, tuple(moving.values()))
    return dict(zip(moving, found, strict=True))


def test_every_level_moves_at_its_own_period_on_the_gradients_since_it_last_did(periods: ModuleType) -> None:
    torch.manual_seed(1)
    layer = periods.Periods().double()
    assert layer.averaged.eq(0.5).all() and not layer.frozen.requires_grad
    optimizer = periods.optimizers(layer)
    start = {name: parameter.detach().clone() for name, parameter in layer.named_parameters()}
    gathered: dict[str, list[Tensor]] = {"summed": [], "averaged": []}
    velocity = torch.zeros_like(start["averaged"])
    for step in range(1, 9):
        before = {name: parameter.detach().clone() for name, parameter in layer.named_parameters()}
        x = torch.randn(2, 5, 6, dtype=torch.double)
        for name, gradient in gradients_of(layer, x).items():
            gathered.setdefault(name, []).append(gradient)
        optimizer.zero_grad()
        (layer(x=x)[0].square().sum() / 100).backward()
        optimizer.step()
        after = dict(layer.named_parameters())
        assert not torch.equal(after["every_step"], before["every_step"])
        assert torch.equal(after["frozen"], start["frozen"])
        if step % 2:
            assert torch.equal(after["summed"], before["summed"])
        else:
            torch.testing.assert_close(after["summed"], before["summed"] - 0.05 * torch.stack(gathered.pop("summed")).sum(0))
        if step % 4:
            assert torch.equal(after["averaged"], before["averaged"])
        else:
            velocity = 0.5 * velocity + torch.stack(gathered.pop("averaged")).mean(0)
            torch.testing.assert_close(after["averaged"], before["averaged"] - 0.025 * velocity)


def test_training_goes_on_where_a_state_dict_was_taken_in_the_middle_of_a_period(periods: ModuleType) -> None:
    torch.manual_seed(2)
    layer = periods.Periods().double()
    optimizer = periods.optimizers(layer)
    data = [torch.randn(1, 4, 6, dtype=torch.double) for _ in range(10)]

    def train(layer: torch.nn.Module, optimizer: periods.LevelOptimizers, some: list[Tensor]) -> None:  # type: ignore[name-defined]
        for x in some:
            optimizer.zero_grad()
            layer(x=x)[0].square().mean().backward()
            optimizer.step()

    train(layer, optimizer, data[:5])
    resumed = periods.Periods().double()
    resumed.load_state_dict(layer.state_dict())
    other = periods.optimizers(resumed)
    other.load_state_dict(copy.deepcopy(optimizer.state_dict()))
    train(layer, optimizer, data[5:])
    train(resumed, other, data[5:])
    for name, parameter in layer.named_parameters():
        assert torch.equal(parameter, dict(resumed.named_parameters())[name]), name


def test_schedulers_take_the_optimizers_of_the_levels(periods: ModuleType) -> None:
    layer = periods.Periods()
    optimizer = periods.optimizers(layer)
    scheduler = torch.optim.lr_scheduler.LambdaLR(optimizer.optimizers[0], lambda step: 0.5**step)
    for _ in range(2):
        layer(x=torch.randn(1, 3, 6))[0].sum().backward()
        optimizer.step()
        scheduler.step()
    assert optimizer.optimizers[0].param_groups[0]["lr"] == pytest.approx(0.025)
