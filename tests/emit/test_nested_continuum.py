"""The nested continuum memory system of steps beside a plain training loop: what starts again when, from what, and what is forgotten."""

from __future__ import annotations

import copy
from pathlib import Path
from types import ModuleType
from typing import Any

import pytest
import torch
from torch import Tensor

from nlc.diagnostics import CompileError
from nlc.pipeline import compile_file
from tests.emit.test_continuum import SHAPES, SIZES, chain, data, train

SPEC = Path(__file__).resolve().parents[2] / "specs" / "architectures" / "cms_nested.yaml"
SLOWER = {"fast": ("medium", 2), "medium": ("slow", 6)}
"""What each network starts again from, after how many steps."""

MODEL = """
nlc: 1
name: Nested
kind: model
dims: {vocabulary: 7, d_model: 6, d_hidden: 10, layers: 2}
inputs: {tokens: integer(vocabulary)}
hyperparameters: {medium_period: 2, slow_period: 4}
network:
  - embed: vocabulary -> d_model
  - repeat: layers
    residual: [architectures/cms_nested]
  - head(tied)
outer:
  objective: cross_entropy
  optimizer: optimizers/heavy_ball(0.1, 0.9)
"""


@pytest.fixture(scope="module")
def nested() -> ModuleType:
    return compile_file(SPEC, **{"hyperparameters.medium_period": 2, "hyperparameters.slow_period": 6}).load()


def made(nested: ModuleType, rate: float = 0.02) -> Any:
    torch.manual_seed(0)
    return nested.NestedContinuumMemorySystem(**SIZES, learning_rate=rate).double()


def adamw(weights: dict[str, Tensor], name: str) -> torch.optim.Optimizer:
    return torch.optim.AdamW([weights[f"{name}_{tensor}"] for tensor in SHAPES], lr=0.02, weight_decay=0.01)


def test_networks_begin_as_the_next_slower_one(nested: ModuleType) -> None:
    layer = made(nested)
    for name, (source, _) in SLOWER.items():
        assert all(torch.equal(getattr(layer, f"{name}_{tensor}"), getattr(layer, f"{source}_{tensor}")) for tensor in SHAPES)


def test_networks_go_back_to_the_next_slower_one_and_their_optimizers_begin_anew(nested: ModuleType) -> None:
    layer = made(nested)
    weights = {name: parameter.detach().clone().requires_grad_() for name, parameter in layer.named_parameters()}
    by_hand = {name: adamw(weights, name) for name in ("fast", "medium", "slow")}
    optimizer = nested.optimizers(layer)
    for step, (x, target) in enumerate(data(25), start=1):
        train(layer, optimizer, [(x, target)])
        (chain(x, weights) - target).square().mean().backward()
        for name, period in {"fast": 1, "medium": 2, "slow": 6}.items():
            if step % period == 0:
                by_hand[name].step()
                by_hand[name].zero_grad()
        for name in ("medium", "fast"):  # where both go back, fast goes back to what medium has gone back to
            source, period = SLOWER[name]
            if step % period == 0:
                with torch.no_grad():
                    for tensor in SHAPES:
                        weights[f"{name}_{tensor}"].copy_(weights[f"{source}_{tensor}"])
                by_hand[name] = adamw(weights, name)
        for name, parameter in layer.named_parameters():
            torch.testing.assert_close(parameter, weights[name], rtol=0, atol=1e-11)


def test_what_is_slow_learns_through_all_of_it(nested: ModuleType) -> None:
    layer = made(nested)
    start = layer.slow_W1.detach().clone()
    optimizer = nested.optimizers(layer)
    train(layer, optimizer, data(5))
    assert torch.equal(layer.slow_W1, start)
    assert not torch.equal(layer.medium_W1, start)
    train(layer, optimizer, data(1))
    assert not torch.equal(layer.slow_W1, start)
    assert torch.equal(layer.fast_W1, layer.slow_W1)


@pytest.mark.parametrize("cut", [pytest.param(cut, marks=[] if cut in (1, 4, 7, 12) else [pytest.mark.slow]) for cut in range(1, 13)])
def test_training_goes_on_from_every_phase_of_every_period(nested: ModuleType, cut: int) -> None:
    layer, resumed = made(nested), made(nested)
    optimizer, other = nested.optimizers(layer), nested.optimizers(resumed)
    some = data(15)
    train(layer, optimizer, some[:cut])
    resumed.load_state_dict(copy.deepcopy(layer.state_dict()))
    other.load_state_dict(copy.deepcopy(optimizer.state_dict()))
    train(layer, optimizer, some[cut:])
    train(resumed, other, some[cut:])
    assert all(torch.equal(one, two) for one, two in zip(layer.parameters(), resumed.parameters(), strict=True))


def test_in_a_model_every_copy_goes_back_to_its_own(tmp_path: Path) -> None:
    path = tmp_path / "nested.yaml"
    path.write_text(MODEL)
    module = compile_file(path).load()
    torch.manual_seed(0)
    model = module.Nested().double()
    optimizer = module.optimizers(model)
    for step in range(1, 5):
        optimizer.zero_grad()
        tokens = torch.randint(7, (2, 9))
        model.loss(tokens=tokens[:, :-1], targets=tokens[:, 1:])[0].backward()
        optimizer.step()
        for block in (block.cms_nested for block in model.blocks):
            assert torch.equal(block.fast_W1, block.medium_W1) is (step % 2 == 0)
            assert torch.equal(block.medium_W1, block.slow_W1) is (step in (1, 4))
    first, second = (block.cms_nested for block in model.blocks)
    assert not torch.equal(first.fast_W1, second.fast_W1)


LAYER = """
nlc: 1
name: Layer
dims: {{d: 6}}
inputs: {{x: [d]}}
levels:
  fast:
    memory: matrix(d, d)
    every: {every} steps
    init: slow
    reset: {reset} steps
  slow:
    memory: matrix(d, d)
    every: 12 steps
outputs: {{y: slow(fast(x))}}
outer: {{objective: task, optimizer: optimizers/memory}}
"""

MEMORY = """
nlc: 1
name: Memory
kind: optimizer
inputs: {gradient: like(weights)}
levels:
  kept:
    memory: like(weights)
    objective: -inner(kept, gradient)
    optimizer: gradient_descent(1)
    every: step
    reset: 12 steps
  weights:
    objective: inner(weights, kept)
    optimizer: gradient_descent(0.1)
    every: step
"""

AROUND = """
nlc: 1
name: Around
kind: model
dims: {vocabulary: 7, d: 6}
inputs: {tokens: integer(vocabulary)}
network:
  - embed: vocabulary -> d
  - residual: [architectures/layer]
  - head(tied)
outer: {objective: cross_entropy, optimizer: optimizers/gradient_descent(0.1)}
"""


@pytest.mark.parametrize(
    ("every", "reset", "name", "what"),
    [(4, 6, "models/around", "between two of its updates"), (1, 4, "architectures/layer", "outlasts it")],
)
def test_what_does_not_go_together_with_a_reset_is_refused(tmp_path: Path, every: int, reset: int, name: str, what: str) -> None:
    texts = {"architectures/layer": LAYER.format(every=every, reset=reset), "optimizers/memory": MEMORY, "models/around": AROUND}
    for place, text in texts.items():
        path = tmp_path / "specs" / f"{place}.yaml"
        path.parent.mkdir(parents=True)
        path.write_text(text)
    with pytest.raises(CompileError) as refused:
        compile_file(tmp_path / "specs" / f"{name}.yaml")
    assert what in str(refused.value)
