"""Starts inside a sequence where every memory has a parallel form: from streams, numbers, held levels, and what others become."""

from __future__ import annotations

import pytest
import torch

from nlc.diagnostics import CompileError
from nlc.emit import emit_module
from nlc.ir.program import Program
from nlc.verify.load import load_source
from nlc.verify.oracle import run_oracle
from nlc.verify.squares import check_squares
from tests.emit.systems import program_from

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
  context: {{shape: [d_v], every: sequence}}
  beta: {{shape: [], range: [0, 1], axes: []}}
levels:
"""

LEVEL = """
  {name}:
    memory: matrix(d_v, d_k)
    keys: k
    values: {values}
    objective: l2
    init: {init}
    reset: {reset}
    optimizer: gradient_descent(beta)
    every: {every}
"""


def level(name: str, init: str = "0", reset: str = "sequence", every: str = "token", values: str = "v") -> str:
    """A delta rule that starts somewhere."""
    return LEVEL.format(name=name, init=init, reset=reset, every=every, values=values)


FROM_OTHERS = "".join(
    (
        HEAD.format(name="FromOthers"),
        level("after", "prev(copy)", "4 tokens"),
        level("copy", "source", "4 tokens"),
        level("source"),
        level("slow", "prev(copy) + source", "8 tokens", every="2 tokens"),
        level("reader", values="prev(slow)(k) + prev(slow)(q)"),
        "outputs: {y: after(q) + copy(q) + reader(q), z: prev(slow)(k)}",
    )
)
"""`copy` starts from what `source` becomes at the same token, `after` from what `copy` starts from; `reader` reads a level that waits."""

FROM_STREAMS = "".join(
    (
        HEAD.format(name="FromStreams"),
        level("memory", "offset * outer(v, k) + outer(delay(v, 2 tokens), prev(k)) + origin", "6 tokens"),
        level("copy", "2 * prev(memory)", every="2 tokens"),
        "  origin:\n    memory: matrix(d_v, d_k)\n    every: step\n",
        "outputs:\n  y: memory(q) + prev(memory)(k)\n  z: hold(memory, 2 tokens)(q) + copy(q)\n",
    )
)

FROM_NUMBERS = "".join(
    (
        HEAD.format(name="FromNumbers"),
        level("length", "norm2(k)", "6 tokens"),
        level("head", "index(heads) + 1", "4 tokens"),
        level("once", "outer(context, k)").replace("    reset: sequence\n", ""),
        "outputs: {y: length(q) + head(q) + once(q)}",
    )
)

CUT_OFF = "".join(
    (
        HEAD.format(name="CutOff"),
        level("memory", "offset", "8 tokens").replace("    every:", "    backprop: truncated(6 updates)\n    every:"),
        "outputs: {y: memory(q)}",
    )
)

SYSTEMS = (FROM_OTHERS, FROM_STREAMS, FROM_NUMBERS, CUT_OFF)
PROGRAMS = tuple(program_from(text) for text in SYSTEMS)
each_program = pytest.mark.parametrize(
    "program",
    [
        pytest.param(program, id=program.model.name, marks=[] if program.model.name == "FromOthers" else [pytest.mark.slow])
        for program in PROGRAMS
    ],
)


@each_program
def test_every_square_closes(program: Program) -> None:
    assert program.is_in_blocks
    squares = check_squares(program, emit_module(program))
    assert [square for square in squares if not square.closed] == []


def test_a_level_that_starts_from_what_another_becomes_waits_for_it() -> None:
    text = emit_module(PROGRAMS[0])
    begun = ["copy_start = source if before % 4 == 0", "after_start = copy_start if before % 4 == 0", "slow_start = copy_start + source"]
    places = [text.index(line) for line in begun]
    assert text.index("source = self._source_in_chunks(") < places[0] < places[1] < text.index("self._after_in_chunks(")
    assert places[0] < places[2] < text.index("self._reader_in_chunks(")


def test_the_token_of_such_a_start_is_a_block_of_its_own() -> None:
    module = load_source(emit_module(PROGRAMS[0]), "FromOthers")
    lengths = module._block_lengths
    assert lengths(0, 2, 4, 9) == [1, 1, 2, 1, 1, 2, 1]
    assert lengths(3, 2, 4, 6) == [1, 1, 1, 2, 1]
    assert lengths(0, 2, 4, 1) == [1]
    assert lengths(0, 2, 4, 0) == []


def test_nothing_is_cut_off_for_a_start_from_streams() -> None:
    assert [program.blocks.alone for program in PROGRAMS] == [4, 0, 0, 0]
    assert "if before % 6 == 0:" in (text := emit_module(PROGRAMS[1]))
    assert "k[:, 0]" in text


def test_a_number_stands_for_all_entries_of_a_start() -> None:
    generator = torch.Generator().manual_seed(1)
    shapes: dict[str, tuple[int, ...]] = {"q": (7, 2, 4), "k": (7, 2, 4), "v": (7, 2, 3), "context": (2, 3), "beta": (7,)}
    inputs = {name: torch.rand((1, *shape), dtype=torch.float64, generator=generator) for name, shape in shapes.items()}
    model = program_from(FROM_NUMBERS.replace("length(q) + head(q) + once(q)", "prev(length)(q)")).model
    outputs, _ = run_oracle(model, inputs, {"d_k": 4, "d_v": 3, "heads": 2}, {"offset": 0.25}, None, {})
    k, q = inputs["k"][0], inputs["q"][0]
    for t in (0, 6):
        expected = (k[t].square().sum(-1) * q[t].sum(-1))[:, None].expand(-1, 3)
        torch.testing.assert_close(outputs["y"][0, t], expected, rtol=0, atol=1e-12)


def test_nobody_starts_through_another_from_what_it_has_to_know_before() -> None:
    text = HEAD.format(name="Ring") + level("after", "prev(copy)", "4 tokens") + level("copy", "source", "4 tokens")
    with pytest.raises(CompileError) as raised:
        program_from(text + level("source", values="prev(after)(k)") + "outputs: {y: after(q)}")
    assert [item.code for item in raised.value.diagnostics] == ["NLC305"]
