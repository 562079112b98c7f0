"""The normal form keeps values, knows the identities it should, and tells apart what differs."""

from __future__ import annotations

from fractions import Fraction

import pytest
from hypothesis import given, settings, strategies as st

from nlc.ir.algebra import (
    ONE,
    Compare,
    Divide,
    Expr,
    Extremum,
    Eye,
    Hyperparameter,
    Input,
    Map,
    Norm,
    Power,
    Size,
    Softmax,
    StopGradient,
    Where,
)
from nlc.ir.build import (
    add,
    apply_map,
    constant,
    divide,
    dot,
    full,
    matmul,
    negate,
    outer,
    power,
    scale,
    spread,
    subtract,
    times,
    total,
    transpose,
)
from nlc.ir.dims import Dim
from nlc.ir.recents import Delay, Recent
from nlc.verify.arithmetic import FLOATING
from nlc.verify.effort import LimitReached
from nlc.verify.normal_form import normal_form
from nlc.verify.polynomial import subtract as minus
from nlc.verify.quotients import clear_denominators
from nlc.verify.rational import evaluate
from nlc.verify.spelling import spelled, spelled_text
from tests.timing import is_in_time
from tests.verify.expressions import SHAPES, SIZES, M, N, expressions, floats_at_random, residues, values_at_random

A, B, C, S = Input("A", (M, N)), Input("B", (M, N)), Input("C", (N, M)), Input("S", (N, N))
T = Input("T", (N, N))
x, y, z, u = Input("x", (N,)), Input("y", (N,)), Input("z", (N,)), Input("u", (M,))
a, b = Hyperparameter("a"), Hyperparameter("b")
EYE = Eye((N, N))


def erased(matrix: Expr, key: Expr) -> Expr:
    """One step of the delta rule towards the value zero."""
    return subtract(matrix, scale(a, outer(matmul(matrix, key), key)))


def equal(left: Expr, right: Expr) -> bool:
    return clear_denominators(minus(normal_form(left), normal_form(right))).is_zero


TRUE: dict[str, tuple[Expr, Expr]] = {
    "products distribute": (matmul(A, add(x, y)), add(matmul(A, x), matmul(A, y))),
    "the delta rule, factored": (
        subtract(A, scale(a, outer(subtract(matmul(A, x), u), x))),
        add(matmul(A, subtract(EYE, scale(a, outer(x, x)))), scale(a, outer(u, x))),
    ),
    "an inner product is a scalar": (matmul(outer(u, x), y), scale(dot(x, y), u)),
    "and commutes": (scale(dot(x, x), matmul(A, y)), matmul(A, scale(dot(x, x), y))),
    "and is symmetric": (dot(x, matmul(S, y)), dot(matmul(transpose(S), x), y)),
    "transposes reverse products": (transpose(matmul(A, C)), matmul(transpose(C), transpose(A))),
    "a trace turns": (dot(transpose(A), C), dot(transpose(C), A)),
    "a trace of three turns": (dot(transpose(matmul(A, S)), C), dot(transpose(matmul(C, A)), transpose(transpose(S)))),
    "a trace of an outer product": (dot(A, outer(u, x)), dot(u, matmul(A, x))),
    "the trace of the identity is its size": (dot(EYE, EYE), Size(N)),
    "two gradient steps on one pair": (
        erased(erased(A, x), x),
        subtract(A, scale(scale(a, subtract(constant(2), scale(a, dot(x, x)))), outer(matmul(A, x), x))),
    ),
    "Newton-Schulz from the left and from the right": (matmul(matmul(A, transpose(A)), A), matmul(A, matmul(transpose(A), A))),
    "the square of a norm": (power(Norm(x), constant(2)), dot(x, x)),
    "the square of a matrix norm": (power(Norm(A), constant(2)), total(times(A, A))),
    "one over a norm": (divide(dot(x, x), Norm(x)), Norm(x)),
    "a whole power": (power(add(a, b), constant(2)), add(scale(a, a), scale(constant(2), scale(a, b)), scale(b, b))),
    "a quotient": (divide(subtract(scale(a, a), scale(b, b)), subtract(a, b)), add(a, b)),
    "quotients add": (add(divide(ONE, a), divide(ONE, b)), divide(add(a, b), scale(a, b))),
    "a quotient of quotients": (divide(ONE, add(ONE, divide(ONE, a))), divide(a, add(a, ONE))),
    "Sherman and Morrison": (
        matmul(add(EYE, scale(a, outer(x, x))), subtract(EYE, scale(divide(a, add(ONE, scale(a, dot(x, x)))), outer(x, x)))),
        EYE,
    ),
    "elementwise products commute": (times(times(x, y), z), times(z, times(y, x))),
    "and distribute": (times(x, add(y, z)), add(times(x, z), times(x, y))),
    "a gate per key channel is a gate on the key": (matmul(times(A, spread(x, 1, (M, N))), y), matmul(A, times(x, y))),
    "a gate per value channel is a gate on the read": (matmul(times(A, spread(u, 0, (M, N))), y), times(u, matmul(A, y))),
    "a gate on both sides": (times(A, outer(u, x)), times(times(spread(x, 1, (M, N)), A), spread(u, 0, (M, N)))),
    "outer products multiply entrywise": (times(outer(u, x), outer(u, y)), outer(times(u, u), times(x, y))),
    "a sum of products is an inner product": (total(times(x, y)), dot(x, y)),
    "three vectors": (dot(times(x, y), z), total(times(times(z, y), x))),
    "the sum of a product": (total(matmul(A, x)), dot(total(A, 0), x)),
    "a trace with an elementwise product": (
        dot(S, matmul(times(T, T), S)),
        total(times(times(T, T), matmul(S, transpose(S)))),
    ),
    "elementwise quotients": (divide(times(x, y), times(y, y)), divide(x, y)),
    "elementwise sums below a line": (times(divide(x, add(y, z)), add(z, y)), x),
    "the square of an elementwise root": (power(apply_map("sqrt", x), constant(2)), x),
    "one over an elementwise root": (divide(x, apply_map("sqrt", x)), apply_map("sqrt", x)),
    "a half power is a root": (Power(x, constant(Fraction(1, 2)), (N,)), apply_map("sqrt", x)),
    "equal arguments, equal values": (apply_map("exp", add(x, y)), apply_map("exp", add(y, x))),
    "an odd function": (apply_map("tanh", subtract(x, y)), negate(apply_map("tanh", subtract(y, x)))),
    "an even function": (apply_map("abs", subtract(x, y)), apply_map("abs", subtract(y, x))),
    "a function of a transposed matrix": (transpose(apply_map("exp", A)), apply_map("exp", transpose(A))),
    "a maximum commutes": (Extremum("maximum", x, y, (N,)), Extremum("maximum", y, x, (N,))),
    "a choice between equals": (Where(Compare("<", a, b, ()), x, x, (N,)), x),
    "a comparison turned round": (Where(Compare("<", a, b, ()), x, y, (N,)), Where(Compare(">", b, a, ()), x, y, (N,))),
    "a constant for the gradient is itself": (StopGradient(x, (N,)), x),
    "a softmax of equals": (Softmax(add(x, y), 0, (N,)), Softmax(add(y, x), 0, (N,))),
    "a size": (scale(Size(N), a), scale(a, dot(full(1, (N,)), full(1, (N,))))),
    "a size with a definition": (Size(N * M), scale(Size(M), Size(N))),
}

FALSE: dict[str, tuple[Expr, Expr]] = {
    "left for right": (matmul(S, outer(x, x)), matmul(outer(x, x), S)),
    "only for commuting matrices": (matmul(S, T), matmul(T, S)),
    "only for symmetric matrices": (matmul(transpose(S), x), matmul(S, x)),
    "only for one dimension": (times(x, y), scale(dot(x, y), full(1, (N,)))),
    "only for one dimension, squared": (scale(dot(x, x), y), scale(dot(x, y), x)),
    "only for square matrices of size one": (dot(EYE, EYE), ONE),
    "a dropped half": (scale(constant(Fraction(1, 2)), x), x),
    "a sign": (subtract(x, y), add(x, y)),
    "the sum of a product is not the product of sums": (total(times(x, y)), scale(total(x), total(y))),
    "a root is not negative": (Norm(x), negate(Norm(x))),
    "a gate on the wrong side": (matmul(times(S, spread(x, 1, (N, N))), y), matmul(times(S, spread(x, 0, (N, N))), y)),
    "a trace of a product is no product of traces": (dot(S, T), scale(dot(S, EYE), dot(T, EYE))),
    "a trace of three does not reflect": (
        dot(transpose(matmul(S, T)), matmul(S, S)),
        dot(transpose(matmul(T, S)), matmul(transpose(S), S)),
    ),
}


@pytest.mark.parametrize("name", TRUE)
def test_true_identities_are_proved(name: str) -> None:
    assert equal(*TRUE[name])


@pytest.mark.parametrize("name", FALSE)
def test_false_identities_are_not(name: str) -> None:
    assert not equal(*FALSE[name])


@settings(deadline=None, max_examples=100)
@given(st.data(), st.sampled_from(SHAPES), st.booleans())
def test_the_normal_form_keeps_the_value(data: st.DataObject, shape: tuple[Dim, ...], quotients: bool) -> None:
    node = data.draw(expressions(shape, quotients=quotients))
    try:
        back = spelled(normal_form(node))
        values = values_at_random(node, back)
        assert residues(back, values) == residues(node, values)
    except (ZeroDivisionError, ValueError):  # a denominator that is 0, for these rules or modulo the prime
        assert quotients


@settings(deadline=None, max_examples=60)
@given(st.data(), st.sampled_from(SHAPES))
def test_the_normal_form_of_a_normal_form_is_itself(data: st.DataObject, shape: tuple[Dim, ...]) -> None:
    form = normal_form(data.draw(expressions(shape)))
    assert normal_form(spelled(form)).key == form.key


@settings(deadline=None, max_examples=100)
@given(st.data(), st.sampled_from(SHAPES))
def test_equal_normal_forms_are_equal_values_and_unequal_ones_are_not(data: st.DataObject, shape: tuple[Dim, ...]) -> None:
    left, right = (data.draw(expressions(shape, depth=2, elementwise=False)) for _ in range(2))
    values = values_at_random(left, right)
    assert equal(left, right) == (residues(left, values) == residues(right, values))


@settings(deadline=None, max_examples=100)
@given(st.data(), st.sampled_from([(M, N), (N, N)]))
def test_transposing_and_expanding_change_nothing(data: st.DataObject, shape: tuple[Dim, ...]) -> None:
    first, second, vector = (data.draw(expressions(of, depth=2, elementwise=False)) for of in (shape, shape, (N,)))
    expanded = add(matmul(first, vector), scale(a, matmul(second, vector)))
    assert equal(matmul(add(first, scale(a, second)), vector), expanded)
    assert equal(transpose(transpose(first)), first)
    assert equal(dot(first, second), total(times(second, first)))


def test_a_division_by_zero_is_an_error() -> None:
    with pytest.raises(ZeroDivisionError):
        normal_form(Divide(x, subtract(a, a), (N,)))


def test_too_many_terms_are_an_error() -> None:
    wide = add(*(Hyperparameter(f"rate{index}") for index in range(30)))
    with pytest.raises(LimitReached):
        normal_form(power(wide, constant(6)))


def test_a_normal_form_can_be_read() -> None:
    assert spelled_text(normal_form(TRUE["the delta rule, factored"][1])) == "A + a * outer(u, x) - a * outer(A @ x, x)"
    assert spelled_text(normal_form(divide(x, add(ONE, scale(a, dot(x, x)))))) == "x / (1 + a * norm2(x))"
    assert spelled_text(normal_form(times(A, spread(x, 1, (M, N))))) == "A * x"


def test_a_matrix_of_one_row_can_be_read() -> None:
    row = Input("R", (Dim.number(1), N))
    form = normal_form(scale(total(matmul(row, x)), y))
    assert spelled_text(form) == "dot(transpose(R) @ 1, x) * y"
    assert normal_form(spelled(form)) == form
    assert spelled(normal_form(row)) == row


def test_what_was_one_token_ago_can_be_read() -> None:
    """The last value of a stream is carried as a matrix of one row."""
    older = Delay(Recent(x, (Dim.number(1), *x.shape)), 1, x.shape)
    assert spelled_text(normal_form(scale(a, older))) == "a * delay(x, 1 token)"


@settings(deadline=None, max_examples=100)
@given(st.data(), st.sampled_from(SHAPES), st.integers(0, 100))
def test_the_normal_form_of_functions_keeps_the_value(data: st.DataObject, shape: tuple[Dim, ...], seed: int) -> None:
    node = data.draw(expressions(shape, functions=True))
    back = spelled(normal_form(node))
    values = floats_at_random(node, back, seed=seed)
    expected, found = (evaluate(item, values, SIZES, FLOATING).entries for item in (node, back))
    assert found == pytest.approx(expected, rel=1e-6, abs=1e-6)


def test_unrolled_delta_rule_is_quick() -> None:
    state: Expr = A
    for index in range(7):
        key, rate = Input(f"k{index}", (N,)), Hyperparameter(f"r{index}")
        state = matmul(state, subtract(EYE, scale(rate, outer(key, key))))
    assert len(normal_form(state).terms) == 2**7
    assert is_in_time(2, lambda: normal_form(state))


def test_maps_are_known_by_name() -> None:
    assert not equal(Map("exp", x, (N,)), Map("sigmoid", x, (N,)))
