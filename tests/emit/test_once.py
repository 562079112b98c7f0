"""What a step would compute more than once has a name there; what one call of torch norms stays one call."""

from __future__ import annotations

from pathlib import Path

import pytest

from nlc.pipeline import compile_file

SPEC = """
nlc: 1
name: Told
dims: {d_k: 4, d_v: 3}
inputs: {q: [d_k], k: [d_k], v: [d_v]}
levels:
  memory:
    memory: matrix(d_v, d_k)
    objective: 0.5 * norm2(memory @ k - v)
    optimizer: gradient_descent(RATE)
    every: token
outputs: OUTPUTS
"""

READ = "memory_read = (memory @ q[..., None]).squeeze(-1)"
ERROR = "memory_error = (state @ k[..., None]).squeeze(-1) - v"


def step_of(tmp_path: Path, rate: str = "0.1", outputs: str = "{y: memory @ q}") -> str:
    (tmp_path / "told.yaml").write_text(SPEC.replace("RATE", rate).replace("OUTPUTS", outputs))
    compiled = compile_file(tmp_path / "told.yaml")
    assert [square.text for square in compiled.report().squares if not square.closed] == []
    start = compiled.source.index("def step(")
    return compiled.source[start : compiled.source.index("def _start(")]


def test_nothing_is_named_that_is_said_once(tmp_path: Path) -> None:
    assert "memory_" not in step_of(tmp_path)


@pytest.mark.parametrize(
    ("rate", "outputs", "line"),
    [
        ("1 / (1 + norm2(prev(memory) @ k - v))", "{y: memory @ q}", ERROR),
        ("0.1", "{y: sigmoid(memory @ q), z: tanh(memory @ q)}", READ),
        ("0.1", "{y: (memory @ q) * sigmoid(memory @ q)}", READ),
        ("0.1", "{y: rms_norm(memory @ q) + sigmoid(memory @ q)}", READ),
    ],
    ids=["of a law", "of two outputs", "of one output", "beside a norm"],
)
def test_what_is_said_twice_is_computed_once(tmp_path: Path, rate: str, outputs: str, line: str) -> None:
    step = step_of(tmp_path, rate, outputs)
    assert step.count(line) == 1
    assert step.count(line.partition(" = ")[2]) == 1


@pytest.mark.parametrize("norm", ["rms_norm", "l2_normalise"])
def test_a_vector_that_one_call_norms_is_said_once(tmp_path: Path, norm: str) -> None:
    assert "memory_" not in step_of(tmp_path, outputs=f"{{y: {norm}(memory @ q)}}")


def test_an_output_that_a_law_has_computed_is_taken_from_it(tmp_path: Path) -> None:
    (tmp_path / "told.yaml").write_text(
        SPEC.replace("RATE", "0.1")
        .replace("objective: 0.5 * norm2(memory @ k - v)", "objective: l2\n    keys: k\n    values: v")
        .replace("OUTPUTS", "{error: prev(memory) @ k - v, y: prev(memory) @ k}")
    )
    compiled = compile_file(tmp_path / "told.yaml")
    assert [square.text for square in compiled.report().squares if not square.closed] == []
    assert 'return {"error": error.to(dtype), "y": prediction.to(dtype)}, memory' in compiled.source


SCALAR = """
nlc: 1
name: Surprised
dims: {d_k: 4, d_v: 3}
inputs: {q: [d_k], k: [d_k], v: [d_v]}
let: {surprise: norm2(prev(memory) @ k - v)}
levels:
  memory:
    memory: matrix(d_v, d_k)
    objective: 0.5 * norm2(memory @ k - v)
    optimizer: gradient_descent(1 / (1 + surprise + prev(baseline)))
    every: token
  baseline:
    memory: scalar
    objective: 0.5 * (baseline - surprise) ** 2
    optimizer: gradient_descent(0.1)
    every: token
outputs: {y: memory @ q}
"""


def test_a_word_that_a_level_of_one_number_shares_is_computed_once(tmp_path: Path) -> None:
    (tmp_path / "surprised.yaml").write_text(SCALAR)
    compiled = compile_file(tmp_path / "surprised.yaml")
    assert [square.text for square in compiled.report().squares if not square.closed] == []
    start = compiled.source.index("def step(")
    assert compiled.source[start:].count("    surprise = ") == 1
