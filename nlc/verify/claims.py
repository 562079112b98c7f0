"""Claims of a spec -> verdicts: equalities over one tick, orders of levels, and whole systems that compute the same.

An equality is proved by normal form, for all sizes at once, and every proof is checked at a few exact values; otherwise the smallest
counterexample refutes it. `form-only` must be asked for (`expect: form-only`): it is what a refuted claim may still be.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping
from dataclasses import fields, is_dataclass, replace
from fractions import Fraction
from functools import partial
from typing import TypeGuard, TypeVar, cast

from nlc.diagnostics import CompileError
from nlc.ir.algebra import Compare, Expr, Gradient, Input, Named, State, When, contains, walk
from nlc.ir.claim import Measure, ReadingClaim
from nlc.ir.dims import Dim
from nlc.ir.law import Laws
from nlc.ir.model import Claim, EqualityClaim, IllTyped, Model, OrderClaim, SameAsClaim
from nlc.ir.recents import Recent
from nlc.ir.show import expression_text
from nlc.ir.windows import with_steps_over_ages
from nlc.source import Span
from nlc.verify.arithmetic import Arithmetic
from nlc.verify.conditions import sufficient
from nlc.verify.counterexample import Compare as Comparison, Pairs, Question, Search, search, unknown
from nlc.verify.differentials import NotDifferentiable
from nlc.verify.effort import LimitReached, limited_effort
from nlc.verify.gaps import gap_text
from nlc.verify.given import decided, is_assignable
from nlc.verify.inequalities import claimed_inequality, proved_inequality
from nlc.verify.measure import Table, gap
from nlc.verify.minima import decide_minimum
from nlc.verify.orders import decide_order
from nlc.verify.proofs import Equality, all_due, free_leaves, needed, one_tick, settled
from nlc.verify.rational import Sizes, Tensor, evaluate
from nlc.verify.same_as import decide_same_as, measured
from nlc.verify.spelling import spelled_text
from nlc.verify.verdict import Finding, Verdict, VerdictWord, expected_word
from nlc.verify.windows import at_data, in_one_equation, laws_written_out, streams_in_sums, without_softmax, without_softmaxes, written_out

__all__ = ["Verdict", "decide_claims"]

CHECKS = 6
"""Exact samples at which every proof is looked at again, by an evaluator that shares nothing with the prover."""

ORDERED = ("<", "<=", ">", ">=")
NORMAL_FORM = "normal form"
MEASURED = "runs in floating point on random values"
SEARCH = "search for a counterexample"

Anything = TypeVar("Anything")


def decide_claims(laws: Laws, laws_of: Callable[[Model], Laws]) -> tuple[Verdict, ...]:
    """The verdicts on a spec's claims, in order; `laws_of` derives the laws of the other specs that claims name."""
    model = laws.order.model
    return tuple(_verdict(claim, _with_table(claim, laws, laws_of), model) for claim in model.claims)


def _with_table(claim: Claim, laws: Laws, laws_of: Callable[[Model], Laws]) -> Finding:
    """The finding, with a table where a gap is to be measured; where nothing else is expected the claim is not decided."""
    match claim:
        case SameAsClaim(measure=Measure()):
            table = measured(claim, laws_of)
        case EqualityClaim(measure=Measure() as measure, sides=(left, right)):
            table = _measured((left, right), claim, measure, laws)
        case _:
            return _limited(claim, laws, laws_of)
    if expected_word(claim.expect) != "measured":
        return replace(_limited(claim, laws, laws_of), table=table if isinstance(table, Table) else None)
    if isinstance(table, Finding):
        return table
    trends = f": {' and '.join(table.trends)}" if table.trends else ""
    detail = f"the relative gap at {len(table.rows)} values of {table.parameter}{trends}"
    return Finding(verdict="measured", method=MEASURED, detail=detail, table=table)


def _measured(sides: tuple[Expr, Expr], claim: EqualityClaim, measure: Measure, laws: Laws) -> Table:
    """The gap between the sides after a tick, by a hyperparameter."""
    laws = all_due(laws)
    asked = _question((settled(sides[0], laws), settled(sides[1], laws)), claim, in_one_equation(laws))
    defaults = {item.name: item.default for item in laws.order.model.hyperparameters}
    return Table(measure.name, tuple((value, gap(asked, {**defaults, measure.name: value})) for value in measure.values))


def _limited(claim: Claim, laws: Laws, laws_of: Callable[[Model], Laws]) -> Finding:
    """The finding, within a budget of work."""
    with limited_effort():
        try:
            return _finding(claim, laws, laws_of)
        except LimitReached as limit:
            return Finding(verdict="unknown", method="none", detail=f"limit reached: {limit}")


def _verdict(claim: Claim, finding: Finding, model: Model) -> Verdict:
    return Verdict(
        spec=model.name,
        claim=claim.says,
        text=claim.text,
        expected=claim.expect,
        cites=claim.cites,
        finding=finding,
        id=claim.id,
        instead=claim.instead,
    )


def _finding(claim: Claim, laws: Laws, laws_of: Callable[[Model], Laws]) -> Finding:
    match claim:
        case ReadingClaim():
            return Finding(verdict="interpretive", method="none", detail="it is said in words: there is no formula to decide")
        case OrderClaim():
            return decide_order(claim, laws.order)
        case SameAsClaim():
            try:
                return decide_same_as(claim, laws, laws_of(claim.other))
            except CompileError as error:
                return Finding(verdict="unknown", method="none", detail=f"{claim.other_name} has no laws: {error}")
        case EqualityClaim() if laws.endings:
            detail = "some levels move at tokens and some when the sequence ends, which no method follows yet"
            return Finding(verdict="unknown", method="none", detail=detail)
        case EqualityClaim() if isinstance(claim.sides, IllTyped):
            return _ill_typed(claim, claim.sides, all_due(laws))
        case EqualityClaim(sides=(_, _)):
            left, right = (settled(side, laws) for side in claim.sides)  # outputs are written out while the laws still have them
            return _of_one_clock((left, right), claim, laws)
    raise TypeError(type(claim).__name__)


def _of_one_clock(sides: tuple[Expr, Expr], claim: EqualityClaim, laws: Laws) -> Finding:
    """The verdict on one update. For levels that move once a tick, what those become that move several times may be anything."""
    said = (*sides, *(node for pair in claim.given for node in pair))
    cut = needed(laws, *said)
    parted = {law.component for law in cut.laws if law.clock.updates_per_tick > 1 or law.rounds > 1}
    if not parted or len(parted) == len(cut.laws):
        return _compared(sides, claim, all_due(cut if len(cut.laws) < len(laws.laws) else laws))
    apart = tuple(replace(law, equations=()) if law.component in parted else law for law in laws.laws)
    values = (*said, *(item.value for law in apart for item in law.equations))
    if not any(_was(node, parted) for value in values for node in walk(value)):
        finding = _compared(sides, claim, all_due(replace(laws, laws=apart)))
        if finding.verdict in (("refuted",) if claim.sign == "!=" else ("proved", "proved-if")):
            return finding
    detail = f"it needs levels that move several times a {laws.order.model.unit} and others, which no method follows yet"
    return Finding(verdict="unknown", method="none", detail=detail)


def _was(node: Expr, components: set[str]) -> bool:
    """Whether a node reads what one of the components was."""
    return isinstance(node, State) and node.component in components and node.when is When.PREVIOUS


def _compared(sides: tuple[Expr, Expr], claim: EqualityClaim, laws: Laws) -> Finding:
    """The verdict on sides that are claimed to compare in some way, or to be where an objective is least."""
    if claim.minimum is not None:
        return decide_minimum(sides[1], claim.minimum, claim, laws, decide_equality)
    if claim.sign == "==":
        return decide_equality(*sides, claim, laws)
    if claim.sign == "!=":
        return _negated(decide_equality(*sides, claim, laws))
    proof = proved_inequality(sides, claim, laws)
    if proof is not None:
        return proof
    finding = _by_search(sides, claim, laws, "the signs of the terms do not decide it")
    return replace(finding, trace=claimed_inequality(sides, claim, laws))


def _negated(finding: Finding) -> Finding:
    """What a verdict on an equality says about the claim that it is none."""
    match finding.verdict:
        case "refuted":
            return replace(finding, verdict="proved", detail=f"they differ: {finding.detail}")
        case "proved" | "proved-if":
            return replace(finding, verdict="refuted", detail=f"they are equal: {finding.detail}")
        case "tested":
            return replace(finding, verdict="unknown", detail=f"they seem equal: {finding.detail}")
    return finding


def _ill_typed(claim: EqualityClaim, sides: IllTyped, laws: Laws) -> Finding:
    detail = sides.diagnostic.message
    if sides.identified is None or len(sides.dims) < 2:
        return Finding(verdict="ill-typed", method="shapes", detail=detail)
    identify = partial(_identified, names=sides.dims)
    equations = replace(claim, expect="proved", given=identify(claim.given))
    laws = replace(laws, laws=identify(laws.laws), outputs=identify(laws.outputs))
    finding = decide_equality(*identify(sides.identified), equations, laws)
    detail = f"{detail}; with {' = '.join(sides.dims)} it is {finding.verdict}: {finding.detail}"
    return replace(finding, verdict="ill-typed", method=f"shapes; {finding.method}", detail=detail)


def _identified(item: Anything, names: tuple[str, ...]) -> Anything:
    """The expressions, equations or laws with several dims taken to be one."""
    result: object = item
    if isinstance(item, Dim):
        result = item.substitute({name: Dim.named(names[0]) for name in names})
    elif isinstance(item, tuple):
        result = tuple(_identified(part, names) for part in item)
    elif is_dataclass(item) and not isinstance(item, type | Span):
        result = replace(item, **{part.name: _identified(getattr(item, part.name), names) for part in fields(item)})
    return cast(Anything, result)


# --- equalities --------------------------------------------------------------------------------------------------


def decide_equality(left: Expr, right: Expr, claim: EqualityClaim, laws: Laws) -> Finding:
    """Whether two sides agree after one tick from any state that satisfies what is given."""
    model, laws = laws.order.model, in_one_equation(laws)
    left, right = (with_steps_over_ages(model, side) for side in (left, right))
    sides = (at_data(settled(left, laws), model), at_data(settled(right, laws), model))
    if any(True for side in sides for _ in streams_in_sums(side)):
        return Finding(verdict="unknown", method="none", detail="a stream is summed over a window that does not keep it")
    claim = replace(claim, given=tuple((settled(leaf, laws), settled(value, laws)) for leaf, value in claim.given))
    if any(contains(side, lambda part: isinstance(part, Gradient | Named)) for side in sides):
        return Finding(verdict="unknown", method="none", detail="the claim names an inner gradient or equation: write it out")
    try:
        equality = decided((without_softmax(sides[0]), without_softmax(sides[1])), claim, without_softmaxes(laws), {})
    except LimitReached as limit:
        return _by_search(sides, claim, laws, f"the normal form is too large ({limit})")
    except ZeroDivisionError:
        return Finding(verdict="unknown", method=NORMAL_FORM, detail="a side divides by zero")
    except NotDifferentiable as node:
        return Finding(verdict="unknown", method=NORMAL_FORM, detail=f"no rule gives the gradient of {node}")
    if equality.holds:
        return _proved(equality, sides, claim, laws)
    return _not_proved(equality, sides, claim, laws)


def _proved(equality: Equality, sides: tuple[Expr, Expr], claim: EqualityClaim, laws: Laws) -> Finding:
    evidence = _searched(sides, claim, laws, CHECKS)
    if evidence.counterexample is not None and evidence.counterexample.exact:
        detail = f"the normal forms agree but the values do not, {evidence.counterexample.text}: one of nlc's two evaluators is wrong"
        return Finding(verdict="unknown", method=NORMAL_FORM, detail=detail, evidence=evidence)
    form = spelled_text(equality.left)
    detail = f"both sides are {form}, for all sizes and values"
    if equality.conditions:
        detail += f" for which {' and '.join(equality.conditions)}"
    word: VerdictWord = "proved-if" if equality.conditions else "proved"
    return Finding(verdict=word, method=NORMAL_FORM, detail=detail, conditions=equality.conditions, trace=equality.trace)


def _not_proved(equality: Equality, sides: tuple[Expr, Expr], claim: EqualityClaim, laws: Laws) -> Finding:
    found = sufficient(sides, claim, laws, equality.residual)
    conditions = found.texts
    if expected_word(claim.expect) == "proved-if" and conditions:
        gap = spelled_text(equality.residual)
        detail = f"both sides have one normal form if {' and '.join(conditions)}; in general they differ by {gap}"
        return Finding(verdict="proved-if", method=NORMAL_FORM, detail=detail, conditions=conditions, trace=found.trace)
    residual = f"{gap_text(equality.left, equality.right)}; the residual (left - right) is {spelled_text(equality.residual)}"
    hint = f"; it would hold if {' and '.join(conditions)}" if conditions else ""
    finding = _by_search(sides, claim, laws, residual + hint)
    if finding.verdict == "refuted" and expected_word(claim.expect) == "form-only" and equality.same_form:
        finding = replace(finding, verdict="form-only", detail=f"the same terms with other coefficients: {finding.detail}")
    return replace(finding, trace=equality.trace)


def _by_search(sides: tuple[Expr, Expr], claim: EqualityClaim, laws: Laws, why: str) -> Finding:
    if _reads_one_past_twice(sides, laws):
        detail = f"{why}; older values of streams are read in several ways, which a search would take for independent"
        return Finding(verdict="unknown", method=SEARCH, detail=detail)
    evidence = _searched(sides, claim, laws)
    if evidence.counterexample is not None:
        return Finding(verdict="refuted", method=SEARCH, detail=f"{why}; {evidence.counterexample.text}", evidence=evidence)
    if not evidence.samples:
        detail = f"{why}; no values were found at which both sides are defined and the assumptions hold"
        return Finding(verdict="unknown", method=SEARCH, detail=detail)
    detail = f"no proof found ({why}); {evidence.samples} samples agree, worst gap {evidence.worst_gap:.1e}, seed {evidence.seed}"
    return Finding(verdict="tested", method=SEARCH, detail=detail, evidence=evidence)


def _reads_one_past_twice(sides: tuple[Expr, Expr], laws: Laws) -> bool:
    """Whether older values of one thing are read in several ways: they follow from one another."""
    leaves = free_leaves(needed(laws, *sides), *sides)
    past = [leaf.x if isinstance(leaf, Recent) else replace(leaf, delayed=False) for leaf in leaves if _is_past(leaf)]
    return len(set(past)) < len(past)


def _is_past(leaf: Expr) -> TypeGuard[Recent | Input]:
    return isinstance(leaf, Recent) or (isinstance(leaf, Input) and leaf.delayed)


# --- values ------------------------------------------------------------------------------------------------------


def _searched(sides: tuple[Expr, Expr], claim: EqualityClaim, laws: Laws, *most: int) -> Search:
    return search(_question(sides, claim, laws), *most)


def _question(sides: tuple[Expr, Expr], claim: EqualityClaim, laws: Laws) -> Question:
    """How the sides compare, over the values that the tick starts from, those that are given aside."""
    laws, sides = laws_written_out(laws), (written_out(sides[0]), written_out(sides[1]))
    cut = needed(laws, *sides, *(node for given in claim.given for node in given))
    given = {leaf for leaf, value in claim.given if is_assignable(leaf, value)}
    expressions = (*sides, *(node for pair in claim.given for node in pair))
    leaves = [leaf for leaf in free_leaves(cut, *expressions) if leaf not in given]
    model = laws.order.model
    evaluated = (*expressions, *(equation.value for law in cut.laws for equation in law.equations))
    return Question(tuple(unknown(leaf, model) for leaf in leaves), evaluated, (model,), _comparison(sides, claim, cut))


def _all_true(holds: Tensor, arithmetic: Arithmetic) -> Tensor:
    return Tensor(holds.shape, (arithmetic.number(Fraction(1)),) * len(holds.entries))


def _comparison(sides: tuple[Expr, Expr], claim: EqualityClaim, laws: Laws) -> Comparison:
    def compare(values: Mapping[Expr, Tensor], sizes: Sizes, arithmetic: Arithmetic) -> Pairs | None:
        def value_of(node: Expr, known: Mapping[Expr, Tensor]) -> Tensor:
            return evaluate(node, known, sizes, arithmetic)

        before = dict(values)
        for leaf, value in claim.given:
            if is_assignable(leaf, value):
                before[leaf] = value_of(value, before)
        after = one_tick(laws, before, value_of)
        if any(value_of(left, after).entries != value_of(right, after).entries for left, right in claim.given):
            return None
        if not all(all(value_of(bound, after).entries) for bound in claim.bounds):
            return None
        left, right = value_of(sides[0], after), value_of(sides[1], after)
        name = expression_text(sides[0])
        if claim.sign in ORDERED:
            holds = value_of(Compare(claim.sign, *sides, sides[0].shape), after)
            if all(holds.entries) or left.entries == right.entries:
                name, left, right = f"whether {name} {claim.sign} {expression_text(sides[1])}", holds, _all_true(holds, arithmetic)
        return ((name, left, right),)

    return compare
