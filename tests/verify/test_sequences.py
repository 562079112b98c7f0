"""What outlasts a sequence: levels and streams on the clock `sequence`, levels that are never reset, and what begins anew beside them."""

from __future__ import annotations

import pytest
import torch

from nlc.emit import emit_module
from nlc.ir.program import Program
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
  gate: {{shape: [], range: [0, 1], axes: [], every: sequence}}
  goal: {{shape: [d_v], every: sequence}}
levels:
"""

SEQUENCES = (
    HEAD.format(name="Sequences")
    + """
  fast:
    memory: matrix(d_v, d_k)
    keys: k
    values: v + goal
    objective: l2
    retention: gate
    init: 0.5 * slow
    optimizer: gradient_descent(beta)
    every: token
  slow:
    memory: matrix(d_v, d_k)
    objective: 0.5 * norm2(slow(k) - fast(k) - v)
    retention: 0.9
    init: 0.1
    optimizer: momentum(learning_rate = beta * gate, decay = 0.5)
    every: sequence
  average:
    memory: vector(d_v)
    objective: 0.5 * norm2(average - v)
    init: offset
    reduce: mean
    optimizer: gradient_descent(offset)
    every: sequence
  kept:
    memory: vector(d_v)
    objective: 0.5 * norm2(kept - v - prev(v))
    reset: never
    optimizer: gradient_descent(0.1)
    every: 2 tokens
outputs:
  y: fast(q) + slow(q) + gate * average
  z: hold(kept, 3 tokens) + kept
"""
)

STREAMS = (
    HEAD.format(name="StreamsOfSequences")
    + """
  memory:
    memory: matrix(d_v, d_k)
    keys: k
    values: v - goal
    objective: l2
    retention: gate
    optimizer: gradient_descent(beta)
    every: token
outputs:
  y: memory(q)
  plain: gate * goal
"""
)

KEPT = STREAMS.replace("StreamsOfSequences", "Kept").replace("    every: token", "    reset: never\n    every: token")

HELD = KEPT.replace("Kept", "HeldInVain").replace("objective: l2", "objective: dot\n    gradient_at: hold(2 tokens)")
"""Its gradient asks no state, so that no law reads the one that is held."""

PARTS = (
    HEAD.format(name="PartsOfSequences").replace("k: [d_k]", "k: {{shape: [d_k], every: token / 2}}".format())
    + """
  memory:
    memory: matrix(d_v, d_k)
    keys: k
    values: v - slow
    objective: l2
    optimizer: gradient_descent(beta)
    every: token / 2
  slow:
    memory: vector(d_v)
    objective: 0.5 * norm2(slow - memory(k))
    optimizer: gradient_descent(0.1)
    every: sequence
outputs:
  y: memory(q)
"""
)

SYSTEMS = (SEQUENCES, STREAMS, KEPT, HELD, PARTS)
PROGRAMS = tuple(program_from(text) for text in SYSTEMS)
SLOW = ("Kept", "PartsOfSequences")
each_program = pytest.mark.parametrize(
    "program", [pytest.param(item, id=item.model.name, marks=[pytest.mark.slow] if item.model.name in SLOW else []) for item in PROGRAMS]
)


@each_program
def test_every_square_closes(program: Program) -> None:
    squares = check_squares(program, emit_module(program))
    assert [square for square in squares if not square.closed] == []
    assert any("next sequence" in square.name for square in squares) == bool(program.laws.beginnings)


def test_a_level_of_sequences_moves_by_all_of_its_data_when_the_sequence_ends() -> None:
    module = emitted_class(PROGRAMS[0])(d_k=4, d_v=3).double()
    generator = torch.Generator().manual_seed(3)
    shapes = {"q": (2, 5, 2, 4), "k": (2, 5, 2, 4), "v": (2, 5, 2, 3), "beta": (2, 5), "gate": (2,), "goal": (2, 2, 3)}
    inputs = {name: torch.rand(shape, dtype=torch.float64, generator=generator) for name, shape in shapes.items()}
    _, ended = module(**inputs)
    begun = module.next_sequence(ended)
    average = torch.full((2, 2, 3), 0.25, dtype=torch.float64)
    torch.testing.assert_close(begun["average"], average - 0.25 * (average - inputs["v"].mean(1)), rtol=0, atol=1e-13)
    torch.testing.assert_close(begun["fast"], 0.5 * begun["slow"], rtol=0, atol=0)
    assert torch.equal(begun["kept"], ended["kept"])
    assert not any(value.any() for name, value in begun.items() if name.endswith("gradient") or name.startswith(("previous", "position")))


def test_a_sequence_in_pieces_moves_its_levels_as_the_whole_does() -> None:
    module = emitted_class(PROGRAMS[0])(d_k=4, d_v=3).double()
    shapes = {"q": (2, 6, 1, 4), "k": (2, 6, 1, 4), "v": (2, 6, 1, 3), "beta": (2, 6)}
    inputs = {name: torch.rand(shape, dtype=torch.float64) for name, shape in shapes.items()}
    whole = {"gate": torch.rand(2, dtype=torch.float64), "goal": torch.rand(2, 1, 3, dtype=torch.float64)}
    _, ended = module(**inputs, **whole)
    state = None
    for part in (slice(2), slice(2, 5), slice(5, 6)):
        _, state = module(**{name: x[:, part] for name, x in inputs.items()}, **whole, state=state)
    wanted, found = module.next_sequence(ended), module.next_sequence(state)
    assert all(torch.allclose(value, found[name], rtol=0, atol=1e-13) for name, value in wanted.items())


def test_a_number_that_is_read_when_a_sequence_ends_alone_is_an_argument() -> None:
    text = STREAMS.replace("StreamsOfSequences", "Ending").replace("gradient_descent(beta)", "gradient_descent(offset)")
    program = program_from(text.replace("every: token\n", "every: sequence\n"))
    assert [item.name for item in program.hyperparameters] == ["offset"]
    assert [square for square in check_squares(program, emit_module(program)) if not square.closed] == []
