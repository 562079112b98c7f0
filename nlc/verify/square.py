"""A commuting square: two ways to compute one quantity, how far apart they came out, and how far rounding allows."""

from __future__ import annotations

import math
from collections.abc import Iterable, Mapping
from dataclasses import dataclass

STAGES: Mapping[str, str] = {"oracle": "spec", "laws": "derive", "exact numbers": "derive", "program": "schedule"}
"""The stage that made the right side of a square; the module, in any of its methods, is made by `emit`."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Square:
    """Two ways to one quantity. `case` is the worst of the cases tried; `error` is infinite when one side failed.

    One that does not apply says in `detail` why not; it is neither open nor evidence. `beyond` are the tensors of an open one that lie
    farther apart than allowed, with their errors; `of_zero` those among them that one side finds zero everywhere and the other does not.
    """

    name: str
    left: str
    right: str
    quantity: str
    case: str
    error: float
    bound: float
    detail: str = ""
    applies: bool = True
    beyond: tuple[tuple[str, float], ...] = ()
    of_zero: tuple[str, ...] = ()

    @property
    def closed(self) -> bool:
        """Whether both ways agree (an error that is not a number never does)."""
        return self.error <= self.bound

    @property
    def text(self) -> str:
        """The square in one line."""
        verdict = f"error {self.error:.2g}, bound {self.bound:.2g}"
        return f"{self.name}: {self.quantity} ({self.case}): {self.detail or verdict}"

    def as_json(self) -> dict[str, object]:
        """The machine form; an error that is no finite number is null."""
        return {
            "name": self.name,
            "left": self.left,
            "right": self.right,
            "quantity": self.quantity,
            "case": self.case,
            "error": self.error if math.isfinite(self.error) else None,
            "bound": self.bound,
            "closed": self.closed,
            "detail": self.detail,
        }


def faulty_stage(squares: Iterable[Square]) -> str | None:
    """The stage to blame: the one whose result is on the right of the first square that does not close."""
    first = next((square for square in squares if not square.closed), None)
    return None if first is None else STAGES.get(first.right, "emit")


FAULTS: Mapping[str, str] = {
    "spec": "the oracle cannot run the spec, so there is nothing to compare with",
    "derive": "the laws are not what autograd makes of the spec's objectives",
    "schedule": "the forms of the program do not compute what the laws say",
    "emit": "the text of the module does not compute what the program says",
    "file": "the file is not what `nlc build` writes; build it again",
}
"""What is wrong when a stage is to blame; the file that was judged may be another than `emit` writes."""


def worst(squares: Iterable[Square]) -> tuple[Square, ...]:
    """One square for each pair and quantity, in the order of their first appearance: the one nearest to its bound, or farthest beyond."""
    found: dict[tuple[str, str], Square] = {}
    for square in squares:
        key = (square.name, square.quantity)
        if key not in found or _severity(square) > _severity(found[key]):
            found[key] = square
    return tuple(found.values())


def _severity(square: Square) -> tuple[bool, float]:
    quotient = square.error / square.bound if square.bound else math.inf if square.error else 0.0
    return (not square.closed, math.inf if math.isnan(quotient) else quotient)
