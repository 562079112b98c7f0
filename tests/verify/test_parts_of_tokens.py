"""Levels and streams on the clock `token / n`: n updates inside every token, in every way to run a system."""

from __future__ import annotations

from dataclasses import replace
from fractions import Fraction

import pytest
import torch

from nlc import pipeline
from nlc.derive import derive_laws
from nlc.ir.model import Clock, Family
from nlc.order import order_levels
from nlc.verify.claims import decide_claims
from nlc.verify.load import load_source
from nlc.verify.oracle import OracleError, run_oracle
from nlc.verify.squares import all_squares, check_squares
from tests.emit.systems import program_from
from tests.rows import rows
from tests.verify.programs import assert_close

DELTA_PRODUCT = """
nlc: 1
name: DeltaProduct
dims: {d_k: 5, d_v: 4}
axes: [heads]
hyperparameters: {pairs: 3}
inputs:
  q: [d_k]
  k: {shape: [d_k], every: token / pairs}
  v: {shape: [d_v], every: token / pairs, axes: []}
  beta: {shape: [], every: token / pairs, range: [0, 1]}
levels:
  memory: {memory: 'matrix(d_v, d_k)', keys: k, values: v, objective: l2, optimizer: gradient_descent(beta), every: token / pairs}
outputs: {y: memory(q)}
"""

MIXED = """
nlc: 1
name: Mixed
dims: {d_k: 4, d_v: 3}
axes: [heads]
inputs:
  q: {shape: [d_k], axes: []}
  g: []
  k: {shape: [d_k], every: token / 3}
  v: {shape: [d_v], every: token / 3, axes: []}
let:
  address: l2_normalise(k + 0.1 * q)
levels:
  fast:
    memory: matrix(d_v, d_k)
    keys: address
    values: v - prev(slow)
    objective: l2
    retention: sigmoid(g)
    optimizer: momentum(learning_rate = 0.1, decay = 0.5)
    every: token / 3
  other:
    memory: vector(d_v)
    objective: 0.5 * norm2(other - fast(address) - prev(fast)(q))
    optimizer: gradient_descent(0.2)
    every: token / 3
  slow:
    memory: vector(d_v)
    objective: 0.5 * norm2(slow - other - prev(fast)(q) - v)
    optimizer: gradient_descent(0.3)
    every: token
  chunked:
    memory: matrix(d_v, d_k)
    keys: k
    values: v
    objective: dot
    optimizer: gradient_descent(0.3)
    reset: 8 tokens
    every: 4 tokens
outputs:
  y: fast(q) + prev(fast)(q) + chunked(k)
  z: slow + hold(other, 2 tokens)
"""

ONE_STREAM_OF_TOKENS = """
nlc: 1
name: Pairs
dims: {d: 4}
inputs: {x: {shape: [d], every: token / 2}}
levels:
  sum:
    memory: vector(d)
    objective: -dot(sum, x)
    retention: 0.9
    optimizer: gradient_descent(1)
    every: token / 2
outputs: {y: sum}
"""

OLDER_TOKENS = """
nlc: 1
name: OlderTokens
dims: {d_k: 4, d_v: 3}
inputs:
  x: [d_k]
  k: {shape: [d_k], every: token / 2}
  v: {shape: [d_v], every: token / 2}
  beta: {shape: [], range: [0, 1]}
levels:
  memory:
    memory: matrix(d_v, d_k)
    keys: k + delay(x, 2 tokens)
    values: v
    objective: l2
    retention: sigmoid(sum(delay(x, 1 token)))
    optimizer: gradient_descent(beta)
    every: token / 2
outputs:
  y: memory(delay(x, 1 token))
"""

OLDER_PARTS = """
nlc: 1
name: OlderParts
dims: {d_k: 4, d_v: 3, width: 3}
axes: [heads]
inputs:
  x: {shape: [d_k], axes: []}
  k: {shape: [d_k], every: token / 2}
  v: {shape: [d_v], every: token / 2, axes: []}
  beta: {shape: [], every: token / 2, range: [0, 1]}
let:
  address: l2_normalise(convolve(k, kernel) + delay(x, 2 tokens))
levels:
  kernel: {memory: 'matrix(width, d_k)', every: step, init: 0.25}
  memory:
    memory: matrix(d_v, d_k)
    keys: address + 0.1 * convolve(tanh(k), kernel) + prev(k) - prev(x)
    values: v - delay(cos(v), 1 token)
    objective: l2
    retention: sigmoid(delay(sum(k) + sum(x), 3 tokens))
    optimizer: gradient_descent(0.3 * beta)
    every: token / 2
outputs:
  y: memory(delay(k, 1 token) + prev(x)) + delay(v, 2 tokens)
  z: convolve(tanh(k), kernel) + convolve(x, kernel)
"""

BEFORE_TOKENS = """
nlc: 1
name: BeforeTokens
dims: {d_k: 4, d_v: 3}
axes: [heads]
inputs:
  q: {shape: [d_k], axes: []}
  k: {shape: [d_k], every: token / 3}
  v: {shape: [d_v], every: token / 3}
levels:
  memory:
    memory: matrix(d_v, d_k)
    keys: l2_normalise(k)
    values: v - prev(other)
    objective: l2
    optimizer: OPTIMIZER
    every: token / 3
  other:
    memory: vector(d_v)
    objective: 0.5 * norm2(other - v)
    retention: 0.5
    optimizer: gradient_descent(0.3)
    every: token / 3
outputs:
  y: prev(memory)(q)
  z: memory(QUERY) - prev(memory)(q + tanh(delay(q, 1 token))) + prev(other)
"""

OLDER_PARTS_EXACTLY = """
nlc: 1
name: OlderParts
dims: {d_k: 4, d_v: 3, width: 3}
axes: [heads]
inputs:
  x: {shape: [d_k], axes: []}
  k: {shape: [d_k], every: token / 2}
  v: {shape: [d_v], every: token / 2, axes: []}
levels:
  kernel: {memory: 'matrix(width, d_k)', every: step}
  memory:
    memory: matrix(d_v, d_k)
    keys: convolve(k, kernel) + delay(x, 2 tokens) + prev(k)
    values: v - delay(v, 1 token)
    objective: dot
    optimizer: gradient_descent(0.25)
    every: token / 2
outputs:
  y: memory(delay(k, 1 token)) + delay(v, 2 tokens)
"""

OLDER_PARTS_MIXED = """
nlc: 1
name: OlderPartsMixed
dims: {d_k: 4, d_v: 3, width: 3}
inputs:
  k: {shape: [d_k], every: token / 3}
  v: {shape: [d_v], every: token / 3}
let:
  address: tanh(delay(k, 1 token))
levels:
  kernel: {memory: 'matrix(width, d_k)', every: step, init: 0.25}
  memory:
    memory: matrix(d_v, d_k)
    keys: address
    values: v + prev(slow)
    objective: l2
    optimizer: momentum(learning_rate = 0.1, decay = 0.5)
    every: token / 3
  slow:
    memory: vector(d_v)
    objective: 0.5 * norm2(slow - memory(convolve(k, kernel)) - delay(v, 2 tokens) - prev(v))
    optimizer: gradient_descent(0.3)
    every: 2 tokens
outputs:
  y: slow + memory(address)
"""

STARTS = """
nlc: 1
name: Starts
dims: {{d_k: 4, d_v: 3}}
inputs:
  x: [d_k]
  k: {{shape: [d_k], every: token / 2}}
  v: {{shape: [d_v], every: token / 2}}
levels:
  kernel: {{memory: 'matrix(3, d_k)', every: step}}
  memory:
    memory: matrix(d_v, d_k)
    keys: k
    values: v
    objective: dot
    init: {start}
    reset: 4 tokens
    optimizer: gradient_descent(0.25)
    every: {every}
  other: {{memory: 'matrix(d_v, d_k)', objective: '-inner(other, outer(v, k))', optimizer: gradient_descent(0.25), every: token / 2}}
outputs: {{y: memory(x)}}
"""

SYSTEMS = {
    "delta product": DELTA_PRODUCT,
    "mixed": MIXED,
    "no stream of whole tokens": ONE_STREAM_OF_TOKENS.replace("sum", "total"),
    "older tokens": OLDER_TOKENS,
    "older parts": OLDER_PARTS,
    "before tokens": BEFORE_TOKENS.replace("OPTIMIZER", "gradient_descent(0.3)").replace("QUERY", "k"),
    "before tokens, coupled": BEFORE_TOKENS.replace("OPTIMIZER", "momentum(learning_rate = 0.2, decay = 0.5)").replace("QUERY", "q"),
    "older parts, mixed": OLDER_PARTS_MIXED,
}


@pytest.mark.parametrize("name", rows(SYSTEMS, ("delta product", "no stream of whole tokens")))
def test_every_square_closes(name: str) -> None:
    program = program_from(SYSTEMS[name])
    squares = check_squares(program, pipeline.emit(program))
    assert [square.text for square in squares if not square.closed] == []
    assert program.is_parallel == ("mixed" not in name)


@pytest.mark.parametrize("every", rows(["token", "token / 2"], ["token / 2"]))
@pytest.mark.parametrize(
    "start", rows(["outer(v, convolve(k, kernel))", "outer(delay(v, 1 token), k)", "0.5 * prev(other)"], ["outer(delay(v, 1 token), k)"])
)
def test_a_start_sees_the_first_part_of_a_token_where_the_level_has_parts(start: str, every: str) -> None:
    program = program_from(STARTS.format(start=start, every=every))
    squares = check_squares(program, pipeline.emit(program))
    assert [square.text for square in squares if not square.closed] == []


def test_several_pairs_a_token_are_the_delta_rule_over_all_pairs() -> None:
    """DeltaProduct (arXiv 2502.10297): the delta rule over a sequence of time * pairs, read after the last pair of each token."""
    program = program_from(DELTA_PRODUCT)
    module = load_source(pipeline.emit(program), "DeltaProduct").DeltaProduct()
    generator = torch.Generator().manual_seed(0)
    q, k = (
        torch.randn(2, 7, 2, 5, generator=generator),
        torch.nn.functional.normalize(torch.randn(2, 7, 3, 2, 5, generator=generator), dim=-1),
    )
    v, beta = torch.randn(2, 7, 3, 4, generator=generator), torch.rand(2, 7, 3, 2, generator=generator)
    y, state = module(q=q, k=k, v=v, beta=beta)
    memory = torch.zeros(2, 2, 4, 5)
    for t in range(7):
        for pair in range(3):
            key, rate = k[:, t, pair], beta[:, t, pair, :, None]
            error = v[:, t, pair, None] - torch.einsum("bhvk,bhk->bhv", memory, key)
            memory = memory + torch.einsum("bhv,bhk->bhvk", rate * error, key)
        torch.testing.assert_close(y[:, t], torch.einsum("bhvk,bhk->bhv", memory, q[:, t]))
    torch.testing.assert_close(state, memory)


def test_the_oracle_takes_parts_in_turn_and_outputs_see_the_last() -> None:
    model = program_from(ONE_STREAM_OF_TOKENS.replace("sum", "total")).model
    x = torch.randn(1, 2, 2, 4, dtype=torch.float64)
    outputs, state = run_oracle(model, {"x": x}, {"d": 4}, {})
    total, wanted = torch.zeros(1, 4, dtype=torch.float64), []
    for t in range(2):
        for part in range(2):
            total = 0.9 * total + x[:, t, part]
        wanted.append(total)
    assert_close(outputs["y"], torch.stack(wanted, 1))
    assert_close(state["total"], total)


@pytest.mark.parametrize(
    ("old", "new"),
    [
        pytest.param("= new_momentum, new_fast", "= momentum, new_fast", marks=pytest.mark.slow),
        pytest.param('state["fast"] @ q', "fast @ q", marks=pytest.mark.slow),
        ("k[:, -1]", "k[:, 0]"),
        ("range(3)", "range(2)"),
    ],
)
def test_a_wrong_loop_is_found(old: str, new: str) -> None:
    program = program_from(MIXED)
    text = pipeline.emit(program)
    assert old in text
    assert any(not square.closed for square in all_squares(program, text.replace(old, new)))


def test_counts_of_updates_come_from_outside() -> None:
    text = pipeline.emit(program_from(DELTA_PRODUCT.replace("pairs: 3", "pairs: 2")))
    assert "(batch, time, 2, heads, d_k)" in text
    assert "pairs: float" not in text


def test_claims_are_not_decided_by_single_updates() -> None:
    """What one update does says nothing of a token of several."""
    alike = DELTA_PRODUCT + "claims:\n  - {says: one, same_as: architectures/delta_rule}\n"
    assert verdicts(alike) == ["unknown"]
    assert verdicts(alike.replace("pairs: 3", "pairs: 1").replace("d_k: 5, d_v: 4", "d_k: 64, d_v: 64")) == ["proved"]
    assert verdicts(MIXED + "claims:\n  - {says: two, prove: slow == prev(slow)}\n") == ["unknown"]


def test_a_claim_of_levels_that_move_together_is_about_one_update() -> None:
    claim = "claims:\n  - says: one\n    prove: memory == prev(memory) - beta * outer(prev(memory)(k) - v, k)\n"
    assert verdicts(DELTA_PRODUCT + claim) == ["proved"]


def verdicts(text: str) -> list[str]:
    program = program_from(text)
    return [verdict.finding.verdict for verdict in decide_claims(program.laws, lambda model: derive_laws(order_levels(model)))]


def test_the_oracle_refuses_two_ways_to_part_a_token() -> None:
    model = program_from(MIXED).model
    halves = Clock(Family.TOKEN, Fraction(1, 2))
    components = tuple(replace(item, every=halves) if item.name == "other" else item for item in model.components)
    with pytest.raises(OracleError, match="the clock token"):
        run_oracle(replace(model, components=components), {}, {}, {})
