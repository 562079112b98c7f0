"""Kinds of numbers to evaluate with: exact fractions, where every function has a rational value or refuses, and floats."""

from __future__ import annotations

import math
from collections.abc import Callable, Mapping
from dataclasses import dataclass
from fractions import Fraction
from types import MappingProxyType

Number = Fraction | float


class NotRational(Exception):
    """A function's value is not a rational number, or cannot be told to be one."""


@dataclass(frozen=True, slots=True)
class Arithmetic:
    """A kind of numbers: how exact constants enter it, its elementwise functions, and x ** y."""

    number: Callable[[Fraction], Number]
    functions: Mapping[str, Callable[[Number], Number]]
    power: Callable[[Number, Number], Number]
    is_dual: bool = False


def _exact_root(x: Number) -> Number:
    value = Fraction(x)
    if value < 0:
        raise ValueError("the square root of a negative number")
    top, bottom = math.isqrt(value.numerator), math.isqrt(value.denominator)
    if top * top != value.numerator or bottom * bottom != value.denominator:
        raise NotRational("sqrt")
    return Fraction(top, bottom)


def _exact_power(base: Number, exponent: Number) -> Number:
    power = Fraction(exponent)
    if power.denominator == 1:
        return base ** int(power)
    if power.denominator == 2:
        return Fraction(_exact_root(base)) ** power.numerator
    raise NotRational("power")


def _float_power(base: Number, exponent: Number) -> Number:
    return math.pow(base, exponent)


def _sign(x: Number) -> Number:
    return x * 0 + (x > 0) - (x < 0)


def _relu(x: Number) -> Number:
    return x if x > 0 else x * 0


def _sigmoid(x: Number) -> float:
    value = float(x)
    return 1 / (1 + math.exp(-value)) if value >= 0 else math.exp(value) / (1 + math.exp(value))


def _softplus(x: Number) -> float:
    return max(float(x), 0.0) + math.log1p(math.exp(-abs(float(x))))


def _normal_cdf(x: Number) -> float:
    return math.erfc(-float(x) / math.sqrt(2)) / 2


def _magnitude(x: Number) -> Number:
    return x if x > 0 else x * -1


EXACT_FUNCTIONS: Mapping[str, Callable[[Number], Number]] = MappingProxyType(
    {
        "abs": _magnitude,
        "sign": _sign,
        "relu": _relu,
        "sqrt": _exact_root,
        "floor": lambda x: x - x % 1,
        "ceil": lambda x: x + -x % 1,
    }
)

FLOAT_FUNCTIONS: Mapping[str, Callable[[Number], Number]] = MappingProxyType(
    {
        **EXACT_FUNCTIONS,
        **{name: getattr(math, name) for name in ("exp", "log", "sqrt", "sin", "cos", "sinh", "cosh", "tanh")},
        "sigmoid": _sigmoid,
        "softplus": _softplus,
        "silu": lambda x: x * _sigmoid(x),
        "gelu": lambda x: x * _normal_cdf(x),
        "normal_cdf": _normal_cdf,
        "normal_density": lambda x: math.exp(float(x * x) / -2) / math.sqrt(2 * math.pi),
    }
)

EXACT = Arithmetic(number=lambda value: value, functions=EXACT_FUNCTIONS, power=_exact_power)
FLOATING = Arithmetic(number=float, functions=FLOAT_FUNCTIONS, power=_float_power)
