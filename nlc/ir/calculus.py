"""Nodes of claims: derivatives, inverses and stacks. Of these `Inverse` alone stands in specs and laws (`inverse(a)`, `solve(a, b)`)."""

from __future__ import annotations

from dataclasses import dataclass

from nlc.ir.dims import Shape
from nlc.ir.leaves import Expr


@dataclass(frozen=True, slots=True)
class Derivative(Expr):
    """The gradient of a scalar with respect to a leaf, everything else held: `gradient_of(objective, memory)`."""

    of: Expr
    by: Expr
    shape: Shape


@dataclass(frozen=True, slots=True)
class Inverse(Expr):
    """The inverse of a square matrix: `inverse(x)`."""

    x: Expr
    shape: Shape


@dataclass(frozen=True, slots=True)
class Embedding(Expr):
    """The rows of the identity below which one more row of zeros stands: E with E^T E = 1; a leaf."""

    shape: Shape


@dataclass(frozen=True, slots=True)
class LastUnit(Expr):
    """The vector whose last entry is one and all others zero: e with e^T e = 1 and E^T e = 0; a leaf."""

    shape: Shape
