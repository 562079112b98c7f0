"""Starts: `init` from other levels, streams and matrices, and resets of all that starts from them, as squares and against hand loops."""

from __future__ import annotations

import pytest
import torch
from torch import Tensor

from nlc.emit import emit_module
from nlc.ir.program import Program
from nlc.verify.inputs import Case, draw
from nlc.verify.oracle import run_oracle
from nlc.verify.squares import check_squares
from tests.emit.systems import emitted_class, program_from

HEAD = """
nlc: 1
name: {name}
dims: {{d_k: 4, d_v: 3}}
axes: [heads]
hyperparameters: {{offset: 0.25}}
inputs:
  q: [d_k]
  k: [d_k]
  v: [d_v]
  beta: {{shape: [], range: [0, 1], axes: []}}
levels:
"""

NESTED = (
    HEAD.format(name="NestedContinuum")
    + """
  fast:
    memory: matrix(d_v, d_k)
    keys: k
    values: v
    objective: l2
    init: medium
    reset: 4 tokens
    optimizer: gradient_descent(beta)
    every: token
  medium:
    memory: matrix(d_v, d_k)
    keys: k
    values: v
    objective: l2
    init: 0.5 * slow - offset
    reset: 6 tokens
    optimizer: gradient_descent(0.3)
    every: 2 tokens
  slow:
    memory: matrix(d_v, d_k)
    keys: k
    values: v
    objective: l2
    init: 0.1
    optimizer: gradient_descent(0.1)
    every: 6 tokens
outputs:
  y: fast(q) + medium(q)
  held: hold(fast, 3 tokens)(q)
"""
)

FROM_STREAMS = (
    HEAD.format(name="FromStreams")
    + """
  memory:
    memory: matrix(d_v, d_k)
    objective: 0.5 * norm2(memory(k) - v)
    init: offset * outer(v, k) + origin
    reset: 3 tokens
    optimizer: gradient_descent(beta)
    every: token
  copy:
    memory: matrix(d_v, d_k)
    objective: 0.5 * norm2(copy(k) - v)
    init: 2 * prev(memory)
    optimizer: gradient_descent(0.2)
    every: 2 tokens
  origin:
    memory: matrix(d_v, d_k)
    every: step
outputs:
  y: memory(q) + prev(memory)(k)
  held: hold(memory, 2 tokens)(q) + copy(q)
"""
)

SAME_TICK = (
    HEAD.format(name="SameTick")
    + """
  trace:
    memory: vector(d_v)
    objective: -dot(trace, v)
    retention: 0.5
    optimizer: gradient_descent(1)
    every: token
  average:
    memory: vector(d_v)
    objective: 0.5 * norm2(average - v)
    init: trace
    reset: 3 tokens
    optimizer: gradient_descent(0.3)
    every: token
  slow:
    memory: vector(d_v)
    objective: 0.5 * norm2(slow - average)
    init: average + trace
    reset: 4 tokens
    optimizer: gradient_descent(0.3)
    every: 2 tokens
outputs:
  y: average + slow
  z: prev(average)
"""
)

NETWORK = (
    HEAD.format(name="NetworkStarts").replace("axes: [heads]\n", "axes: [heads]\n")
    + """
  fast:
    memory: mlp(d_k, 5, d_v)
    keys: k
    values: v
    objective: l2
    init: slow
    reset: 4 tokens
    optimizer: momentum(learning_rate = 0.1, decay = 0.5)
    every: token
  slow:
    memory: mlp(d_k, 5, d_v)
    keys: k
    values: v
    objective: l2
    init: learned
    optimizer: gradient_descent(0.1)
    every: 4 tokens
  square:
    memory: matrix(d_k, d_k)
    keys: k
    values: q
    objective: l2
    init: offset * eye
    reset: 4 tokens
    backprop: truncated(3 updates)
    optimizer: gradient_descent(0.1)
    every: token
outputs:
  y: fast(square(q))
"""
)

EVERY_TOKEN = (
    HEAD.format(name="EveryToken")
    + """
  memory:
    memory: matrix(d_v, d_k)
    keys: k
    values: v
    objective: l2
    init: slower
    reset: token
    optimizer: gradient_descent(beta)
    every: token
  slower:
    memory: matrix(d_v, d_k)
    keys: k
    values: prev(memory)(q)
    objective: l2
    optimizer: gradient_descent(0.2)
    every: 2 tokens
outputs:
  y: memory(q)
"""
)

SLOW = (
    HEAD.format(name="SlowStarts")
    + """
  copied:
    memory: matrix(d_v, d_k)
    init: 0.5 * original + offset
    every: step
  original:
    memory: matrix(d_v, d_k)
    every: 2 steps
  mixing:
    memory: matrix(d_k, d_k)
    init: eye
    every: never
  memory:
    memory: matrix(d_v, d_k)
    keys: mixing(k)
    values: v - copied(k)
    objective: l2
    init: original
    optimizer: gradient_descent(beta)
    every: token
outputs:
  y: memory(q)
"""
)

BOTH_SLOW = (
    HEAD.format(name="BothSlow")
    + """
  memory:
    memory: matrix(d_v, d_k)
    keys: k
    values: v
    objective: l2
    optimizer: gradient_descent(0.2)
    every: 4 tokens
  again:
    memory: matrix(d_v, d_k)
    objective: -dot(again(k), v)
    init: memory
    reset: 4 tokens
    optimizer: gradient_descent(beta)
    every: 4 tokens
outputs:
  y: again(q)
"""
)

SYSTEMS = (NESTED, FROM_STREAMS, SAME_TICK, NETWORK, EVERY_TOKEN, SLOW, BOTH_SLOW)
PROGRAMS = tuple(program_from(text) for text in SYSTEMS)
each_program = pytest.mark.parametrize(
    "program",
    [
        pytest.param(
            program, id=program.model.name, marks=[pytest.mark.slow] if text in (NETWORK, SLOW, EVERY_TOKEN, NESTED, BOTH_SLOW) else []
        )
        for text, program in zip(SYSTEMS, PROGRAMS, strict=True)
    ],
)


@each_program
def test_every_square_closes(program: Program) -> None:
    squares = check_squares(program, emit_module(program))
    assert [square for square in squares if not square.closed] == []


# --- the oracle itself, against loops by hand ------------------------------------------------------------------------


def _run(text: str, tokens: int = 11) -> tuple[dict[str, Tensor], dict[str, Tensor]]:
    """Inputs without batch and axes beside the oracle's outputs, for one sequence and one head."""
    model = program_from(text).model
    generator = torch.Generator().manual_seed(1)
    shapes: dict[str, tuple[int, ...]] = {"q": (1, 4), "k": (1, 4), "v": (1, 3), "beta": ()}
    inputs = {name: torch.rand((1, tokens, *shape), dtype=torch.float64, generator=generator) for name, shape in shapes.items()}
    parameters = {"origin": torch.ones(3, 4, dtype=torch.float64)} if "origin:" in text else {}
    outputs, _ = run_oracle(model, inputs, {"d_k": 4, "d_v": 3, "heads": 1}, {"offset": 0.25}, None, parameters)
    return {name: x.reshape(tokens, *x.shape[3:]) for name, x in inputs.items()}, {name: x[0, :, 0] for name, x in outputs.items()}


def test_a_start_from_streams_is_made_at_the_first_token_of_each_period() -> None:
    now, outputs = _run(FROM_STREAMS)
    memory, expected = torch.zeros(3, 4, dtype=torch.float64), []
    for t in range(11):
        k, v = now["k"][t], now["v"][t]
        if t % 3 == 0:
            memory = 0.25 * torch.outer(v, k) + 1
        after = memory - now["beta"][t] * torch.outer(memory @ k - v, k)
        expected.append(after @ now["q"][t] + memory @ k)
        memory = after
    torch.testing.assert_close(outputs["y"], torch.stack(expected), rtol=0, atol=1e-12)


def test_a_start_from_slower_levels_sees_them_as_they_are_when_the_period_begins() -> None:
    now, outputs = _run(NESTED, 13)
    slow = torch.full((3, 4), 0.1, dtype=torch.float64)
    medium = 0.5 * slow - 0.25
    fast = medium
    sums = {"medium": torch.zeros(3, 4, dtype=torch.float64), "slow": torch.zeros(3, 4, dtype=torch.float64)}
    expected = []
    for t in range(13):
        k, v, q = now["k"][t], now["v"][t], now["q"][t]
        medium = 0.5 * slow - 0.25 if t and t % 6 == 0 else medium
        fast = medium if t and t % 4 == 0 else fast
        fast = fast - now["beta"][t] * torch.outer(fast @ k - v, k)
        expected.append(fast @ q + medium @ q)
        sums = {name: total + torch.outer(state @ k - v, k) for (name, total), state in zip(sums.items(), (medium, slow), strict=True)}
        if t % 2 == 1:
            medium, sums["medium"] = medium - 0.3 * sums["medium"], torch.zeros_like(medium)
        if t % 6 == 5:
            slow, sums["slow"] = slow - 0.1 * sums["slow"], torch.zeros_like(slow)
    torch.testing.assert_close(outputs["y"], torch.stack(expected), rtol=0, atol=1e-12)


def test_a_start_from_a_level_as_fast_sees_its_new_state() -> None:
    now, outputs = _run(SAME_TICK)
    trace = average = torch.zeros(3, dtype=torch.float64)
    expected = []
    for t in range(11):
        trace = 0.5 * trace + now["v"][t]
        average = trace if t % 3 == 0 else average
        expected.append(average)
        average = average - 0.3 * (average - now["v"][t])
    torch.testing.assert_close(outputs["z"], torch.stack(expected), rtol=0, atol=1e-12)


def test_every_split_is_the_whole() -> None:
    for program in (PROGRAMS[1], PROGRAMS[2]):
        evidence = draw(program.model, Case(name="13 tokens", chunks=3, extra=1), 4, seed=5)
        module = emitted_class(program)(d_k=evidence.sizes["d_k"], d_v=evidence.sizes["d_v"])
        with torch.no_grad():
            whole, end = module.double()(**evidence.inputs)
            for cut in range(evidence.tokens + 1):
                first, state = module(**{name: x[:, :cut] for name, x in evidence.inputs.items()})
                second, last = module(**{name: x[:, cut:] for name, x in evidence.inputs.items()}, state=state)
                assert all(torch.equal(value, torch.cat((first[name], second[name]), 1)) for name, value in whole.items())
                assert all(torch.equal(value, last[name]) for name, value in end.items())
