"""What claims alone can say: derivatives, inverses, minima, inequalities, what is given, readings; each proved, and refuted when wrong."""

from __future__ import annotations

from pathlib import Path

import pytest

from nlc import pipeline
from nlc.ir.dims import Dim
from nlc.verify.effort import LimitReached, limited_effort
from nlc.verify.letters import Letter
from nlc.verify.polynomial import letter_polynomial
from nlc.verify.products import multiply
from nlc.verify.verdict import Verdict

HEAD = """
nlc: 1
kind: claims
name: Trial
sections:
  - name: Trial
    dims: {n: 3, d: 2}
    inputs:
      x: [n]
      y: [n]
      z: [d]
      A: [n, n]
      B: [n, n]
      S: [n, n]
      K: [d, n]
      a: []
      b: {shape: [], range: [1, 2]}
    hyperparameters: {r: 0.5, s: 2}
    claims:
      - says: a trial
"""


def verdict(folder: Path, *lines: str) -> Verdict:
    path = folder / "trial.yaml"
    path.write_text(HEAD + "".join(f"        {line}\n" for line in lines))
    (found,) = pipeline.verify_claims(path).verdicts
    return found


EQUATIONS = (
    ("gradient_of(norm2(A @ x), x)", "2 * transpose(A) @ (A @ x)", "transpose(A) @ (A @ x)"),
    ("gradient_of(norm2(A @ x), A)", "2 * outer(A @ x, x)", "2 * outer(x, A @ x)"),
    ("gradient_of(trace(A @ transpose(B)), A)", "B", "transpose(B)"),
    ("gradient_of(trace(A @ B), A)", "transpose(B)", "B"),
    ("gradient_of(sum(tanh(K @ x)), x)", "transpose(K) @ (1 - tanh(K @ x) ** 2)", "transpose(K) @ (1 + tanh(K @ x) ** 2)"),
    ("gradient_of(norm(x), x)", "x / norm(x)", "x"),
    ("gradient_of(a ** 3, a)", "3 * a ** 2", "3 * a"),
    ("gradient_of(sum(x) / norm2(x), x)", "1 / norm2(x) - 2 * sum(x) / norm2(x) ** 2 * x", "1 / norm2(x)"),
    ("gradient_of(dot(y, softmax(x)), x)", "softmax(x) * (y - dot(softmax(x), y))", "softmax(x) * y"),
    ("gradient_of(dot(x, inverse(A) @ y), A)", "-outer(transpose(inverse(A)) @ x, inverse(A) @ y)", "outer(x, y)"),
    ("gradient_of(dot(gradient_of(dot(x, A @ x), x), y), x)", "(A + transpose(A)) @ y", "A @ y"),
    ("inverse(A) @ A", "eye", "A"),
    ("inverse(eye + r * outer(x, x))", "eye - r / (1 + r * norm2(x)) * outer(x, x)", "eye - r * outer(x, x)"),
    (
        "inverse(A + r * eye + outer(x, y))",
        "inverse(A + r * eye) - outer(inverse(A + r * eye) @ x, transpose(inverse(A + r * eye)) @ y)"
        " / (1 + dot(y, inverse(A + r * eye) @ x))",
        "inverse(A + r * eye) - outer(inverse(A + r * eye) @ x, y) / (1 + dot(y, inverse(A + r * eye) @ x))",
    ),
    ("(A + r * eye + outer(x, x)) @ inverse(A + r * eye + outer(x, x)) @ y", "y", "x"),
    ("inverse(transpose(K) @ K + r * eye) @ (transpose(K) @ (K @ x))", "x - r * inverse(transpose(K) @ K + r * eye) @ x", "x"),
    ("transpose(inverse(A))", "inverse(transpose(A))", "inverse(A)"),
    ("inverse(2 * A) @ x", "0.5 * inverse(A) @ x", "2 * inverse(A) @ x"),
    ("trace(A @ B @ S)", "trace(S @ A @ B)", "trace(B @ A @ S)"),
    ("diagonal(x) @ y", "x * y", "x + y"),
    ("A @ diagonal(x) @ y", "A @ (x * y)", "x * (A @ y)"),
    ("softmax(x)", "exp(x) / sum(exp(x))", "exp(x)"),
    ("transpose(append(K, x)) @ append(K, y)", "transpose(K) @ K + outer(x, y)", "transpose(K) @ K + outer(y, x)"),
    ("append(K, x) @ y", "append(K @ A, x) @ y + append(K - K @ A, 0 * x) @ y", "append(K, y) @ x"),
    ("norm2(append(K, x))", "norm2(K) + norm2(x)", "norm2(K) + 2 * norm2(x)"),
)


@pytest.mark.parametrize(("left", "right", "wrong"), EQUATIONS)
def test_equations_are_proved_and_wrong_ones_refuted(left: str, right: str, wrong: str, tmp_path: Path) -> None:
    assert verdict(tmp_path, f"prove: {left} == {right}").verdict in ("proved", "proved-if")
    assert verdict(tmp_path, f"prove: {left} == {wrong}").verdict == "refuted"
    assert verdict(tmp_path, f"prove: {left} != {wrong}").verdict == "proved"
    assert verdict(tmp_path, f"prove: {left} != {right}").verdict == "refuted"


GIVEN = (
    ("transpose(S) == S", "dot(x, S @ y) == dot(y, S @ x)"),
    ("A @ B == B @ A", "A @ B @ A @ x == B @ A @ A @ x"),
    ("transpose(A) @ A == eye", "norm2(A @ x) == norm2(x)"),
    ("norm2(x) == 1", "outer(x, x) @ outer(x, x) == outer(x, x)"),
    ("A @ x == r * x", "A @ A @ x == r ** 2 * x"),
    ("dot(x, y) == 0", "norm2(x + y) == norm2(x) + norm2(y)"),
    ("x == A @ y", "dot(x, x) == dot(y, transpose(A) @ A @ y)"),
    ("a == 0 and r == 1", "a * x + r * y == y"),
)


@pytest.mark.parametrize(("given", "equation"), GIVEN)
def test_what_is_given_is_used_and_needed(given: str, equation: str, tmp_path: Path) -> None:
    assert verdict(tmp_path, f"prove: {equation}", f"given: {given}").verdict == "proved"
    assert verdict(tmp_path, f"prove: {equation}").verdict == "refuted"


MINIMA = (
    ("0.5 * norm2(x - y)", "x", "y", "2 * y"),
    ("0.5 * norm2(x - y) + r / 2 * norm2(x)", "x", "y / (1 + r)", "y * (1 + r)"),
    ("0.5 * norm2(K @ x - z) + r / 2 * norm2(x)", "x", "inverse(transpose(K) @ K + r * eye) @ transpose(K) @ z", "transpose(K) @ z"),
    ("exp(a) - a", "a", "0", "1"),
)


@pytest.mark.parametrize(("objective", "over", "value", "wrong"), MINIMA)
def test_minima_are_proved_and_wrong_ones_refuted(objective: str, over: str, value: str, wrong: str, tmp_path: Path) -> None:
    assert verdict(tmp_path, f"minimise: {objective}", f"over: {over}", f"prove: {over} == {value}").verdict == "proved"
    assert verdict(tmp_path, f"minimise: {objective}", f"over: {over}", f"prove: {over} == {wrong}").verdict == "refuted"


@pytest.mark.parametrize("objective", ["-0.5 * norm2(x)", "a * norm2(x)", "norm2(x) ** 2 - norm2(x) + dot(x, A @ x)"])
def test_a_stationary_point_is_no_minimum_by_itself(objective: str, tmp_path: Path) -> None:
    found = verdict(tmp_path, f"minimise: {objective}", "over: x", "prove: x == 0")
    assert (found.verdict, "convex" in found.detail) == ("unknown", True)


INEQUALITIES = (
    ("norm2(x) >= 0", "norm2(x) > 0"),
    ("1 + norm2(x) > 0", "1 + a > 0"),
    ("r * b > 0", "r * a > 0"),
    ("norm2(x + y) + norm2(x - y) >= norm2(y)", "norm2(x + y) >= norm2(y)"),
    ("floor(r) <= r", "floor(r) < r"),
    ("r < floor(r) + 1", "r + 1 < floor(r) + 1"),
    ("ceil(r) < r + 1", "ceil(r) < r"),
    ("s * floor((r - 1) / s) < r", "s * ceil(r / s) < r"),
    ("exp(a) > 0", "exp(a) > 1"),
    ("0.9 ** 7 < 0.5", "0.9 ** 6 < 0.5"),
)


@pytest.mark.parametrize(("right", "wrong"), INEQUALITIES)
def test_inequalities_are_proved_and_wrong_ones_refuted(right: str, wrong: str, tmp_path: Path) -> None:
    assert verdict(tmp_path, f"prove: {right}").verdict == "proved"
    assert verdict(tmp_path, f"prove: {wrong}").verdict == "refuted"


def test_a_bound_that_is_given_is_used(tmp_path: Path) -> None:
    assert verdict(tmp_path, "prove: a * r > 0", "given: a > 0").verdict == "proved"
    assert verdict(tmp_path, "prove: a * r > 0", "given: a >= 0").verdict == "refuted"


def test_conditions_are_solved_for(tmp_path: Path) -> None:
    found = verdict(tmp_path, "prove: a * x == (r + r * norm2(y)) * x", "expect: proved-if")
    assert (found.verdict, found.conditions) == ("proved-if", ("a == r + r * norm2(y)",))
    assert "it would hold if a == r + r * norm2(y)" in verdict(tmp_path, "prove: a * x == (r + r * norm2(y)) * x").detail


def test_a_reading_is_not_decided(tmp_path: Path) -> None:
    found = verdict(tmp_path, "reading: gates play the role of a memory that is missing")
    assert (found.verdict, found.as_expected) == ("interpretive", True)


def test_division_is_no_proof_where_it_is_not_defined(tmp_path: Path) -> None:
    found = verdict(tmp_path, "prove: a * x / a == x")
    assert (found.verdict, found.conditions) == ("proved-if", ("a != 0",))
    assert verdict(tmp_path, "prove: r * x / r == x").verdict == "proved"
    assert verdict(tmp_path, "prove: inverse(A) @ A == eye").conditions == ("A is invertible",)


def test_what_is_too_large_is_given_up_and_still_searched(tmp_path: Path) -> None:
    power = "(a + b + r + s + sum(x) + sum(y)) ** 40"
    found = verdict(tmp_path, f"prove: {power} == {power} + a - a")
    assert (found.verdict, "too large" in found.detail) == ("tested", True)
    assert verdict(tmp_path, f"prove: {power} == 1").verdict == "refuted"


def test_numbers_that_are_too_large_end_the_search(tmp_path: Path) -> None:
    tower = "((((a ** 64) ** 64) ** 64) ** 64) ** 64"
    assert verdict(tmp_path, f"prove: {tower} == {tower} * a / a").verdict == "proved-if"
    assert verdict(tmp_path, f"prove: {tower} == a + a").verdict == "refuted"


def test_a_budget_counts_all_products_of_a_claim() -> None:
    matrix = letter_polynomial(Letter("A", False, Dim.named("n"), Dim.named("n")))
    with limited_effort(3), pytest.raises(LimitReached):
        for _ in range(4):
            matrix = multiply(matrix, matrix)
    for _ in range(4):
        matrix = multiply(matrix, matrix)
