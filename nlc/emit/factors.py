"""The scalars of decays and weights -> the factors that they are products of, each with a name, and their code over those names."""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Mapping
from dataclasses import dataclass

from nlc.emit.names import LocalNames
from nlc.ir.algebra import MINUS_ONE, ONE, Add, Constant, Expr, Hyperparameter, Input, Scale
from nlc.ir.build import add, constant, scale
from nlc.ir.show import expression_text


@dataclass(frozen=True, slots=True)
class Factors:
    """The name of every factor: its own if it is an input or a hyperparameter of the spec."""

    names: Mapping[Expr, str]

    @staticmethod
    def of(scalars: Iterable[Expr], words: LocalNames) -> Factors:
        """The factors of some scalars; `words` are those that no factor may be called."""
        found = dict.fromkeys(factor for scalar in scalars for factor in _factors(scalar))
        own: dict[Expr, str] = {factor: words.new(factor.name) for factor in found if isinstance(factor, Input | Hyperparameter)}
        others = [factor for factor in found if factor not in own]
        made = {factor: words.new("factor" if len(others) == 1 else f"factor_{number}") for number, factor in enumerate(others, 1)}
        return Factors({factor: own.get(factor) or made[factor] for factor in found})

    def text(self, scalar: Expr, unit: str = "") -> str:
        """The scalar over the names; a number alone is a multiple of `unit`, if one is given."""
        match scalar:
            case Constant(value) if unit and value == 1:
                return unit
            case Constant(value):
                number = expression_text(Constant(value))
                number = f"({number})" if "/" in number else number
                return f"{number} * {unit}" if unit else number
            case Scale(by, x) if by == MINUS_ONE:
                return f"-{self.text(x)}"
            case Scale(by, x):
                return f"{self.text(by)} * {self.text(x)}"
        return self.names[scalar]

    def within(self, scalar: Expr) -> tuple[str, ...]:
        """The names in a scalar."""
        return tuple(self.names[factor] for factor in _factors(scalar))


def without_factor(scalar: Expr, factor: Expr) -> Expr | None:
    """The scalar over a product of its factors, by which it can be divided without a remainder; None when it cannot."""
    left = list(_all_factors(scalar))
    for part in _all_factors(factor):
        if part not in left:
            return None
        left.remove(part)
    product: Expr = ONE
    for part in left:
        product = scale(product, part)
    return product


def _factors(scalar: Expr) -> Iterator[Expr]:
    """The factors that are no numbers."""
    return (factor for factor in _all_factors(scalar) if not isinstance(factor, Constant))


def _all_factors(scalar: Expr) -> Iterator[Expr]:
    """The factors, numbers among them."""
    match scalar:
        case Scale(by, x):
            yield from (*_all_factors(by), *_all_factors(x))
        case _:
            yield scalar


def factored(value: Expr) -> Expr:
    """A sum whose terms all have one factor, as the factor times a sum: one product a token in place of several."""
    terms = value.terms if isinstance(value, Add) else ()
    parts = [_without_sign(term) for term in terms]
    factors = [part.by for _, part in parts if isinstance(part, Scale)]
    if len(terms) < 2 or len(factors) < len(terms) or any(factor != factors[0] for factor in factors):
        return value
    return scale(factors[0], add(*(scale(sign, part.x) for sign, part in parts if isinstance(part, Scale))))


def _without_sign(term: Expr) -> tuple[Constant, Expr]:
    match term:
        case Scale(Constant() as sign, Scale() as product):
            return sign, product
    return constant(1), term
