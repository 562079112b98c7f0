"""What a claim gives: values that the tick starts from are put in, other equations are assumed; then the equality is decided."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import replace

from nlc.ir.algebra import LEAVES, Expr, Named, State, When, contains
from nlc.ir.claim import EqualityClaim
from nlc.ir.law import Laws
from nlc.ir.show import expression_text
from nlc.verify.normal_form import Values, normal_form
from nlc.verify.proofs import Equality, Step, decide


def decided(sides: tuple[Expr, Expr], claim: EqualityClaim, laws: Laws, known: Values) -> Equality:
    """Whether the sides are equal after a tick, what is given put in, and `known` leaves having those values."""
    known, assumed = dict(known), []
    for leaf, value in claim.given:
        if is_assignable(leaf, value):
            known[leaf] = normal_form(value, known)
        else:
            assumed.append((leaf, value))
    equality = decide(*sides, laws, known, tuple(assumed), claim.bounds)
    return replace(equality, trace=(*_steps(claim), *equality.trace))


def _steps(claim: EqualityClaim) -> Iterator[Step]:
    for left, right in claim.given:
        yield Step(expression_text(left), expression_text(right), "what is given")


def is_assignable(node: Expr, value: Expr) -> bool:
    """Whether a `given` says what a value is that the tick starts from, in terms of others."""
    if contains(value, lambda part: part == node):
        return False
    is_new = isinstance(node, State) and node.when is When.CURRENT
    return isinstance(node, LEAVES) and not is_new and not isinstance(node, Named)
