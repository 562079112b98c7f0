"""The evidence that a spec is judged on: any carried state, or else one that the spec comes to, so that its numbers are finite."""

from __future__ import annotations

from pathlib import Path

import pytest

from nlc import pipeline
from nlc.ir.program import Program
from nlc.verify.inputs import Case, draw
from nlc.verify.judge import judge
from nlc.verify.observe import Seen
from tests import models
from tests.verify.programs import program_of

CARRIED = Case(name="carried", chunks=1, extra=1, carried=True)

WITH_A_ROOT = """
nlc: 1
name: ByItsSize
dims: {d_k: 4, d_v: 3}
inputs: {k: [d_k], v: [d_v]}
levels:
  size:
    memory: vector(d_v)
    objective: 0.5 * norm2(size - v ** 2)
    optimizer: gradient_descent(0.1)
    every: token
  memory:
    memory: matrix(d_v, d_k)
    keys: k
    values: v / sqrt(size)
    objective: l2
    optimizer: gradient_descent(0.1)
    every: token
outputs: {y: memory(k)}
"""


@pytest.fixture(name="with_a_root")
def _with_a_root(tmp_path: Path) -> Program:
    path = tmp_path / "by_its_size.yaml"
    path.write_text(WITH_A_ROOT, encoding="utf-8")
    return pipeline.compile_program(path)


def test_a_carried_state_is_any_where_that_gives_finite_numbers() -> None:
    program = program_of(models.delta_rule())
    found, wanted = judge(program, CARRIED, 0).drawn.state, draw(program.model, CARRIED, program.chunk, slots=program.slots).state
    assert found is not None
    assert wanted is not None
    assert found["memory"].equal(wanted["memory"])


def test_a_carried_state_is_else_one_that_the_spec_comes_to(with_a_root: Program) -> None:
    judged = judge(with_a_root, CARRIED, 0)
    assert isinstance(judged.wanted, Seen)
    assert judged.wanted.is_finite
    assert judged.drawn.state is not None
    assert bool((judged.drawn.state["size"] > 0).all())
