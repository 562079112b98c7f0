"""Reverse-mode differentiation over the algebra: a scalar expression and a leaf in, the gradient as an expression out."""

from __future__ import annotations

from collections import Counter

from nlc.derive.adjoints import ADJOINT_OF
from nlc.derive.simplify import simplify
from nlc.ir.algebra import ONE, Compare, Expr, StopGradient, children
from nlc.ir.build import add, constant, full, scale

CONSTANTS = (StopGradient, Compare)
"""Nodes that do not vary with anything: what is under `stop_gradient`, and conditions."""


LARGEST = 10_000
"""Nodes that a derivative may have: more than anyone reads, and few enough to be quick."""


class DerivativeTooLarge(Exception):
    """The derivative has more than LARGEST nodes."""


def gradient(expression: Expr, wrt: Expr, cotangent: Expr = ONE) -> Expr:
    """The derivative of <cotangent, expression> by the leaf `wrt`, of the leaf's shape.

    Only nodes equal to `wrt` vary: a state's PREVIOUS and FITTED reads are different leaves, so the former is a constant here.
    Raises DerivativeTooLarge: expressions are trees, and a node that uses its cotangent twice doubles it.
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
    return simplify(_gathered(arrived[wrt])) if wrt in varying else full(0, wrt.shape)


def _gathered(contributions: list[Expr]) -> Expr:
    # They arrived from the last use to the first: turned round, the sum keeps the user's order.
    times_arrived = Counter(reversed(contributions))
    gathered = add(*(scale(constant(count), part) for part, count in times_arrived.items()))
    if _is_too_large(gathered):
        raise DerivativeTooLarge
    return gathered


def _is_too_large(node: Expr) -> bool:
    waiting, seen = [node], 0
    while waiting and seen <= LARGEST:
        waiting.extend(children(waiting.pop()))
        seen += 1
    return seen > LARGEST


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
