"""Decides claims about the order of levels: `first > second ~ third`."""

from __future__ import annotations

from collections.abc import Iterator
from itertools import combinations
from typing import Any

from nlc.ir.model import Family, OrderClaim
from nlc.ir.order import LevelOrder, Relation
from nlc.verify.verdict import Finding

METHOD = "order of levels (Definition 2)"


def decide_order(claim: OrderClaim, order: LevelOrder) -> Finding:
    """Whether every two levels of the chain compare as the signs between them say; a tie does not cancel a `>` beside it."""
    missing = sorted({name for name in claim.names if name not in {component.name for component in order.model.components}})
    if missing:
        return Finding(verdict="unknown", method=METHOD, detail=f"there is no level named {', '.join(missing)}")
    pairs = tuple(_pairs(claim))
    for left, sign, right in pairs:
        actual = order.relation(left, right)
        if _sign(actual, left) != sign:
            detail = f"{left} {sign} {right} does not hold: {_sentence(actual)}"
            return Finding(verdict="refuted", method=METHOD, detail=detail, order=_evidence(claim, order))
    detail = "; ".join(_sentence(order.relation(left, right)) for left, _, right in pairs)
    return Finding(verdict="proved", method=METHOD, detail=detail, order=_evidence(claim, order))


def _evidence(claim: OrderClaim, order: LevelOrder) -> dict[str, Any]:
    """What an order follows from: the chain, the clocks, and who needs whose new state at the same tick; ready for JSON."""
    clocks = {component.name: component.every for component in order.model.components}
    ageless = (Family.ALWAYS, Family.NEVER)
    return {
        "names": list(claim.names),
        "relations": list(claim.relations),
        "clocks": {name: [clock.family.value, "1" if clock.family in ageless else str(clock.period)] for name, clock in clocks.items()},
        "needs": [list(pair) for pair in sorted({(edge.reader, edge.source) for edge in order.edges if edge.kind == "same tick"})],
    }


def _pairs(claim: OrderClaim) -> Iterator[tuple[str, str, str]]:
    """Every two names with the sign that the chain between them implies; signs that point both ways imply none."""
    for first, second in combinations(range(len(claim.names)), 2):
        signs = set(claim.relations[first:second])
        if claim.names[first] != claim.names[second] and not {">", "<"} <= signs:
            yield claim.names[first], next(iter(signs - {"~"}), "~"), claim.names[second]


def _sign(relation: Relation, left: str) -> str:
    if relation.kind == "tie":
        return "~"
    return ">" if relation.left == left else "<"


def _sentence(relation: Relation) -> str:
    if relation.kind == "tie":
        return f"{relation.left} and {relation.right} tie ({relation.reason})"
    return f"{relation.left} is faster than {relation.right} ({relation.reason})"
