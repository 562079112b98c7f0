"""Quotients that torch has a function for: a vector over its norm, or over the root of its mean square, as the vector that is divided."""

from __future__ import annotations

from fractions import Fraction

from nlc.ir.algebra import Add, Constant, Divide, Dot, Expr, Extremum, Map, Norm, Size

LEAST_NORM = Fraction(1, 10**12)
"""What `torch.nn.functional.normalize` divides by at least."""


def unit_vector(node: Expr) -> Expr | None:
    """x of x / max(|x|, 1e-12)."""
    match node:
        case Divide(x, Extremum("maximum", Norm(y), Constant(least))) if x == y and len(x.shape) == 1 and least == LEAST_NORM:
            return x
    return None


def over_root_mean_square(node: Expr) -> tuple[Expr, float] | None:
    """x and eps of x / sqrt(mean of its squares + eps)."""
    match node:
        case Divide(x, Map("sqrt", Add((Divide(Dot(y, z), Size(size)), Constant(added))))) if x == y == z and x.shape == (size,):
            return x, float(added)
    return None


def normed(node: Expr) -> Expr | None:
    """The vector that one call norms."""
    found = over_root_mean_square(node)
    return unit_vector(node) if found is None else found[0]
