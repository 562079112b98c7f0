"""Dual numbers: a value with its slope, so that exact evaluation of a function gives its exact derivative too."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any


@dataclass(frozen=True, slots=True)
class Dual:
    """value + slope * e with e ** 2 = 0; the parts are whatever numbers the evaluation computes with."""

    value: Any
    slope: Any

    def __add__(self, other: Any) -> Dual:
        right = lifted(other)
        return Dual(self.value + right.value, self.slope + right.slope)

    def __sub__(self, other: Any) -> Dual:
        right = lifted(other)
        return Dual(self.value - right.value, self.slope - right.slope)

    def __rsub__(self, other: Any) -> Dual:
        return lifted(other) - self

    def __mul__(self, other: Any) -> Dual:
        right = lifted(other)
        return Dual(self.value * right.value, self.value * right.slope + self.slope * right.value)

    def __truediv__(self, other: Any) -> Dual:
        right = lifted(other)
        return Dual(self.value / right.value, (self.slope * right.value - self.value * right.slope) / (right.value * right.value))

    def __rtruediv__(self, other: Any) -> Dual:
        return lifted(other) / self

    def __pow__(self, exponent: int) -> Dual:
        return Dual(self.value**exponent, self.value ** (exponent - 1) * exponent * self.slope if exponent else self.slope * 0)

    def __abs__(self) -> Any:
        return abs(self.value)

    def __neg__(self) -> Dual:
        return Dual(-self.value, -self.slope)

    def __lt__(self, other: Any) -> bool:
        return bool(self.value < lifted(other).value)

    def __le__(self, other: Any) -> bool:
        return bool(self.value <= lifted(other).value)

    def __gt__(self, other: Any) -> bool:
        return bool(self.value > lifted(other).value)

    def __ge__(self, other: Any) -> bool:
        return bool(self.value >= lifted(other).value)

    def __bool__(self) -> bool:
        return bool(self.value)

    __radd__ = __add__
    __rmul__ = __mul__


def lifted(number: Any) -> Dual:
    """The number as one whose slope is 0."""
    return number if isinstance(number, Dual) else Dual(number, number * 0)


def slope_of(number: Any) -> Any:
    """The slope of a number that may be a plain one."""
    return lifted(number).slope
