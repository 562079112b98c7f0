"""The mean of several data a token, and of lasting ones: what a sum of weighted distances over a window is least at."""

from __future__ import annotations

from dataclasses import dataclass

from nlc.ir.dims import Shape
from nlc.ir.leaves import Expr


@dataclass(frozen=True, slots=True)
class WindowMean(Expr):
    """The mean of values weighed by exp of their scores, over the data of a window and over all pairs of a score and a value together.

        sum over pairs and data of exp(score) value / sum over pairs and data of exp(score)

    A score that is a vector has one entry for each row of its value, and those are the same at every datum: they count once.
    """

    scores: tuple[Expr, ...]
    values: tuple[Expr, ...]
    shape: Shape

    @property
    def pairs(self) -> tuple[tuple[Expr, Expr], ...]:
        """Scores, each with its value."""
        return tuple(zip(self.scores, self.values, strict=True))
