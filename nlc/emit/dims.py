"""Sizes -> Python: dims of the spec as integer expressions over the attributes of an emitted module."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from fractions import Fraction
from math import lcm

from nlc.emit.names import attribute
from nlc.ir.dims import Dim, Monomial


def dim_text(dim: Dim, name: Callable[[str], str] = attribute) -> str:
    """The size as an integer expression; exact where the spec's dims come out whole."""
    over, under = fraction_text(dim, name)
    return over if under is None else f"{_wrapped(over)} // {_wrapped(under)}"


def folded(dim: Dim, derived: Mapping[str, Dim]) -> Dim:
    """The size in terms of those derived ones that it is, or that take a fraction out of it: `4 * d_model / heads` as `4 * d_head`."""
    for name, definition in derived.items():
        if dim == definition:
            return Dim.named(name)
        if _is_fraction(dim) and len(definition.terms) == 1 and not _is_fraction(rest := dim / definition):
            return rest * Dim.named(name)
    return dim


def _is_fraction(dim: Dim) -> bool:
    return any(exponent < 0 for monomial, _ in dim.terms for _, exponent in monomial)


def fraction_text(dim: Dim, name: Callable[[str], str]) -> tuple[str, str | None]:
    """The size as one fraction: what stands over the line and what under it (None for 1)."""
    number = lcm(*(coefficient.denominator for _, coefficient in dim.terms))
    below: dict[str, int] = {}
    for monomial, _ in dim.terms:
        for item, exponent in monomial:
            below[item] = max(below.get(item, 0), -exponent)
    common: Monomial = tuple((item, exponent) for item, exponent in sorted(below.items()) if exponent > 0)
    over = dim * Dim.number(number) * Dim(((common, Fraction(1)),))
    terms = [_product(int(coefficient), monomial, name) for monomial, coefficient in sorted(over.terms, key=lambda term: term[1] < 0)]
    text = " + ".join(terms).replace(" + -", " - ")
    if number == 1 and not common:
        return text, None
    return text, _product(number, common, name)


def _product(number: int, monomial: Monomial, name: Callable[[str], str]) -> str:
    factors = [name(item) if exponent == 1 else f"{name(item)}**{exponent}" for item, exponent in monomial]
    return " * ".join(factors if number == 1 and factors else [str(number), *factors])


def _wrapped(text: str) -> str:
    return f"({text})" if " " in text else text
