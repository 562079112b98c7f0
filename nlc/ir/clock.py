"""Clocks: when a level is updated, as exact periods in ticks of a family."""

from __future__ import annotations

from dataclasses import dataclass, field
from enum import Enum
from fractions import Fraction


class Family(Enum):
    """The families of clocks, fastest first; between families the order is lexicographic."""

    ALWAYS = 0
    TOKEN = 1
    SEQUENCE = 2
    STEP = 3
    NEVER = 4


@dataclass(frozen=True, slots=True)
class Clock:
    """An update period, in ticks of its family: `token / 2` is 1/2 token, `16 tokens` 16. ALWAYS and NEVER have none."""

    family: Family
    period: Fraction = Fraction(1)
    text: str = field(default="", compare=False)

    @property
    def frequency(self) -> Fraction:
        """Updates per tick of the family."""
        return 1 / self.period

    @property
    def updates_per_tick(self) -> int:
        """Updates inside one tick of its family: 2 for `token / 2`, 1 for a tick and whole numbers of them."""
        return self.frequency.numerator if self.frequency.denominator == 1 else 1

    @property
    def speed(self) -> tuple[int, Fraction]:
        """Sorts clocks, fastest first."""
        return (self.family.value, self.period)

    @property
    def is_fast(self) -> bool:
        """Fast state is one per sequence and axis; slow state is a shared parameter."""
        return self.family in (Family.ALWAYS, Family.TOKEN, Family.SEQUENCE)

    @property
    def is_counted(self) -> bool:
        """Whether ticks of its family are counted: tokens and steps are, sequences and queries are not."""
        return self.family in (Family.TOKEN, Family.STEP)

    @property
    def whole_tokens(self) -> int:
        """Its period in tokens; 0 where that is no whole number of them."""
        return self.period.numerator if self.family is Family.TOKEN and self.period.denominator == 1 else 0

    def __str__(self) -> str:
        if self.family in (Family.ALWAYS, Family.NEVER):
            return self.family.name.lower()
        unit = self.family.name.lower()
        if self.period == 1:
            return unit
        if self.period.numerator == 1:
            return f"{unit} / {self.period.denominator}"
        if self.period.denominator == 1:
            return f"{self.period} {unit}s"
        return f"({self.period.numerator} {unit}s) / {self.period.denominator}"


TOKEN = Clock(Family.TOKEN)
STEP = Clock(Family.STEP)
