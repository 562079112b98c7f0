"""Sums of products that alternate between a matrix and its transpose -> the same over its Gram matrix, which gets a name.

    a X + b X X^T X + c X X^T X X^T X  =  a X + (b G + c G G) X,     G = X X^T

Newton-Schulz steps have this form: three products instead of six, and of small matrices where X is wide. Of an X that is surely tall the
same is said from the other side, X (a + b G + c G G) with G = X^T X.
"""

from __future__ import annotations

from collections.abc import Iterator

from nlc.derive.draft import Draft
from nlc.derive.names import worded
from nlc.ir.algebra import ONE, Add, Expr, MatMul, Named, Scale, State, Transpose, children
from nlc.ir.build import add, matmul, rebuild, scale, transpose
from nlc.ir.law import GRAM


def over_gram(node: Expr, draft: Draft) -> Expr:
    """The expression with every such sum written over a Gram matrix; `draft` gets the equation that names it."""
    parts = tuple(over_gram(child, draft) for child in children(node))
    node = node if parts == children(node) else rebuild(node, parts)
    if not isinstance(node, Add):
        return node
    chains = [(term, found) for term in node.terms if (found := _alternating(term)) is not None]
    bases = dict.fromkeys(base for _, (_, base, _) in chains)
    base = next((base for base in bases if sum(other == base for _, (_, other, _) in chains) > 1), None)
    if base is None:
        return node
    is_tall = _is_tall(base)
    word = worded("gram", base.part if isinstance(base, State) else "")
    gram = draft.let(word, matmul(transpose(base), base) if is_tall else matmul(base, transpose(base)), GRAM)
    own = [(coefficient, power) for _, (coefficient, other, power) in chains if other == base]
    rest = [term for term in node.terms if all(term != other or found[1] != base for other, found in chains)]
    polynomial = add(*(scale(coefficient, _power(gram, power)) for coefficient, power in own))
    return add(*rest, matmul(base, polynomial) if is_tall else matmul(polynomial, base))


def _is_tall(matrix: Expr) -> bool:
    """Whether it has more rows than columns, whatever the sizes of its dims."""
    rows, columns = matrix.shape
    times = dict((rows / columns).terms) if len(columns.terms) == 1 else {}
    return times.keys() == {()} and times[()] > 1


def _alternating(term: Expr) -> tuple[Expr, Expr, int] | None:
    """(coefficient, X, n) of coefficient * (X X^T)^n X, for n of 1 and more."""
    coefficient, core = _factored(term)
    factors = list(_factors(core))
    base = factors[0]
    if len(factors) < 3 or len(factors) % 2 == 0 or isinstance(base, Transpose):
        return None
    wanted = [base if place % 2 == 0 else transpose(base) for place in range(len(factors))]
    return (coefficient, base, len(factors) // 2) if factors == wanted else None


def _factored(term: Expr) -> tuple[Expr, Expr]:
    match term:
        case Scale(by, x):
            coefficient, core = _factored(x)
            return scale(by, coefficient), core
    return ONE, term


def _factors(node: Expr) -> Iterator[Expr]:
    match node:
        case MatMul(left, right) if len(right.shape) == 2:
            yield from (*_factors(left), *_factors(right))
        case _:
            yield node


def _power(gram: Named, power: int) -> Expr:
    product: Expr = gram
    for _ in range(power - 1):
        product = matmul(product, gram)
    return product
