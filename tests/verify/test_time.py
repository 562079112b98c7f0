"""Time beyond the token clock: periods, held and previous values, resets and counts, as squares, at every split, and against hand loops."""

from __future__ import annotations

import pytest
import torch
from torch import Tensor

from nlc import pipeline
from nlc.diagnostics import CompileError
from nlc.emit import emit_module
from nlc.ir.program import Program
from nlc.verify.oracle import run_oracle
from nlc.verify.squares import check_squares
from tests.emit.systems import emitted_class, program_from
from tests.verify.splits import every_split_is_the_whole

HEAD = """
nlc: 1
name: {name}
dims: {{d_k: 4, d_v: 3}}
axes: [heads]
inputs:
  q: [d_k]
  k: [d_k]
  v: [d_v]
  beta: {{shape: [], range: [0, 1], axes: []}}
levels:
"""

PREVIOUS = (
    HEAD.format(name="PreviousInputs")
    + """
  memory:
    memory: matrix(d_v, d_k)
    keys: prev(k)
    values: v
    objective: l2
    optimizer: gradient_descent(prev(beta))
    every: token
outputs:
  y: memory(q)
  z: prev(v)
"""
)

PERIOD = (
    HEAD.format(name="Period")
    + """
  memory:
    memory: matrix(d_v, d_k)
    keys: k
    values: v
    objective: l2
    retention: 1 - beta
    reduce: mean
    optimizer: gradient_descent(beta)
    every: 3 tokens
outputs:
  y: memory(q)
  held: hold(memory, 2 tokens)(q)
"""
)

MIXED = (
    HEAD.format(name="MixedClocks")
    + """
  fast:
    memory: matrix(d_v, d_k)
    objective: 0.5 * norm2(fast(k) - v + slow(k))
    optimizer: gradient_descent(beta)
    every: token
  slow:
    memory: matrix(d_v, d_k)
    objective: 0.5 * norm2(slow(k) - fast(k) + prev(v))
    optimizer: momentum(learning_rate = beta, decay = 0.5)
    every: 2 tokens
  slowest:
    memory: matrix(d_v, d_k)
    objective: 0.5 * norm2(slowest(k) - hold(slow, 3 tokens)(k))
    optimizer: gradient_descent(0.1)
    every: 4 tokens
outputs:
  y: fast(q) + slow(q) + slowest(q)
"""
)

RESTARTED = (
    HEAD.format(name="Restarted")
    + """
  memory:
    memory: matrix(d_v, d_k)
    keys: k
    values: v
    objective: l2
    optimizer: gradient_descent(0.5 / tick)
    reset: 4 tokens
    every: 2 tokens
  average:
    memory: vector(d_v)
    objective: 0.5 * norm2(average - v)
    optimizer: gradient_descent(1 / tick)
    every: token
outputs:
  y: memory(q) + average
"""
)

BEGUN = RESTARTED.replace("Restarted", "Begun").replace("0.5 / tick", "0.5").replace("    reset:", "    init: origin / 2\n    reset:")
BEGUN = BEGUN.replace("levels:", "hyperparameters: {origin: 0.5}\nlevels:").replace("memory(q)", "hold(memory, 3 tokens)(q)")

SYSTEMS = (PREVIOUS, PERIOD, MIXED, RESTARTED, BEGUN)
PROGRAMS = tuple(program_from(text) for text in SYSTEMS)
each_program = pytest.mark.parametrize("program", PROGRAMS, ids=lambda program: program.model.name)


@pytest.mark.parametrize(
    "program",
    [
        pytest.param(item, id=item.model.name, marks=[pytest.mark.slow] if text in (MIXED, BEGUN) else [])
        for text, item in zip(SYSTEMS, PROGRAMS, strict=True)
    ],
)
def test_every_square_closes(program: Program) -> None:
    squares = check_squares(program, emit_module(program))
    assert [square for square in squares if not square.closed] == []


@each_program
def test_every_split_is_the_whole(program: Program) -> None:
    every_split_is_the_whole(program)


# --- the oracle itself, against loops by hand ------------------------------------------------------------------------


def _run(text: str) -> tuple[dict[str, Tensor], dict[str, Tensor], dict[str, Tensor]]:
    """Inputs without batch and axes beside the oracle's outputs and final state, for one sequence and one head."""
    model = program_from(text).model
    generator = torch.Generator().manual_seed(1)
    shapes: dict[str, tuple[int, ...]] = {"q": (1, 4), "k": (1, 4), "v": (1, 3), "beta": ()}
    inputs = {name: torch.rand((1, 11, *shape), dtype=torch.float64, generator=generator) for name, shape in shapes.items()}
    outputs, final = run_oracle(model, inputs, {"d_k": 4, "d_v": 3, "heads": 1}, {})
    return {name: x.reshape(11, *x.shape[3:]) for name, x in inputs.items()}, {name: x[0, :, 0] for name, x in outputs.items()}, final


def test_an_update_uses_the_data_of_its_period_once_and_is_seen_a_token_later() -> None:
    now, outputs, final = _run(PERIOD)
    states = [torch.zeros(3, 4, dtype=torch.float64)]
    for t in range(1, 12):
        state = states[-1]
        if t % 3 == 0:
            data = range(t - 3, t)
            gradient = sum(torch.outer(state @ now["k"][i] - now["v"][i], now["k"][i]) for i in data) / 3
            beta = now["beta"][t - 1]
            state = (1 - beta) * state - beta * gradient
        states.append(state)
    before = torch.stack([states[t - 1] @ now["q"][t - 1] for t in range(1, 12)])
    held = torch.stack([states[2 * ((t - 1) // 2)] @ now["q"][t - 1] for t in range(1, 12)])
    torch.testing.assert_close(outputs["y"], before, rtol=0, atol=1e-13)
    torch.testing.assert_close(outputs["held"], held, rtol=0, atol=1e-13)
    assert int(final["position"]) == 11


def test_the_previous_value_of_a_stream_is_zero_before_the_first_token() -> None:
    now, outputs, _ = _run(PREVIOUS)
    assert not outputs["z"][0].any()
    assert torch.equal(outputs["z"][1:], now["v"][:-1])


def test_a_reset_comes_before_the_first_token_of_the_new_period_and_restarts_the_count() -> None:
    now, outputs, _ = _run(RESTARTED)
    state = torch.zeros(3, 4, dtype=torch.float64)
    expected = []
    for t in range(11):
        if t % 4 == 0:
            state = torch.zeros_like(state)
        expected.append(state @ now["q"][t] + now["v"][: t + 1].mean(0))
        if t % 2 == 1:
            gradient = sum(torch.outer(state @ now["k"][i] - now["v"][i], now["k"][i]) for i in (t - 1, t))
            state = state - 0.5 / (t % 4 // 2 + 1) * gradient
    torch.testing.assert_close(outputs["y"], torch.stack(expected), rtol=0, atol=1e-12)


@pytest.mark.slow
def test_a_claim_is_about_a_tick_at_which_every_level_is_due() -> None:
    claims = """
claims:
  - says: the slow level moves by its new momentum
    prove: slow == prev(slow) + slow.momentum
  - says: it stays where it was
    prove: slow == prev(slow)
    expect: refuted
"""
    program = program_from(MIXED + claims)
    verdicts = pipeline.verify(program, emit_module(program)).verdicts
    assert [verdict.verdict for verdict in verdicts] == ["proved", "refuted"]


def test_a_count_that_is_compiled_in_is_no_argument_of_the_module() -> None:
    text = PERIOD.replace("levels:", "hyperparameters: {period: 3, rate: 0.5}\nlevels:").replace("every: 3 tokens", "every: period tokens")
    program = program_from(text.replace("gradient_descent(beta)", "gradient_descent(rate)"))
    assert [item.name for item in program.hyperparameters] == ["rate"]
    assert emitted_class(program)(rate=0.25).rate == 0.25
    with pytest.raises(TypeError):
        emitted_class(program)(period=4)


def test_previous_inputs_keep_a_parallel_form_and_periods_without_a_common_divisor_do_not() -> None:
    assert [program.is_parallel for program in PROGRAMS] == [True, False, False, False, False]


def test_a_level_called_like_what_is_kept_is_refused_and_otherwise_fine() -> None:
    with pytest.raises(CompileError, match="under the name `position`"):
        program_from(
            PERIOD.replace("memory:\n    memory", "position:\n    memory")
            .replace("memory(q)", "position(q)")
            .replace("hold(memory", "hold(position")
        )
    plain = PREVIOUS.replace("prev(k)", "k").replace("prev(beta)", "beta").replace("prev(v)", "v")
    program = program_from(plain.replace("memory:\n    memory", "previous:\n    memory").replace("memory(q)", "previous(q)"))
    assert all(square.closed for square in check_squares(program, emit_module(program)))


def test_a_start_is_where_the_first_period_and_every_new_one_begin() -> None:
    module = emitted_class(PROGRAMS[-1])(d_k=2, d_v=2, origin=3.0)
    start = module.initial_state(1, 1, like=torch.zeros(()))
    assert start["memory"].unique().tolist() == start["memory.held_3"].unique().tolist() == [1.5]
    zeros = {name: torch.zeros(1, 5, *shape) for name, shape in (("q", (1, 2)), ("k", (1, 2)), ("v", (1, 2)), ("beta", ()))}
    moved = {**start, "memory": start["memory"] + 7}
    _, state = module(**zeros, state=moved)
    assert state["memory"].unique().tolist() == [1.5]
