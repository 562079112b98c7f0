"""The evidence about levels that learn from the task loss inside the context: right modules close every square, and mutants do not."""

from __future__ import annotations

import pytest

from nlc import pipeline
from nlc.ir.program import Program
from nlc.verify.squares import all_squares, check_squares
from tests.emit.systems import program_from
from tests.rows import rows

CHAIN = """
nlc: 1
name: Chain
dims: {d: 6}
inputs: {x: [d], rate: []}
hyperparameters: {learning_rate: 0.05}
let: {near: tanh(fast(x))}
levels:
  fast:
    memory: matrix(d, d)
    init: learned
    objective: task
    optimizer: gradient_descent(0.1 * rate)
    every: 2 tokens
    backprop: full
  slow:
    memory: matrix(d, d)
    init: learned
    objective: task
    reduce: mean
    retention: 0.9
    optimizer: momentum(0.1, 0.8)
    every: 4 tokens
outputs: {y: near + slow(x + near)}
outer: {objective: task, optimizer: momentum(learning_rate)}
"""

NESTED = CHAIN.replace(
    """    init: learned
    objective: task
    optimizer: gradient_descent(0.1 * rate)
    every: 2 tokens
""",
    """    init: 0.5 * slow
    reset: 4 tokens
    objective: task
    optimizer: heavy_ball(0.1, 0.8)
    every: 2 tokens
""",
)

SYSTEMS = {"chain": CHAIN, "nested": NESTED}


@pytest.mark.parametrize("name", SYSTEMS)
def test_every_square_of_a_right_module_closes(name: str) -> None:
    program = program_from(SYSTEMS[name])
    squares = check_squares(program, pipeline.emit(program))
    assert [square.text for square in squares if not square.closed] == []
    assert {square.right for square in squares} >= {"laws", "program", "forward", "forward_by_token", "step", "no loss", "optimizers"}


def opened(program: Program, text: str) -> str:
    """The first square that does not close, and what it compares."""
    found = next((square for square in all_squares(program, text) if not square.closed), None)
    return f"{found.right}: {found.quantity}" if found else "nothing"


MUTANTS: dict[str, tuple[str, str, str]] = {
    "a block read after it moved": (
        CHAIN,
        "read, slopes = self._slopes(given, target, loss, state)",
        "state = {k: x + 0.01 if x.dim() else x for k, x in state.items()}; read, slopes = self._slopes(given, target, loss, state)",
    ),
    "slopes that are constants": (CHAIN, "create_graph=learns)", "retain_graph=learns)"),
    "constants that are learned through": (CHAIN, "x.detach() if name in constant else x for", "x for"),
    "levels that are told together": (NESTED, "x.view_as(x) if", "x if"),
    "the mean loss of a block": (CHAIN, "losses.sum()", "losses.mean()"),
    "the last token's loss": (CHAIN, "losses.sum()", "losses[:, -1].sum()"),
    "the slow level is never told": (CHAIN, "= slope_slow", "= 0 * slope_slow"),
    "what was gathered is forgotten": (CHAIN, 'gathered = state["fast.gradient"] + gradient', "gathered = gradient"),
    "a period that is never over": (CHAIN, "position % 4 == 0", "position % 8 == 0"),
    "a boundary token that counts twice": (CHAIN, "torch.zeros_like(gathered) if due_2", "gradient if due_2"),
    "blocks counted from the call": (CHAIN, "_block_lengths(before, tokens", "_block_lengths(0, tokens"),
    "a position that stays": (CHAIN, 'state["position"] + read.shape[1]', 'state["position"]'),
    "a level that does not start again": (NESTED, "before % 4 == 0", "before % 8 == 0"),
    "a sequence that is not its rows": (CHAIN, "losses.sum()", "losses.sum() + losses[0].sum()"),
    "learning only where training does": (CHAIN, "with torch.enable_grad():", "if True:"),
    "any loss is taken": (CHAIN, "if losses.shape != read.shape[:2]:", "if False:"),
}


QUICK = (
    "slopes that are constants",
    "the mean loss of a block",
    "the slow level is never told",
    "a position that stays",
    "any loss is taken",
)


@pytest.mark.parametrize("name", rows(MUTANTS, QUICK))
def test_mutants_are_caught(name: str) -> None:
    spec, old, new = MUTANTS[name]
    program = program_from(spec)
    text = pipeline.emit(program)
    assert old in text
    assert opened(program, text.replace(old, new)) != "nothing"
