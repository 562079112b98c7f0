"""Sizes as names: a `Dim` is an exact polynomial in dimension names, compared by name and never by default value."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from fractions import Fraction

Monomial = tuple[tuple[str, int], ...]
"""Names with their exponents, sorted by name; an exponent may be negative (`d_model / heads`)."""


@dataclass(frozen=True, slots=True)
class Dim:
    """A sum of monomials with rational coefficients, in canonical order: equal dims are equal objects."""

    terms: tuple[tuple[Monomial, Fraction], ...]

    @staticmethod
    def named(name: str) -> Dim:
        return Dim(((((name, 1),), Fraction(1)),))

    @staticmethod
    def number(value: Fraction | int) -> Dim:
        return _dim({(): Fraction(value)})

    def __add__(self, other: Dim) -> Dim:
        terms = dict(self.terms)
        for monomial, coefficient in other.terms:
            terms[monomial] = terms.get(monomial, Fraction(0)) + coefficient
        return _dim(terms)

    def __sub__(self, other: Dim) -> Dim:
        return self + Dim.number(-1) * other

    def __mul__(self, other: Dim) -> Dim:
        terms: dict[Monomial, Fraction] = {}
        for left, left_coefficient in self.terms:
            for right, right_coefficient in other.terms:
                monomial = _product(left, right)
                terms[monomial] = terms.get(monomial, Fraction(0)) + left_coefficient * right_coefficient
        return _dim(terms)

    def __truediv__(self, other: Dim) -> Dim:
        """Division by a single monomial; raises ValueError for a sum or zero."""
        if len(other.terms) != 1:
            raise ValueError(f"a dim can be divided by a product of names and numbers, not by {other}")
        (monomial, coefficient) = other.terms[0]
        inverse = tuple((name, -exponent) for name, exponent in monomial)
        return self * Dim(((inverse, 1 / coefficient),))

    @property
    def names(self) -> frozenset[str]:
        return frozenset(name for monomial, _ in self.terms for name, _ in monomial)

    @property
    def name(self) -> str | None:
        """The dim's name when it is just one name."""
        match self.terms:
            case (((((name, 1),)), coefficient),) if coefficient == 1:
                return name
        return None

    def substitute(self, replacement: Mapping[str, Dim]) -> Dim:
        """This dim with names replaced (used to identify dims, and to inline definitions)."""
        total = Dim.number(0)
        for monomial, coefficient in self.terms:
            term = Dim.number(coefficient)
            for name, exponent in monomial:
                factor = replacement.get(name, Dim.named(name))
                for _ in range(abs(exponent)):
                    term = term * factor if exponent > 0 else term / factor
            total = total + term
        return total

    def value(self, sizes: Mapping[str, int]) -> Fraction:
        """The number this dim is under given sizes of its names; raises KeyError for a missing name."""
        total = Fraction(0)
        for monomial, coefficient in self.terms:
            term = coefficient
            for name, exponent in monomial:
                term *= Fraction(sizes[name]) ** exponent
            total += term
        return total

    def size(self, sizes: Mapping[str, int]) -> int:
        """The size under given sizes of its names; raises ValueError unless it is a whole number of 1 or more."""
        value = self.value(sizes)
        if value.denominator != 1 or value < 1:
            raise ValueError(f"{self} is {value}, not a whole number of 1 or more")
        return int(value)

    def __str__(self) -> str:
        terms = sorted(self.terms, key=lambda term: term[1] < 0)
        return " + ".join(_term_text(monomial, coefficient) for monomial, coefficient in terms).replace(" + -", " - ") or "0"


Shape = tuple[Dim, ...]
"""() is a scalar, (n,) a vector, (rows, columns) a matrix."""

LIKE_WEIGHTS = Dim.named("like(weights)")
"""The size of an optimizer's `like(weights)`: all entries of a parameter tensor, as one vector."""

ROWS, COLUMNS = Dim.named("rows(weights)"), Dim.named("columns(weights)")
"""The sizes of `like(weights)` in an optimizer of matrices."""

ENTRIES: Shape = (LIKE_WEIGHTS,)
MATRIX: Shape = (ROWS, COLUMNS)
"""What `like(weights)` can be: in most optimizers its entries, of whatever rank it is; in one of matrices a matrix."""


def shape_text(shape: Shape) -> str:
    """`scalar`, `vector (d_k)`, `matrix (d_v, d_k)`."""
    kinds = ("scalar", "vector", "matrix")
    if not shape:
        return kinds[0]
    if shape in (ENTRIES, MATRIX):
        return "like(weights)"
    kind = kinds[len(shape)] if len(shape) < len(kinds) else "array"
    return f"{kind} ({', '.join(str(dim) for dim in shape)})"


def _dim(terms: Mapping[Monomial, Fraction]) -> Dim:
    return Dim(tuple(sorted((monomial, value) for monomial, value in terms.items() if value)))


def _product(left: Monomial, right: Monomial) -> Monomial:
    exponents = dict(left)
    for name, exponent in right:
        exponents[name] = exponents.get(name, 0) + exponent
    return tuple(sorted((name, exponent) for name, exponent in exponents.items() if exponent))


def _term_text(monomial: Monomial, coefficient: Fraction) -> str:
    above = [_power_text(name, exponent) for name, exponent in monomial if exponent > 0]
    below = [_power_text(name, -exponent) for name, exponent in monomial if exponent < 0]
    if coefficient.numerator != 1 or not above:
        above.insert(0, str(coefficient.numerator))
    if coefficient.denominator != 1:
        below.insert(0, str(coefficient.denominator))
    return " * ".join(above) + "".join(f" / {factor}" for factor in below)


def _power_text(name: str, exponent: int) -> str:
    return name if exponent == 1 else f"{name} ** {exponent}"
