"""Numbers to replay with: remainders modulo a prime of 61 bits, pairs of a value and its slope; functions without a formula are hashes."""

from __future__ import annotations

import hashlib
from collections.abc import Callable, Mapping
from dataclasses import dataclass
from fractions import Fraction
from types import MappingProxyType
from typing import Any

PRIME = 2**61 - 636_873
"""Its roots multiply, since the root of x is the one that is a square; so are all primes below 50, and the root of 4 / 9 is 2 / 3."""


class Unlucky(Exception):
    """A random place at which an expression has no value: another one may do."""


@dataclass(frozen=True, slots=True)
class Remainder:
    """A number modulo the prime."""

    value: int

    def __add__(self, other: Any) -> Remainder:
        return Remainder((self.value + remainder(other).value) % PRIME)

    def __sub__(self, other: Any) -> Remainder:
        return Remainder((self.value - remainder(other).value) % PRIME)

    def __mul__(self, other: Any) -> Remainder:
        return Remainder(self.value * remainder(other).value % PRIME)

    def __truediv__(self, other: Any) -> Remainder:
        below = remainder(other).value
        if not below:
            raise Unlucky("a division by zero")
        return Remainder(self.value * pow(below, -1, PRIME) % PRIME)


def remainder(number: Any) -> Remainder:
    """A whole number or fraction modulo the prime."""
    if isinstance(number, Remainder):
        return number
    exact = Fraction(number)
    return Remainder(exact.numerator * pow(exact.denominator, -1, PRIME) % PRIME)


@dataclass(frozen=True, slots=True)
class Pair:
    """A value and its slope along one direction."""

    value: Any
    slope: Any

    def __add__(self, other: Pair) -> Pair:
        return Pair(self.value + other.value, self.slope + other.slope)

    def __sub__(self, other: Pair) -> Pair:
        return Pair(self.value - other.value, self.slope - other.slope)

    def __mul__(self, other: Pair) -> Pair:
        return Pair(self.value * other.value, self.value * other.slope + self.slope * other.value)

    def __truediv__(self, other: Pair) -> Pair:
        quotient = self.value / other.value
        return Pair(quotient, (self.slope - quotient * other.slope) / other.value)


# --- functions ---------------------------------------------------------------------------------------------------

ODD = ("sin", "sinh", "tanh", "sign")
EVEN = ("cos", "cosh", "abs", "normal_density")
AT_ZERO: Mapping[str, Fraction] = MappingProxyType(
    {
        **dict.fromkeys((*ODD, "abs", "relu", "silu", "gelu", "floor", "ceil", "sqrt"), Fraction(0)),
        **dict.fromkeys(("exp", "cos", "cosh"), Fraction(1)),
        **dict.fromkeys(("sigmoid", "normal_cdf"), Fraction(1, 2)),
    }
)

Function = Callable[[str, Any], Any]


def hashed(name: str, *values: int) -> Remainder:
    """A number that depends on its arguments and on nothing else: what is known of a function without a formula."""
    text = f"{name}:{','.join(map(str, values))}".encode()
    return Remainder(int.from_bytes(hashlib.sha256(text).digest()[:16], "big") % PRIME)


def modular(name: str, x: Remainder) -> Remainder:
    """A function's value: it obeys the laws that the prover uses (parity, values at 0, roots) and is otherwise arbitrary."""
    if name == "sqrt":
        root = pow(x.value, (PRIME + 1) // 4, PRIME)
        if root * root % PRIME != x.value:
            raise Unlucky("a root that is not there")
        return Remainder(root)
    if not x.value and name in AT_ZERO:
        return remainder(AT_ZERO[name])
    if name in ODD + EVEN and x.value > PRIME // 2:
        mirrored = hashed(name, PRIME - x.value)
        return remainder(0) - mirrored if name in ODD else mirrored
    return hashed(name, x.value)


def exact(name: str, x: Fraction) -> Fraction:
    """A function's value where that is rational; raises Unlucky where it is not known to be."""
    match name:
        case "abs":
            return abs(x)
        case "sign":
            return Fraction((x > 0) - (x < 0))
        case "relu":
            return max(x, Fraction(0))
        case "floor":
            return Fraction(x // 1)
        case "ceil":
            return Fraction(-(-x // 1))
        case "sqrt" if x >= 0:
            top, bottom = _whole_root(x.numerator), _whole_root(x.denominator)
            return Fraction(top, bottom)
    if not x and name in AT_ZERO:
        return AT_ZERO[name]
    raise Unlucky(f"{name} has no rational value")


def _whole_root(number: int) -> int:
    root = int(number**0.5)
    found = next((guess for guess in (root - 1, root, root + 1) if guess >= 0 and guess * guess == number), None)
    if found is None:
        raise Unlucky("a root that is not rational")
    return found


SLOPES: Mapping[str, Callable[[Function, Any], Any]] = MappingProxyType(
    {
        "exp": lambda f, x: f("exp", x),
        "sqrt": lambda f, x: _one(x) / (f("sqrt", x) + f("sqrt", x)),
        "log": lambda f, x: _one(x) / x,
        "sin": lambda f, x: f("cos", x),
        "cos": lambda f, x: x * 0 - f("sin", x),
        "sinh": lambda f, x: f("cosh", x),
        "cosh": lambda f, x: f("sinh", x),
        "tanh": lambda f, x: _one(x) - f("tanh", x) * f("tanh", x),
        "sigmoid": lambda f, x: f("sigmoid", x) * (_one(x) - f("sigmoid", x)),
        "softplus": lambda f, x: f("sigmoid", x),
        "silu": lambda f, x: f("sigmoid", x) * (_one(x) + x * (_one(x) - f("sigmoid", x))),
        "gelu": lambda f, x: f("normal_cdf", x) + x * f("normal_density", x),
        "normal_cdf": lambda f, x: f("normal_density", x),
        "normal_density": lambda f, x: x * 0 - x * f("normal_density", x),
        "abs": lambda f, x: f("sign", x),
        "sign": lambda f, x: x * 0,
    }
)
"""The derivatives of functions, from their values."""


def _one(x: Any) -> Any:
    return x * 0 + remainder(1) if isinstance(x, Remainder) else x * 0 + 1


def of_pairs(function: Function) -> Function:
    """The same function on pairs."""

    def apply(name: str, x: Any) -> Any:
        if name not in SLOPES:
            raise Unlucky(f"the slope of {name} is not known")
        return Pair(function(name, x.value), SLOPES[name](function, x.value) * x.slope)

    return apply
