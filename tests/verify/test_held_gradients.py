"""Gradients held over a chunk: every square closes, a sequence may be cut anywhere, and a period of one token is no holding at all."""

from __future__ import annotations

from pathlib import Path

import pytest
import torch

import nlc
from nlc.emit import emit_module
from nlc.ir.law import Laws
from nlc.ir.program import Form, Program
from nlc.verify.squares import check_squares
from tests.emit.systems import program_from
from tests.verify.held_gradients import MATRIX, NETWORK, SYSTEMS, UNPUBLISHED
from tests.verify.splits import every_split_is_the_whole

PROGRAMS = tuple(program_from(text) for text in SYSTEMS)
SLOW = ("HeldDefined", "HeldNetwork", "HeldSlower")
each_program = pytest.mark.parametrize("program", PROGRAMS, ids=lambda program: program.model.name)


@pytest.mark.parametrize(
    "program",
    [pytest.param(item, id=item.model.name, marks=[pytest.mark.slow] if item.model.name in SLOW else []) for item in PROGRAMS],
)
def test_every_square_closes(program: Program) -> None:
    squares = check_squares(program, emit_module(program))
    assert [square for square in squares if not square.closed] == []


@each_program
def test_every_split_is_the_whole(program: Program) -> None:
    every_split_is_the_whole(program)


@pytest.mark.parametrize("text", [MATRIX, NETWORK], ids=["matrix", "network"])
def test_held_for_one_token_is_not_held(text: str) -> None:
    def laws(changed: str) -> Laws:
        return program_from(changed.replace(" + hold(memory, period tokens)(q)", "")).laws

    once, plain = laws(text.replace("period: 3", "period: 1")), laws(text.replace("    gradient_at: hold(period tokens)\n", ""))
    assert (once.laws, once.kept) == (plain.laws, plain.kept)


def test_every_kind_of_memory_has_a_form_in_blocks_if_its_periods_allow() -> None:
    forms = {program.model.name: program.memories[-1].form for program in PROGRAMS}
    assert forms == {
        "HeldMatrix": Form.PREFIX_SUM,
        "HeldVector": Form.RECURRENCE,  # held for two tokens and for three: no block is longer than a token
        "HeldNetwork": Form.DUAL,
        "HeldDefined": Form.DUAL,
        "HeldTargets": Form.RECURRENCE,
        "HeldSlower": Form.BLOCKS,
    }
    why = [item.because for program in PROGRAMS for item in program.decisions if not item.taken and program.model.name == "HeldTargets"]
    assert any("have periods without a common divisor" in text for text in why)


@pytest.mark.slow
def test_a_deep_memory_that_nobody_has_published_gets_the_dual_form() -> None:
    program = program_from(UNPUBLISHED)
    assert {memory.form for memory in program.memories} == {Form.DUAL}
    squares = check_squares(program, emit_module(program))
    assert [square for square in squares if not square.closed] == []
    every_split_is_the_whole(program)


@pytest.mark.parametrize("tokens", [1, 7])
def test_the_inner_gradient_through_the_layer_norm_is_that_of_the_stated_objective(tokens: int) -> None:
    compiled = nlc.compile_file(Path(__file__).parents[2] / "specs" / "architectures" / "ttt_linear.yaml")
    module, generator = compiled.load().TTTLinear(d=8), torch.Generator().manual_seed(2)
    q, k, v, scale, shift = (torch.randn(2, tokens, 3, 8, dtype=torch.float64, generator=generator) for _ in range(5))
    state = module.initial_state(2, 3, like=q)
    start = torch.randn(2, 3, 8, 8, dtype=torch.float64, generator=generator)
    rate = torch.ones(2, tokens, 3, dtype=torch.float64)
    _, after = module(q=q, k=k, v=v, scale=scale, shift=shift, learning_rate=rate, state=state | {"memory": start, "memory.held_16": start})
    weights = start.clone().requires_grad_()
    normed = torch.nn.functional.layer_norm(torch.einsum("bhrc,bthc->bthr", weights, k), (8,))
    loss = 0.5 * (k + scale * normed + shift - v).square().sum()
    (gradient,) = torch.autograd.grad(loss, weights)
    torch.testing.assert_close(start - after["memory"], gradient, rtol=0, atol=1e-9)
