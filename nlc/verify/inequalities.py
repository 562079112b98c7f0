"""Claims that one side is less than the other: by the signs of the terms of the difference, else by search."""

from __future__ import annotations

from collections.abc import Iterator
from itertools import product

from nlc.ir.algebra import Expr, Map
from nlc.ir.claim import EqualityClaim
from nlc.ir.law import Laws
from nlc.ir.show import expression_text
from nlc.verify.letters import Function, Letter
from nlc.verify.normal_form import normal_form
from nlc.verify.polynomial import LimitReached, Polynomial, add, letter_polynomial, number, subtract
from nlc.verify.products import substituted
from nlc.verify.proofs import Step, needed, one_tick
from nlc.verify.signs import PART, REST, Signs, signs_of
from nlc.verify.spelling import spelled_text
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
    for form in _without_rounding(difference):
        if form.number is not None:
            holds = form.number > 0 if is_strict else form.number >= 0
        else:
            holds = _has_sign(form, signs, is_strict=is_strict)
        if holds:
            return _proof(difference, form, claim, (expression_text(above), expression_text(below)))
    return None


def _has_sign(form: Polynomial, signs: Signs, *, is_strict: bool) -> bool:
    """Whether the form, brought over denominators that are positive, is above zero."""
    if not form.is_scalar:
        return False
    return signs.is_positive(form) if is_strict else signs.at_least_zero(form)


def _proof(difference: Polynomial, form: Polynomial, claim: EqualityClaim, names: tuple[str, str]) -> Finding:
    relation = ">" if not claim.sign.endswith("=") else ">="
    gap = spelled_text(difference)
    trace = (
        Step(f"{names[0]} - ({names[1]})", gap, "normal form", ("calculus",)),
        Step(gap, f"{_text(form)} {relation} 0", "no term can be negative", ("calculus",)),
    )
    detail = f"the difference is {gap}, which is {relation} 0 for all positive values of the hyperparameters"
    return Finding(verdict="proved", method=METHOD, detail=detail, trace=trace)


def _text(form: Polynomial) -> str:
    return str(form.number) if form.number is not None else spelled_text(form)


def _without_rounding(x: Polynomial) -> Iterator[Polynomial]:
    """x with floor(y) as y less a part, or as y less 1 and the rest of that part, and ceil(y) likewise."""
    rounded = [letter for letter in _letters(x) if _function(letter) in ("floor", "ceil")]
    if len(rounded) > MOST_ROUNDED:
        return
    for choices in product((False, True), repeat=len(rounded)):
        form = x
        for letter, is_from_below in zip(rounded, choices, strict=True):
            form = substituted(form, letter, _as_part(letter, is_from_below=is_from_below))
        yield form


def _letters(x: Polynomial) -> list[Letter]:
    return sorted({letter for factors, _ in x.terms for letter, _ in factors}, key=lambda letter: letter.text)


def _function(letter: Letter) -> str:
    match letter.meaning:
        case Function(Map(function)):
            return function
    return ""


def _as_part(letter: Letter, *, is_from_below: bool) -> Polynomial:
    """floor(y) = y - part = y - 1 + rest, ceil(y) = y + part = y + 1 - rest, part being 0 or above it and rest above 0."""
    assert isinstance(letter.meaning, Function)
    name = (REST if is_from_below else PART) + spelled_text(letter_polynomial(letter))
    exact, part = letter.meaning.arguments[0], letter_polynomial(Letter(name))
    is_floor = _function(letter) == "floor"
    if not is_from_below:
        return subtract(exact, part) if is_floor else add(exact, part)
    return add(exact, part, number(-1)) if is_floor else subtract(add(exact, number(1)), part)
