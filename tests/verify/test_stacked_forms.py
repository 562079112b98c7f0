"""States that move as one, whole: levels in series inside a memory, gates at their ends, long sequences in float32, degenerate keys."""

from __future__ import annotations

from collections.abc import Mapping
from pathlib import Path
from typing import Any

import pytest
import torch
from torch import Tensor

import nlc
from nlc.ir.program import Form
from nlc.verify.squares import check_squares

SPECS = Path(__file__).resolve().parents[2] / "specs" / "architectures"

SERIES = """
nlc: 1
name: Series
kind: optimizer
inputs: {gradient: like(weights)}
hyperparameters: {learning_rate: 0.01, first_decay: 0.9, second_decay: 0.5}
levels:
  first:
    memory: like(weights)
    objective: inner(first, gradient)
    retention: first_decay
    optimizer: gradient_descent(learning_rate)
    every: step
  second:
    memory: like(weights)
    objective: -inner(second, first)
    retention: second_decay
    optimizer: gradient_descent(1)
    every: step
  weights:
    objective: -inner(weights, second)
    optimizer: gradient_descent(1)
    every: step
"""
"""A momentum of a momentum."""

IN_SERIES = """
nlc: 1
name: InSeries
says: Two momenta in series inside the delta rule.
dims: {d_k: 8, d_v: 6}
axes: [heads]
inputs:
  q: [d_k]
  k: [d_k]
  v: [d_v]
  rate: {shape: [], range: [0, 1]}
  first: {shape: [], range: [0, 1]}
  second: {shape: [], range: [0, 1]}
levels:
  memory:
    memory: matrix(d_v, d_k)
    keys: k
    values: v
    objective: l2
    optimizer: series(learning_rate = rate, first_decay = first, second_decay = second)
    every: token
outputs: {y: memory(q)}
"""


@pytest.fixture(scope="module")
def in_series(tmp_path_factory: pytest.TempPathFactory) -> nlc.Compiled:
    root = tmp_path_factory.mktemp("series") / "specs"
    for folder, name, text in (("optimizers", "series", SERIES), ("architectures", "in_series", IN_SERIES)):
        (root / folder).mkdir(parents=True)
        (root / folder / f"{name}.yaml").write_text(text)
    return nlc.compile_file(root / "architectures" / "in_series.yaml")


@pytest.fixture(scope="module")
def titans() -> nlc.Compiled:
    return nlc.compile_file(SPECS / "titans_linear.yaml")


def streams(tokens: int, sizes: tuple[int, int], gates: Mapping[str, tuple[float, float]], seed: int = 0) -> dict[str, Tensor]:
    """Normal queries and values, keys of length 1, gates between their bounds; float64."""
    generator = torch.Generator().manual_seed(seed)
    q, k, v = (torch.randn(1, tokens, 2, size, generator=generator, dtype=torch.float64) for size in (sizes[0], *sizes))
    drawn = {"q": q, "k": torch.nn.functional.normalize(k, dim=-1), "v": v}
    for name, (low, high) in gates.items():
        drawn[name] = low + (high - low) * torch.rand(1, tokens, 2, generator=generator, dtype=torch.float64)
    return drawn


def leaves(value: Tensor | dict[str, Tensor]) -> list[Tensor]:
    return list(value.values()) if isinstance(value, dict) else [value]


def with_gradients(run: Any, inputs: Mapping[str, Tensor]) -> list[Tensor]:
    """Outputs, final states, and the gradients of the sum of their squares."""
    given = {name: value.clone().requires_grad_() for name, value in inputs.items()}
    outputs, state = run(**given)
    seen = [*leaves(outputs), *leaves(state)]
    return [*seen, *torch.autograd.grad(torch.stack([(x.double() ** 2).sum() for x in seen]).sum(), list(given.values()))]


def worst(found: list[Tensor], wanted: list[Tensor]) -> float:
    """The largest gap, relative to the largest entry."""
    return max(
        float((a.detach() - b.detach()).abs().max() / b.detach().abs().max().clamp(min=1e-30)) for a, b in zip(found, wanted, strict=True)
    )


def test_two_momenta_in_series_inside_the_delta_rule_run_in_triangular_chunks(in_series: nlc.Compiled) -> None:
    (memory,) = in_series.program.memories
    assert (memory.form, memory.members) == (Form.STACKED_TRIANGULAR, ("memory.first", "memory.second", "memory"))
    module = in_series.load().InSeries(chunk=16)
    inputs = streams(100, (8, 6), {"rate": (0.0, 1.0), "first": (0.0, 0.9), "second": (0.0, 0.7)})
    assert worst(with_gradients(module, inputs), with_gradients(module.forward_by_token, inputs)) < 1e-12


def test_two_momenta_in_series_close_every_square(in_series: nlc.Compiled) -> None:
    assert [square.text for square in check_squares(in_series.program, in_series.source) if not square.closed] == []


def test_strong_decays_lose_nothing_in_float32_over_a_long_sequence(titans: nlc.Compiled) -> None:
    module = titans.load().TitansLinear(d_k=16, d_v=16)
    inputs = streams(4096, (16, 16), {"learning_rate": (0.0, 1.0), "decay": (0.3, 0.7), "retention": (0.3, 0.7)})
    exact = with_gradients(module, inputs)
    found = with_gradients(module, {name: value.float() for name, value in inputs.items()})
    assert all(bool(value.isfinite().all()) for value in found)
    assert worst(found, exact) < 1e-5
    short = {name: value[:, :300] for name, value in inputs.items()}
    assert worst(with_gradients(module, short), with_gradients(module.forward_by_token, short)) < 1e-12


@pytest.mark.parametrize("gate", [0.0, 1e-6, 1.0])
@pytest.mark.parametrize("name", ["learning_rate", "decay", "retention"])
def test_gates_at_their_ends_are_exact(titans: nlc.Compiled, name: str, gate: float) -> None:
    module = titans.load().TitansLinear(d_k=6, d_v=5, chunk=16)
    inputs = streams(40, (6, 5), {"learning_rate": (0.0, 0.5), "decay": (0.0, 0.5), "retention": (0.5, 1.0)})
    inputs[name][:, 3:9], inputs[name][:, 20] = gate, gate
    found, wanted = with_gradients(module, inputs), with_gradients(module.forward_by_token, inputs)
    assert all(bool(value.isfinite().all()) for value in found)
    assert worst(found, wanted) < 1e-12


@pytest.mark.parametrize("change", ["zero", "repeated", "collinear"])
def test_degenerate_keys_are_exact(titans: nlc.Compiled, change: str) -> None:
    module = titans.load().TitansLinear(d_k=6, d_v=5, chunk=16)
    inputs = streams(40, (6, 5), {"learning_rate": (0.0, 1.0), "decay": (0.0, 0.5), "retention": (0.5, 1.0)})
    key = inputs["k"][:, :1].clone()
    inputs["k"][:, 4:14] = {"zero": 0 * key, "repeated": key, "collinear": -key}[change]
    assert worst(with_gradients(module, inputs), with_gradients(module.forward_by_token, inputs)) < 1e-12
