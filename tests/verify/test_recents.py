"""Delays and short convolutions: every square closes, in every form, along axes, across splits, blocks and sequences."""

from __future__ import annotations

from collections.abc import Mapping

import pytest

from tests.random_specs.judge import CLOSED, judge
from tests.rows import rows

SPEC = """nlc: 1
name: Recalled
dims: {{d_k: 4, d_v: 3, d: 6, heads: 2, width: 3}}
axes: [heads]
inputs:
  q: [d_k]
  k: [d_k]
  v: [d_v]
  beta: {{shape: [], range: [0, 1]}}
  alpha: {{shape: [], range: [0, 1]}}
  shared: {{shape: [d_k], axes: []}}
  common: {{shape: [], range: [0, 1], axes: []}}
  x: {{shape: [d], axes: []}}
  m: [d_v, d_k]
levels:
{kernels}  memory: {{memory: "{memory}", objective: "{objective}", optimizer: "{optimizer}", every: {every}{more}}}
outputs: {{y: "{output}"}}
"""
KERNEL = '  kernel: {memory: "matrix(width, d_k)", every: step}\n'


def spec(objective: str, **changes: str) -> str:
    plain = {"memory": "matrix(d_v, d_k)", "optimizer": "gradient_descent(beta)", "every": "token", "output": "memory(q)", "more": ""}
    return SPEC.format(**{"kernels": KERNEL if "kernel" in objective else "", **plain, "objective": objective, **changes})


HALF_SQUARE = "0.5 * norm2(memory({}) - v)"
SPLIT = {
    "kernels": '  project: {memory: "matrix(heads * d_k, d)", every: step}\n' + KERNEL.replace("d_k", "heads * d_k"),
    "output": "join(memory(split(convolve(project(x), kernel), heads)), heads)",
}
JOINED = "join(memory(prev(shared)), heads) * sum(prev(x))"

SYSTEMS: Mapping[str, str] = {
    "delayed key": spec(HALF_SQUARE.format("delay(k, 2 tokens)")),
    "delayed value": spec("-dot(memory(k), delay(v, 3 tokens))", more=", retention: alpha"),
    "delayed rate": spec(HALF_SQUARE.format("k"), optimizer="gradient_descent(delay(beta, 1 token))"),
    "delayed expression": spec(HALF_SQUARE.format("delay(tanh(k) * beta, 2 tokens)")),
    "delayed product that is simpler by itself": spec("-log(cosh(dot(memory(delay(outer(k, k) @ q, 2 tokens)), v)))"),
    "delayed matrix": spec("-inner(memory, delay(m, 2 tokens))"),
    "delayed gate": spec(HALF_SQUARE.format("k"), more=', retention: "delay(alpha, 2 tokens)"'),
    "delayed output": spec(HALF_SQUARE.format("k"), output="memory(q) + delay(v, 1 token)"),
    "two delays of one stream": spec(HALF_SQUARE.format("delay(k, 1 token) - delay(k, 3 tokens)")),
    "delay of a delay": spec(HALF_SQUARE.format("delay(delay(k, 1 token) * beta, 2 tokens)")),
    "convolved key": spec(HALF_SQUARE.format("silu(convolve(k, kernel))")),
    "convolved twice": spec(HALF_SQUARE.format("convolve(convolve(k, kernel), kernel)")),
    "convolved, then delayed": spec(HALF_SQUARE.format("delay(convolve(k, kernel), 2 tokens)")),
    "stream without axes": spec(HALF_SQUARE.format("convolve(shared, kernel)"), output="memory(delay(shared, 2 tokens))"),
    "place along an axis": spec(HALF_SQUARE.format("delay(k * index(heads), 2 tokens)")),
    "split": spec(HALF_SQUARE.format("l2_normalise(split(convolve(project(x), kernel), heads))"), **SPLIT),
    "of all heads, joined": spec(
        HALF_SQUARE.format("k"),
        every="4 tokens",
        output="join(norm2(delay(shared, 2 tokens)) * memory(tanh(delay(shared, 1 token))), heads)",
    ),
    "of all heads, times another": spec(
        HALF_SQUARE.format("tanh(common * prev(shared))"),
        more=", reset: 4 tokens",
        output="join(memory(k), heads)",
    ),
    "matrix to start from": spec(HALF_SQUARE.format("k"), more=', init: "delay(cos(m), 1 token)", reset: 4 tokens'),
    "delayed matrix in blocks": spec("-inner(memory, delay(m, 2 tokens))", every="4 tokens"),
    "previous value, split": spec(HALF_SQUARE.format("split(project(prev(x) - x), heads) + prev(shared)"), **SPLIT),
    "previous values, joined": spec(HALF_SQUARE.format("prev(shared)"), output=JOINED),
    "beside a join": spec(HALF_SQUARE.format("delay(shared, 2 tokens)"), output="join(memory(q), heads)"),
    "previous values in blocks, joined": spec(HALF_SQUARE.format("prev(shared)"), every="4 tokens", output=JOINED),
    "network": spec(HALF_SQUARE.format("convolve(k, kernel)"), memory="mlp(d_k, 2, d_v, activation = tanh)"),
    "implicit step": spec(HALF_SQUARE.format("convolve(k, kernel)"), optimizer="proximal(beta)"),
    "momentum": spec(HALF_SQUARE.format("convolve(k, kernel)"), optimizer="momentum(learning_rate = beta, decay = alpha)"),
    "every four tokens": spec(HALF_SQUARE.format("convolve(k, kernel)"), every="4 tokens", output="memory(delay(q, 2 tokens))"),
    "rate every four tokens": spec(HALF_SQUARE.format("k"), every="4 tokens", optimizer="gradient_descent(delay(beta, 2 tokens))"),
    "every sequence": spec(HALF_SQUARE.format("convolve(k, kernel)"), every="sequence", optimizer="gradient_descent(0.1)"),
    "where a sequence has ended": spec(
        HALF_SQUARE.format("k"),
        every="sequence",
        optimizer="gradient_descent(0.1 * delay(beta, 2 tokens) * prev(beta))",
        more=', retention: "0.5 * delay(alpha * beta, 1 token) + 0.1 * sum(prev(shared))"',
    ),
    "an optimizer where a sequence has ended": spec(
        HALF_SQUARE.format("delay(k, 1 token)"),
        every="sequence",
        optimizer="momentum(learning_rate = 0.1 * delay(beta, 2 tokens), decay = prev(alpha) * beta)",
    ),
    "where a sequence has ended, joined": spec(
        HALF_SQUARE.format("delay(shared, 2 tokens)"),
        every="sequence",
        optimizer="gradient_descent(0.1 * sum(delay(shared, 2 tokens) * prev(shared)))",
        output="join(memory(q), heads)",
    ),
    "held, of a level of sequences": spec(
        HALF_SQUARE.format("k"), every="sequence", optimizer="gradient_descent(0.1)", output="hold(memory, 3 tokens)(q)"
    ),
    "a start": spec(HALF_SQUARE.format("k"), more=', init: "outer(delay(v, 1 token), delay(k, 3 tokens))", reset: "4 tokens"'),
    "reset": spec(HALF_SQUARE.format("convolve(k, kernel)"), more=', reset: "4 tokens"'),
    "truncated": spec(HALF_SQUARE.format("convolve(k, kernel)"), more=", backprop: none"),
}

LAYER = """nlc: 1
name: Layer
dims: {{d: 6, d_out: 3, heads: 2, width: 3}}
{axes}inputs: {{x: {{shape: [d], axes: []}}}}
levels:
  project: {{memory: "matrix({rows}, d)", every: step}}
  kernel: {{memory: "matrix(width, d)", every: step}}
outputs: {{y: "{output}"}}
"""
LAYERS: Mapping[str, str] = {
    "layer": LAYER.format(axes="", rows="d_out", output="project(silu(convolve(x, kernel)))"),
    "layer with a delay": LAYER.format(axes="", rows="d_out", output="project(convolve(x, kernel) + delay(x, 2 tokens))"),
    "layer for each head": LAYER.format(axes="axes: [heads]\n", rows="d", output="split(project(convolve(x, kernel)), heads)"),
}


@pytest.mark.parametrize("name", LAYERS)
def test_layers_without_memories_close(name: str) -> None:
    outcome = judge(LAYERS[name])
    assert (outcome.word, outcome.roundings, outcome.is_parallel) == (CLOSED, 0, True), outcome.detail


QUICK = (
    "of all heads, joined",
    "delayed key",
    "delayed gate",
    "delayed output",
    "delay of a delay",
    "convolved key",
    "place along an axis",
)


@pytest.mark.parametrize("name", rows(SYSTEMS, QUICK))
def test_every_square_closes(name: str) -> None:
    outcome = judge(SYSTEMS[name])
    assert (outcome.word, outcome.roundings) == (CLOSED, 0), outcome.detail
