"""`index(axis)` from the text of a spec to the emitted module: a number for each copy that follows from its place."""

from __future__ import annotations

from pathlib import Path

import pytest
import torch
from torch import Tensor

from nlc import pipeline
from nlc.diagnostics import CompileError
from nlc.ir.algebra import Index
from nlc.ir.latex import expression_latex
from nlc.ir.show import expression_text
from nlc.verify.oracle import run_oracle
from tests.emit.systems import emitted_class, program_from

PLACED = """
nlc: 1
name: Placed
dims: {d_k: 3, d_v: 2}
axes: [groups, heads]
inputs: {q: [d_k], k: {shape: [d_k], axes: [heads]}, v: [d_v]}
levels:
  memory:
    memory: matrix(d_v, d_k)
    keys: k
    values: v
    objective: dot
    retention: 1 / (1 + index(groups))
    optimizer: gradient_descent(1 + index(heads))
    every: token
  trace:
    memory: vector(d_v)
    objective: -dot(trace, v)
    retention: 0.5
    optimizer: gradient_descent(1)
    every: token
outputs: {y: memory(q) + trace * index(groups), place: 10 * index(groups) + index(heads)}
"""
"""Two axes, so that the place along the first must not be taken for that along the second."""

GROUPS, HEADS, TOKENS = 2, 3, 5


def drawn() -> dict[str, Tensor]:
    generator = torch.Generator().manual_seed(0)
    shapes = {"q": (GROUPS, HEADS, 3), "k": (HEADS, 3), "v": (GROUPS, HEADS, 2)}
    return {name: torch.randn(1, TOKENS, *shape, generator=generator, dtype=torch.float64) for name, shape in shapes.items()}


def by_hand(x: dict[str, Tensor]) -> Tensor:
    """(time, groups, heads, d_v), one copy after the other."""
    y = torch.zeros(TOKENS, GROUPS, HEADS, 2, dtype=torch.float64)
    for group in range(GROUPS):
        for head in range(HEADS):
            memory, trace = torch.zeros(2, 3, dtype=torch.float64), torch.zeros(2, dtype=torch.float64)
            for t in range(TOKENS):
                value = x["v"][0, t, group, head]
                memory = memory / (1 + group) + (1 + head) * torch.outer(value, x["k"][0, t, head])
                trace = trace / 2 + value
                y[t, group, head] = memory @ x["q"][0, t, group, head] + trace * group
    return y


def test_every_copy_has_the_number_of_its_place() -> None:
    program, inputs = program_from(PLACED), drawn()
    module = emitted_class(program)(chunk=2)
    places = torch.tensor([[0.0, 1.0, 2.0], [10.0, 11.0, 12.0]], dtype=torch.float64)
    sizes = {"groups": GROUPS, "heads": HEADS, "d_k": 3, "d_v": 2}
    for outputs, _ in (module(**inputs), module.forward_by_token(**inputs), run_oracle(program.model, inputs, sizes, {})):
        torch.testing.assert_close(outputs["y"][0], by_hand(inputs))
        assert torch.equal(outputs["place"], places.expand(1, TOKENS, GROUPS, HEADS))


def test_its_texts() -> None:
    assert expression_text(Index("heads")) == "index(heads)"
    assert expression_latex(Index("heads")) == r"\operatorname{index}_{\text{heads}}"


@pytest.mark.parametrize(
    ("text", "code"), [("index(d_k)", "NLC238"), ("index(2)", "NLC205"), ("index(heads, heads)", "NLC205"), ("index", "NLC201")]
)
def test_it_takes_one_axis(tmp_path: Path, text: str, code: str) -> None:
    path = tmp_path / "placed.yaml"
    path.write_text(PLACED.replace("index(groups))", f"{text})"))
    with pytest.raises(CompileError) as caught:
        pipeline.compile_program(path)
    assert [item.code for item in caught.value.diagnostics] == [code]
