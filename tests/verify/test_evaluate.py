"""Both evaluators, the oracle's and the one of laws, on every node of the algebra, against torch and against each other."""

from __future__ import annotations

from collections.abc import Callable
from fractions import Fraction

import pytest
import torch
from hypothesis import given, strategies as st
from torch import Tensor

from nlc.ir.algebra import (
    Add,
    Compare,
    Constant,
    Divide,
    Dot,
    Expr,
    Extremum,
    Eye,
    Full,
    Input,
    Map,
    MatMul,
    Norm,
    Outer,
    Power,
    Scale,
    Size,
    Softmax,
    Spread,
    Sum,
    Tick,
    Times,
    Transpose,
    Where,
)
from nlc.ir.build import constant
from nlc.ir.dims import LIKE_WEIGHTS, Dim, Shape
from nlc.ir.maps import MAPS
from nlc.verify import oracle_values
from nlc.verify.evaluate import FUNCTIONS, Evaluator
from nlc.verify.oracle_values import Arithmetic, OracleError

N, M = Dim.named("n"), Dim.named("m")
SIZES = {"n": 3, "m": 2}
LIKE: Shape = (LIKE_WEIGHTS,)
GROUP = (2, 0, 3)

SCALAR, VECTOR, OTHER, SHORT, MATRIX, WEIGHTS, GRADIENT = (
    Input(name, shape) for name, shape in [("s", ()), ("x", (N,)), ("y", (N,)), ("z", (M,)), ("A", (M, N)), ("w", LIKE), ("g", LIKE)]
)
LEAVES = (SCALAR, VECTOR, OTHER, SHORT, MATRIX, WEIGHTS, GRADIENT)
Values = dict[str, Tensor]


def values(*leading: int, seed: int = 0) -> Values:
    generator = torch.Generator().manual_seed(seed)
    drawn = {}
    for leaf in LEAVES:
        shape = (sum(GROUP),) if leaf.shape == LIKE else (*leading, *(dim.size(SIZES) for dim in leaf.shape))
        drawn[leaf.name] = torch.randn(shape, dtype=torch.float64, generator=generator)
    return drawn


def evaluators(drawn: Values) -> tuple[Callable[[Expr], Tensor], Callable[[Expr], Tensor]]:
    like = drawn["s"]
    arithmetic = Arithmetic(SIZES, GROUP, like)

    def judged(node: Expr) -> Tensor:
        return drawn[node.name] if isinstance(node, Input) else arithmetic.value(node, judged)

    def leaf(node: Expr) -> Tensor:
        assert isinstance(node, Input)
        return drawn[node.name]

    return judged, Evaluator(SIZES, like, leaf, GROUP)


HALF = Constant(Fraction(1, 2))

NODES: list[tuple[Expr, Callable[[Values], Tensor]]] = [
    (HALF, lambda v: torch.tensor(0.5)),
    (Full(Fraction(1, 4), (M, N)), lambda v: torch.full((2, 3), 0.25)),
    (Eye((N, N)), lambda v: torch.eye(3)),
    (Size(N * N), lambda v: torch.tensor(9.0)),
    (Add((VECTOR, OTHER, VECTOR), (N,)), lambda v: 2 * v["x"] + v["y"]),
    (Add((VECTOR, Full(Fraction(1), (N,))), (N,)), lambda v: v["x"] + 1),
    (Scale(SCALAR, MATRIX, (M, N)), lambda v: v["s"][..., None, None] * v["A"]),
    (Scale(HALF, VECTOR, (N,)), lambda v: v["x"] / 2),
    (Scale(SCALAR, Full(Fraction(2), (N,)), (N,)), lambda v: v["s"][..., None] * torch.full((3,), 2.0)),
    (Times(VECTOR, OTHER, (N,)), lambda v: v["x"] * v["y"]),
    (Divide(MATRIX, SCALAR, (M, N)), lambda v: v["A"] / v["s"][..., None, None]),
    (Divide(VECTOR, OTHER, (N,)), lambda v: v["x"] / v["y"]),
    (Power(VECTOR, constant(3), (N,)), lambda v: v["x"] ** 3),
    (Power(Map("exp", VECTOR, (N,)), SCALAR, (N,)), lambda v: (v["x"] * v["s"][..., None]).exp()),
    (Extremum("maximum", VECTOR, OTHER, (N,)), lambda v: torch.maximum(v["x"], v["y"])),
    (Extremum("minimum", VECTOR, OTHER, (N,)), lambda v: torch.minimum(v["x"], v["y"])),
    (Where(Compare("<", VECTOR, OTHER, (N,)), VECTOR, OTHER, (N,)), lambda v: torch.minimum(v["x"], v["y"])),
    (
        Where(Compare(">=", SCALAR, HALF, ()), MATRIX, Scale(HALF, MATRIX, (M, N)), (M, N)),
        lambda v: torch.where(v["s"][..., None, None] >= 0.5, v["A"], v["A"] / 2),
    ),
    (Times(Spread(SCALAR, None, (M, N)), MATRIX, (M, N)), lambda v: v["s"][..., None, None] * v["A"]),
    (Sum(Spread(SCALAR, None, (M, N)), None, ()), lambda v: 6 * v["s"]),
    (Spread(VECTOR, 1, (M, N)), lambda v: v["x"][..., None, :].expand_as(v["A"])),
    (Spread(SHORT, 0, (M, N)), lambda v: v["z"][..., :, None].expand_as(v["A"])),
    (MatMul(MATRIX, VECTOR, (M,)), lambda v: torch.einsum("...mn,...n->...m", v["A"], v["x"])),
    (MatMul(MATRIX, Transpose(MATRIX, (N, M)), (M, M)), lambda v: v["A"] @ v["A"].mT),
    (Outer(SHORT, VECTOR, (M, N)), lambda v: v["z"][..., :, None] * v["x"][..., None, :]),
    (Dot(VECTOR, OTHER), lambda v: (v["x"] * v["y"]).sum(-1)),
    (Dot(MATRIX, MATRIX), lambda v: v["A"].square().sum((-2, -1))),
    (Sum(MATRIX, None, ()), lambda v: v["A"].sum((-2, -1))),
    (Sum(MATRIX, 0, (N,)), lambda v: v["A"].sum(-2)),
    (Norm(MATRIX), lambda v: v["A"].square().sum((-2, -1)).sqrt()),
    (Softmax(MATRIX, 0, (M, N)), lambda v: v["A"].softmax(-2)),
    (Scale(SCALAR, WEIGHTS, LIKE), lambda v: v["s"] * v["w"]),
    (Times(WEIGHTS, Spread(SCALAR, None, LIKE), LIKE), lambda v: v["w"] * v["s"]),
    (Dot(WEIGHTS, GRADIENT), lambda v: v["w"] @ v["g"]),
    (Sum(Full(Fraction(1), LIKE), None, ()), lambda v: torch.tensor(5.0)),
    (Divide(WEIGHTS, Norm(WEIGHTS), LIKE), lambda v: torch.cat([v["w"][:2] / v["w"][:2].norm(), v["w"][2:] / v["w"][2:].norm()])),
]


@pytest.mark.parametrize(("node", "wanted"), NODES, ids=lambda item: type(item).__name__ if not callable(item) else "")
@pytest.mark.parametrize("leading", [(), (2, 4)], ids=["one", "many"])
def test_every_node(node: Expr, wanted: Callable[[Values], Tensor], leading: tuple[int, ...]) -> None:
    if leading and "like" in str(node):
        leading = ()
    drawn = values(*leading)
    for evaluate in evaluators(drawn):
        expected = wanted(drawn).double()
        torch.testing.assert_close(evaluate(node).expand_as(expected), expected, rtol=1e-13, atol=1e-14)


def test_all_nodes_are_in_the_table() -> None:
    operations = {
        Add,
        Compare,
        Divide,
        Dot,
        Extremum,
        Map,
        MatMul,
        Norm,
        Outer,
        Power,
        Scale,
        Softmax,
        Spread,
        Sum,
        Times,
        Transpose,
        Where,
    }
    text = "".join(repr(node) for node, _ in NODES)
    assert {kind for kind in operations if f"{kind.__name__}(" not in text} == set()


@given(st.floats(-6, 6), st.sampled_from(sorted(MAPS)))
def test_the_maps_agree_and_have_the_slope_of_the_table(x: float, name: str) -> None:
    number = torch.tensor(x, dtype=torch.float64, requires_grad=True)
    ours, theirs = oracle_values.MAPS[name](number), FUNCTIONS[name](number)
    if bool(ours.isfinite()):
        torch.testing.assert_close(ours, theirs, rtol=1e-12, atol=1e-14)
        (slope,) = torch.autograd.grad(ours, number)
        judged, evaluate = evaluators(values() | {"s": number.detach()})
        for evaluator in (judged, evaluate):
            derivative = evaluator(MAPS[name].derivative(SCALAR))
            if bool(slope.isfinite()):
                torch.testing.assert_close(derivative, slope, rtol=1e-11, atol=1e-13)


def test_every_map_has_a_row_in_both() -> None:
    assert set(oracle_values.MAPS) == set(FUNCTIONS) == set(MAPS)


def test_the_oracle_refuses_what_it_does_not_know() -> None:
    judged, _ = evaluators(values())
    with pytest.raises(OracleError, match="does not run Tick"):
        judged(Tick("memory"))
