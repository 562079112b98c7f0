"""Levels that are solved over a window: what shipped attention equals, and evidence that counts in its state do not loosen."""

from __future__ import annotations

from typing import Any

import pytest
import torch
from torch import Tensor, nn

from nlc import pipeline
from nlc.emit import emit_module
from nlc.verify.load import load_source
from nlc.verify.relation import relation_squares
from nlc.verify.sequence_relations import RELATIONS
from tests.architecture.modules import ROOT

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


def test_counts_in_the_state_do_not_loosen_the_bounds() -> None:
    """Attention in bfloat16, which autocast would make of it, is seen although the position in the state is some 500."""
    program = pipeline.compile_program(ARCHITECTURES / "sliding_window_attention.yaml")
    text = emit_module(program)
    unguarded = text.replace("with _full_precision(q):", 'with memoryview(b""):')
    assert unguarded != text
    squares = list(relation_squares(RELATIONS, program, getattr(load_source(unguarded), program.model.name)))
    assert {square.right for square in squares if not square.closed} == {"forward under autocast"}
