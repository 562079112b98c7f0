"""The evidence about models whose layers learn from their loss inside the context: right modules close every square, and mutants do not."""

from __future__ import annotations

from pathlib import Path
from tempfile import TemporaryDirectory

import pytest

from nlc import pipeline
from nlc.ir.program import Program
from nlc.verify.squares import all_squares, check_squares

SPEC = """
nlc: 1
name: Learner
kind: model
dims: {vocabulary: 11, d_model: 6, layers: 2, heads: 2, d_hidden: 5}
inputs: {tokens: integer(vocabulary)}
hyperparameters: {fast_period: 2, medium_period: 4, slow_period: 8}
network:
  - embed: vocabulary -> d_model
  - repeat: layers
    residual:
      - architectures/cms_in_context
      - [rms_norm, architectures/linear_attention_layer]
  - residual: [architectures/cms_nested_in_context]
  - rms_norm
  - head(tied)
outer: {objective: cross_entropy, optimizer: momentum(0.1)}
"""


@pytest.fixture(scope="module")
def program() -> Program:
    with TemporaryDirectory() as folder:
        path = Path(folder) / "learner.yaml"
        path.write_text(SPEC)
        return pipeline.compile_program(path)


@pytest.mark.slow
def test_every_square_of_a_right_module_closes(program: Program) -> None:
    squares = check_squares(program, pipeline.emit(program))
    assert [square.text for square in squares if not square.closed] == []
    assert {square.right for square in squares} >= {"learning", "learning in pieces", "learning without gradients", "optimizers", "step"}


MUTANTS: dict[str, tuple[str, str]] = {
    "slopes that are constants": ("create_graph=learns", "retain_graph=learns"),
    "constants that are learned through": ("told = [slope.detach() for slope in told]", "pass"),
    "levels that are told together": ("x.view_as(x) if", "x if"),
    "the mean loss of a block": ('reduction="sum"', 'reduction="mean"'),
    "the last token's loss": ("targets.flatten(), ignore", "targets.index_fill(1, torch.tensor([0]), -100).flatten(), ignore"),
    "the slow level is never told": ("= slope_slow", "= 0 * slope_slow"),
    "copies that learn for each other": ('read["blocks"], strict=True)],', 'read["blocks"], strict=True)][::-1],'),
    "a period that is never over": ("position % 8 == 0", "position % 16 == 0"),
    "a position that stays": ('state["position"] + given.shape[1]', 'state["position"]'),
    "a level that does not start again": ("before % 4 == 0", "before % 8 == 0"),
    "blocks of twice the tokens": ("% 2\n        for start in range(0, end, 2):", "% 4\n        for start in range(0, end, 4):"),
    "an open block that is forgotten": ('{"tokens": tokens[:, end:], "targets": targets[:, end:]}', 'state["open block"]'),
    "an open block that counts": (
        "outputs.append(self._read(tokens[:, end:], state)[0])",
        "logits, state = self._taught(tokens[:, end:], targets[:, end:], state); outputs.append(logits)",
    ),
    "targets that are forgotten": ('(state["open block"]["targets"], targets)', '(state["open block"]["targets"] * 0 - 100, targets)'),
    "learning only where training does": ("with torch.enable_grad():", "if True:"),
    "states with a graph": ("(logits, read) if learns else _detached((logits, read))", "(logits, read)"),
}


@pytest.mark.slow
@pytest.mark.parametrize("name", MUTANTS)
def test_mutants_are_caught(program: Program, name: str) -> None:
    old, new = MUTANTS[name]
    text = pipeline.emit(program)
    assert old in text
    assert any(not square.closed for square in all_squares(program, text.replace(old, new)))
