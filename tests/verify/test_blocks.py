"""Systems with periods on a parallel form, block by block: every square, every split, and what keeps a system token by token."""

from __future__ import annotations

from pathlib import Path

import pytest
import torch
from _pytest.mark.structures import ParameterSet
from torch import Tensor

from nlc.emit import emit_module
from nlc.ir.program import Form, Program
from nlc.verify.inputs import Case, draw
from nlc.verify.squares import check_squares
from tests.emit.systems import emitted_class, program_from

LAYER = """
nlc: 1
name: Layer
dims: {d_model: 6, heads: 2, d_head: d_model / heads}
axes: [heads]
inputs:
  x: {shape: [d_model], axes: []}
  gain: {shape: [], every: sequence, range: [0.2, 0.8]}
  scale: {shape: [d_head], axes: []}
hyperparameters: {learning_rate: 0.1}
let:
  q: split(project_q(x), heads)
  k: split(tanh(project_k(x)), heads)
  decay: 1 - 2 ** (-1 - index(heads))
levels:
  project_q: {memory: "matrix(d_model, d_model)", every: step}
  project_k: {use: project_q}
  project_out: {use: project_q}
  memory:
    memory: matrix(d_head, d_head)
    objective: dot(memory(k), prev(slow)(k) - q)
    retention: decay
    optimizer: gradient_descent(gain)
    every: token
  vectors:
    memory: vector(d_head)
    objective: 0.5 * norm2(vectors - scale * k)
    optimizer: gradient_descent(0.5)
    every: token
  slow:
    memory: matrix(d_head, d_head)
    objective: 0.5 * norm2(slow(k) - memory(k) * gain - vectors) * (1 - decay)
    optimizer: gradient_descent(learning_rate / tick)
    every: 3 tokens
  shared:
    memory: matrix(d_head, d_head)
    objective: 0.5 * norm2(shared(q) - split(project_out(x), heads)) * index(heads)
    optimizer: gradient_descent(0.1)
    every: 6 tokens
outputs:
  y: project_out(join(memory(q) + slow(q), heads)) + x
  z: prev(shared)(scale)
  w: join(vectors, heads)
"""

ACROSS = """
nlc: 1
name: Across
dims: {d: 3, rows: 2, columns: 2}
axes: [rows, columns]
inputs:
  k: {shape: [d], axes: [columns]}
  before: {shape: [d], axes: [rows]}
  beta: {shape: [], every: sequence, axes: [rows], range: [0, 0.5]}
levels:
  memory:
    memory: matrix(d, d)
    objective: 0.5 * norm2(memory(k) - before) + index(columns) * inner(memory, memory)
    optimizer: gradient_descent(beta)
    every: 2 tokens
outputs: {y: memory(k), z: before}
"""

LASTING = """
nlc: 1
name: Lasting
dims: {d_k: 4, d_v: 3}
inputs:
  q: [d_k]
  k: {shape: [d_k], every: sequence}
  v: [d_v]
levels:
  memory:
    memory: "matrix(d_v, d_k)"
    objective: 0.5 * norm2(memory(k) - v)
    optimizer: gradient_descent(0.1)
    every: 3 tokens
outputs: {y: q, z: prev(memory)}
"""

HEAD = """
nlc: 1
name: {name}
dims: {{d_k: 4, d_v: 3}}
axes: {axes}
inputs:
  q: [d_k]
  k: [d_k]
  v: [d_v]
  beta: {{shape: [], range: [0, 0.5], axes: []}}
levels:
"""

ALONE = """
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
"""

NETWORK = """
  memory:
    memory: mlp(d_k, 5, 6, d_v)
    keys: k
    values: v
    objective: l2
    retention: 1 - beta
    optimizer: momentum(beta, 0.5)
    every: 4 tokens
outputs:
  y: memory(q)
  z: hold(memory, 2 tokens)(q)
"""

BESIDE = """
  fast:
    memory: matrix(d_v, d_k)
    objective: 0.5 * norm2(fast(k) - slow(k))
    retention: 1 - beta
    optimizer: gradient_descent(beta)
    init: 0.25
    reset: 8 tokens
    every: token
  slow:
    memory: matrix(d_v, d_k)
    objective: 0.5 * norm2(slow(k) - fast(k) + hold(fast, 2 tokens)(k) - v + prev(fast)(prev(k)))
    optimizer: momentum(learning_rate = 0.2 * beta, decay = 0.5)
    every: 4 tokens
outputs:
  y: fast(q) + slow(q) + hold(fast, 4 tokens)(q)
"""

CHAIN = """
  fast:
    memory: matrix(d_v, d_k)
    objective: 0.5 * norm2(fast(k) - v)
    optimizer: gradient_descent(beta)
    every: token
  medium:
    memory: mlp(d_k, 5, d_v)
    objective: 0.5 * norm2(medium(k) - fast(k))
    optimizer: gradient_descent(0.5 / tick)
    reset: 8 tokens
    every: 2 tokens
  slow:
    memory: matrix(d_v, d_k)
    objective: 0.5 * norm2(slow(k) - medium(k)) + 0.1 * inner(slow, slow)
    optimizer: gradient_descent(0.1)
    every: 4 tokens
  slowest:
    memory: vector(d_v)
    objective: 0.5 * norm2(slowest - slow(q))
    optimizer: gradient_descent(0.1)
    every: 4 tokens
outputs: {y: slow(q) + medium(q), z: norm(slow)}
"""

GATES = """
  memory:
    memory: matrix(d_v, d_k)
    keys: k
    values: v
    objective: dot
    retention: exp(-norm(slow))
    init: 0.5
    optimizer: gradient_descent(beta)
    reset: 4 tokens
    every: token
  channels:
    memory: matrix(d_v, d_k)
    keys: k
    values: slow(k)
    objective: l2
    retention: sigmoid(q)
    optimizer: gradient_descent(beta)
    every: token
  slow:
    memory: matrix(d_v, d_k)
    objective: 0.5 * norm2(slow(k) - v) + inner(slow, outer(v, k)) * beta
    backprop: truncated(2 updates)
    optimizer: gradient_descent(0.1)
    every: 2 tokens
  whole:
    memory: matrix(d_v, d_k)
    objective: 0.1 * inner(whole, slow) + norm(slow) * dot(whole(k), v)
    backprop: none
    optimizer: gradient_descent(0.1)
    every: 4 tokens
outputs: {y: memory(q) + channels(q) + whole(q)}
"""

BODIES = {"Alone": ALONE, "Network": NETWORK, "Beside": BESIDE, "Chain": CHAIN, "Gates": GATES}
PROGRAMS = [
    program_from(HEAD.format(name=name, axes=axes) + body)
    for axes in ("[heads]", "[]")
    for name, body in BODIES.items()
    if axes == "[heads]" or name != "Gates"
]
each_program = pytest.mark.parametrize("program", PROGRAMS, ids=lambda program: f"{program.model.name}-{len(program.model.axes)}")


def slow_without_axes(program: Program) -> Program | ParameterSet:
    """What has an axis as its twin does is left to the slow suite where it has none."""
    is_slow = not program.model.axes and program.model.name != "Chain"
    return pytest.param(program, marks=pytest.mark.slow) if is_slow else program


@pytest.mark.parametrize(
    "program",
    [*map(slow_without_axes, PROGRAMS), program_from(LAYER), program_from(ACROSS)],
    ids=lambda program: f"{program.model.name}-{len(program.model.axes)}",
)
def test_every_square_closes(program: Program) -> None:
    assert program.is_in_blocks
    assert [square for square in check_squares(program, emit_module(program)) if not square.closed] == []


def test_a_stream_of_the_sequence_is_the_same_in_every_block() -> None:
    head = HEAD.format(name="Alone", axes="[heads]").replace("axes: []}", "axes: [], every: sequence}")
    assert "every: sequence" in head
    program = program_from(head + ALONE)
    assert program.is_in_blocks
    assert [square for square in check_squares(program, emit_module(program)) if not square.closed] == []


@pytest.mark.parametrize(
    "changes",
    [
        {},
        {'matrix(d_v, d_k)"': 'vector(d_k)"', "0.5 * norm2(memory(k) - v)": "-dot(memory, k)"},
        {"norm2(memory(k) - v)": "norm2(memory(tanh(k) + k) - v)"},
        {"z: prev(memory)}": 'z: "prev(memory)(l2_normalise(clip(k, -0.5, 0.75)))"}'},
    ],
    ids=["in a product", "summed", "in an abbreviation", "in a long output"],
)
def test_a_stream_of_the_sequence_counts_once_for_each_token_of_a_block(changes: dict[str, str]) -> None:
    text = LASTING
    for old, new in changes.items():
        assert old in text
        text = text.replace(old, new)
    program = program_from(text)
    assert program.is_in_blocks
    assert [square for square in check_squares(program, emit_module(program)) if not square.closed] == []


@each_program
def test_every_split_is_the_whole_to_the_last_period(program: Program) -> None:
    evidence = draw(program.model, Case(name="17 tokens", chunks=4, extra=1), 4, seed=5)
    module = emitted_class(program)(d_k=evidence.sizes["d_k"], d_v=evidence.sizes["d_v"])
    whole, end = module.forward_by_token(**evidence.inputs)
    for cut in range(evidence.tokens + 1):
        first, state = module(**{name: x[:, :cut] for name, x in evidence.inputs.items()})
        second, last = module(**{name: x[:, cut:] for name, x in evidence.inputs.items()}, state=state)
        for name, value in _named(whole).items():
            assert torch.allclose(torch.cat((_named(first)[name], _named(second)[name]), 1), value, rtol=0, atol=1e-11)
        assert all(torch.allclose(value, last[name], rtol=0, atol=1e-11) for name, value in end.items())


def _named(outputs: Tensor | dict[str, Tensor]) -> dict[str, Tensor]:
    return {"y": outputs} if isinstance(outputs, Tensor) else outputs


def test_what_is_made_of_streams_alone_is_made_once_for_all_blocks() -> None:
    forward, method = emit_module(program_from(LAYER)).split("    def forward")[1].split("    def _block")
    for line in (
        "k = torch.unflatten((x @ project_k.mT).tanh(), -1, (self.heads, -1))",
        "y = y_inside.flatten(-2) @ project_out.mT + x",
    ):
        assert line in forward
    assert "project_k" not in method
    assert "unflatten" not in method


def test_a_level_that_hears_other_heads_runs_token_by_token() -> None:
    program = program_from(LAYER.replace("norm2(slow(k) - memory(k)", "norm2(slow(k) * norm(join(memory(k), heads)) - memory(k)"))
    assert not program.is_in_blocks
    assert [square for square in check_squares(program, emit_module(program)) if not square.closed] == []


def test_a_block_is_as_long_as_all_periods_allow() -> None:
    lengths = {program.model.name: program.blocks.tokens for program in PROGRAMS}
    assert lengths == {"Alone": 3, "Network": 2, "Beside": 2, "Chain": 2, "Gates": 2}
    assert {memory.form for memory in PROGRAMS[0].memories} == {Form.BLOCKS}
    assert not PROGRAMS[0].chunked


@pytest.mark.parametrize(
    ("old", "new"),
    [
        ("hold(fast, 4 tokens)", "hold(fast, 3 tokens)"),
        ("hold(fast, 4 tokens)", "hold(fast, 1 tokens)"),
        pytest.param("gradient_descent(beta)", "gradient_descent(beta / tick)", marks=pytest.mark.slow),
        pytest.param("0.5 * norm2(fast(k) - slow(k))", "sum(log(cosh(fast(k) - slow(k))))", marks=pytest.mark.slow),
    ],
)
def test_what_keeps_a_system_token_by_token_is_right_all_the_same(old: str, new: str) -> None:
    assert old in BESIDE
    program = program_from(HEAD.format(name="ByToken", axes="[heads]") + BESIDE.replace(old, new))
    assert not program.is_in_blocks
    assert [square for square in check_squares(program, emit_module(program)) if not square.closed] == []


def test_no_gradient_of_one_token_is_made_as_a_matrix() -> None:
    """In 60 tokens at sizes that tell dims apart, no tensor has the dims of time and of a memory together."""
    from nlc.verify.sequence_contract import Listener

    program = program_from(
        HEAD.format(name="Network", axes="[heads]") + NETWORK.replace("4 tokens", "60 tokens").replace("2 tokens", "60 tokens")
    )
    module = emitted_class(program)(d_k=7, d_v=11)
    shapes = {"q": (2, 60, 3, 7), "k": (2, 60, 3, 7), "v": (2, 60, 3, 11), "beta": (2, 60)}
    listener = Listener()
    with listener:
        module(**{name: torch.rand(shape, dtype=torch.float64) for name, shape in shapes.items()})
    assert max(torch.Size(shape).numel() for _, shape in listener.heard if shape) == 2 * 60 * 3 * 11


def test_the_block_of_a_memory_beside_another_reads_as_it_is_written_here() -> None:
    spec = Path(__file__).parents[2] / "docs" / "levels" / "chunk_memory.yaml"
    method = emit_module(program_from(spec.read_text())).split("    def _block")[1].split("    def ")[0]
    for line in (
        'slow_read = k @ state["slow"].mT',
        'gathered = torch.baddbmm(state["slow.gradient"], (slow_read - fast_read).mT, k)',
        'slow = state["slow"] + momentum if due else state["slow"]',
        "y = fast_read + slow_read",
    ):
        assert line in method
