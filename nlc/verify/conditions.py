"""A claim that does not hold in general -> conditions on its scalars under which it does."""

from __future__ import annotations

from collections.abc import Iterator
from fractions import Fraction
from itertools import combinations

from nlc.ir.algebra import Expr, Hyperparameter, Input
from nlc.ir.build import constant
from nlc.ir.claim import EqualityClaim
from nlc.ir.law import Laws
from nlc.ir.show import expression_text
from nlc.verify.given import decided
from nlc.verify.letters import UNIT, Letter, Word, word_text
from nlc.verify.normal_form import leaf_text, normal_form
from nlc.verify.polynomial import LimitReached, Monomial, Polynomial, number, ordered_factors, times_number
from nlc.verify.products import multiply
from nlc.verify.proofs import free_leaves, needed
from nlc.verify.quotients import clear_denominators, reciprocal
from nlc.verify.spelling import spelled
from nlc.verify.verdict import expected_conditions

MOST_SCALARS = 6

Condition = tuple[Expr, Expr]


def sufficient(sides: tuple[Expr, Expr], claim: EqualityClaim, laws: Laws, residual: Polynomial) -> tuple[str, ...]:
    """Conditions on scalars under which the claim holds: those that it expects, else one among equal, one and zero, else one solved for."""
    scalars = _scalars(sides, claim, laws)
    expected = expected_conditions(claim.expect)
    wished = _wished(expected, scalars)
    if wished:
        return tuple(wished) if _holds(sides, claim, laws, tuple(wished.values())) else ()
    for text, condition in (*_candidates(scalars), *_solved(scalars, residual)):
        if (not expected or _words(text) == _words(" and ".join(expected))) and _holds(sides, claim, laws, (condition,)):
            return (text,)
    return ()


def _words(text: str) -> str:
    return text.replace(" ", "")


def _scalars(sides: tuple[Expr, Expr], claim: EqualityClaim, laws: Laws) -> list[Expr]:
    given = {leaf for leaf, _ in claim.given}
    leaves = free_leaves(needed(laws, *sides), *sides)
    return [leaf for leaf in leaves if isinstance(leaf, Hyperparameter | Input) and leaf.shape == () and leaf not in given]


def _candidates(scalars: list[Expr]) -> Iterator[tuple[str, Condition]]:
    """Two of the scalars equal, or one of them 1 or 0."""
    if len(scalars) > MOST_SCALARS:
        return
    pairs: list[Condition] = [(first, second) for first, second in combinations(scalars, 2)]
    pairs += [(scalar, constant(number)) for number in (1, 0) for scalar in scalars]
    for left, right in pairs:
        yield f"{expression_text(left)} == {expression_text(right)}", (left, right)


def _solved(scalars: list[Expr], residual: Polynomial) -> Iterator[tuple[str, Condition]]:
    """A scalar as what makes the coefficient of one product in the difference zero, where that is linear in it."""
    cleared = clear_denominators(residual)
    for scalar in scalars:
        letter = Letter(leaf_text(scalar))
        for word in sorted({word for _, word in cleared.terms}, key=word_text):
            slope, rest = _linear(cleared, word, letter)
            if slope is not None and not slope.is_zero:
                value = spelled(multiply(times_number(-1, rest), reciprocal(slope)))
                yield f"{expression_text(scalar)} == {expression_text(value)}", (scalar, value)


def _linear(x: Polynomial, word: Word, letter: Letter) -> tuple[Polynomial | None, Polynomial]:
    """The coefficient of a word as slope * letter + rest; without a slope when it is not linear in the letter."""
    slope: dict[Monomial, Fraction] = {}
    rest: dict[Monomial, Fraction] = {}
    for (factors, other), coefficient in x.terms.items():
        if other == word:
            exponents = dict(factors)
            exponent = exponents.pop(letter, 0)
            if exponent not in (0, 1):
                return None, number(0)
            (slope if exponent else rest)[ordered_factors(exponents), ()] = coefficient
    return Polynomial(UNIT, UNIT, slope), Polynomial(UNIT, UNIT, rest)


def _wished(conditions: tuple[str, ...], scalars: list[Expr]) -> dict[str, Condition]:
    """The expected conditions `name == name` or `name == number`; nothing when one is of another kind."""
    names: dict[str, Expr] = {expression_text(scalar): scalar for scalar in scalars}
    found: dict[str, Condition] = {}
    for text in conditions:
        left, _, right = (part.strip() for part in text.partition("=="))
        value = names.get(right, _number(right))
        if left not in names or value is None:
            return {}
        found[text] = (names[left], value)
    return found


def _number(text: str) -> Expr | None:
    try:
        return constant(Fraction(text))
    except (ValueError, ZeroDivisionError):
        return None


def _holds(sides: tuple[Expr, Expr], claim: EqualityClaim, laws: Laws, conditions: tuple[Condition, ...]) -> bool:
    known: dict[Expr, Polynomial] = {}
    for leaf, value in conditions:
        known[leaf] = normal_form(value, known)
    try:
        return decided(sides, claim, laws, known).holds
    except (LimitReached, ZeroDivisionError):
        return False
