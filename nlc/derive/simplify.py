"""Derivatives as a person would write them: a small table of rewrites, each of which makes its expression smaller.

Smaller means fewer leaves that are not numbers; or as many, and fewer products of switches; or as many, and transposes nearer to the
leaves; or as near, over smaller tensors; or over as small ones, with products nearer to the left. So rewriting ends.
Nothing here is needed for correctness. A rewrite is an identity wherever both sides are defined.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping
from dataclasses import dataclass
from fractions import Fraction
from types import MappingProxyType

from nlc.ir.algebra import Add, Constant, Divide, Expr, Full, Map, MatMul, Outer, Scale, Times, Transpose, Where, children, is_number
from nlc.ir.build import add, apply_map, constant, divide, dot, matmul, rebuild, scale, spread, times, transpose
from nlc.ir.maps import SIMPLER
from nlc.ir.recents import Recent

QUOTIENTS: Mapping[tuple[str, str], str] = MappingProxyType({(above, below): result for above, below, result in SIMPLER})


@dataclass(frozen=True, slots=True)
class Rewrite:
    """A name, the identity in the spec language, and the function that gives the smaller form or None."""

    name: str
    says: str
    apply: Callable[[Expr], Expr | None]


def _with_number(term: Expr) -> tuple[Fraction, Expr]:
    match term:
        case Scale(Constant(value), rest):
            return value, rest
    return Fraction(1), term


def _like_terms(node: Expr) -> Expr | None:
    if not isinstance(node, Add):
        return None
    totals: dict[Expr, Fraction] = {}
    for term in node.terms:
        number, rest = _with_number(term)
        totals[rest] = totals.get(rest, Fraction(0)) + number
    if len(totals) == len(node.terms):
        return None
    return add(*(scale(constant(number), rest) for rest, number in totals.items()))


def _reciprocal_factor(node: Expr) -> Expr | None:
    match node:
        case Times(left, Divide(one, by)) | Times(Divide(one, by), left) if is_number(one, 1):
            return divide(left, by)
    return None


def _quotient_of_maps(node: Expr) -> Expr | None:
    match node:
        case Divide(Map(above, x), Map(below, y)) if x == y and (above, below) in QUOTIENTS:
            return apply_map(QUOTIENTS[above, below], x)
    return None


def _outer_applied(node: Expr) -> Expr | None:
    match node:
        case MatMul(Outer(left, right), x) if len(x.shape) == 1:
            return scale(dot(right, x), left)
    return None


def _switched_factor(node: Expr) -> Expr | None:
    match node:
        case Scale(Where() as switch, x) | Times(Where() as switch, x) | Times(x, Where() as switch):
            return _pushed_in(switch, x)
        case Scale(by, Where() as switch) if not isinstance(by, Constant):
            return _pushed_in(switch, by)
    return None


def _pushed_in(switch: Where, factor: Expr) -> Expr | None:
    """The switch between products, when one of them is zero: then the factor stays one."""
    if not (is_number(switch.then, 0) or is_number(switch.otherwise, 0)):
        return None
    then, otherwise = _times_branch(factor, switch.then), _times_branch(factor, switch.otherwise)
    return Where(switch.condition, then, otherwise, then.shape)


def _times_branch(factor: Expr, branch: Expr) -> Expr:
    if branch.shape and is_number(branch, 1):
        return spread(factor, None, branch.shape)
    return times(factor, branch)


def _joined_switches(node: Expr) -> Expr | None:
    match node:
        case Add((Where(condition, then, zero), Where(same, also_zero, otherwise))):
            if condition == same and is_number(zero, 0) and is_number(also_zero, 0):
                return Where(condition, then, otherwise, node.shape)
    return None


def _switch_between_equals(node: Expr) -> Expr | None:
    match node:
        case Where(_, Constant() | Full() as then, otherwise) if then == otherwise:
            return then
    return None


def _transposed_product(node: Expr) -> Expr | None:
    match node:
        case Transpose(MatMul(left, right)) if len(right.shape) == 2:
            return matmul(transpose(right), transpose(left))
    return None


def _product_of_product(node: Expr) -> Expr | None:
    match node:
        case MatMul(left, MatMul(middle, right)) if len(right.shape) == 2:
            return matmul(matmul(left, middle), right)
    return None


REWRITES: tuple[Rewrite, ...] = (
    Rewrite("like terms", "x + x = 2 * x", _like_terms),
    Rewrite("reciprocal factor", "x * (1 / y) = x / y", _reciprocal_factor),
    Rewrite("quotient of maps", "sinh(x) / cosh(x) = tanh(x)", _quotient_of_maps),
    Rewrite("outer applied", "outer(x, y) @ z = dot(y, z) * x", _outer_applied),
    Rewrite("switched factor", "where(c, y, 0) * x = where(c, x * y, 0)", _switched_factor),
    Rewrite("joined switches", "where(c, x, 0) + where(c, 0, y) = where(c, x, y)", _joined_switches),
    Rewrite("switch between equals", "where(c, 0, 0) = 0", _switch_between_equals),
    Rewrite("transposed product", "transpose(x @ y) = transpose(y) @ transpose(x)", _transposed_product),
    Rewrite("product of a product", "x @ (y @ z) = x @ y @ z", _product_of_product),
)


def simplify(node: Expr) -> Expr:
    """The expression with every rewrite of the table applied, operands first, until none fits.

    What is carried for delays is left as the spec says it, for it is known by that.
    """
    if isinstance(node, Recent):
        return node
    parts = children(node)
    new = tuple(simplify(part) for part in parts)
    if new != parts:
        node = rebuild(node, new)
    for rewrite in REWRITES:
        smaller = rewrite.apply(node)
        if smaller is not None:
            return simplify(smaller)
    return node
