"""Claims that one side is less than the other: by the signs of the terms of the difference, else by search."""

from __future__ import annotations

from collections.abc import Iterator
from itertools import product

from nlc.ir.algebra import Expr, Map, Named
from nlc.ir.build import subtract as subtract_nodes
from nlc.ir.claim import EqualityClaim
from nlc.ir.law import Laws
from nlc.ir.show import expression_text
from nlc.verify.effort import LimitReached
from nlc.verify.letters import Function, Letter
from nlc.verify.normal_form import normal_form
from nlc.verify.polynomial import Polynomial, add, letter_polynomial, number, subtract
from nlc.verify.products import substituted
from nlc.verify.proofs import RULE, Step, StepKind, bound_steps, law_steps, needed, one_tick
from nlc.verify.signs import PART, REST, Signs, signs_of
from nlc.verify.spelling import spelled, spelled_text
from nlc.verify.verdict import Finding

METHOD = "signs of the terms of the difference"
MOST_ROUNDED = 4


def proved_inequality(sides: tuple[Expr, Expr], claim: EqualityClaim, laws: Laws) -> Finding | None:
    """The proof that the sides compare as their sign says; None when the signs of terms do not show it."""
    above, below = sides if claim.sign.startswith(">") else sides[::-1]
    values = one_tick(needed(laws, *sides), {leaf: normal_form(value) for leaf, value in claim.given}, normal_form)
    try:
        difference = subtract(normal_form(above, values), normal_form(below, values))
    except (LimitReached, ZeroDivisionError):
        return None
    signs = signs_of(laws.order.model, claim.bounds)
    is_strict = not claim.sign.endswith("=")
    for form, parts in _without_rounding(difference):
        if form.number is not None:
            holds = form.number > 0 if is_strict else form.number >= 0
        else:
            holds = _has_sign(form, signs, is_strict=is_strict)
        if holds:
            known = (*_given(claim), *law_steps(needed(laws, *sides)), *bound_steps(signs, *sides), *parts)
            return _proof(subtract_nodes(above, below), difference, form, known, is_strict=is_strict)
    return None


def claimed_inequality(sides: tuple[Expr, Expr], claim: EqualityClaim, laws: Laws) -> tuple[Step, ...]:
    """What is claimed, for whoever looks at a counterexample again."""
    left, right = (expression_text(side) for side in sides)
    conclusion = Step(left, right, f"what was to be shown, with the sign {claim.sign}", (), "conclusion", sides)
    signs = signs_of(laws.order.model, claim.bounds)
    return (*_given(claim), *law_steps(needed(laws, *sides)), *bound_steps(signs, *sides), conclusion)


def _has_sign(form: Polynomial, signs: Signs, *, is_strict: bool) -> bool:
    """Whether the form, brought over denominators that are positive, is above zero."""
    if not form.is_scalar:
        return False
    return signs.is_positive(form) if is_strict else signs.at_least_zero(form)


def _proof(claimed: Expr, difference: Polynomial, form: Polynomial, known: tuple[Step, ...], *, is_strict: bool) -> Finding:
    relation = ">" if is_strict else ">="
    gap, seen = spelled(difference), spelled(form)
    sign: StepKind = "positive" if is_strict else "nonnegative"
    text = expression_text(seen)
    trace = (
        *known,
        Step(expression_text(claimed), expression_text(gap), RULE, ("calculus",), "equality", (claimed, gap)),
        Step(expression_text(gap), text, "what rounding cuts off has a name", ("calculus",), "equality", (gap, seen)),
        Step(text, f"{relation} 0", "no term can be negative", ("calculus",), sign, (seen,)),
        Step(expression_text(claimed), text, "what was to be shown", (), "conclusion", (claimed, seen)),
    )
    detail = f"the difference is {expression_text(gap)}, which is {relation} 0 for all positive values of the hyperparameters"
    return Finding(verdict="proved", method=METHOD, detail=detail, trace=trace)


def _given(claim: EqualityClaim) -> Iterator[Step]:
    for leaf, value in claim.given:
        yield Step(expression_text(leaf), expression_text(value), "what is given", (), "definition", (leaf, value))


def _without_rounding(x: Polynomial) -> Iterator[tuple[Polynomial, tuple[Step, ...]]]:
    """x with floor(y) as y less a part, or as y less 1 and the rest of that part, and ceil(y) likewise; and what the parts are."""
    rounded = [letter for letter in _letters(x) if _function(letter) in ("floor", "ceil")]
    if len(rounded) > MOST_ROUNDED:
        return
    for choices in product((False, True), repeat=len(rounded)):
        form, parts = x, []
        for letter, is_rest in zip(rounded, choices, strict=True):
            form = substituted(form, letter, _as_part(letter, is_rest=is_rest))
            parts.append(_part_step(letter, is_rest=is_rest))
        yield form, tuple(parts)


def _part_step(letter: Letter, *, is_rest: bool) -> Step:
    """The name of what a rounding cuts off; its kind says what it is, of what is rounded."""
    assert isinstance(letter.meaning, Function)
    name, rounded = _part_name(letter, is_rest=is_rest), spelled(letter.meaning.arguments[0])
    rule = f"{'the rest' if is_rest else 'the part'} of {_function(letter)}"
    return Step(name, f"{rule} of {expression_text(rounded)}", rule, (), "part", (Named(name, ()), rounded))


def _part_name(letter: Letter, *, is_rest: bool) -> str:
    return (REST if is_rest else PART) + spelled_text(letter_polynomial(letter))


def _letters(x: Polynomial) -> list[Letter]:
    return sorted({letter for factors, _ in x.terms for letter, _ in factors}, key=lambda letter: letter.text)


def _function(letter: Letter) -> str:
    match letter.meaning:
        case Function(Map(function)):
            return function
    return ""


def _as_part(letter: Letter, *, is_rest: bool) -> Polynomial:
    """floor(y) = y - part = y - 1 + rest, ceil(y) = y + part = y + 1 - rest, part being 0 or above it and rest above 0."""
    assert isinstance(letter.meaning, Function)
    exact, part = letter.meaning.arguments[0], letter_polynomial(Letter(_part_name(letter, is_rest=is_rest)))
    is_floor = _function(letter) == "floor"
    if not is_rest:
        return subtract(exact, part) if is_floor else add(exact, part)
    return add(exact, part, number(-1)) if is_floor else subtract(add(exact, number(1)), part)
