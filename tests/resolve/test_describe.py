"""What `nlc explain` says of each memory, in the words of Definition 1."""

from __future__ import annotations

from pathlib import Path

import pytest

from nlc import pipeline
from nlc.resolve.describe import memories_text

ROOT = Path(__file__).resolve().parents[2]

TOLD = {
    "specs/architectures/gated_delta_rule.yaml": """\
memory: matrix (d_v, d_k), from keys k to values v
    fits    0.5 * norm2(memory @ k - v)
    keeps   alpha times the old state
    moves   every token, by a gradient step of rate beta, its gradient taken at what is kept of the old state""",
    "specs/architectures/linear_attention_layer.yaml": """\
project_q.momentum, project_k.momentum, project_v.momentum, project_out.momentum: matrix (d_model, d_model), a memory of gradients, \
without values
    fits    dot(momentum, gradient)
    keeps   decay times the old state
    moves   every step, by a gradient step of rate learning_rate
project_q, project_k, project_v, project_out: matrix (d_model, d_model)
    fits    the loss that is handed in from outside
    moves   every step, by its optimizer momentum
memory: matrix (d_model / heads, d_model / heads), from keys k to values v
    fits    -dot(memory @ k, v)
    moves   every token, by a gradient step of rate 1""",
    "docs/levels/attention.yaml": """\
attention: vector (d)
    fits    exp(norm2(k)) * norm2(v - attention), over all tokens so far
    moves   at every query, to the minimiser itself
memory: matrix (d, d)
    fits    0.5 * norm2(memory @ k - v)
    moves   every token, by a gradient step of rate 0.1""",
    "docs/levels/chunk_memory.yaml": """\
fast: matrix (d, d)
    fits    0.5 * norm2(fast @ k - v)
    moves   every token, by a gradient step of rate 0.1
slow.momentum: matrix (d, d), a memory of gradients, without values
    fits    dot(momentum, gradient), summed over the data since its last update
    keeps   0.9 times the old state
    moves   every 16 tokens, by a gradient step of rate 0.1
slow: matrix (d, d)
    fits    0.5 * norm2(slow @ k - fast @ k), summed over the data since its last update
    moves   every 16 tokens, by its optimizer momentum""",
}


@pytest.mark.parametrize("spec", TOLD)
def test_memories_are_told_in_the_words_of_definition_1(spec: str) -> None:
    assert memories_text(pipeline.run_until("resolve", ROOT / spec)) == TOLD[spec]


def test_where_a_state_starts_and_when_it_starts_again() -> None:
    text = memories_text(pipeline.run_until("resolve", ROOT / "docs/graphs/continuum_memory.yaml"))
    assert text.splitlines()[:4] == [
        "block_01: matrix (d, d), from keys x to values target",
        "    fits    0.5 * norm2(block_01 @ x - target)",
        "    moves   every token, by a gradient step of rate rate",
        "    starts  from block_02, again every 2 tokens",
    ]


def test_every_component_is_told_once() -> None:
    for spec in sorted((ROOT / "specs").rglob("*.yaml")):
        model = pipeline.run_until("resolve", spec)
        names = [name for line in memories_text(model).splitlines() if line[0] != " " for name in line.partition(":")[0].split(", ")]
        assert sorted(names) == sorted(component.name for component in model.components)
