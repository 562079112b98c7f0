"""The cost model: which chunk it chooses at which sizes, never longer than a block, and that whoever asks for another gets it."""

from __future__ import annotations

from dataclasses import replace

import pytest

from nlc.schedule import schedule_program
from tests import models
from tests.derive import systems
from tests.emit.systems import program_from
from tests.schedule.witnesses import laws_of
from tests.verify.test_blocks import ALONE, BESIDE, HEAD


@pytest.mark.parametrize(("size", "chunk"), [(16, 128), (64, 64), (128, 64)])
def test_the_fastest_chunk_that_was_measured_is_chosen(size: int, chunk: int) -> None:
    model = models.delta_rule()
    program = schedule_program(laws_of(replace(model, dims=tuple(replace(dim, default=size) for dim in model.dims))))
    assert program.chunk == chunk
    assert "the least cost by the model" in program.chunk_because


def test_by_halves_pairs_cost_more_so_chunks_of_small_memories_are_shorter() -> None:
    model = systems.channel_gated_memory()
    assert schedule_program(laws_of(replace(model, dims=tuple(replace(dim, default=16) for dim in model.dims)))).chunk == 64


def test_a_chunk_is_at_most_a_block() -> None:
    beside = HEAD.format(name="Beside", axes="[heads]") + BESIDE
    assert program_from(beside).chunk == 2
    for old, new in (("hold(fast, 2 tokens)", "hold(fast, 48 tokens)"), ("hold(fast, 4 tokens)", "hold(fast, 48 tokens)")):
        beside = beside.replace(old, new)
    longer = program_from(beside.replace("reset: 8 tokens", "reset: 96 tokens").replace("every: 4 tokens", "every: 48 tokens"))
    assert (longer.blocks.tokens, longer.chunk) == (48, 48)


def test_what_is_asked_for_is_taken_and_what_has_no_chunk_says_nothing() -> None:
    asked = schedule_program(laws_of(models.delta_rule()), chunk=7)
    assert (asked.chunk, asked.chunk_because) == (7, "as it was asked for")
    assert program_from(HEAD.format(name="Alone", axes="[]") + ALONE).chunk_because == ""
