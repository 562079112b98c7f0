"""Gradients of inner objectives, as a reader sees them."""

from __future__ import annotations

import pytest

from nlc.derive.gradient import gradient
from nlc.ir.algebra import HALF, Compare, Dot, Expr, Extremum, Hyperparameter, Norm, StopGradient, When, Where
from nlc.ir.build import add, apply_map, constant, divide, dot, full, matmul, negate, power, scale, subtract, times, total, transpose
from nlc.ir.show import expression_text
from tests.models import D_V, dot_objective, l2_objective, memory_state, stream

M = memory_state(When.FITTED)
PREDICTION = matmul(M, stream("k"))
ERROR = subtract(PREDICTION, stream("v"))
RIDGE = scale(HALF, scale(Hyperparameter("ridge"), dot(M, M)))
DELTA = Hyperparameter("delta")
HUBER = Where(
    Compare("<", Norm(ERROR), DELTA, ()),
    scale(HALF, dot(ERROR, ERROR)),
    scale(DELTA, subtract(Norm(ERROR), scale(HALF, DELTA))),
    (),
)
NORM_TEXT = "norm(memory @ k - v)"


@pytest.mark.parametrize(
    ("objective", "text"),
    [
        (l2_objective(), "outer(memory @ k - v, k)"),
        (dot_objective(), "-outer(v, k)"),
        (add(l2_objective(), RIDGE), "outer(memory @ k - v, k) + ridge * memory"),
        (add(RIDGE, l2_objective()), "ridge * memory + outer(memory @ k - v, k)"),
        (dot(ERROR, ERROR), "2 * outer(memory @ k - v, k)"),
        (total(apply_map("log", apply_map("cosh", ERROR))), "outer(tanh(memory @ k - v), k)"),
        (total(apply_map("abs", ERROR)), "outer(sign(memory @ k - v), k)"),
        (total(power(ERROR, constant(4))), "4 * outer((memory @ k - v) ** 3, k)"),
        (total(apply_map("relu", PREDICTION)), "outer(where(memory @ k > 0, 1, 0), k)"),
        (
            total(Extremum("maximum", PREDICTION, full(0, (D_V,)), (D_V,))),
            "outer(where(memory @ k > 0, 1, where(memory @ k >= 0, 0.5, 0)), k)",
        ),
        (dot(PREDICTION, StopGradient(scale(stream("beta"), ERROR), (D_V,))), "outer(stop_gradient(beta * (memory @ k - v)), k)"),
        (dot(matmul(transpose(M), stream("v")), stream("k")), "outer(v, k)"),
        (divide(dot(PREDICTION, stream("v")), add(constant(1), dot(stream("k"), stream("k")))), "1 / (1 + norm2(k)) * outer(v, k)"),
        (Dot(times(PREDICTION, stream("v")), PREDICTION), "2 * outer(memory @ k * v, k)"),
    ],
)
def test_reads_as_a_person_would_write_it(objective: Expr, text: str) -> None:
    assert expression_text(gradient(objective, M)) == text


def test_the_huber_objective_keeps_its_branches() -> None:
    by_error = gradient(HUBER, M)
    assert expression_text(by_error).startswith(f"outer(where({NORM_TEXT} < delta, ")


def test_other_reads_of_the_state_are_constants() -> None:
    previous = memory_state(When.PREVIOUS)
    assert gradient(dot(previous, previous), M) == full(0, M.shape)
    assert gradient(dot(M, previous), M) == previous


def test_the_cotangent_multiplies() -> None:
    assert expression_text(gradient(PREDICTION, M, negate(stream("v")))) == "-outer(v, k)"
