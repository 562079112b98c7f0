"""Inverses of matrices in normal forms: closed where a formula is known, else letters that the matrix they invert cancels."""

from __future__ import annotations

from collections.abc import Iterator
from fractions import Fraction

from nlc.verify.assumptions import Rule, rewritten
from nlc.verify.letters import UNIT, Inner, Letter, MatrixInverse, Trace, Word, flip_word, word_text
from nlc.verify.polynomial import Polynomial, add, identity, letter_polynomial, number, subtract, transpose
from nlc.verify.products import dot, multiply, scale
from nlc.verify.quotients import clear_denominators, reciprocal


def inverted(x: Polynomial) -> Polynomial:
    """The inverse of a square matrix, or a letter for it; raises ZeroDivisionError for the matrix 0.

    Of a multiple of the identity it is a multiple; where a column times a row is added to what holds one, the formula of Sherman and
    Morrison. What that divides by is zero almost nowhere, so that an identity found by it holds wherever both of its sides exist.
    """
    if x.is_zero:
        raise ZeroDivisionError("the inverse of zero")
    words = sorted({word for _, word in x.terms}, key=word_text)
    outer = [word for word in words if _is_outer(word)]
    if words == [()]:
        return scale(reciprocal(_coefficient(x, ())), identity(x.rows))
    if words[0] == () and len(outer) == 1:
        return _sherman_morrison(x, outer[0])
    factor = _coefficient(x, words[0]) if len(words) == 1 else number(x.terms[x.ordered[0]])
    below = reciprocal(factor)
    bare = scale(below, x)
    turned = transpose(bare)
    letter = transpose(letter_polynomial(_letter(turned))) if turned.key < bare.key else letter_polynomial(_letter(bare))
    return scale(below, letter)


def _sherman_morrison(x: Polynomial, outer: Word) -> Polynomial:
    """(A + c u v^T)^-1 = A^-1 - c A^-1 u v^T A^-1 / (1 + c v^T A^-1 u)."""
    added = scale(_coefficient(x, outer), Polynomial(x.rows, x.columns, {((), outer): Fraction(1)}))
    without = inverted(subtract(x, added))
    moved = multiply(without, added)
    return subtract(without, scale(reciprocal(add(number(1), dot(identity(x.rows), moved))), multiply(moved, without)))


def _letter(x: Polynomial) -> Letter:
    return Letter(f"inverted[{x.key}]", False, x.rows, x.columns, MatrixInverse(x))


def _is_outer(word: Word) -> bool:
    return any(letter.columns == UNIT for letter in word)


def _coefficient(x: Polynomial, word: Word) -> Polynomial:
    """The scalar before a word."""
    return Polynomial(UNIT, UNIT, {(factors, ()): value for (factors, other), value in x.terms.items() if other == word})


# --- cancelling --------------------------------------------------------------------------------------------------


def without_inverses(x: Polynomial) -> Polynomial:
    """x with every product of a matrix and its inverse written out: zero only if x is."""
    rules = tuple(rule for letter in _inverses(x) for rule in _rules(letter))
    return clear_denominators(rewritten(x, rules)) if rules else x


def _inverses(x: Polynomial) -> list[Letter]:
    """The inverses in the words of x and inside its inner products and traces, upright."""
    words = [word for _, word in x.terms]
    for factors, _ in x.terms:
        words += [letter.meaning.word for letter, _ in factors if isinstance(letter.meaning, Inner | Trace)]
    found = {letter.text: letter for word in words for letter in word if isinstance(letter.meaning, MatrixInverse)}
    return [_letter(item.meaning.of) for _, item in sorted(found.items()) if isinstance(item.meaning, MatrixInverse)]


def _rules(letter: Letter) -> Iterator[Rule]:
    """From P L = I and L P = I: the longest product of P beside L, on either side, in terms of the others; and the same transposed.

    A column times a row comes last: beside L it is no word, since the row and what follows make a number.
    """
    assert isinstance(letter.meaning, MatrixInverse)
    of = letter.meaning.of
    longest = max((word for _, word in of.terms), key=lambda word: (bool(word) and not _is_outer(word), len(word), word_text(word)))
    others = subtract(of, scale(_coefficient(of, longest), Polynomial(of.rows, of.columns, {((), longest): Fraction(1)})))
    below, itself = reciprocal(_coefficient(of, longest)), letter_polynomial(letter)
    before = Rule((*longest, letter), scale(below, subtract(identity(of.rows), multiply(others, itself))))
    after = Rule((letter, *longest), scale(below, subtract(identity(of.rows), multiply(itself, others))))
    for rule in (before, after):
        yield rule
        yield Rule(flip_word(rule.word), transpose(rule.value))
