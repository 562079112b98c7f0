"""Products of polynomials: of matrices, elementwise, with a scalar, and inner products; four joins of words in one double loop."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from fractions import Fraction

from nlc.ir.dims import Dim
from nlc.verify.effort import LimitReached, spend
from nlc.verify.letters import UNIT, Entries, Letter, Root, Scalar, Word
from nlc.verify.polynomial import (
    LIMIT,
    Factors,
    Monomial,
    Polynomial,
    accumulate,
    add,
    all_ones,
    ordered_factors,
    single,
    size,
    times_number,
    transpose,
)  # fmt: skip
from nlc.verify.words import elements, elementwise, entry_sum, normal_word

Join = Callable[[Word, Word], tuple[tuple[Scalar, ...], Word]]
"""How two words make one, and the scalars that come out."""


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
    """An elementwise power, the exponent 0 or more."""
    result = all_ones(x.rows, x.columns)
    for _ in range(exponent):
        result = times(result, x)
    return result


def substituted(x: Polynomial, letter: Letter, value: Polynomial) -> Polynomial:
    """x with a scalar letter that only has positive exponents replaced by its value."""
    parts = [times_number(0, x)]
    for (factors, word), coefficient in x.terms.items():
        exponents = dict(factors)
        exponent = exponents.pop(letter, 0)
        rest = Polynomial(x.rows, x.columns, {(ordered_factors(exponents), word): coefficient})
        parts.append(scale(power(value, exponent), rest))
    return add(*parts)


def top_entries(word: Word, columns: Dim) -> Entries:
    """The elementwise factors at the top of a word: of a column all, of a matrix those of its core."""
    if columns == UNIT and not word:
        return ()
    found = elements(word, 1, columns)
    return found.left if columns == UNIT else found.cores


def _bilinear(left: Polynomial, right: Polynomial, join: Join, rows: Dim, columns: Dim) -> Polynomial:
    """Every term of the left with every term of the right, their words joined."""
    if len(left.terms) * len(right.terms) > LIMIT:
        raise LimitReached(f"a product of {len(left.terms)} by {len(right.terms)} terms")
    spend(len(left.terms) * len(right.terms))
    terms: dict[Monomial, Fraction] = {}
    for (left_factors, left_word), left_coefficient in left.terms.items():
        for (right_factors, right_word), right_coefficient in right.terms.items():
            scalars, word = join(left_word, right_word)
            factors = _merged_factors(left_factors, right_factors, scalars)
            coefficient = left_coefficient * right_coefficient
            for (more, _), multiple in _sizes(scalars).items():
                accumulate(terms, (((_merged_factors(factors, more), word), coefficient * multiple),))
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
    return ordered_factors(exponents)


def _settle_factors(x: Polynomial) -> Polynomial:
    """Whole powers of scalar roots replaced by what they are roots of."""
    roots = {letter for factors, _ in x.terms for letter, exponent in factors if isinstance(letter.meaning, Root) and exponent > 1}
    if not roots:
        return x
    parts = []
    for (factors, word), coefficient in x.terms.items():
        odd = tuple((letter, exponent % 2 if letter in roots else exponent) for letter, exponent in factors)
        part = Polynomial(x.rows, x.columns, {(ordered_factors(dict(odd)), word): coefficient})
        for letter, exponent in factors:
            if isinstance(letter.meaning, Root):
                part = scale(power(letter.meaning.square, exponent // 2), part)
        parts.append(part)
    return add(*parts)


def _settle_words(x: Polynomial) -> Polynomial:
    """Whole elementwise powers of roots at the top of words replaced by what they are roots of."""
    return add(times_number(0, x), *(_settled_word(x, monomial) for monomial in x.terms))


def _settled_word(x: Polynomial, monomial: Monomial) -> Polynomial:
    """One term of x, settled."""
    term, word = single(x, monomial), monomial[1]
    for entry, exponent in top_entries(word, x.columns):
        match entry:
            case (Letter(meaning=Root(square), transposed=transposed),) if exponent > 1:
                whole = exponent - exponent % 2
                rest = elementwise(elements(word, 1, x.columns) + elements(entry, -whole, x.columns), x.rows, x.columns)
                settled = Polynomial(x.rows, x.columns, {(monomial[0], rest): x.terms[monomial]})
                return times(settled, power(transpose(square) if transposed else square, whole // 2))
    return term
