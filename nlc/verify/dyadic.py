"""Whole numbers over powers of two, each with how far it can reach: what float64 computes without rounding, and what it does not.

`reach` bounds, in units of 2 ** -bits, the sum of the magnitudes of all products that a number is made of. Any other order in which a
program adds and multiplies the same numbers (chunks, triangular systems, products of decays) makes parts of those sums and factors of
those products, so it stays below `reach` too: while that is under 2 ** EXACT_BITS, every step of it is exact in float64.
"""

from __future__ import annotations

from fractions import Fraction
from types import MappingProxyType

from nlc.verify.arithmetic import Arithmetic, NotRational, Number

EXACT_BITS = 52
"""One less than the digits of a float64, for the sign of a sum."""


class Dyadic(Fraction):
    """An exact number, and the bound of what any order of computing it can meet."""

    reach: int
    bits: int

    @staticmethod
    def of(value: Number | int, reach: int = 0, bits: int = 0) -> Dyadic:
        """A number as it enters: its own numerator is its reach, unless it may be as large as one that is given."""
        exact = Fraction(value)
        own = exact.denominator.bit_length() - 1
        if exact.denominator != 1 << own:
            raise NotRational(f"{exact} is no whole number over a power of two")
        return _dyadic(exact, max(reach, abs(exact.numerator) << max(0, bits - own), 1), max(bits, own))

    @property
    def is_exact(self) -> bool:
        """Whether float64 computes it without rounding, in any order."""
        return self.reach < 1 << EXACT_BITS

    def __add__(self, other: Number | int) -> Dyadic:  # type: ignore[override]
        right = _as_dyadic(other)
        bits = max(self.bits, right.bits)
        reach = (self.reach << (bits - self.bits)) + (right.reach << (bits - right.bits))
        return _dyadic(Fraction.__add__(self, right), reach, bits)

    def __mul__(self, other: Number | int) -> Dyadic:  # type: ignore[override]
        right = _as_dyadic(other)
        return _dyadic(Fraction.__mul__(self, right), self.reach * right.reach, self.bits + right.bits)

    def __truediv__(self, other: Number | int) -> Dyadic:  # type: ignore[override]
        return self * _inverse(_as_dyadic(other))


def _dyadic(value: Fraction, reach: int, bits: int) -> Dyadic:
    made = Dyadic(value.numerator, value.denominator)
    made.reach, made.bits = reach, bits
    return made


def _as_dyadic(value: Number | int) -> Dyadic:
    return value if isinstance(value, Dyadic) else Dyadic.of(value)


def _inverse(value: Dyadic) -> Dyadic:
    if not value or (value.numerator & (abs(value.numerator) - 1) and abs(value.numerator) != 1):
        raise NotRational("it divides by what is no power of two")
    return Dyadic.of(1 / Fraction(value))


def _power(base: Number, exponent: Number) -> Number:
    power = Fraction(exponent)
    if power.denominator != 1:
        raise NotRational("a power is no whole number")
    made = Dyadic.of(1)
    for _ in range(abs(int(power))):
        made = made * base if power > 0 else made / base
    return made


def _relu(x: Number) -> Number:
    return x if x > 0 else x * 0


DYADIC = Arithmetic(
    number=Dyadic.of,
    functions=MappingProxyType({"abs": lambda x: x if x > 0 else x * -1, "relu": _relu}),
    power=_power,
)
"""Polynomials, and what is one piece by piece; raises `NotRational` for anything else."""
