"""Reverse-mode differentiation over the algebra: a scalar expression and a leaf in, the gradient as an expression out."""

from __future__ import annotations

from nlc.derive.adjoints import ADJOINT_OF
from nlc.derive.simplify import simplify
from nlc.ir.algebra import ONE, Compare, Expr, StopGradient, add, children, full

CONSTANTS = (StopGradient, Compare)
"""Nodes that do not vary with anything: what is under `stop_gradient`, and conditions."""


def gradient(expression: Expr, wrt: Expr, cotangent: Expr = ONE) -> Expr:
    """The derivative of <cotangent, expression> by the leaf `wrt`, of the leaf's shape.

    Only nodes equal to `wrt` vary: a state's PREVIOUS and FITTED reads are different leaves, so the former is a constant here.
    """
    order = _from_the_root(expression, wrt)
    varying = set(order)
    arrived: dict[Expr, list[Expr]] = {node: [] for node in order}
    if expression in varying:
        arrived[expression].append(cotangent)
    for node in order:
        if node == wrt:
            continue
        parts = ADJOINT_OF[type(node)].pull(node, _gathered(arrived[node]))
        for operand, part in reversed(list(zip(children(node), parts, strict=True))):
            if part is not None and operand in varying:
                arrived[operand].append(part)
    return _gathered(arrived[wrt]) if wrt in varying else full(0, wrt.shape)


def _gathered(contributions: list[Expr]) -> Expr:
    # They arrived from the last use to the first: turned round, the sum keeps the user's order.
    return simplify(add(*reversed(contributions)))


def _from_the_root(expression: Expr, wrt: Expr) -> list[Expr]:
    """The distinct subexpressions that vary with `wrt`, each after every expression that uses it."""
    varies: dict[Expr, bool] = {}

    def visit(node: Expr) -> bool:
        if node not in varies:
            below = () if isinstance(node, CONSTANTS) else children(node)
            varies[node] = node == wrt or any([visit(child) for child in below])
            order.append(node)
        return varies[node]

    order: list[Expr] = []
    visit(expression)
    return [node for node in reversed(order) if varies[node]]
