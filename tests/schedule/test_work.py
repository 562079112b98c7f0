"""What `explain` says a token costs: for every form that the shipped specs take, the operations that torch counts in the emitted module."""

from __future__ import annotations

from fractions import Fraction
from pathlib import Path

import pytest
import torch
from torch.utils.flop_counter import FlopCounterMode

import nlc
from nlc.ir.program import Form
from nlc.schedule import program_text
from nlc.schedule.work import counts_of, work_by_token, work_in_chunks

SPECS = Path(__file__).resolve().parents[2] / "specs" / "architectures"
CHUNK, TOKENS, HEADS = 16, 64, 2
SIZES = {"d_k": 24, "d_v": 40}

SINGLE = ("linear_attention", "delta_rule", "gated_delta_rule", "retention", "mamba2", "comba", "delta_product")
HALVED = ("gated_linear_attention", "kimi_delta_attention")


def operations(name: str) -> tuple[nlc.Compiled, float]:
    """A compiled spec, and what torch counts of a token of one head: products of matrices, but no systems that are solved."""
    compiled = nlc.compile_file(SPECS / f"{name}.yaml", **SIZES)
    model = compiled.program.model
    module = getattr(compiled.load(), model.name)(chunk=CHUNK)
    inputs = {}
    for stream in model.inputs:
        parts = (int(stream.every.updates_per_tick),) if stream.is_parted else ()
        inputs[stream.name] = torch.rand(1, TOKENS, *parts, HEADS, *(dim.size(SIZES) for dim in stream.shape))
    with FlopCounterMode(display=False) as counter:
        module(**inputs)
    return compiled, counter.get_total_flops() / (TOKENS * HEADS * model.updates_per_tick)


@pytest.mark.parametrize("name", [*SINGLE, *HALVED, "titans_linear"])
def test_the_operations_are_those_that_torch_counts(name: str) -> None:
    compiled, counted = operations(name)
    (memory,) = compiled.program.memories
    counts = counts_of(compiled.program.model, memory)
    solved = counts.writes**2 * CHUNK * counts.rows if counts.erases else 0
    claimed = work_in_chunks(counts, memory.form, CHUNK).operations - solved
    assert counted == claimed if name != "titans_linear" else claimed < counted < claimed * Fraction(101, 100)


def test_a_chunk_moves_the_state_once_and_the_law_at_every_token() -> None:
    memory = nlc.compile_file(SPECS / "titans_linear.yaml").program.memories[0]
    counts = counts_of(nlc.compile_file(SPECS / "titans_linear.yaml").program.model, memory)
    assert counts.state_bytes == 2 * 64 * 64 * 4
    law, chunks = work_by_token(counts), work_in_chunks(counts, Form.STACKED_TRIANGULAR, 64)
    assert law.bytes_moved - chunks.bytes_moved == 2 * counts.state_bytes * Fraction(63, 64)
    assert law.operations == 6 * 2 * 64 * 64


def test_explain_says_what_a_token_costs() -> None:
    assert (
        "        a token of a copy at 64 x 64 in float32: 53,248 operations in products, 1,792 bytes moved "
        "(token by token 24,576 and 34,048); state 16,384 bytes"
    ) in program_text(nlc.compile_file(SPECS / "delta_rule.yaml").program).splitlines()
