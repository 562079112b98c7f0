"""Quotients and roots of polynomials: denominators are letters, and an equation is decided after multiplying them out."""

from __future__ import annotations

from collections.abc import Callable
from fractions import Fraction
from math import isqrt

from nlc.verify.letters import UNIT, Inverse, Letter, Root
from nlc.verify.polynomial import (
    Factors,
    Polynomial,
    add,
    all_ones,
    letter_polynomial,
    number,
    ordered_factors,
    times_number,
    transpose,
)  # fmt: skip
from nlc.verify.products import multiply, power, scale, times, top_entries
from nlc.verify.words import elements, elementwise


def reciprocal(x: Polynomial) -> Polynomial:
    """One over x, elementwise; raises ZeroDivisionError for the number 0."""
    if x.is_zero:
        raise ZeroDivisionError("one over zero")
    if x.is_scalar:
        return _scalar_reciprocal(x)
    if x.rows == UNIT:
        return transpose(reciprocal(transpose(x)))
    if len(x.terms) > 1:
        leading = x.terms[x.ordered[0]]
        return times_number(1 / leading, _inverse_letter(times_number(1 / leading, x)))
    (((factors, word), coefficient),) = x.terms.items()
    scalar = _scalar_reciprocal(Polynomial(UNIT, UNIT, {(factors, ()): coefficient}))
    return scale(scalar, _word_reciprocal(Polynomial(x.rows, x.columns, {((), word): Fraction(1)})))


def _word_reciprocal(x: Polynomial) -> Polynomial:
    """One over a single word, elementwise; one over a root is the root over what it is the root of."""
    (((_, word), _),) = x.terms.items()
    for entry, exponent in top_entries(word, x.columns):
        match entry:
            case (Letter(meaning=Root(square), transposed=transposed),):
                rest = elementwise(elements(word, 1, x.columns) + elements(entry, -exponent, x.columns), x.rows, x.columns)
                below = reciprocal(transpose(square) if transposed else square)
                inverted = power(times(letter_polynomial(entry[0]), below), exponent)
                return times(inverted, _word_reciprocal(Polynomial(x.rows, x.columns, {((), rest): Fraction(1)})))
    inverted_word = elementwise(elements(word, -1, x.columns), x.rows, x.columns)
    return Polynomial(x.rows, x.columns, {((), inverted_word): Fraction(1)})


def root(x: Polynomial) -> Polynomial:
    """The elementwise square root."""
    value = x.number
    if value is not None and value >= 0:
        top, bottom = isqrt(value.numerator), isqrt(value.denominator)
        if top * top == value.numerator and bottom * bottom == value.denominator:
            return times_number(Fraction(top, bottom), all_ones(x.rows, x.columns))
    return _oriented(x, lambda turned: Letter(f"root[{turned.key}]", False, turned.rows, turned.columns, Root(turned)))


def _inverse_letter(x: Polynomial) -> Polynomial:
    return _oriented(x, lambda turned: Letter(f"inverse[{turned.key}]", False, turned.rows, turned.columns, Inverse(turned)))


def _oriented(x: Polynomial, letter: Callable[[Polynomial], Letter]) -> Polynomial:
    """An elementwise function of a matrix: one letter for x and for its transpose."""
    turned = transpose(x)
    if x.columns != UNIT and x.rows != UNIT and turned.key < x.key:
        return transpose(letter_polynomial(letter(turned)))
    return letter_polynomial(letter(x))


def _scalar_reciprocal(x: Polynomial) -> Polynomial:
    """Common factors are taken out first, so that what is left over is canonical."""
    cleared, multiplier = _cleared(x)
    content = _content(cleared)
    leading = cleared.terms[cleared.ordered[0]]
    rest = scale(Polynomial(UNIT, UNIT, {(_inverted(content), ()): 1 / leading}), cleared)
    outside = Polynomial(UNIT, UNIT, {(_inverted(content), ()): 1 / leading})
    return multiply(multiplier, outside if rest.number == 1 else multiply(outside, _inverse_letter(rest)))


def _content(x: Polynomial) -> Factors:
    """The scalar letters (roots aside) that divide every term."""
    first, *others = [dict(factors) for factors, _ in x.terms]
    letters = sorted({letter for factors in (first, *others) for letter in factors}, key=lambda letter: letter.text)
    lowest = {letter: min(factors.get(letter, 0) for factors in (first, *others)) for letter in letters}
    return tuple((letter, exponent) for letter, exponent in lowest.items() if exponent and not isinstance(letter.meaning, Root))


def _inverted(factors: Factors) -> Factors:
    return tuple((letter, -exponent) for letter, exponent in factors)


# --- multiplying denominators out ---------------------------------------------------------------------------------


def clear_denominators(x: Polynomial) -> Polynomial:
    """x times all its denominators: zero exactly when x is, wherever x is defined."""
    x, _ = _cleared(x)
    while (found := _inverse_entry(x)) is not None:
        x, _ = _cleared(_multiplied_out(x, *found))
    return x


def _cleared(x: Polynomial) -> tuple[Polynomial, Polynomial]:
    """x without scalar denominators, and what it was multiplied by."""
    multiplier = number(1)
    while (found := _inverse_factor(x)) is not None:
        letter, of = found
        highest = max(dict(factors).get(letter, 0) for factors, _ in x.terms)
        parts = []
        for (factors, word), coefficient in x.terms.items():
            exponents = dict(factors)
            missing = highest - exponents.pop(letter, 0)
            parts.append(scale(power(of, missing), Polynomial(x.rows, x.columns, {(ordered_factors(exponents), word): coefficient})))
        x, multiplier = add(*parts), multiply(multiplier, power(of, highest))
    return x, multiplier


def _inverse_factor(x: Polynomial) -> tuple[Letter, Polynomial] | None:
    """A scalar denominator, and what is one over."""
    for factors, _ in x.ordered:
        for letter, _ in factors:
            if isinstance(letter.meaning, Inverse):
                return letter, letter.meaning.of
    return None


def _inverse_entry(x: Polynomial) -> tuple[Letter, Polynomial, int] | None:
    """An elementwise denominator at the top of some word, what it is one over, and its highest exponent."""
    entries = [entry for _, word in x.ordered for entry in top_entries(word, x.columns)]
    for word, _ in entries:
        match word:
            case (Letter(meaning=Inverse(of), transposed=transposed) as letter,):
                highest = max(exponent for other, exponent in entries if other == word)
                return letter, transpose(of) if transposed else of, highest
    return None


def _multiplied_out(x: Polynomial, letter: Letter, of: Polynomial, highest: int) -> Polynomial:
    parts = []
    for (factors, word), coefficient in x.terms.items():
        mine = dict(top_entries(word, x.columns)).get((letter,), 0)
        rest = elementwise(elements(word, 1, x.columns) + elements((letter,), -mine, x.columns), x.rows, x.columns)
        parts.append(times(Polynomial(x.rows, x.columns, {(factors, rest): coefficient}), power(of, highest - mine)))
    return add(*parts)
