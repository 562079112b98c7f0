"""Scalar coefficients -> sums of monomials, in which it can be seen that one is a multiple of another."""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from fractions import Fraction
from types import MappingProxyType

from nlc.ir.algebra import ONE, Constant, Expr, Scale
from nlc.ir.build import add, constant, scale
from nlc.ir.show import expression_text

Monomial = tuple[Expr, ...]
"""Scalar factors, multiplied, in the order of their texts; a sum that the user wrote is one factor."""

Polynomial = Mapping[Monomial, Fraction]
"""How often each monomial is in a sum; never zero times."""

UNIT: Polynomial = MappingProxyType({(): Fraction(1)})


def polynomial(terms: Iterable[Expr]) -> Polynomial:
    """The sum of some scalars."""
    found: dict[Monomial, Fraction] = {}
    for term in terms:
        factors, number = _monomial(term)
        found[factors] = found.get(factors, Fraction(0)) + number
    return {factors: number for factors, number in found.items() if number}


def _monomial(term: Expr) -> tuple[Monomial, Fraction]:
    match term:
        case Constant(value):
            return (), value
        case Scale(left, right):
            (first, number), (second, other) = _monomial(left), _monomial(right)
            return _sorted((*first, *second)), number * other
    return (term,), Fraction(1)


def _sorted(factors: Iterable[Expr]) -> Monomial:
    return tuple(sorted(factors, key=expression_text))


def expression(value: Polynomial) -> Expr:
    """The sum as a scalar again."""
    return add(*(_product(factors, number) for factors, number in value.items())) if value else constant(0)


def _product(factors: Monomial, number: Fraction) -> Expr:
    product: Expr = ONE
    for factor in factors:
        product = scale(product, factor)
    return scale(constant(number), product)


def product(left: Polynomial, right: Polynomial) -> Polynomial:
    """All monomials of one sum times all of the other."""
    found: dict[Monomial, Fraction] = {}
    for first, number in left.items():
        for second, other in right.items():
            factors = _sorted((*first, *second))
            found[factors] = found.get(factors, Fraction(0)) + number * other
    return {factors: number for factors, number in found.items() if number}


def quotient(over: Polynomial, under: Polynomial) -> Polynomial | None:
    """over / under where that is a sum of monomials: under is one monomial that divides all of over, or over is a number times it."""
    if len(under) == 1:
        ((factors, number),) = under.items()
        rests = {_without(monomial, factors): value / number for monomial, value in over.items()}
        return None if None in rests else {rest: value for rest, value in rests.items() if rest is not None}
    first = next(iter(under))
    ratio = over.get(first, Fraction(0)) / under[first]
    return {(): ratio} if ratio and product(under, {(): ratio}) == over else None


def _without(monomial: Monomial, factors: Monomial) -> Monomial | None:
    """The monomial over some factors; None when it does not have them all."""
    rest = list(monomial)
    for factor in factors:
        if factor not in rest:
            return None
        rest.remove(factor)
    return tuple(rest)
