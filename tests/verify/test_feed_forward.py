"""Architectures of slow levels alone: plain layers, all tokens at once, trained at the periods of their levels."""

from __future__ import annotations

import pytest
import torch

from nlc.emit import emit_module
from nlc.ir.program import Program
from nlc.verify.squares import check_squares
from tests.emit.systems import emitted_class, program_from

LAYER = """
nlc: 1
name: FeedForward
dims: {d: 6}
inputs: {x: [d]}
levels:
  fast:
    memory: mlp(d, 4 * d, d)
    objective: task
    optimizer: optimizers/momentum(learning_rate = 0.05, decay = 0.5)
    every: step
  medium:
    memory: mlp(d, 4 * d, d)
    objective: task
    optimizer: optimizers/momentum(learning_rate = 0.05, decay = 0.5)
    every: 3 steps
    reduce: mean
outputs: {y: x + medium(fast(x)), z: 2}
"""
HEADS = """
nlc: 1
name: Heads
dims: {d: 6, heads: 2}
axes: [heads]
inputs: {x: {shape: [d], axes: []}, goal: {shape: [], every: sequence}}
levels:
  project:
    memory: matrix(d, d)
    every: step
outputs: {y: "goal * split(project(x), heads)", z: "join(tanh(split(x, heads)), heads)"}
"""
PROGRAMS = tuple(program_from(text) for text in (LAYER, HEADS))


@pytest.mark.parametrize("program", PROGRAMS, ids=lambda program: program.model.name)
def test_every_square_closes(program: Program) -> None:
    squares = check_squares(program, emit_module(program))
    assert [square for square in squares if not square.closed] == []


def test_all_tokens_are_computed_at_once_and_nothing_is_carried() -> None:
    module = emitted_class(PROGRAMS[0])(d=3)
    outputs, state = module(x=torch.ones(2, 5, 3))
    assert outputs["y"].shape == (2, 5, 3)
    assert outputs["z"].unique().tolist() == [2.0]
    assert state == module.initial_state(2, like=torch.ones(())) == {}


def test_the_retention_of_a_slow_level_is_a_decay_in_its_optimizer() -> None:
    text = LAYER.replace("    every: step\n", "    retention: 1 - weight_decay\n    every: step\n", 1).replace(
        "levels:", "hyperparameters: {weight_decay: 0.1}\nlevels:"
    )
    program = program_from(text)
    assert [item.optimizer.name for item in program.model.training] == ["DecayedMomentum", "Momentum"]
    assert [square for square in check_squares(program, emit_module(program)) if not square.closed] == []
