"""Memories of several tensors: the oracle, the laws and the module agree on random networks, and on memories that users define."""

from __future__ import annotations

from pathlib import Path
from tempfile import TemporaryDirectory

import pytest
import torch
from hypothesis import HealthCheck, given, settings

import nlc
from nlc.verify.squares import check_squares
from tests.verify.networks import networks

SPECS = Path(__file__).parents[2] / "specs"

DEFINED = """\
nlc: 1
name: Defined
dims: {d: 4, d_hidden: 6}
inputs: {q: [d], k: [d], v: [d], beta: {shape: [], range: [0, 0.1]}}
define:
  residual:
    states: {V: [d, d_hidden], W: [d_hidden, d], b: [d]}
    read: (x) -> x + scale * tanh(V @ silu(W @ x)) + b * relu(scale + b)
levels:
  scale:
    memory: vector(d)
    values: v
    objective: l2
    optimizer: gradient_descent(beta)
    every: token
  memory:
    memory: residual
    keys: k
    values: v
    objective: l2
    retention: 0.9
    optimizer: momentum(learning_rate = beta, decay = 0.5)
    every: token
  loose:
    memory: residual
    objective: 0.5 * norm2(loose.W @ k) + dot(loose.b, v)
    optimizer: gradient_descent(beta)
    every: token
outputs: {y: memory(q), z: loose(q)}
"""


def compiled(text: str) -> nlc.Compiled:
    with TemporaryDirectory() as folder:
        path = Path(folder) / "invented.yaml"
        path.write_text(text)
        return nlc.compile_file(path)


def open_squares(text: str) -> list[str]:
    result = compiled(text)
    squares = check_squares(result.program, result.source)
    return [f"{square.left} = {square.right}: {square.detail}" for square in squares if not square.closed]


@settings(max_examples=2, deadline=None, derandomize=True, suppress_health_check=list(HealthCheck))
@given(networks())
@pytest.mark.slow
def test_random_networks_do_what_their_objectives_say(text: str) -> None:
    assert open_squares(text) == []


@pytest.mark.slow
@settings(max_examples=40, deadline=None, suppress_health_check=list(HealthCheck))
@given(networks())
def test_many_random_networks_do_what_their_objectives_say(text: str) -> None:
    assert open_squares(text) == []


def test_a_defined_memory_may_read_other_levels_and_leave_states_alone() -> None:
    assert open_squares(DEFINED) == []


def loss_after(tokens: int, state: dict[str, torch.Tensor] | None) -> float:
    """How far the reads of a network are from a fixed association, after so many tokens of it."""
    text = (SPECS / "architectures" / "hebbian_mlp.yaml").read_text().replace("objective: dot", "objective: l2").split("claims:")[0]
    module = compiled(text).load().HebbianMlp(d_k=4, d_v=3, d_hidden=16)
    key, value = torch.tensor([1.0, -1, 0.5, 2]), torch.tensor([1.0, 0, -2])
    k, v, one = key.expand(1, tokens, 1, 4), value.expand(1, tokens, 1, 3), torch.ones(1, tokens, 1)
    y, _ = module(q=k, k=k, v=v, alpha=one, beta=0.05 * one, state=state)
    return float((y[0, -1, 0] - value).square().sum())


def test_a_network_learns_from_a_random_start_and_never_from_zeros() -> None:
    generator = torch.Generator().manual_seed(0)
    start = {"memory.W1": torch.randn(1, 1, 16, 4, generator=generator) / 2, "memory.W2": torch.randn(1, 1, 3, 16, generator=generator) / 4}
    assert loss_after(60, start) < 1e-3 < loss_after(1, start)
    assert loss_after(60, None) == 5
