"""Counts, previous values, starts and cuts of levels that move several times a token, as squares and against a loop by hand."""

from __future__ import annotations

import pytest
import torch

from nlc.emit import emit_module
from nlc.ir.program import Program
from nlc.verify.oracle import run_oracle
from nlc.verify.squares import check_squares
from tests.emit.systems import program_from

HEAD = """
nlc: 1
name: {name}
dims: {{d_k: 4, d_v: 3}}
axes: [heads]
inputs:
  q: [d_k]
  k: {{shape: [d_k], every: token / 2}}
  v: {{shape: [d_v], every: token / 2}}
  beta: {{shape: [], range: [0, 1], axes: []}}
levels:
"""
COUNTED = (
    HEAD.format(name="CountedParts")
    + """
  memory:
    memory: matrix(d_v, d_k)
    keys: k
    values: v - 0.5 * prev(v)
    objective: l2
    reset: 3 tokens
    optimizer: gradient_descent(1 / (1 + tick))
    every: token / 2
  average:
    memory: vector(d_v)
    objective: 0.5 * norm2(average - v + prev(v))
    optimizer: gradient_descent(1 / tick)
    every: token
  plain:
    memory: matrix(d_v, d_k)
    keys: prev(k)
    values: v
    objective: l2
    backprop: truncated(4 updates)
    reset: 3 tokens
    optimizer: gradient_descent(beta)
    every: token / 2
  constant:
    memory: matrix(d_v, d_k)
    keys: k
    values: average
    objective: l2
    backprop: none
    optimizer: gradient_descent(0.1)
    every: token / 2
outputs:
  y: memory(q) + average + plain(q) + constant(q)
  z: prev(k)
"""
)
INNER = (
    HEAD.format(name="InnerSteps")
    + """
  momentum:
    memory: vector(d_v)
    objective: -dot(momentum, v)
    retention: 0.5
    optimizer: gradient_descent(1)
    every: token
  polished:
    memory: vector(d_v)
    objective: 0.25 * norm2(polished) - 0.5 * dot(polished, momentum) + dot(polished, v) * beta
    init: momentum / (norm(momentum) + 1)
    reset: token
    optimizer: gradient_descent(0.3)
    every: token / 2
  weights:
    memory: vector(d_v)
    objective: -dot(weights, polished)
    optimizer: gradient_descent(0.1)
    every: token
outputs:
  y: weights + polished
"""
)
PROGRAMS = tuple(program_from(text) for text in (COUNTED, INNER))


@pytest.mark.parametrize("program", PROGRAMS, ids=lambda program: program.model.name)
def test_every_square_closes(program: Program) -> None:
    squares = check_squares(program, emit_module(program))
    assert [square for square in squares if not square.closed] == []


def test_inner_steps_start_from_the_new_momentum_of_their_token() -> None:
    generator = torch.Generator().manual_seed(1)
    shapes: dict[str, tuple[int, ...]] = {"q": (1, 5, 1, 4), "k": (1, 5, 2, 1, 4), "v": (1, 5, 2, 1, 3), "beta": (1, 5)}
    inputs = {name: torch.rand(shape, dtype=torch.float64, generator=generator) for name, shape in shapes.items()}
    outputs, _ = run_oracle(PROGRAMS[1].model, inputs, {"d_k": 4, "d_v": 3, "heads": 1}, {})
    momentum, weights, expected = torch.zeros(3, dtype=torch.float64), torch.zeros(3, dtype=torch.float64), []
    for t in range(5):
        old, momentum = momentum, 0.5 * momentum + inputs["v"][0, t, 1, 0]
        polished = momentum / (momentum.norm() + 1)
        for part in range(2):
            polished = polished - 0.3 * (0.5 * polished - 0.5 * old + inputs["beta"][0, t] * inputs["v"][0, t, part, 0])
        weights = weights + 0.1 * polished
        expected.append(weights + polished)
    torch.testing.assert_close(outputs["y"][0, :, 0], torch.stack(expected), rtol=0, atol=1e-13)
