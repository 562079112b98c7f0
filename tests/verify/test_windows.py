"""Levels that are solved over a window: what shipped attention equals, and evidence that counts in its state do not loosen."""

from __future__ import annotations

from typing import Any

import pytest
import torch
from torch import Tensor, nn

from nlc import pipeline
from nlc.emit import emit_module
from nlc.ir.program import Form
from nlc.verify.load import load_source
from nlc.verify.relation import relation_squares
from nlc.verify.sequence_relations import RELATIONS
from nlc.verify.squares import check_squares
from tests.architecture.modules import ROOT
from tests.emit.systems import program_from
from tests.rows import rows

ARCHITECTURES = ROOT / "specs" / "architectures"
TOKENS = 20


def module(name: str, **overrides: float) -> Any:
    compiled = pipeline.compile_file(ARCHITECTURES / f"{name}.yaml", **overrides)
    return getattr(compiled.load(), compiled.program.model.name)


def streams() -> dict[str, Tensor]:
    generator = torch.Generator().manual_seed(4)
    return {name: torch.randn(2, TOKENS, 3, 8, dtype=torch.float64, generator=generator) for name in ("q", "k", "v")}


def test_softmax_attention_is_torchs() -> None:
    given = streams()
    y, _ = module("softmax_attention")(d_k=8, d_v=8)(**given)
    direct = nn.functional.scaled_dot_product_attention(*(x.transpose(1, 2) for x in given.values()), is_causal=True)
    torch.testing.assert_close(y, direct.transpose(1, 2), rtol=0, atol=0)


@pytest.mark.parametrize("width", [1, 7, TOKENS - 1, TOKENS, 3 * TOKENS])
def test_a_window_as_long_as_the_sequence_is_all_of_it(width: int) -> None:
    """Longer than the sequence or not, whatever the chunk; a window one token shorter is another function."""
    given = streams()
    whole, _ = module("softmax_attention")(d_k=8, d_v=8)(**given)
    made = module("sliding_window_attention", width=width)
    for chunk in (1, 4, TOKENS, 64):
        y, _ = made(d_k=8, d_v=8, chunk=chunk)(**given)
        torch.testing.assert_close(y[:, :width], whole[:, :width], rtol=0, atol=1e-12)
        assert torch.allclose(y, whole, rtol=0, atol=1e-12) is (width >= TOKENS)


@pytest.mark.parametrize("segment", [1, 7, TOKENS - 1, TOKENS, 3 * TOKENS])
def test_segments_are_attention_with_a_mask_of_blocks_on_the_diagonal(segment: int) -> None:
    """Whole and in pieces that cut segments anywhere; persistent pairs stand before each segment."""
    given = streams()
    layer = module("segment_attention", segment=segment)(d_k=8, d_v=8, persistent=5).double()
    lasting = (x.expand(2, 3, -1, -1) for x in (layer.persistent_k, layer.persistent_v))
    q, *pairs = (x.transpose(1, 2) for x in given.values())
    k, v = (torch.cat((before, x), 2) for before, x in zip(lasting, pairs, strict=True))
    number = torch.arange(TOKENS) // segment
    seen = (number[:, None] == number).tril()
    direct = nn.functional.scaled_dot_product_attention(q, k, v, torch.cat((seen.new_ones(TOKENS, 5), seen), 1)).transpose(1, 2)
    y, _ = layer(**given)
    torch.testing.assert_close(y, direct, rtol=0, atol=1e-12)
    first, state = layer(**{name: x[:, :9] for name, x in given.items()})
    second, _ = layer(**{name: x[:, 9:] for name, x in given.items()}, state=state)
    torch.testing.assert_close(torch.cat((first, second), 1), direct, rtol=0, atol=1e-12)


PAIRS = """nlc: 1
name: Pairs
dims: {d: 4, lasting: 3}
axes: [heads]
inputs: {q: [d], k: [d], v: [d], far_k: [d], far_v: [d]}
levels:
  lasting_k: {memory: "matrix(lasting, d)", every: step}
  lasting_v: {use: lasting_k}
  attention:
    memory: vector(d)
    window: all
    objective: >-
      sum(exp(dot(k, now(q))) * norm2(v - attention) + exp(dot(far_k, now(q))) * norm2(far_v - attention), over = window)
      + sum(exp(lasting_k(now(q))) * norm2(lasting_v - attention, over = d), over = lasting)
    optimizer: closed_form
    every: always
outputs: {y: attention}
"""

MEMORY = """  memory:
    memory: matrix(d, d)
    keys: attention
    values: v
    objective: l2
    gradient_at: hold(4 tokens)
    optimizer: gradient_descent(0.1)
    every: token
outputs: {y: memory(attention)}
"""
BESIDE = PAIRS.replace("outputs: {y: attention}\n", MEMORY)
"""A memory that learns what attention finds, and holds its gradients for four tokens."""

SYSTEMS = {
    "two pairs a token": (PAIRS, Form.ATTENTION),
    "in segments": (PAIRS.replace("window: all", "window: all\n    reset: 3 tokens"), Form.ATTENTION),
    "a window that slides": (PAIRS.replace("window: all", "window: 3 tokens"), Form.WINDOW_TABLE),
    "a window that slides in segments": (PAIRS.replace("window: all", "window: 2 tokens\n    reset: 5 tokens"), Form.WINDOW_TABLE),
    "scales of their own": (PAIRS.replace("exp(dot(k", "exp(2 * dot(k"), Form.WINDOW_TABLE),
    "no axes": (PAIRS.replace("axes: [heads]\n", ""), Form.ATTENTION),
    "two axes": (PAIRS.replace("[heads]", "[heads, groups]").replace("window: all", "window: all\n    reset: 3 tokens"), Form.ATTENTION),
    "one query for all heads": (PAIRS.replace("q: [d]", "q: {shape: [d], axes: []}"), Form.ATTENTION),
    "beside a period": (BESIDE, Form.ATTENTION),
    "segments of two blocks": (BESIDE.replace("window: all", "window: all\n    reset: 8 tokens"), Form.ATTENTION),
    "segments that end inside a period": (BESIDE.replace("window: all", "window: all\n    reset: 6 tokens"), Form.ATTENTION),
    "a window that blocks would cut": (BESIDE.replace("window: all", "window: 3 tokens"), Form.RECURRENCE),
}


@pytest.mark.parametrize("system", rows(SYSTEMS, {"segments of two blocks"}))
def test_pairs_of_any_window_are_what_the_oracle_says(system: str) -> None:
    text, form = SYSTEMS[system]
    program = program_from(text)
    assert next(memory.form for memory in program.memories if memory.component == "attention") is form
    assert [square.text for square in check_squares(program, emit_module(program)) if not square.closed] == []


def test_counts_in_the_state_do_not_loosen_the_bounds() -> None:
    """Attention in bfloat16, which autocast would make of it, is seen although the position in the state is some 500."""
    program = pipeline.compile_program(ARCHITECTURES / "sliding_window_attention.yaml")
    text = emit_module(program)
    unguarded = text.replace("with _full_precision(q):", 'with memoryview(b""):')
    assert unguarded != text
    squares = list(relation_squares(RELATIONS, program, getattr(load_source(unguarded), program.model.name)))
    assert {square.right for square in squares if not square.closed} == {"forward under autocast"}
