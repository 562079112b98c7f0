"""The sum of an expression over the tokens of a block, with what all tokens share taken out of it.

sum_t a e_t b_t^T = a E^T B,        sum_t W^T e_t = W^T sum_t e_t,        sum_t M = n M
"""

from __future__ import annotations

from collections.abc import Callable

from nlc.emit.scope import BLOCK_LENGTH
from nlc.ir.algebra import Add, Divide, Expr, MatMul, Outer, Scale, Times, Transpose
from nlc.ir.build import add, divide, matmul, outer, scale, times, transpose

Leaf = Callable[[Expr], Expr]
Varies = Callable[[Expr], bool]


def over_block(node: Expr, leaf: Leaf, varies: Varies) -> Expr:
    """The sum; `varies` tells what changes from token to token, and `leaf` names the sums of it."""
    if not varies(node):
        return scale(BLOCK_LENGTH, node)
    match node:
        case Add(terms):
            return add(*(over_block(term, leaf, varies) for term in terms))
        case Scale(by, x):
            return _scaled(by, x, leaf, varies)
        case Transpose(x):
            return transpose(over_block(x, leaf, varies))
        case Divide(x, by) if not varies(by):
            return divide(over_block(x, leaf, varies), by)
        case Times(left, right):
            return _product(times, left, right, node, leaf, varies)
        case MatMul(left, right):
            return _product(matmul, left, right, node, leaf, varies)
        case Outer(left, right):
            return _product(outer, left, right, node, leaf, varies)
    return leaf(node)


def _product(product: Callable[[Expr, Expr], Expr], left: Expr, right: Expr, node: Expr, leaf: Leaf, varies: Varies) -> Expr:
    """The sum of products of which all tokens may share one side."""
    if not varies(left):
        return product(left, over_block(right, leaf, varies))
    if not varies(right):
        return product(over_block(left, leaf, varies), right)
    return leaf(node)


def _scaled(by: Expr, x: Expr, leaf: Leaf, varies: Varies) -> Expr:
    """A number of each token goes into an outer product."""
    if not varies(by):
        return scale(by, over_block(x, leaf, varies))
    match x:
        case Add(terms):
            return add(*(over_block(scale(by, term), leaf, varies) for term in terms))
        case Outer(left, right):
            return over_block(Outer(scale(by, left), right, x.shape), leaf, varies)
        case Transpose(inner):
            return transpose(over_block(scale(by, inner), leaf, varies))
    return scale(over_block(by, leaf, varies), x) if not varies(x) else leaf(scale(by, x))
