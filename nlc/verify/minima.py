"""Claims that an objective is least where a variable has a value: a zero gradient there, of an objective that is convex."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import replace

from nlc.ir.algebra import Expr
from nlc.ir.build import full
from nlc.ir.calculus import Derivative
from nlc.ir.claim import EqualityClaim, Minimum
from nlc.ir.law import Laws
from nlc.ir.show import expression_text
from nlc.verify.convexity import is_convex
from nlc.verify.proofs import Step, recording
from nlc.verify.signs import Signs, signs_of
from nlc.verify.verdict import Finding, VerdictWord

METHOD = "zero gradient of a convex objective"

DecideEquality = Callable[[Expr, Expr, EqualityClaim, Laws], Finding]


def decide_minimum(value: Expr, minimum: Minimum, claim: EqualityClaim, laws: Laws, decide: DecideEquality) -> Finding:
    """Whether the objective is least at the value: proved by a zero gradient and convexity, refuted by a gradient that is not zero."""
    slope = Derivative(minimum.objective, minimum.over, minimum.over.shape)
    at_the_value = replace(claim, minimum=None, given=((minimum.over, value), *claim.given))
    finding = decide(slope, full(0, slope.shape), at_the_value, laws)
    name = expression_text(minimum.over)
    if finding.verdict == "refuted":
        return replace(finding, detail=f"at this {name} the objective still has a slope: {finding.detail}")
    if finding.verdict not in ("proved", "proved-if"):
        return finding
    signs = signs_of(laws.order.model, claim.bounds)
    if not is_convex(minimum.objective, minimum.over, signs):
        detail = f"the gradient is zero there, but no rule shows that the objective is convex in {name}"
        return replace(finding, verdict="unknown", detail=detail)
    convexity = Step("the objective", f"convex in {name}", "sums of squares and of what is affine, with positive weights", ("calculus",))
    detail = f"the gradient with respect to {name} is zero there, and the objective is convex in {name}"
    conditions = tuple(dict.fromkeys((*finding.conditions, *_conditions(value, signs))))
    word: VerdictWord = "proved-if" if conditions else "proved"
    return replace(finding, verdict=word, method=METHOD, detail=detail, conditions=conditions, trace=(*finding.trace, convexity))


def _conditions(value: Expr, signs: Signs) -> tuple[str, ...]:
    """What must hold for there to be such a value."""
    needs: dict[str, str] = {}
    recording(needs, signs)(value, {})
    return tuple(needs.values())
