"""Nodes that only claims hold: derivatives and inverses, which nothing emitted computes."""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING

from nlc.ir.dims import Shape

if TYPE_CHECKING:
    from nlc.ir.algebra import Expr


@dataclass(frozen=True, slots=True)
class Derivative:
    """The gradient of a scalar with respect to a leaf, everything else held: `gradient_of(objective, memory)`."""

    of: Expr
    by: Expr
    shape: Shape


@dataclass(frozen=True, slots=True)
class Inverse:
    """The inverse of a square matrix: `inverse(x)`."""

    x: Expr
    shape: Shape
