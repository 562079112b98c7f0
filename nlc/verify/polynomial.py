"""Noncommutative matrix polynomials over symbolic dims: sums of number x scalar letters x one word.

Equal polynomials have equal terms, so an identity that follows from the ring axioms, transposition and the commuting of scalars is
decided by comparing. This module makes them and adds them; `products` multiplies, `quotients` divides.
"""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from dataclasses import dataclass
from fractions import Fraction

from nlc.ir.algebra import Size
from nlc.ir.dims import Dim
from nlc.verify.letters import UNIT, Atom, Letter, Word, flip_word, ones, word_text

LIMIT = 20_000
"""The most terms that a product may have before collecting."""

Factors = tuple[tuple[Letter, int], ...]
"""Scalar letters with their exponents, in canonical order."""

Monomial = tuple[Factors, Word]


@dataclass(frozen=True, slots=True)
class Polynomial:
    """A matrix of borders `rows` and `columns` (a vector has one column, a scalar also one row); no term has coefficient 0."""

    rows: Dim
    columns: Dim
    terms: Mapping[Monomial, Fraction]

    @property
    def is_zero(self) -> bool:
        return not self.terms

    @property
    def is_scalar(self) -> bool:
        return self.rows == UNIT and self.columns == UNIT

    @property
    def number(self) -> Fraction | None:
        """The value of a scalar that is just a number."""
        if not self.terms:
            return Fraction(0)
        return self.terms.get(((), ())) if self.is_scalar and len(self.terms) == 1 else None

    @property
    def key(self) -> str:
        """A text that equal polynomials, and no others, share."""
        return " + ".join(f"{self.terms[monomial]}*{monomial_text(monomial)}" for monomial in self.ordered)

    @property
    def ordered(self) -> list[Monomial]:
        return sorted(self.terms, key=monomial_text)


def monomial_text(monomial: Monomial) -> str:
    """The monomial's name, which no other monomial shares."""
    factors, word = monomial
    return f"{'*'.join(f'{letter.text}^{exponent}' for letter, exponent in factors)}|{word_text(word)}"


# --- making ------------------------------------------------------------------------------------------------------


def number(value: Fraction | int) -> Polynomial:
    """A number as a scalar."""
    return Polynomial(UNIT, UNIT, {((), ()): Fraction(value)} if value else {})


def letter_polynomial(letter: Letter) -> Polynomial:
    """One letter."""
    monomial: Monomial = (((letter, 1),), ()) if letter.is_scalar else ((), (letter,))
    return Polynomial(letter.rows, letter.columns, {monomial: Fraction(1)})


def identity(dim: Dim) -> Polynomial:
    """The identity matrix."""
    return Polynomial(dim, dim, {((), ()): Fraction(1)})


def single(x: Polynomial, monomial: Monomial) -> Polynomial:
    """One term of x."""
    return Polynomial(x.rows, x.columns, {monomial: x.terms[monomial]})


def all_ones(rows: Dim, columns: Dim) -> Polynomial:
    """The matrix (or column, or scalar) of ones."""
    column = () if rows == UNIT else (ones(rows),)
    row = () if columns == UNIT else flip_word((ones(columns),))
    return Polynomial(rows, columns, {((), column + row): Fraction(1)})


def size(dim: Dim) -> Polynomial:
    """The size of a dim, as a scalar."""
    terms: dict[Monomial, Fraction] = {}
    for names, coefficient in dim.terms:
        letters = [(Letter(f"size:{name}", meaning=Atom(Size(Dim.named(name)))), exponent) for name, exponent in names]
        terms[ordered_factors(dict(letters)), ()] = coefficient
    return Polynomial(UNIT, UNIT, terms)


# --- adding ------------------------------------------------------------------------------------------------------


def add(*polynomials: Polynomial) -> Polynomial:
    """The sum of polynomials of one shape."""
    terms: dict[Monomial, Fraction] = {}
    for polynomial in polynomials:
        accumulate(terms, polynomial.terms.items())
    return Polynomial(polynomials[0].rows, polynomials[0].columns, terms)


def times_number(value: Fraction | int, polynomial: Polynomial) -> Polynomial:
    """A number times anything."""
    terms = {monomial: value * coefficient for monomial, coefficient in polynomial.terms.items()} if value else {}
    return Polynomial(polynomial.rows, polynomial.columns, terms)


def subtract(left: Polynomial, right: Polynomial) -> Polynomial:
    """left - right."""
    return add(left, times_number(-1, right))


def transpose(polynomial: Polynomial) -> Polynomial:
    """The transposed matrix; of a scalar, itself."""
    terms = {(factors, flip_word(word)): coefficient for (factors, word), coefficient in polynomial.terms.items()}
    return Polynomial(polynomial.columns, polynomial.rows, terms)


def accumulate(terms: dict[Monomial, Fraction], more: Iterable[tuple[Monomial, Fraction]]) -> None:
    """Add terms to a sum that is being built, and drop what becomes zero."""
    for monomial, coefficient in more:
        total = terms.get(monomial, 0) + coefficient
        if total:
            terms[monomial] = total
        else:
            terms.pop(monomial, None)


def ordered_factors(exponents: Mapping[Letter, int]) -> Factors:
    """Exponents of scalar letters in canonical order, zeros dropped."""
    return tuple(sorted(((letter, exponent) for letter, exponent in exponents.items() if exponent), key=lambda item: item[0].text))
