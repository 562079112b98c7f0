"""The elementwise functions of the language, as a table: each with its derivative, in the algebra itself."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from dataclasses import dataclass
from types import MappingProxyType

from nlc.ir.algebra import HALF, MINUS_ONE, Compare, Expr, Where
from nlc.ir.build import add, apply_map, constant, divide, full, power, scale, times


@dataclass(frozen=True, slots=True)
class MapRule:
    """`derivative` gives f'(x) as an expression of x; `bounds` is the range of f where it is bounded."""

    says: str
    derivative: Callable[[Expr], Expr]
    bounds: tuple[int, int] | None = None


def _step(x: Expr) -> Expr:
    """1 where x > 0, else 0."""
    return Where(Compare(">", x, full(0, x.shape), x.shape), full(1, x.shape), full(0, x.shape), x.shape)


def _ones(x: Expr) -> Expr:
    return full(1, x.shape)


def _minus(left: Expr, right: Expr) -> Expr:
    return add(left, scale(MINUS_ONE, right))


def _tanh(x: Expr) -> Expr:
    return _minus(_ones(x), power(apply_map("tanh", x), constant(2)))


def _sigmoid(x: Expr) -> Expr:
    value = apply_map("sigmoid", x)
    return times(value, _minus(_ones(x), value))


def _silu(x: Expr) -> Expr:
    value = apply_map("sigmoid", x)
    return times(value, add(_ones(x), times(x, _minus(_ones(x), value))))


def _gelu(x: Expr) -> Expr:
    return add(apply_map("normal_cdf", x), times(x, apply_map("normal_density", x)))


def _density(x: Expr) -> Expr:
    return scale(MINUS_ONE, times(x, apply_map("normal_density", x)))


MAPS: Mapping[str, MapRule] = MappingProxyType(
    {
        "exp": MapRule("e to the x", lambda x: apply_map("exp", x)),
        "log": MapRule("the natural logarithm", lambda x: divide(_ones(x), x)),
        "sqrt": MapRule("the square root", lambda x: divide(full(HALF.value, x.shape), apply_map("sqrt", x))),
        "abs": MapRule("the absolute value (slope 0 at 0)", lambda x: apply_map("sign", x)),
        "sign": MapRule("-1, 0 or 1", lambda x: full(0, x.shape), (-1, 1)),
        "sin": MapRule("the sine", lambda x: apply_map("cos", x), (-1, 1)),
        "cos": MapRule("the cosine", lambda x: scale(MINUS_ONE, apply_map("sin", x)), (-1, 1)),
        "sinh": MapRule("the hyperbolic sine", lambda x: apply_map("cosh", x)),
        "cosh": MapRule("the hyperbolic cosine", lambda x: apply_map("sinh", x)),
        "tanh": MapRule("the hyperbolic tangent", _tanh, (-1, 1)),
        "sigmoid": MapRule("1 / (1 + exp(-x))", _sigmoid, (0, 1)),
        "softplus": MapRule("log(1 + exp(x))", lambda x: apply_map("sigmoid", x)),
        "relu": MapRule("maximum(x, 0) (slope 0 at 0)", _step),
        "silu": MapRule("x * sigmoid(x)", _silu),
        "gelu": MapRule("x times the normal distribution function", _gelu),
        "normal_cdf": MapRule("the normal distribution function", lambda x: apply_map("normal_density", x), (0, 1)),
        "normal_density": MapRule("the normal density exp(-x**2 / 2) / sqrt(2 pi)", _density),
    }
)

SIMPLER: tuple[tuple[str, str, str], ...] = (("sinh", "cosh", "tanh"),)
"""f(x) / g(x) = h(x): the quotients of two maps that are a map themselves."""
