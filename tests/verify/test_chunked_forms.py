"""Corners of the chunked forms that random specs found: memories that nothing reads, and chunks that take equally many operations."""

from __future__ import annotations

import pytest

from nlc.emit import emit_module
from nlc.verify.squares import check_squares
from tests.emit.systems import program_from

UNREAD = """
nlc: 1
name: Unread
dims: {{d_k: 4, d_v: 3}}
inputs: {{k: [d_k], v: [d_v], channels: [d_k], share: []}}
levels:
  memory:
    memory: matrix(d_v, d_k)
    objective: {objective}
    retention: {retention}
    optimizer: gradient_descent(0.1)
    every: token
outputs: {{y: v}}
"""

TIED = """
nlc: 1
name: Tied
dims: {d_k: 4, d_v: 3}
inputs: {q: [d_k], v: [d_v]}
levels:
  memory:
    memory: matrix(d_v, d_k)
    objective: dot(memory(q), prev(memory)(q) - v)
    optimizer: gradient_descent(1)
    every: token
  channels:
    memory: matrix(d_v, d_k)
    objective: 0.6 * norm2(channels(q) - v)
    retention: q
    optimizer: gradient_descent(1)
    every: token
outputs: {y: memory(q)}
"""
"""Its module takes as many operations in chunks of 8 tokens as in chunks of 9."""


@pytest.mark.parametrize("retention", ["1", "share", "channels"])
@pytest.mark.parametrize(
    "objective", ["-dot(memory(k), v)", "0.5 * norm2(memory(k) - v)", "-dot(memory(k), v) - share * dot(memory(channels), v)"]
)
def test_a_memory_that_nothing_reads_runs_in_chunks(objective: str, retention: str) -> None:
    program = program_from(UNREAD.format(objective=objective, retention=retention))
    assert program.is_parallel
    assert [square.text for square in check_squares(program, emit_module(program)) if not square.closed] == []


def test_chunks_may_take_equally_many_operations() -> None:
    program = program_from(TIED)
    assert program.is_parallel
    assert [square.text for square in check_squares(program, emit_module(program)) if not square.closed] == []


KEPT_BY_ENTRY = """
nlc: 1
name: KeptByEntry
dims: {d: 4}
inputs: {v: [d], fade: {shape: [d], range: [0, 1]}, rates: {shape: [d], range: [0, 0.3]}}
levels:
  memory:
    memory: vector(d)
    objective: 0.5 * norm2(memory - v)
    retention: fade
    optimizer: proximal(rates)
    every: token
outputs: {y: memory}
"""


def test_a_state_that_is_kept_by_several_factors_for_each_entry_runs_in_chunks() -> None:
    program = program_from(KEPT_BY_ENTRY)
    assert program.is_parallel
    assert [square.text for square in check_squares(program, emit_module(program)) if not square.closed] == []
