"""Whether an expression is convex in one of its leaves, by rules of composition: sums, squares and norms of what is affine in it."""

from __future__ import annotations

from nlc.ir.algebra import (
    Add,
    Constant as Number,
    Divide,
    Dot,
    Expr,
    Extremum,
    Map,
    MatMul,
    Norm,
    Outer,
    Power,
    Scale,
    Spread,
    Sum,
    Times,
    Transpose,
    contains,
)  # fmt: skip
from nlc.verify.signs import Signs

CONVEX_MAPS = frozenset({"exp", "abs", "relu", "softplus", "cosh"})


def is_convex(node: Expr, leaf: Expr, signs: Signs) -> bool:
    """Whether a scalar, or every entry, is known to be a convex function of the leaf."""
    if is_affine(node, leaf):
        return True
    match node:
        case Add(terms):
            return all(is_convex(term, leaf, signs) for term in terms)
        case Scale(by, x) | Times(by, x) if not _varies(by, leaf):
            return signs.is_nonnegative(by) and is_convex(x, leaf, signs)
        case Scale(x, by) | Times(x, by) | Divide(x, by) if not _varies(by, leaf):
            return signs.is_nonnegative(by) and is_convex(x, leaf, signs)
        case Dot(left, right) if left == right:
            return is_affine(left, leaf)
        case Dot(left, right) if not _varies(left, leaf) or not _varies(right, leaf):
            weights, x = (right, left) if _varies(left, leaf) else (left, right)
            return signs.is_nonnegative(weights) and is_convex(x, leaf, signs)
        case Norm(x) | Power(x, Number()) if isinstance(node, Norm) or _is_even(node):
            return is_affine(x, leaf)
        case Map(function, x):
            return function in CONVEX_MAPS and is_affine(x, leaf)
        case Extremum("maximum", left, right):
            return is_convex(left, leaf, signs) and is_convex(right, leaf, signs)
        case Sum(x) | Spread(x) | Transpose(x):
            return is_convex(x, leaf, signs)
    return False


def is_affine(node: Expr, leaf: Expr) -> bool:
    """Whether an expression is known to be a constant plus something linear in the leaf."""
    if node == leaf or not _varies(node, leaf):
        return True
    match node:
        case Add(terms):
            return all(is_affine(term, leaf) for term in terms)
        case Scale(left, right) | Times(left, right) | MatMul(left, right) | Outer(left, right) | Dot(left, right):
            one, other = _varies(left, leaf), _varies(right, leaf)
            return not (one and other) and is_affine(left if one else right, leaf)
        case Divide(x, by):
            return not _varies(by, leaf) and is_affine(x, leaf)
        case Transpose(x) | Sum(x) | Spread(x):
            return is_affine(x, leaf)
    return False


def _varies(node: Expr, leaf: Expr) -> bool:
    return contains(node, lambda part: part == leaf)


def _is_even(node: Expr) -> bool:
    match node:
        case Power(_, Number(exponent)):
            return exponent.denominator == 1 and exponent > 0 and exponent % 2 == 0
    return False
