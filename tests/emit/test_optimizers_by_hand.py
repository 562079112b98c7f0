"""Optimizers that users would write, as specs: compiled, they equal the same ones written by hand, and are as ruff formats."""

from __future__ import annotations

import subprocess
import sys
from inspect import signature
from pathlib import Path
from typing import Any

import pytest
import torch
from torch import Tensor, nn

from nlc import pipeline
from nlc.pipeline import compile_file
from tests.emit.by_hand import BY_HAND

SPECS = Path(__file__).parent / "optimizers"
NAMES = sorted(path.stem for path in SPECS.glob("*.yaml"))
ROOT = Path(__file__).resolve().parents[2]
SHAPES = ((3, 4), (4, 3), (3, 4), (5, 5))
STEPS = 60


def class_of(name: str) -> Any:
    module = compile_file(SPECS / f"{name}.yaml").load()
    return getattr(module, module.__all__[0])


def drawn(seed: int) -> list[Tensor]:
    generator = torch.Generator().manual_seed(seed)
    return [torch.randn(shape, generator=generator, dtype=torch.float64) for shape in SHAPES]


def gap_by_hand(name: str, **numbers: float) -> float:
    """The largest distance of a tensor from its own run by hand, relative to its norm, after steps along gradients that depend on it."""
    weights, expected = [nn.Parameter(start) for start in drawn(0)], drawn(0)
    steps, optimizer = BY_HAND[name](drawn(0)), class_of(name)(weights, **numbers)
    for number in range(1, STEPS + 1):
        noise = drawn(number)
        for weight, own in zip(weights, noise, strict=True):
            weight.grad = 0.5 * weight.detach() + own
        expected = steps([0.5 * weight + own for weight, own in zip(expected, noise, strict=True)])
        optimizer.step()
    return max(float((weight.detach() - own).norm() / own.norm()) for weight, own in zip(weights, expected, strict=True))


def test_every_spec_has_a_twin() -> None:
    assert sorted(BY_HAND) == NAMES


@pytest.mark.parametrize("name", NAMES)
def test_it_moves_as_by_hand(name: str) -> None:
    assert gap_by_hand(name) < 1e-12


@pytest.mark.parametrize("name", ["adafactor", "agreement", "lookahead", "radam", "shampoo_roots"])
def test_the_gap_would_show_another_rate(name: str) -> None:
    assert gap_by_hand(name, learning_rate=0.1001) > 1e-9


@pytest.mark.parametrize("period", [2, 3])
def test_a_count_of_clocks_is_set_for_all_its_uses_at_once(period: int) -> None:
    """`period` counts steps and is a number too: it is chosen when the spec is compiled, not given to the class for half of them."""
    module = compile_file(SPECS / "lookahead.yaml", period=period).load()
    (weight,) = weights = [nn.Parameter(torch.zeros((), dtype=torch.float64))]
    optimizer = module.Lookahead(weights)
    assert "period" not in signature(module.Lookahead).parameters
    for step in range(1, 2 * period + 1):
        weight.grad = torch.ones_like(weight)
        optimizer.step()
        expected = -0.05 * (step // period) * period - 0.1 * (step % period)
        assert weight.item() == pytest.approx(expected, abs=1e-12)


@pytest.mark.parametrize("name", NAMES)
def test_its_claims_are_as_they_say(name: str) -> None:
    assert [verdict for verdict in pipeline.claims_of(SPECS / f"{name}.yaml") if not verdict.as_expected] == []


@pytest.mark.slow
@pytest.mark.parametrize("name", NAMES)
def test_it_is_verified(name: str) -> None:
    assert [square.text for square in compile_file(SPECS / f"{name}.yaml").report().squares if not square.closed] == []


def test_the_code_is_as_ruff_would_have_it(tmp_path: Path) -> None:
    for name in NAMES:
        (tmp_path / f"{name}.py").write_text(compile_file(SPECS / f"{name}.yaml").source)
    for command in (["format", "--check"], ["check"]):
        done = subprocess.run(
            [sys.executable, "-m", "ruff", *command, "--config", ROOT / "pyproject.toml", tmp_path], capture_output=True, text=True
        )
        assert done.returncode == 0, done.stdout


@pytest.mark.parametrize("name", NAMES)
def test_bfloat16_weights_move_as_their_wide_state_says(name: str) -> None:
    """From one start and along one gradient, the step is that of float32, rounded: no number on the way was as narrow as the weights."""
    narrow = [nn.Parameter(start.bfloat16()) for start in drawn(0)]
    wide = [nn.Parameter(weight.detach().float()) for weight in narrow]
    optimizers = class_of(name)(narrow), class_of(name)(wide)
    for number in (1, 2, 3):
        for weight, other, gradient in zip(narrow, wide, drawn(number), strict=True):
            with torch.no_grad():
                other.copy_(weight)
            weight.grad, other.grad = gradient.bfloat16(), gradient.bfloat16().float()
        for optimizer in optimizers:
            optimizer.step()
    for weight, other in zip(narrow, wide, strict=True):
        assert weight.dtype is torch.bfloat16
        assert (weight.float() - other).abs().max() <= 2**-7 * other.abs().max(), "two roundings of a weight, and no more"
        states = zip(optimizers[0].state[weight].values(), optimizers[1].state[other].values(), strict=True)
        for one, two in ((a, b) for a, b in states if isinstance(a, Tensor)):
            assert one.dtype is torch.float32
            assert torch.allclose(one, two, rtol=1e-4, atol=1e-5)
