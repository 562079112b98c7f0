"""One loop over the table of adjoint rules: judged exactly by sympy, numerically by torch.autograd, and each row seen to matter."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

import pytest
import torch
from hypothesis import given, strategies as st

from nlc.citations import resolve_citation
from nlc.derive import gradient as engine
from nlc.derive.adjoints import ADJOINT_OF, ADJOINTS, Adjoint
from nlc.derive.gradient import gradient
from nlc.ir.algebra import (
    HALF,
    Add,
    Compare,
    Divide,
    Dot,
    Expr,
    Extremum,
    Eye,
    Input,
    LayerNorm,
    Map,
    MatMul,
    Norm,
    Outer,
    Power,
    Rotary,
    Scale,
    Softmax,
    Spread,
    StopGradient,
    Sum,
    Times,
    Transpose,
    Where,
    walk,
)
from nlc.ir.build import add, constant, dot, full, outer, subtract, total
from nlc.ir.calculus import Inverse
from nlc.ir.maps import MAPS
from tests.derive.numeric import SIZES, evaluate, random_tensor, sizes
from tests.models import D_K, D_V, MATRIX
from tests.rules.symbolic import Entries, derivative, entries, same, symbols

X, Y = Input("X", MATRIX), Input("Y", MATRIX)
u, x, y = Input("u", (D_V,)), Input("x", (D_K,)), Input("y", (D_K,))
s, t = Input("s", ()), Input("t", ())
LEAVES = (X, Y, u, x, y, s, t)
ABOVE_ZERO = add(dot(x, x), constant(1))

CASES: Mapping[type[Any], tuple[Expr, ...]] = {
    Add: (Add((X, Y, X), MATRIX), Add((s, t), ())),
    Scale: (Scale(s, X, MATRIX), Scale(s, s, ()), Scale(Dot(x, y), x, (D_K,))),
    Times: (Times(X, Y, MATRIX), Times(x, x, (D_K,))),
    Divide: (Divide(X, ABOVE_ZERO, MATRIX), Divide(s, ABOVE_ZERO, ()), Divide(x, add(Times(y, y, (D_K,)), full(1, (D_K,))), (D_K,))),
    Power: (Power(X, constant(3), MATRIX), Power(s, constant(2), ()), Power(ABOVE_ZERO, constant(-2), ())),
    Map: tuple(Map(name, ABOVE_ZERO, ()) if name in ("log", "sqrt") else Map(name, x, (D_K,)) for name in MAPS),
    Extremum: (Extremum("maximum", X, Y, MATRIX), Extremum("minimum", x, y, (D_K,))),
    Where: (Where(Compare(">", x, y, (D_K,)), x, y, (D_K,)), Where(Compare("<=", s, t, ()), X, Y, MATRIX)),
    Spread: (Spread(s, None, MATRIX), Spread(u, 0, MATRIX), Spread(x, 1, MATRIX), Spread(s, None, (D_K,))),
    MatMul: (MatMul(X, x, (D_V,)), MatMul(X, Transpose(Y, (D_K, D_V)), (D_V, D_V))),
    Transpose: (Transpose(X, (D_K, D_V)),),
    Inverse: (Inverse(add(Outer(x, x, (D_K, D_K)), Eye((D_K, D_K))), (D_K, D_K)),),
    Outer: (Outer(u, x, MATRIX), Outer(x, x, (D_K, D_K))),
    Dot: (Dot(x, y), Dot(X, X)),
    Sum: (Sum(X, None, ()), Sum(X, 0, (D_K,)), Sum(X, 1, (D_V,)), Sum(x, None, ())),
    Norm: (Norm(X), Norm(x)),
    Rotary: (Rotary(u, constant(3), 10_000, (D_V,)), Rotary(x, constant(3), 10_000, (D_K,))),
    Softmax: (Softmax(x, 0, (D_K,)), Softmax(X, 0, MATRIX), Softmax(X, 1, MATRIX)),
    LayerNorm: (LayerNorm(x, (D_K,)), LayerNorm(Times(x, y, (D_K,)), (D_K,))),
}
POLYNOMIAL = (Add, Scale, Times, Divide, Power, Spread, MatMul, Transpose, Outer, Dot, Sum)
ROWS = pytest.mark.parametrize("row", ADJOINTS, ids=lambda row: row.name)


def objectives(row: Adjoint) -> list[Expr]:
    """Each case contracted with a cotangent of its own, so that the gradient is one of a scalar."""
    return [case if case.shape == () else Dot(Input("cotangent", case.shape), case) for case in CASES[row.node]]


def values_for(objective: Expr, seed: int = 0) -> dict[Expr, torch.Tensor]:
    generator = torch.Generator().manual_seed(seed)
    leaves = sorted({node for node in walk(objective) if isinstance(node, Input)}, key=lambda leaf: leaf.name)
    return {leaf: random_tensor(leaf.shape, generator).requires_grad_() for leaf in leaves}


def gap(objective: Expr, leaf: Expr, values: Mapping[Expr, torch.Tensor]) -> float:
    """The largest difference between the derived gradient and autograd's."""
    (truth,) = torch.autograd.grad(evaluate(objective, values), values[leaf], allow_unused=True, materialize_grads=True)
    return float((evaluate(gradient(objective, leaf), values) - truth).detach().abs().max())


def test_every_differentiable_node_has_one_row_and_cases() -> None:
    assert [row.node for row in ADJOINTS] == list(CASES)
    leaves_and_constants = {
        "Constant", "Size", "Input", "Hyperparameter", "State", "Gradient", "Tick", "Due", "Parameter", "Task",
        "Named", "Eye", "Full", "Index", "Position", "Age", "Window",
    }  # fmt: skip
    of_claims = {"Derivative", "Embedding", "LastUnit"}  # which no objective holds
    of_streams = {"Recent", "Shift", "Delay", "Convolve"}  # which hold no state
    others = {"Compare", "StopGradient", "Split", "Join", "Now", "WindowSum", "WindowSoftmax", "WindowMean"}
    differentiable = {kind.__name__ for kind in Expr.__subclasses__()} - leaves_and_constants - of_claims - of_streams - others
    assert {row.node.__name__ for row in ADJOINTS} == differentiable
    assert all(resolve_citation(row.cite) for row in ADJOINTS)


@ROWS
def test_agrees_with_autograd(row: Adjoint) -> None:
    for objective in objectives(row):
        values = values_for(objective)
        assert all(gap(objective, leaf, values) < 1e-12 for leaf in values)


@pytest.mark.parametrize("row", [row for row in ADJOINTS if row.node in POLYNOMIAL], ids=lambda row: row.name)
def test_is_exact(row: Adjoint) -> None:
    for objective in objectives(row):
        leaves: dict[Expr, Entries] = {leaf: symbols(leaf.name, leaf.shape) for leaf in walk(objective) if isinstance(leaf, Input)}
        for leaf, unknowns in leaves.items():
            assert same(entries(gradient(objective, leaf), leaves), derivative(entries(objective, leaves), unknowns))


@ROWS
def test_a_wrong_row_is_seen(row: Adjoint, monkeypatch: pytest.MonkeyPatch) -> None:
    def flipped(node: Expr, cotangent: Expr) -> tuple[Expr | None, ...]:
        return tuple(part if part is None else subtract(full(0, part.shape), part) for part in row.pull(node, cotangent))

    wrong = {**ADJOINT_OF, row.node: Adjoint(row.node, row.name, row.says, row.cite, flipped)}
    monkeypatch.setattr(engine, "ADJOINT_OF", wrong)
    objective = objectives(row)[0]
    values = values_for(objective)
    assert any(gap(objective, leaf, values) > 1e-3 for leaf in values)


def test_the_exponent_has_a_derivative_too() -> None:
    objective = Power(ABOVE_ZERO, s, ())
    assert gap(objective, s, values_for(objective)) < 1e-12


def test_at_a_tie_both_sides_share_as_in_torch() -> None:
    for function in ("maximum", "minimum"):
        objective = total(Extremum(function, x, y, (D_K,)))
        tied = torch.ones(sizes((D_K,)), dtype=torch.float64)
        values: dict[Expr, torch.Tensor] = {x: tied.clone().requires_grad_(), y: tied.clone().requires_grad_()}
        assert gap(objective, x, values) == gap(objective, y, values) == 0
        assert evaluate(gradient(objective, x), values).tolist() == [0.5] * SIZES["d_k"]


def test_the_norm_is_flat_at_zero_and_stays_differentiable() -> None:
    zero = torch.zeros(sizes((D_K,)), dtype=torch.float64, requires_grad=True)
    slope = evaluate(gradient(Norm(x), x), {x: zero})
    assert slope.tolist() == [0.0] * SIZES["d_k"]
    (second,) = torch.autograd.grad(slope.sum(), zero)
    assert bool(second.isfinite().all())


def test_what_is_stopped_is_a_constant() -> None:
    assert gradient(Dot(x, StopGradient(x, (D_K,))), x) == StopGradient(x, (D_K,))
    assert gradient(Dot(y, StopGradient(x, (D_K,))), x) == full(0, (D_K,))


def vectors() -> st.SearchStrategy[Expr]:
    """Random smooth vector expressions of x, y and X."""

    def grow(inner: st.SearchStrategy[Expr]) -> st.SearchStrategy[Expr]:
        pair = st.tuples(inner, inner)
        return st.one_of(
            pair.map(lambda two: add(*two)),
            pair.map(lambda two: Times(two[0], two[1], (D_K,))),
            pair.map(lambda two: Scale(Dot(*two), two[0], (D_K,))),
            pair.map(lambda two: Divide(two[0], add(Dot(two[1], two[1]), HALF), (D_K,))),
            inner.map(lambda one: Map("tanh", one, (D_K,))),
            inner.map(lambda one: Softmax(one, 0, (D_K,))),
            inner.map(lambda one: MatMul(Transpose(X, (D_K, D_V)), Map("sin", MatMul(X, one, (D_V,)), (D_V,)), (D_K,))),
            inner.map(lambda one: MatMul(outer(one, y), x, (D_K,))),
        )

    return st.recursive(st.sampled_from((x, y, full(2, (D_K,)))), grow, max_leaves=6)


@given(vectors(), st.sampled_from((x, y, X)))
def test_any_composition_agrees_with_autograd(vector: Expr, leaf: Expr) -> None:
    objective = add(total(Times(vector, vector, (D_K,))), dot(x, y), dot(X, X))
    values: dict[Expr, torch.Tensor] = {
        leaf: (tensor * 0.5).detach().requires_grad_() for leaf, tensor in values_for(objective, seed=1).items()
    }
    scale_of = 1 + float(evaluate(objective, values).detach().abs())
    assert gap(objective, leaf, values) < 1e-9 * scale_of
