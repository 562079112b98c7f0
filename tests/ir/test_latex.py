"""Expressions as LaTeX: the paper's symbols, brackets where they are needed and nowhere else, text that TeX can read."""

from __future__ import annotations

import re
from fractions import Fraction

import pytest
from hypothesis import given, strategies as st

from nlc.ir.algebra import (
    Compare,
    Expr,
    Extremum,
    Gradient,
    Hyperparameter,
    Input,
    LayerNorm,
    Map,
    MatMul,
    Named,
    Norm,
    Power,
    Scale,
    Size,
    Softmax,
    State,
    StopGradient,
    Tick,
    Times,
    Transpose,
    When,
    Where,
)
from nlc.ir.build import add, constant, divide, dot, negate, outer, scale, spread, subtract, total
from nlc.ir.dims import Dim, Shape
from nlc.ir.latex import expression_latex, size_latex, symbol
from tests.verify.expressions import M, N, expressions

ROWS, COLUMNS = Dim.named("d_v"), Dim.named("d_k")
MATRIX: Shape = (ROWS, COLUMNS)
K, V, BETA = Input("k", (COLUMNS,)), Input("v", (ROWS,)), Input("beta", ())
OLD = State("memory", "", MATRIX, When.PREVIOUS)
FITTED = State("memory", "", MATRIX, When.FITTED)
ERROR = subtract(MatMul(OLD, K, (ROWS,)), V)
RATE = Hyperparameter("learning_rate")
X, Y = Input("x", ()), Input("y", ())

TEXTS: tuple[tuple[Expr, str], ...] = (
    (subtract(OLD, scale(BETA, outer(ERROR, K))), r"M_{t-1} - \beta_{t} \left(M_{t-1} k_{t} - v_{t}\right) k_{t}^\top"),
    (scale(constant(Fraction(1, 2)), dot(ERROR, ERROR)), r"\tfrac{1}{2} \left\lVert M_{t-1} k_{t} - v_{t} \right\rVert^2"),
    (negate(dot(MatMul(FITTED, K, (ROWS,)), V)), r"-\left\langle M k_{t}, v_{t} \right\rangle"),
    (scale(RATE, V), r"\eta v_{t}"),
    (scale(Hyperparameter("decay"), V), r"\text{decay} \, v_{t}"),
    (add(V, scale(constant(-3), V)), r"v_{t} - 3 v_{t}"),
    (add(X, constant(-2)), r"x_{t} - 2"),
    (scale(constant(-2), add(X, Y)), r"-2 \left(x_{t} + y_{t}\right)"),
    (scale(X, negate(Named("error", ()))), r"-x_{t} \, \text{error}_{t}"),
    (Scale(constant(2), Power(constant(3), X, ()), ()), r"2 \cdot 3^{x_{t}}"),
    (constant(Fraction(1, 1000)), "0.001"),
    (constant(Fraction(-1, 2)), r"-\tfrac{1}{2}"),
    (constant(Fraction(1, 3)), r"\tfrac{1}{3}"),
    (constant(Fraction(1, 999)), r"\tfrac{1}{999}"),
    (Input("k", (COLUMNS,), delayed=True), "k_{t-1}"),
    (Transpose(OLD, (COLUMNS, ROWS)), r"M_{t-1}^\top"),
    (Transpose(State("memory", "W1", MATRIX), (COLUMNS, ROWS)), r"\left(M^{(W_{1})}_{t}\right)^\top"),
    (State("memory.momentum", "", MATRIX, When.PREVIOUS), "m^{(M)}_{t-1}"),
    (State("memory", "", MATRIX, When.HELD, 16), r"M_{16 \lfloor (t-1) / 16 \rfloor}"),
    (Gradient("memory", "", MATRIX), r"\nabla_{M} \mathcal{L}_{t}"),
    (Times(V, scale(X, V), (ROWS,)), r"v_{t} \odot x_{t} v_{t}"),
    (scale(X, Times(V, V, (ROWS,))), r"x_{t} \left(v_{t} \odot v_{t}\right)"),
    (Power(divide(X, Y), constant(2), ()), r"\left(\frac{x_{t}}{y_{t}}\right)^{2}"),
    (Power(dot(V, V), constant(2), ()), r"\left(\left\lVert v_{t} \right\rVert^2\right)^{2}"),
    (Map("tanh", V, (ROWS,)), r"\tanh\left(v_{t}\right)"),
    (Map("sigmoid", X, ()), r"\sigma\left(x_{t}\right)"),
    (Map("softplus", X, ()), r"\text{softplus}\left(x_{t}\right)"),
    (Map("sqrt", Size(COLUMNS), ()), r"\sqrt{d_{k}}"),
    (Map("abs", X, ()), r"\left\lvert x_{t} \right\rvert"),
    (Norm(V), r"\left\lVert v_{t} \right\rVert"),
    (total(V), r"\operatorname{sum}\left(v_{t}\right)"),
    (Softmax(V, 0, (ROWS,)), r"\operatorname{softmax}_{d_{v}}\left(v_{t}\right)"),
    (LayerNorm(V, (ROWS,)), r"\operatorname{LN}\left(v_{t}\right)"),
    (Extremum("maximum", X, Y, ()), r"\max\left(x_{t}, y_{t}\right)"),
    (StopGradient(V, (ROWS,)), r"\operatorname{stop}\left(v_{t}\right)"),
    (spread(X, None, (ROWS,)), "x_{t}"),
    (Tick("momentum"), "t"),
    (Where(Compare("<=", X, Y, ()), X, Y, ()), r"\begin{cases} x_{t} & x_{t} \le y_{t} \\ y_{t} & \text{otherwise} \end{cases}"),
)


@pytest.mark.parametrize(("node", "text"), TEXTS, ids=[text for _, text in TEXTS])
def test_text(node: Expr, text: str) -> None:
    assert expression_latex(node) == text


@pytest.mark.parametrize(
    ("name", "text"),
    [
        ("d_model", r"d_{\text{model}}"),
        ("beta1", r"\beta_{1}"),
        ("alpha", r"\alpha"),
        ("W", "W"),
        ("first_moment", r"\text{first moment}"),
        ("eps", r"\text{eps}"),
    ],
)
def test_names(name: str, text: str) -> None:
    assert symbol(name) == text


def test_a_name_with_an_index_shares_it_with_the_tick() -> None:
    assert symbol("beta1", at="t-1") == r"\beta_{1,t-1}"


def test_a_size_is_a_sum_of_products() -> None:
    heads = Dim.named("heads")
    assert size_latex(heads * COLUMNS + Dim.number(2)) == r"2 + d_{k} \cdot \text{heads}"
    assert size_latex(COLUMNS / heads) == r"d_{k} \cdot \text{heads}^{-1}"
    assert expression_latex(scale(Size(heads * COLUMNS), V)) == r"\left(d_{k} \cdot \text{heads}\right) \, v_{t}"


@given(node=st.sampled_from([(), (N,), (M, N)]).flatmap(lambda shape: expressions(shape, quotients=True, functions=True)))
def test_any_expression_is_text_that_tex_can_read(node: Expr) -> None:
    text = expression_latex(node)
    assert text.count(r"\left") == text.count(r"\right")
    assert text.count(r"\begin{cases}") == text.count(r"\end{cases}")
    depth = 0
    for brace in re.findall(r"[{}]", text):
        depth += 1 if brace == "{" else -1
        assert depth >= 0
    assert depth == 0
    assert not re.search(r"\^(\\\w+|\w|\{[^{}]*\})\s*\^", text), "two superscripts"
    assert not re.search(r"[-+]\s*[-+]", text), "two signs in a row"
