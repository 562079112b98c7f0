"""Exact evaluation, and the search for the smallest counterexample."""

from __future__ import annotations

import json
import math
from collections.abc import Mapping
from fractions import Fraction

import pytest
from hypothesis import given, settings, strategies as st

from nlc.ir.algebra import Compare, Expr, Extremum, Eye, Hyperparameter, Input, Map, Norm, Size, Softmax, Tick, Where
from nlc.ir.build import apply_map, constant, divide, dot, full, matmul, outer, power, scale, spread, subtract, times, total, transpose
from nlc.ir.dims import Dim
from nlc.ir.maps import MAPS
from nlc.ir.model import DimDeclaration, InputStream, Model
from nlc.verify.arithmetic import EXACT, FLOATING, Arithmetic, NotRational
from nlc.verify.counterexample import Counterexample, Pairs, Question, Search, search, unknown
from nlc.verify.normal_form import normal_form
from nlc.verify.polynomial import subtract as minus
from nlc.verify.quotients import clear_denominators
from nlc.verify.rational import Sizes, Tensor, evaluate
from tests.verify.expressions import SHAPES, M, N, expressions

A, S, T = Input("A", (M, N)), Input("S", (N, N)), Input("T", (N, N))
x, y, u = Input("x", (N,)), Input("y", (N,)), Input("u", (M,))
a, rate = Input("a", ()), Hyperparameter("rate")
SIZES = {"n": 2, "m": 3}


def tensor(*numbers: object, shape: tuple[int, ...] | None = None) -> Tensor:
    entries = tuple(Fraction(str(number)) for number in numbers)
    return Tensor((len(entries),) if shape is None else shape, entries)


VALUES: dict[Expr, Tensor] = {
    A: tensor(1, 2, 3, 4, 5, 6, shape=(3, 2)),
    x: tensor(3, 4),
    y: tensor("1/2", -1),
    u: tensor(1, 0, -1),
    a: tensor(2, shape=()),
}

EXACT_VALUES: dict[str, tuple[Expr, Tensor]] = {
    "apply": (matmul(A, x), tensor(11, 25, 39)),
    "matrix product": (matmul(transpose(A), A), tensor(35, 44, 44, 56, shape=(2, 2))),
    "transpose": (transpose(A), tensor(1, 3, 5, 2, 4, 6, shape=(2, 3))),
    "outer": (outer(u, x), tensor(3, 4, 0, 0, -3, -4, shape=(3, 2))),
    "dot": (dot(x, y), tensor("-5/2", shape=())),
    "norm": (Norm(x), tensor(5, shape=())),
    "sum": (total(A), tensor(21, shape=())),
    "sum over rows": (total(A, 0), tensor(9, 12)),
    "sum over columns": (total(A, 1), tensor(3, 7, 11)),
    "spread along rows": (spread(u, 0, (M, N)), tensor(1, 1, 0, 0, -1, -1, shape=(3, 2))),
    "spread along columns": (spread(x, 1, (M, N)), tensor(3, 4, 3, 4, 3, 4, shape=(3, 2))),
    "spread of a scalar": (spread(a, None, (N,)), tensor(2, 2)),
    "eye": (matmul(Eye((N, N)), x), tensor(3, 4)),
    "size": (scale(Size(N * M), full(1, (N,))), tensor(6, 6)),
    "divide": (divide(x, y), tensor(6, -4)),
    "power": (power(x, constant(-2)), tensor("1/9", "1/16")),
    "half power": (power(scale(a, a), constant(Fraction(3, 2))), tensor(8, shape=())),
    "maximum": (Extremum("maximum", x, times(y, y), (N,)), tensor(3, 4)),
    "where": (Where(Compare("<=", y, full(0, (N,)), (N,)), x, y, (N,)), tensor("1/2", 4)),
    "relu": (apply_map("relu", y), tensor("1/2", 0)),
    "sign": (apply_map("sign", y), tensor(1, -1)),
    "abs": (apply_map("abs", y), tensor("1/2", 1)),
}


@pytest.mark.parametrize("name", EXACT_VALUES)
def test_values_are_exact(name: str) -> None:
    node, value = EXACT_VALUES[name]
    assert evaluate(node, VALUES, SIZES) == value


@pytest.mark.parametrize("node", [power(a, constant(Fraction(1, 2))), apply_map("exp", x), Softmax(x, 0, (N,)), Norm(y)])
def test_what_is_not_rational_says_so(node: Expr) -> None:
    with pytest.raises(NotRational):
        evaluate(node, VALUES, SIZES, EXACT)


def test_every_map_has_a_float_value() -> None:
    for name in MAPS:
        result = evaluate(Map(name, a, ()), {a: Tensor((), (0.75,))}, {}, FLOATING)
        assert math.isfinite(result.entries[0]), name


@pytest.mark.parametrize("name", sorted(MAPS))
def test_the_derivatives_of_the_maps_agree_with_differences(name: str) -> None:
    def value(node: Expr, at: float) -> float:
        return float(evaluate(node, {a: Tensor((), (at,))}, {}, FLOATING).entries[0])

    step = 1e-5
    difference = (value(Map(name, a, ()), 0.75 + step) - value(Map(name, a, ()), 0.75 - step)) / (2 * step)
    assert value(MAPS[name].derivative(a), 0.75) == pytest.approx(difference, abs=1e-8)


def test_a_softmax_sums_to_one_along_its_axis() -> None:
    values: dict[Expr, Tensor] = {A: Tensor((3, 2), (1.0, 2.0, 0.5, -1.0, 0.0, 3.0))}
    sums = evaluate(total(Softmax(A, 0, (M, N)), 0), values, SIZES, FLOATING)
    assert sums.entries == pytest.approx((1.0, 1.0))


# --- search ------------------------------------------------------------------------------------------------------


def found(left: Expr, right: Expr, *leaves: Expr, model: Model | None = None) -> Search:
    model = model if model is not None else Model(name="Test", kind="architecture")

    def compare(values: Mapping[Expr, Tensor], sizes: Sizes, arithmetic: Arithmetic) -> Pairs:
        return (("value", evaluate(left, values, sizes, arithmetic), evaluate(right, values, sizes, arithmetic)),)

    return search(Question(tuple(unknown(leaf, model) for leaf in leaves), (left, right), (model,), compare))


def counterexample(left: Expr, right: Expr, *leaves: Expr, model: Model | None = None) -> Counterexample:
    result = found(left, right, *leaves, model=model).counterexample
    assert result is not None
    return result


def test_the_smallest_sizes_come_first() -> None:
    assert dict(counterexample(scale(a, x), x, a, x).sizes) == {"n": 1}
    assert dict(counterexample(times(x, y), spread(dot(x, y), None, (N,)), x, y).sizes) == {"n": 2}
    assert dict(counterexample(matmul(S, T), matmul(T, S), S, T).sizes) == {"n": 2}
    assert dict(counterexample(transpose(S), S, S).sizes) == {"n": 2}


def test_values_are_simplified_to_zeros_and_ones() -> None:
    result = counterexample(matmul(S, T), matmul(T, S), S, T)
    assert {entry for _, value in result.values for entry in value.entries} <= {Fraction(0), Fraction(1)}
    assert result.left != result.right


def test_a_counterexample_is_json_and_text() -> None:
    result = counterexample(scale(a, x), x, a, x)
    assert json.loads(json.dumps(result.as_json()))["values"] == {"a": "0", "x": ["1"]}
    assert result.text == "at n = 1, a = 0, x = [1]: value is [0] on the left and [1] on the right"


def test_functions_that_are_not_rational_are_refuted_in_floats() -> None:
    result = counterexample(apply_map("tanh", x), x, x)
    assert not result.exact
    assert "floating point" in result.text


def test_true_identities_of_such_functions_agree_in_floats() -> None:
    half = scale(constant(Fraction(1, 2)), x)
    doubled = subtract(scale(constant(2), apply_map("sigmoid", x)), full(1, (N,)))
    result = found(apply_map("tanh", half), doubled, x)
    assert result.counterexample is None
    assert result.samples > 20
    assert result.worst_gap < 1e-14


def test_inputs_stay_in_their_range() -> None:
    model = Model(name="Test", kind="architecture", inputs=(InputStream(name="a", shape=(), low=Fraction(0), high=Fraction(1)),))
    within = found(apply_map("abs", a), a, a, model=model)
    assert within.counterexample is None
    assert counterexample(apply_map("abs", a), a, a).left.entries != (0,)


def test_rates_are_positive_and_ticks_whole() -> None:
    assert found(apply_map("abs", rate), rate, rate).counterexample is None
    tick = Tick("level")
    assert found(apply_map("sin", scale(tick, full(0, ()))), constant(0), tick).counterexample is None
    assert all(entry.denominator == 1 for entry in unknown(tick, Model(name="Test", kind="optimizer")).pool((Fraction(1, 2), Fraction(2))))


def test_undefined_values_are_not_counterexamples() -> None:
    assert found(divide(scale(a, a), a), a, a).counterexample is None
    assert found(apply_map("log", apply_map("exp", a)), a, a).counterexample is None


def test_defined_dims_follow_their_definition() -> None:
    d_model, heads, d_head = (Dim.named(name) for name in ("d_model", "heads", "d_head"))
    dims = (
        DimDeclaration(name="d_model", default=4),
        DimDeclaration(name="heads", default=2),
        DimDeclaration(name="d_head", default=2, definition=d_model / heads),
    )
    w = Input("w", (d_head,))
    model = Model(name="Test", kind="architecture", dims=dims)
    assert found(scale(Size(d_head), w), scale(divide(Size(d_model), Size(heads)), w), w, model=model).counterexample is None


def test_a_search_is_deterministic() -> None:
    assert found(matmul(S, T), matmul(T, S), S, T) == found(matmul(S, T), matmul(T, S), S, T)


INPUTS: dict[str, tuple[Dim, ...]] = {
    "b": (), "x": (N,), "y": (N,), "u": (M,), "S": (N, N), "A": (M, N), "B": (M, N), "C": (N, M), "R": (M, M),
}  # fmt: skip


@settings(deadline=None, max_examples=60)
@given(st.data(), st.sampled_from(SHAPES))
def test_unequal_polynomials_have_a_counterexample_and_equal_ones_have_none(data: st.DataObject, shape: tuple[Dim, ...]) -> None:
    left, right = (data.draw(expressions(shape, depth=2, elementwise=False)) for _ in range(2))
    leaves: list[Expr] = [*(Input(name, of) for name, of in INPUTS.items()), Hyperparameter("a")]
    equal = clear_denominators(minus(normal_form(left), normal_form(right))).is_zero
    assert (found(left, right, *leaves).counterexample is None) == equal
