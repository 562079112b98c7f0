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

    Of a multiple of the identity it is a multiple, with a column times a row added the formula of Sherman and Morrison.
    """
    if x.is_zero:
        raise ZeroDivisionError("the inverse of zero")
    words = sorted({word for _, word in x.terms}, key=word_text)
    if words[0] == () and all(any(letter.columns == UNIT for letter in word) for word in words[1:]) and len(words) <= 2:
        return _sherman_morrison(x, words[1:])
    factor = _coefficient(x, words[0]) if len(words) == 1 else number(x.terms[x.ordered[0]])
    below = reciprocal(factor)
    bare = scale(below, x)
    turned = transpose(bare)
    letter = transpose(letter_polynomial(_letter(turned))) if turned.key < bare.key else letter_polynomial(_letter(bare))
    return scale(below, letter)


def _sherman_morrison(x: Polynomial, outer: list[Word]) -> Polynomial:
    """(a I + c u v^T)^-1 = (I - c u v^T / (a + c v^T u)) / a."""
    of_identity = _coefficient(x, ())
    result = identity(x.rows)
    for word in outer:
        product = scale(_coefficient(x, word), Polynomial(x.rows, x.columns, {((), word): Fraction(1)}))
        result = subtract(result, scale(reciprocal(add(of_identity, dot(identity(x.rows), product))), product))
    return scale(reciprocal(of_identity), result)


def _letter(x: Polynomial) -> Letter:
    return Letter(f"inverted[{x.key}]", False, x.rows, x.columns, MatrixInverse(x))


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
    """From P L = I and L P = I: the longest product of P beside L, on either side, in terms of the others; and the same transposed."""
    assert isinstance(letter.meaning, MatrixInverse)
    of = letter.meaning.of
    longest = max((word for _, word in of.terms), key=lambda word: (len(word), word_text(word)))
    others = subtract(of, scale(_coefficient(of, longest), Polynomial(of.rows, of.columns, {((), longest): Fraction(1)})))
    below, itself = reciprocal(_coefficient(of, longest)), letter_polynomial(letter)
    before = Rule((*longest, letter), scale(below, subtract(identity(of.rows), multiply(others, itself))))
    after = Rule((letter, *longest), scale(below, subtract(identity(of.rows), multiply(itself, others))))
    for rule in (before, after):
        yield rule
        yield Rule(flip_word(rule.word), transpose(rule.value))
