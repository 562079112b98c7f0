"""Noncommutative matrix polynomials over symbolic dims: sums of number x scalar letters x one word, and their arithmetic.

Equal polynomials are equal objects, so an identity that follows from the ring axioms, transposition and the commuting of scalars is
decided by comparing. Denominators are letters; `clear_denominators` removes them by multiplying them out.
"""

from __future__ import annotations

from collections.abc import Callable, Iterable, Mapping
from dataclasses import dataclass
from fractions import Fraction
from math import isqrt

from nlc.ir.algebra import Size
from nlc.ir.dims import Dim
from nlc.verify.words import (
    UNIT,
    Atom,
    Inverse,
    Letter,
    Root,
    Scalar,
    Word,
    elements,
    elementwise,
    entry_sum,
    flip_word,
    normal_word,
    ones,
    word_text,
)  # fmt: skip

LIMIT = 20_000
"""The most terms that a product may have before collecting."""

Factors = tuple[tuple[Letter, int], ...]
"""Scalar letters with their exponents, in canonical order."""

Monomial = tuple[Factors, Word]

Join = Callable[[Word, Word], tuple[tuple[Scalar, ...], Word]]


class LimitReached(Exception):
    """The normal form would have more than `LIMIT` terms."""


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


def all_ones(rows: Dim, columns: Dim) -> Polynomial:
    """The matrix (or column) of ones."""
    column = letter_polynomial(ones(rows)) if rows != UNIT else number(1)
    row = transpose(letter_polynomial(ones(columns))) if columns != UNIT else number(1)
    return multiply(column, row)


def size(dim: Dim) -> Polynomial:
    """The size of a dim, as a scalar."""
    terms: dict[Monomial, Fraction] = {}
    for names, coefficient in dim.terms:
        letters = [(Letter(f"size:{name}", meaning=Atom(Size(Dim.named(name)))), exponent) for name, exponent in names]
        terms[_ordered_factors(dict(letters)), ()] = coefficient
    return Polynomial(UNIT, UNIT, terms)


# --- arithmetic --------------------------------------------------------------------------------------------------


def add(*polynomials: Polynomial) -> Polynomial:
    """The sum of polynomials of one shape."""
    terms: dict[Monomial, Fraction] = {}
    for polynomial in polynomials:
        _accumulate(terms, polynomial.terms.items())
    return Polynomial(polynomials[0].rows, polynomials[0].columns, terms)


def times_number(value: Fraction | int, polynomial: Polynomial) -> Polynomial:
    terms = {monomial: value * coefficient for monomial, coefficient in polynomial.terms.items()} if value else {}
    return Polynomial(polynomial.rows, polynomial.columns, terms)


def subtract(left: Polynomial, right: Polynomial) -> Polynomial:
    return add(left, times_number(-1, right))


def transpose(polynomial: Polynomial) -> Polynomial:
    terms = {(factors, flip_word(word)): coefficient for (factors, word), coefficient in polynomial.terms.items()}
    return Polynomial(polynomial.columns, polynomial.rows, terms)


def scale(by: Polynomial, x: Polynomial) -> Polynomial:
    """A scalar times anything."""
    return _bilinear(by, x, lambda _, word: ((), word), x.rows, x.columns)


def multiply(left: Polynomial, right: Polynomial) -> Polynomial:
    """The matrix product."""

    def join(first: Word, second: Word) -> tuple[tuple[Scalar, ...], Word]:
        return normal_word(first + second) if first and second else ((), first + second)

    return _bilinear(left, right, join, left.rows, right.columns)


def times(left: Polynomial, right: Polynomial) -> Polynomial:
    """The elementwise product of equal shapes."""
    rows, columns = left.rows, left.columns
    if left.is_scalar:
        return multiply(left, right)
    if rows == UNIT:
        return transpose(times(transpose(left), transpose(right)))

    def join(first: Word, second: Word) -> tuple[tuple[Scalar, ...], Word]:
        return (), elementwise(elements(first, 1, columns) + elements(second, 1, columns), rows, columns)

    return _settle_words(_bilinear(left, right, join, rows, columns))


def dot(left: Polynomial, right: Polynomial) -> Polynomial:
    """The sum of the products of the entries of equal shapes."""
    rows, columns = left.rows, left.columns
    if left.is_scalar:
        return multiply(left, right)
    if rows == UNIT:
        return dot(transpose(left), transpose(right))

    def join(first: Word, second: Word) -> tuple[tuple[Scalar, ...], Word]:
        return entry_sum(elements(first, 1, columns) + elements(second, 1, columns), rows, columns), ()

    return _bilinear(left, right, join, UNIT, UNIT)


def power(x: Polynomial, exponent: int) -> Polynomial:
    """An elementwise whole power; negative ones are powers of the reciprocal."""
    base = x if exponent >= 0 else reciprocal(x)
    result = all_ones(x.rows, x.columns)
    for _ in range(abs(exponent)):
        result = times(result, base)
    return result


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
    inverted = elementwise(elements(word, -1, x.columns), x.rows, x.columns)
    scalar = _scalar_reciprocal(Polynomial(UNIT, UNIT, {(factors, ()): coefficient}))
    return _settle_words(scale(scalar, Polynomial(x.rows, x.columns, {((), inverted): Fraction(1)})))


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


# --- denominators ------------------------------------------------------------------------------------------------


def clear_denominators(x: Polynomial) -> Polynomial:
    """x times all its denominators: zero exactly when x is, wherever x is defined."""
    cleared, _ = _cleared(x)
    while (found := _inverse_entry(cleared)) is not None:
        letter, exponent = found
        assert isinstance(letter.meaning, Inverse)
        cleared = _cleared(_multiplied_out(cleared, letter, letter.meaning.of, exponent))[0]
    return cleared


def _cleared(x: Polynomial) -> tuple[Polynomial, Polynomial]:
    """x without scalar denominators, and what it was multiplied by."""
    multiplier = number(1)
    while (letter := _inverse_factor(x)) is not None:
        assert isinstance(letter.meaning, Inverse)
        exponent = max(dict(factors).get(letter, 0) for factors, _ in x.terms)
        of = letter.meaning.of
        parts = []
        for (factors, word), coefficient in x.terms.items():
            mine = dict(factors).get(letter, 0)
            rest = tuple(item for item in factors if item[0] != letter)
            parts.append(scale(power(of, exponent - mine), Polynomial(x.rows, x.columns, {(rest, word): coefficient})))
        x = add(*parts)
        multiplier = multiply(multiplier, power(of, exponent))
    return x, multiplier


def _inverse_factor(x: Polynomial) -> Letter | None:
    return next((letter for factors, _ in x.ordered for letter, _ in factors if isinstance(letter.meaning, Inverse)), None)


def _inverse_entry(x: Polynomial) -> tuple[Letter, int] | None:
    """An elementwise denominator at the top of some word, with its highest exponent."""
    entries = [entry for _, word in x.ordered for entry in top_entries(word, x.columns)]
    letter = next((word[0] for word, _ in entries if len(word) == 1 and isinstance(word[0].meaning, Inverse)), None)
    return (letter, max(exponent for word, exponent in entries if word == (letter,))) if letter is not None else None


def _multiplied_out(x: Polynomial, letter: Letter, of: Polynomial, exponent: int) -> Polynomial:
    parts = []
    for (factors, word), coefficient in x.terms.items():
        mine = next((power_ for entry, power_ in top_entries(word, x.columns) if entry == (letter,)), 0)
        rest = elementwise(elements(word, 1, x.columns) + elements((letter,), -mine, x.columns), x.rows, x.columns)
        denominator = transpose(of) if letter.transposed else of
        parts.append(times(Polynomial(x.rows, x.columns, {(factors, rest): coefficient}), power(denominator, exponent - mine)))
    return add(*parts)


def top_entries(word: Word, columns: Dim) -> tuple[tuple[Word, int], ...]:
    """The elementwise factors at the top of a word: of a column all, of a matrix those of its core."""
    if columns == UNIT and not word:
        return ()
    found = elements(word, 1, columns)
    return found.left if columns == UNIT else found.cores


# --- bookkeeping -------------------------------------------------------------------------------------------------


def _bilinear(left: Polynomial, right: Polynomial, join: Join, rows: Dim, columns: Dim) -> Polynomial:
    """Every term of the left with every term of the right, their words joined."""
    if len(left.terms) * len(right.terms) > LIMIT:
        raise LimitReached(f"a product of {len(left.terms)} by {len(right.terms)} terms")
    terms: dict[Monomial, Fraction] = {}
    for (left_factors, left_word), left_coefficient in left.terms.items():
        for (right_factors, right_word), right_coefficient in right.terms.items():
            scalars, word = join(left_word, right_word)
            factors = _merged_factors(left_factors, right_factors, scalars)
            coefficient = left_coefficient * right_coefficient
            for (more, _), multiple in _sizes(scalars).items():
                _accumulate(terms, (((_merged_factors(factors, more), word), coefficient * multiple),))
    return _settle_factors(Polynomial(rows, columns, terms))


def _sizes(scalars: tuple[Scalar, ...]) -> Mapping[Monomial, Fraction]:
    dims = [scalar for scalar in scalars if isinstance(scalar, Dim)]
    return size(_dim_product(dims)).terms


def _dim_product(dims: list[Dim]) -> Dim:
    product = UNIT
    for dim in dims:
        product = product * dim
    return product


def _merged_factors(left: Factors, right: Factors, scalars: tuple[Scalar, ...] = ()) -> Factors:
    if not right and not scalars:
        return left
    exponents = dict(left)
    for letter, exponent in right:
        exponents[letter] = exponents.get(letter, 0) + exponent
    for scalar in scalars:
        if isinstance(scalar, Letter):
            exponents[scalar] = exponents.get(scalar, 0) + 1
    return _ordered_factors(exponents)


def _ordered_factors(exponents: Mapping[Letter, int]) -> Factors:
    return tuple(sorted(((letter, exponent) for letter, exponent in exponents.items() if exponent), key=lambda item: item[0].text))


def _accumulate(terms: dict[Monomial, Fraction], more: Iterable[tuple[Monomial, Fraction]]) -> None:
    for monomial, coefficient in more:
        total = terms.get(monomial, 0) + coefficient
        if total:
            terms[monomial] = total
        else:
            terms.pop(monomial, None)


def _settle_factors(x: Polynomial) -> Polynomial:
    """Whole powers of scalar roots replaced by what they are roots of."""
    if not any(_is_whole_root(letter, exponent) for factors, _ in x.terms for letter, exponent in factors):
        return x
    parts = []
    for (factors, word), coefficient in x.terms.items():
        rest, whole = _without_roots(factors)
        part = Polynomial(x.rows, x.columns, {(rest, word): coefficient})
        for square, exponent in whole:
            part = scale(power(square, exponent), part)
        parts.append(part)
    return add(*parts)


def _is_whole_root(letter: Letter, exponent: int) -> bool:
    return isinstance(letter.meaning, Root) and exponent != 1


def _without_roots(factors: Factors) -> tuple[Factors, list[tuple[Polynomial, int]]]:
    rest: list[tuple[Letter, int]] = []
    whole: list[tuple[Polynomial, int]] = []
    for letter, exponent in factors:
        if isinstance(letter.meaning, Root) and exponent != 1:
            whole.append((letter.meaning.square, exponent // 2))
            rest.extend([(letter, 1)] if exponent % 2 else [])
        else:
            rest.append((letter, exponent))
    return tuple(rest), whole


def _settle_words(x: Polynomial) -> Polynomial:
    """Whole elementwise powers of roots at the top of words replaced by what they are roots of."""
    parts = [_settled_word(x, monomial) for monomial in x.terms]
    return add(*parts) if parts else x


def _settled_word(x: Polynomial, monomial: Monomial) -> Polynomial:
    """One term of x, settled."""
    factors, word = monomial
    for entry, exponent in top_entries(word, x.columns):
        match entry:
            case (Letter(meaning=Root(square), transposed=transposed),) if exponent != 1:
                whole = exponent - exponent % 2
                rest = elementwise(elements(word, 1, x.columns) + elements(entry, -whole, x.columns), x.rows, x.columns)
                settled = times_number(x.terms[monomial], Polynomial(x.rows, x.columns, {(factors, rest): Fraction(1)}))
                return times(settled, power(transpose(square) if transposed else square, whole // 2))
    return Polynomial(x.rows, x.columns, {monomial: x.terms[monomial]})
