"""Matrices with one more row: what their products are, so that an equation is decided for stacks of any length."""

from __future__ import annotations

from collections.abc import Iterator

from nlc.ir.calculus import Embedding, LastUnit
from nlc.verify.assumptions import Rule, rewritten
from nlc.verify.letters import Atom, Diagonal, Inner, Letter, Product, Trace, Word, flip
from nlc.verify.polynomial import Polynomial, identity, letter_polynomial, number, times_number
from nlc.verify.products import multiply


def without_stacks(x: Polynomial) -> Polynomial:
    """x with the products of stacks written out: E^T E = 1, E^T e = 0, e^T e = 1 for the embedding E and the last unit e."""
    letters = sorted(_letters(x), key=lambda letter: letter.text)
    rules = tuple(rule for first in letters for second in letters for rule in _rules(first, second))
    return rewritten(x, rules) if rules else x


def _letters(x: Polynomial) -> set[Letter]:
    """The embeddings and last units in x, upright."""
    words: list[Word] = [word for _, word in x.terms]
    for factors, _ in x.terms:
        words += [letter.meaning.word for letter, _ in factors if isinstance(letter.meaning, Inner | Trace)]
    for letter in [letter for word in words for letter in word]:
        words += [entry for entry, _ in letter.meaning.entries] if isinstance(letter.meaning, Product | Diagonal) else []
    return {flip(letter) if letter.transposed else letter for word in words for letter in word if _is_stacking(letter)}


def _is_stacking(letter: Letter) -> bool:
    return isinstance(letter.meaning, Atom) and isinstance(letter.meaning.node, Embedding | LastUnit)


def _rules(first: Letter, second: Letter) -> Iterator[Rule]:
    """What first^T second is, when both stack to the same length."""
    if first.rows != second.rows:
        return
    product = multiply(letter_polynomial(flip(first)), letter_polynomial(second))
    if first != second:
        yield Rule((flip(first), second), times_number(0, product))
    elif first.columns != second.columns or product.is_scalar:
        (((((scalar, _),), _), _),) = product.terms.items()
        yield Rule((scalar,), number(1))
    else:
        yield Rule((flip(first), second), identity(first.columns))
