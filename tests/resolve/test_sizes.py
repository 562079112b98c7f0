"""Dims: definitions over other dims, sizes at the defaults, and the circles that are refused."""

from __future__ import annotations

import pytest

from nlc.diagnostics import CompileError
from nlc.ir.dims import Dim
from nlc.ir.model import Model
from nlc.parse import parse_text
from nlc.resolve import resolve_model

SPEC = """\
nlc: 1
name: Sizes
dims: {dims}
inputs: {{x: [{size}]}}
levels:
  memory:
    memory: vector({size})
    objective: norm2(memory - x)
    optimizer: gradient_descent(0.1)
    every: token
outputs: {{y: memory}}
"""


HEADS = "{d_model: 12, heads: 4, d_head: d_model / heads}"


def resolved(text: str) -> Model:
    return resolve_model(parse_text(text, "sizes.yaml", None))


def test_a_derived_dim_is_its_definition() -> None:
    model = resolved(SPEC.format(dims=HEADS, size="d_head"))
    assert model.dims[2].default == 3
    assert model.inputs[0].shape == (Dim.named("d_model") / Dim.named("heads"),)


def test_dims_that_mean_the_same_are_the_same() -> None:
    text = SPEC.format(dims=HEADS, size="heads * d_head").replace("vector(heads * d_head)", "vector(d_model)")
    assert resolved(text).inputs[0].shape == (Dim.named("d_model"),)


@pytest.mark.parametrize(
    ("dims", "code"),
    [
        ("{a: b, b: a}", "NLC216"),
        ("{a: 5, b: a / 2}", "NLC217"),
        ("{a: 1000, b: a * a * a}", "NLC217"),
        ("{a: 5, b: c}", "NLC201"),
        ("{a: 5, b: a / (a + a + 1)}", "NLC208"),
    ],
)
def test_what_is_refused(dims: str, code: str) -> None:
    with pytest.raises(CompileError) as caught:
        resolved(SPEC.format(dims=dims, size="b"))
    assert caught.value.diagnostics[0].code == code
