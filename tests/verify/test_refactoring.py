"""Specs that say the same in other words: the same bytes where only the wording differs, the same numbers where names or idle levels do."""

from __future__ import annotations

import re
from collections.abc import Mapping

import pytest
import torch
from torch import Tensor

from nlc.emit import emit_module
from nlc.verify.emitted import build
from nlc.verify.inputs import Case, Drawn, draw
from nlc.verify.load import load_source
from tests.emit.systems import program_from

SPEC = """
nlc: 1
name: Refactored
dims: {d_k: 4, d_v: 3}
axes: [heads]
inputs:
  q: [d_k]
  k: [d_k]
  v: [d_v]
  beta: {shape: [], range: [0, 1]}
  alpha: {shape: [], range: [0, 1]}
levels:
  memory:
    memory: matrix(d_v, d_k)
    objective: 0.5 * norm2(memory(k) - v)
    optimizer: gradient_descent(beta)
    every: token
  store:
    memory: matrix(d_v, d_k)
    objective: -dot(store(k), v)
    retention: alpha
    optimizer: gradient_descent(1)
    every: token
outputs:
  y: memory(q) + store(q)
"""

IDLE = """  idle:
    memory: matrix(d_v, d_k)
    objective: 0.5 * norm2(idle(k) - v)
    optimizer: gradient_descent({rate})
    every: token
"""


def code(text: str) -> str:
    """The module of a spec without the digests of the spec and of itself."""
    return re.sub(r"(sha256 of [^:]*): [0-9a-f]{64}", r"\1", emit_module(program_from(text)))


def drawn_for(text: str) -> Drawn:
    program = program_from(text)
    return draw(program.model, Case(name="9 tokens", chunks=2, extra=1, batch=2), program.chunk, seed=5, slots=program.slots)


def ways(text: str, inputs: Mapping[str, Tensor], drawn: Drawn) -> dict[str, tuple[dict[str, Tensor], dict[str, Tensor]]]:
    """The outputs and final states of a spec's module by every way to run it."""
    program = program_from(text)
    emitted = build(getattr(load_source(emit_module(program)), program.model.name), program, drawn)
    return {name: tuple(map(dict, run(inputs, None))) for name, run in emitted.ways(drawn.tokens)}  # type: ignore[misc]


SAME_BYTES = {
    "an objective times 1": ("0.5 * norm2(memory(k) - v)", "1 * 0.5 * norm2(memory(k) - v)"),
    "a half as a quotient": ("0.5 * norm2(memory(k) - v)", "norm2(memory(k) - v) / 2"),
    "a rate times 1": ("gradient_descent(beta)", "gradient_descent(beta * 1)"),
    "a rate by its name": ("gradient_descent(beta)", "gradient_descent(learning_rate = beta)"),
    "an output times 1": ("memory(q) + store(q)", "1 * memory(q) + store(q)"),
    "an output plus 0": ("memory(q) + store(q)", "memory(q) + store(q) + 0 * v"),
    "a sum in parentheses": ("memory(q) + store(q)", "(memory(q)) + (store(q))"),
    "a retention of 1": ("    optimizer: gradient_descent(beta)", "    retention: 1\n    optimizer: gradient_descent(beta)"),
    "comments and blank lines": ("levels:", "\n# what learns\n\nlevels:"),
    "keys in another order": (
        "    optimizer: gradient_descent(1)\n    every: token\n",
        "    every: token\n    optimizer: gradient_descent(1)\n",
    ),
}


@pytest.mark.parametrize("what", SAME_BYTES)
def test_other_wording_gives_the_same_bytes(what: str) -> None:
    old, new = SAME_BYTES[what]
    assert SPEC.count(old) == 1
    assert code(SPEC.replace(old, new)) == code(SPEC)


NAMES = {
    "memory": "weights_of_it",
    "store": "a_store",
    "q": "asked",
    "k": "seen",
    "v": "taught",
    "beta": "rate",
    "alpha": "kept",
    "y": "out",
}


def test_names_do_not_matter() -> None:
    """Every name changed, in an order of the alphabet that is another one too."""
    renamed = SPEC
    for old, new in NAMES.items():
        renamed = re.sub(rf"(?<![\w.]){old}(?!\w|: matrix)", new, renamed)
    assert renamed.count("weights_of_it") == 3
    drawn = drawn_for(SPEC)
    before = ways(SPEC, drawn.inputs, drawn)
    after = ways(renamed, {NAMES[name]: stream for name, stream in drawn.inputs.items()}, drawn)
    for way, (outputs, states) in before.items():
        assert torch.equal(outputs["y"], after[way][0]["out"])
        assert all(torch.equal(state, after[way][1][NAMES[name]]) for name, state in states.items())


def swapped(text: str) -> str:
    """The two levels in the other order."""
    head, memory, store, tail = re.split(r"(?=  memory:\n    memory)|(?=  store:)|(?=outputs:)", text)
    return head + store + memory + tail


def test_the_order_of_independent_levels_does_not_matter() -> None:
    drawn = drawn_for(SPEC)
    before, after = ways(SPEC, drawn.inputs, drawn), ways(swapped(SPEC), drawn.inputs, drawn)
    for way, (outputs, states) in before.items():
        assert torch.equal(outputs["y"], after[way][0]["y"])
        assert all(torch.equal(state, after[way][1][name]) for name, state in states.items())


@pytest.mark.parametrize(("rate", "read"), [("beta", ""), ("0", ""), ("0", " + idle(q)")])
def test_idle_levels_do_not_matter(rate: str, read: str) -> None:
    """A level that nothing reads, and one of rate 0 that is read; `forward` may take another form, and round otherwise."""
    more = SPEC.replace("outputs:", IDLE.format(rate=rate) + "outputs:").replace("store(q)\n", f"store(q){read}\n")
    drawn = drawn_for(SPEC)
    before, after = ways(SPEC, drawn.inputs, drawn), ways(more, drawn.inputs, drawn)
    for way, (outputs, states) in before.items():
        atol = 1e-14 if way == "forward" else 0.0
        torch.testing.assert_close(after[way][0]["y"], outputs["y"], rtol=0, atol=atol)
        torch.testing.assert_close({name: after[way][1][name] for name in states}, states, rtol=0, atol=atol)
        assert bool(after[way][1]["idle"].any()) is (rate != "0")


def test_the_tests_can_fail() -> None:
    assert code(SPEC.replace("norm2(memory(k) - v)", "norm2(memory(k) + v)")) != code(SPEC)
    drawn = drawn_for(SPEC)
    before, after = (ways(text, drawn.inputs, drawn) for text in (SPEC, SPEC.replace("store(k), v", "store(k), 1.5 * v")))
    assert not torch.equal(before["step"][0]["y"], after["step"][0]["y"])
