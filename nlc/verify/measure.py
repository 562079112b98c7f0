"""Measures how far two computations are apart as a parameter varies, on random values in floats: a table, no equality asserted.

Values are drawn anew from one seed for every row, so that rows differ by the parameter alone. Streams and states have entries of a normal
distribution, of a length of about one; what has a declared range is uniform in it; hyperparameters have their defaults.
"""

from __future__ import annotations

import math
import random
from collections.abc import Mapping
from dataclasses import dataclass
from fractions import Fraction
from itertools import pairwise

from nlc.ir.algebra import Hyperparameter, Index, Tick
from nlc.verify.arithmetic import FLOATING
from nlc.verify.counterexample import SEED, Question, Unknown, sizes_up_to
from nlc.verify.rational import Sizes, Tensor, shape_of

LARGEST_SIZE = 8
"""Of the dims measured at: a dim has its default, or this when that is larger."""

DRAWS = 8
ROUNDING = 1e-12
"""A smaller gap is rounding, and has no order."""

NEAR = 0.1
"""How far the slope between the two smallest parameters may be from a whole number that is called the order."""

Row = tuple[Fraction, float | None]
"""A value of the parameter, and the relative gap there; None where a side is undefined or not finite."""


@dataclass(frozen=True, slots=True)
class Table:
    """The gaps by a parameter, relative to the right side or to the other system, over all draws."""

    parameter: str
    rows: tuple[Row, ...]
    seed: int = SEED

    @property
    def trends(self) -> tuple[str, ...]:
        """What can be said of the gaps as the parameter grows: `rising`, `falling`, and `order N` as it goes to 0."""
        rows = sorted((value, gap) for value, gap in self.rows if gap is not None)
        gaps = [gap for _, gap in rows]
        if len(rows) < len(self.rows):
            return ()
        found = [word for word, sign in (("rising", 1), ("falling", -1)) if all(sign * (b - a) > 0 for a, b in pairwise(gaps))]
        order = _order(rows)
        return (*found, f"order {order}") if order else tuple(found)

    @property
    def text(self) -> str:
        """In one line, for people."""
        return f"gap by {self.parameter}: " + ", ".join(f"{value}: {_gap_text(gap)}" for value, gap in self.rows)

    def as_json(self) -> dict[str, object]:
        return {"parameter": self.parameter, "seed": self.seed, "rows": [[str(value), gap] for value, gap in self.rows]}


def _gap_text(gap: float | None) -> str:
    return "undefined" if gap is None else f"{gap:.2g}"


def _order(rows: list[tuple[Fraction, float]]) -> int:
    """n when the gap goes to 0 as the n-th power of the parameter, by the two smallest parameters; else 0."""
    (first, small), (second, large) = rows[:2]
    if first <= 0 or small < ROUNDING or large < ROUNDING:
        return 0
    slope = math.log(large / small) / math.log(second / first)
    return round(slope) if abs(slope - round(slope)) < NEAR and round(slope) > 0 else 0


def gap(question: Question, numbers: Mapping[str, Fraction], largest: int = LARGEST_SIZE, draws: int = DRAWS) -> float | None:
    """The relative gap of what a question compares, at the numbers that hyperparameters have; None when it is nowhere defined."""
    sizes, generator = sizes_up_to(question, largest), random.Random(SEED)
    apart = size = 0.0
    is_seen = False
    for _ in range(draws):
        values = {item.leaf: _drawn(item, sizes, numbers, generator) for item in question.unknowns}
        try:
            pairs = question.compare(values, sizes, FLOATING)
        except (ArithmeticError, ValueError):
            return None
        for _, left, right in pairs or ():
            is_seen = True
            apart += sum(float(a - b) ** 2 for a, b in zip(left.entries, right.entries, strict=True))
            size += sum(float(entry) ** 2 for entry in right.entries)
    if not is_seen or not math.isfinite(apart) or not math.isfinite(size):
        return None
    return math.sqrt(apart / size) if size else math.sqrt(apart)


def _drawn(item: Unknown, sizes: Sizes, numbers: Mapping[str, Fraction], generator: random.Random) -> Tensor:
    shape = shape_of(item.leaf.shape, sizes)
    return Tensor(shape, tuple(_entry(item, shape, numbers, generator) for _ in range(math.prod(shape))))


def _entry(item: Unknown, shape: tuple[int, ...], numbers: Mapping[str, Fraction], generator: random.Random) -> float:
    match item.leaf:
        case Hyperparameter(name):
            base, varies, _ = name.partition("[")
            return float(numbers[base]) * (generator.uniform(0.5, 1) if varies else 1)
        case Index():
            return 0.0
        case Tick():
            return 1.0
    if item.low is not None and item.high is not None:
        return generator.uniform(float(item.low), float(item.high))
    entry = generator.gauss(0, 1 / math.sqrt(shape[-1]) if shape else 1)
    return entry if item.low is None else float(item.low) + abs(entry)
