"""Gradients held over a chunk: every square closes, a sequence may be cut anywhere, and a period of one token is no holding at all."""

from __future__ import annotations

import pytest

from nlc.emit import emit_module
from nlc.ir.law import Laws
from nlc.ir.program import Program
from nlc.verify.squares import check_squares
from tests.emit.systems import program_from
from tests.verify.held_gradients import MATRIX, NETWORK, SYSTEMS
from tests.verify.splits import every_split_is_the_whole

PROGRAMS = tuple(program_from(text) for text in SYSTEMS)
each_program = pytest.mark.parametrize("program", PROGRAMS, ids=lambda program: program.model.name)


@each_program
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
