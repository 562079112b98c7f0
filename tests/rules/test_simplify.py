"""One loop over the rewrites: each keeps the value and makes its expression smaller."""

from __future__ import annotations

from collections.abc import Mapping

import pytest
import torch

from nlc.derive.simplify import REWRITES, Rewrite, simplify
from nlc.ir.algebra import Add, Compare, Divide, Dot, Expr, Full, Input, Map, MatMul, Outer, Scale, Times, Transpose, Where, children, walk
from nlc.ir.build import constant, full
from nlc.ir.show import expression_text
from tests.derive.numeric import evaluate, random_tensor
from tests.models import D_K, D_V, MATRIX

X, u, x, y = Input("X", MATRIX), Input("u", (D_V,)), Input("x", (D_K,)), Input("y", (D_K,))
ONES, ZEROS = full(1, (D_K,)), full(0, (D_K,))
SHORT = Compare("<", Dot(x, x), constant(2), ())
SQUARE = (D_K, D_K)
Y = Input("Y", (D_K, D_V))
POSITIVE = Compare(">", x, ZEROS, (D_K,))

CASES: Mapping[str, tuple[tuple[Expr, str], ...]] = {
    "like terms": (
        (Add((x, y, x), (D_K,)), "2 * x + y"),
        (Add((x, Scale(constant(-1), x, (D_K,))), (D_K,)), "0"),
    ),
    "reciprocal factor": (
        (Times(x, Divide(ONES, y, (D_K,)), (D_K,)), "x / y"),
        (Times(Divide(ONES, y, (D_K,)), x, (D_K,)), "x / y"),
    ),
    "quotient of maps": ((Divide(Map("sinh", x, (D_K,)), Map("cosh", x, (D_K,)), (D_K,)), "tanh(x)"),),
    "outer applied": ((MatMul(Outer(u, x, MATRIX), y, (D_V,)), "dot(x, y) * u"),),
    "switched factor": (
        (Times(Where(POSITIVE, ONES, ZEROS, (D_K,)), y, (D_K,)), "where(x > 0, y, 0)"),
        (Times(y, Where(POSITIVE, ZEROS, x, (D_K,)), (D_K,)), "where(x > 0, 0, y * x)"),
        (Scale(Where(SHORT, Dot(x, x), constant(0), ()), y, (D_K,)), "where(norm2(x) < 2, norm2(x) * y, 0)"),
        (Scale(Dot(x, y), Where(POSITIVE, ONES, ZEROS, (D_K,)), (D_K,)), "where(x > 0, dot(x, y), 0)"),
    ),
    "joined switches": ((Add((Where(SHORT, x, ZEROS, (D_K,)), Where(SHORT, ZEROS, y, (D_K,))), (D_K,)), "where(norm2(x) < 2, x, y)"),),
    "switch between equals": ((Where(POSITIVE, Full(constant(3).value, (D_K,)), Full(constant(3).value, (D_K,)), (D_K,)), "3"),),
    "transposed product": ((Transpose(MatMul(Y, X, SQUARE), SQUARE), "transpose(X) @ transpose(Y)"),),
    "product of a product": ((MatMul(X, MatMul(Y, X, SQUARE), MATRIX), "X @ Y @ X"),),
}


def cost(node: Expr) -> tuple[int, ...]:
    """What each rewrite makes less of, and none after it more.

    The number of leaves that are not numbers, of products with a switch for a factor, and of nodes under transposes; the ranks of nodes;
    the number of nodes to the right in products.
    """
    nodes = list(walk(node))
    switched = sum(isinstance(part, Scale | Times) and any(isinstance(child, Where) for child in children(part)) for part in nodes)
    transposed = sum(_size(part.x) for part in nodes if isinstance(part, Transpose))
    right = sum(_size(part.right) for part in nodes if isinstance(part, MatMul))
    return sum(isinstance(part, Input) for part in nodes), switched, transposed, sum(len(part.shape) for part in nodes), right


def _size(node: Expr) -> int:
    return sum(1 for _ in walk(node))


def test_every_rewrite_has_cases() -> None:
    assert [rewrite.name for rewrite in REWRITES] == list(CASES)


@pytest.mark.parametrize("rewrite", REWRITES, ids=lambda rewrite: rewrite.name)
def test_keeps_the_value_and_shrinks(rewrite: Rewrite) -> None:
    generator = torch.Generator().manual_seed(0)
    values: dict[Expr, torch.Tensor] = {leaf: random_tensor(leaf.shape, generator) for leaf in (X, Y, u, x, y)}
    for before, text in CASES[rewrite.name]:
        after = rewrite.apply(before)
        assert after is not None
        assert expression_text(after) == expression_text(simplify(before)) == text
        assert torch.allclose(evaluate(after, values), evaluate(before, values), rtol=1e-14)
        assert cost(after) < cost(before)


def test_rewrites_reach_into_operands() -> None:
    inner = Divide(Map("sinh", x, (D_K,)), Map("cosh", x, (D_K,)), (D_K,))
    assert expression_text(simplify(Add((inner, inner), (D_K,)))) == "2 * tanh(x)"
