"""Equations that a claim assumes -> rewriting of normal forms: a letter or a product of letters becomes what it is said to equal.

Sound for any equations, since equals replace equals; complete only for those that rewrite to an end.
"""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from dataclasses import dataclass

from nlc.verify.letters import UNIT, Inner, Letter, Trace, Word, flip_word
from nlc.verify.polynomial import (
    Monomial,
    Polynomial,
    add,
    identity,
    letter_polynomial,
    monomial_text,
    single,
    subtract,
    times_number,
    transpose,
)  # fmt: skip
from nlc.verify.products import dot, multiply, scale, substituted

MOST_STEPS = 400
"""Rewritings of one polynomial before the rest is left as it is: two equations may undo one another."""


@dataclass(frozen=True, slots=True)
class Rule:
    """A product of letters (or one scalar letter) and what it equals."""

    word: Word
    value: Polynomial

    @property
    def is_scalar(self) -> bool:
        return len(self.word) == 1 and self.word[0].is_scalar


def rules_of(left: Polynomial, right: Polynomial) -> tuple[Rule, ...]:
    """The rewritings that an equation allows: of the left side when it is one product, else of its largest product."""
    difference = subtract(left, right)
    candidates = list(left.terms) if len(left.terms) == 1 and next(iter(left.terms)) in difference.terms else difference.ordered
    for monomial in sorted(candidates, key=lambda item: (len(item[1]), monomial_text(item)), reverse=True):
        word = _one_product(monomial)
        if word:
            rest = subtract(single(difference, monomial), difference)
            value = times_number(1 / difference.terms[monomial], rest)
            rule = Rule(word, value)
            turned = Rule(flip_word(word), transpose(value))
            return (rule,) if rule.is_scalar or _turns_back(rule) else (rule, turned)
    return ()


def _one_product(monomial: Monomial) -> Word:
    """The product that a monomial is, without other factors; empty when it is none."""
    match monomial:
        case (((letter, 1),), ()):
            return (letter,)
        case ((), word):
            return word
    return ()


def _turns_back(rule: Rule) -> bool:
    """Whether the transposed rule would undo this one, as for a symmetric matrix."""
    return any(word in (flip_word(rule.word), rule.word) for _, word in rule.value.terms) or flip_word(rule.word) == rule.word


def rewritten(x: Polynomial, rules: Sequence[Rule]) -> Polynomial:
    """x with every product that a rule names replaced, as long as there are any."""
    for _ in range(MOST_STEPS):
        found = next(_matches(x, rules), None)
        if found is None:
            break
        monomial, replaced = found
        x = add(subtract(x, single(x, monomial)), replaced)
    return x


def _matches(x: Polynomial, rules: Sequence[Rule]) -> Iterator[tuple[Monomial, Polynomial]]:
    """Terms of x to which a rule applies, each with what it becomes."""
    for monomial in x.ordered:
        for rule in rules:
            replaced = _in_scalars(x, monomial, rule) or (None if rule.is_scalar else _in_word(x, monomial, rule))
            if replaced is not None:
                yield monomial, replaced


def _in_word(x: Polynomial, monomial: Monomial, rule: Rule) -> Polynomial | None:
    factors, word = monomial
    place = _place(rule.word, word)
    if place is None:
        return None
    return scale(Polynomial(UNIT, UNIT, {(factors, ()): x.terms[monomial]}), _around(word, place, rule))


def _in_scalars(x: Polynomial, monomial: Monomial, rule: Rule) -> Polynomial | None:
    """The term with a scalar letter replaced, or with the product replaced inside an inner product or a trace."""
    for letter, exponent in monomial[0]:
        value = _replaced_scalar(letter, rule) if exponent > 0 else None
        if value is not None:
            return substituted(single(x, monomial), letter, value)
    return None


def _replaced_scalar(letter: Letter, rule: Rule) -> Polynomial | None:
    if rule.is_scalar:
        return rule.value if letter == rule.word[0] else None
    match letter.meaning:
        case Inner(word) if (place := _place(rule.word, word)) is not None:
            return _around(word, place, rule)
        case Trace(word) if (place := _place(rule.word, word)) is not None:
            replaced = _around(word, place, rule)
            return dot(identity(replaced.rows), replaced)
    return None


def _place(wanted: Word, word: Word) -> int | None:
    places = range(len(word) - len(wanted) + 1)
    return next((place for place in places if word[place : place + len(wanted)] == wanted), None)


def _around(word: Word, place: int, rule: Rule) -> Polynomial:
    """The word with the rule's product, which begins at a place of it, replaced."""
    result = rule.value
    for letter in reversed(word[:place]):
        result = multiply(letter_polynomial(letter), result)
    for letter in word[place + len(rule.word) :]:
        result = multiply(result, letter_polynomial(letter))
    return result
