"""Matrices that are surely positive definite: what a level begins at counts as long as it forgets at most a share of it."""

from __future__ import annotations

import pytest

from nlc.diagnostics import CompileError
from tests.emit.systems import program_from

SPEC = """nlc: 1
name: Begun
dims: {{d: 3}}
inputs: {{k: [d], q: [d]}}
levels:
  gram:
    memory: matrix(d, d)
    init: {init}
    retention: {retention}
    objective: {objective}
    optimizer: gradient_descent(1)
    every: token
outputs: {{y: "solve(gram, q)"}}
"""
SQUARES = "-0.5 * dot(gram @ k, k)"


@pytest.mark.parametrize("retention", ["1", "0.5"])
def test_what_begins_definite_and_gathers_squares_stays_so(retention: str) -> None:
    assert program_from(SPEC.format(init="2 * eye", retention=retention, objective=SQUARES))


@pytest.mark.parametrize(
    ("init", "retention", "objective"),
    [
        ("0", "1", SQUARES),
        ("-2 * eye", "1", SQUARES),
        ("2 * eye", "0", SQUARES),
        ("2 * eye", "relu(dot(k, q))", SQUARES),
        ("2 * eye", "1", "0.5 * dot(gram @ k, k)"),
        ("2 * eye", "1", "-dot(gram @ k, q)"),
    ],
)
def test_what_begins_singular_or_may_become_so_is_refused(init: str, retention: str, objective: str) -> None:
    with pytest.raises(CompileError) as caught:
        program_from(SPEC.format(init=init, retention=retention, objective=objective))
    assert {item.code for item in caught.value.diagnostics} == {"NLC433"}
