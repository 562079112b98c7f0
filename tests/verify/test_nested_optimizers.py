"""An optimizer whose own memory has an optimizer with state, inside a memory: the gradient of an objective that reads a gradient."""

from __future__ import annotations

from pathlib import Path

import pytest

from nlc import pipeline
from nlc.emit import emit_module
from nlc.verify.squares import check_squares
from tests.rows import rows

NESTED = """
nlc: 1
name: Nested
kind: optimizer
inputs: {gradient: like(weights)}
hyperparameters: {learning_rate: 0.1, decay: 0.9}
levels:
  momentum:
    memory: like(weights)
    objective: inner(momentum, gradient) + 0.05 * norm2(momentum)
    retention: decay
    optimizer: momentum(learning_rate = learning_rate, decay = 0.5)
    every: step
  weights:
    objective: -inner(weights, momentum)
    optimizer: gradient_descent(1)
    every: step
"""

USER = """
nlc: 1
name: User
dims: {d_k: 4, d_v: 3}
inputs: {k: [d_k], v: [d_v], beta: {shape: [], range: [0, 1]}}
levels:
  memory:
    memory: matrix(d_v, d_k)
    keys: k
    values: v
    objective: l2
    reset: 4 tokens
    optimizer: optimizers/nested(learning_rate = 0.2 * beta)
    every: CLOCK
outputs: {y: memory(k)}
"""


@pytest.mark.parametrize("clock", rows(["token", "2 tokens", "sequence"], ["token", "sequence"]))
def test_every_square_closes(tmp_path: Path, clock: str) -> None:
    path = tmp_path / "specs" / "architectures" / "user.yaml"
    for place, text in (("optimizers/nested.yaml", NESTED), ("architectures/user.yaml", USER.replace("CLOCK", clock))):
        file = tmp_path / "specs" / place
        file.parent.mkdir(parents=True, exist_ok=True)
        file.write_text(text.replace("    reset: 4 tokens\n", "") if clock == "sequence" else text)
    program = pipeline.compile_program(path)
    assert [square for square in check_squares(program, emit_module(program)) if not square.closed] == []
