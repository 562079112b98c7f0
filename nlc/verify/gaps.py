"""How two normal forms differ, in words: which terms one of them lacks, and which it has with another coefficient."""

from __future__ import annotations

from collections.abc import Iterator
from fractions import Fraction

from nlc.ir.algebra import State, When
from nlc.verify.letters import UNIT, Atom, Word, word_text
from nlc.verify.polynomial import Factors, Polynomial, times_number
from nlc.verify.spelling import spelled_text

MOST_GAPS = 3
RETENTION = "the retention term"

Key = tuple[Factors, Word]
"""What a term is made of besides its coefficient: of a matrix or vector the product, of a scalar its factors."""


def gap_text(left: Polynomial, right: Polynomial) -> str:
    """The difference of two sides as a sentence."""
    for side, other, form in (("left", "right", left), ("right", "left", right)):
        if form.is_zero:
            return f"the {side} side is zero, the {other} side is not"
    gaps = list(_gaps(left, right))
    shown = "; ".join(gaps[:MOST_GAPS])
    return shown if len(gaps) <= MOST_GAPS else f"{shown}; and {len(gaps) - MOST_GAPS} more terms differ"


def _gaps(left: Polynomial, right: Polynomial) -> Iterator[str]:
    """Terms that only one side has, then those with two coefficients."""
    first, second = _grouped(left), _grouped(right)
    keys = sorted({*first, *second}, key=lambda key: (key in first and key in second, len(key[1]), word_text(key[1]), str(key[0])))
    for key in keys:
        mine, others = first.get(key), second.get(key)
        if mine is None or others is None:
            side, has = ("left", second) if mine is None else ("right", first)
            yield f"{_role(key)} {_term(left, key, has[key])} is missing on the {side}"
        elif mine.terms != others.terms:
            product = spelled_text(Polynomial(left.rows, left.columns, {key: Fraction(1)}))
            if _role(key) == RETENTION and 1 in (mine.number, others.number):
                side, kept = ("left", others) if mine.number == 1 else ("right", mine)
                yield f"the retention {spelled_text(kept)} of {product} is missing on the {side}"
            elif others.terms == times_number(-1, mine).terms:
                yield f"{_role(key)} {product} has the other sign"
            else:
                yield f"{_role(key)} {product} has the coefficient {spelled_text(mine)} on the left and {spelled_text(others)} on the right"


def _grouped(x: Polynomial) -> dict[Key, Polynomial]:
    """The coefficient of each product; of a scalar all factors are the product, and the coefficient is a number."""
    found: dict[Key, dict[tuple[Factors, Word], Fraction]] = {}
    for (factors, word), value in x.terms.items():
        key, coefficient = ((factors, ()), ()) if x.is_scalar else (((), word), factors)
        found.setdefault(key, {})[coefficient, ()] = value
    return {key: Polynomial(UNIT, UNIT, terms) for key, terms in found.items()}


def _term(side: Polynomial, key: Key, coefficient: Polynomial) -> str:
    factors, word = key
    terms = {((*more, *factors), word): value for (more, _), value in coefficient.terms.items()}
    return spelled_text(Polynomial(side.rows, side.columns, terms))


def _role(key: Key) -> str:
    """What a term of an update does, as far as its letters tell."""
    _, word = key
    old = [isinstance(letter.meaning, Atom) and _is_old(letter.meaning) for letter in word]
    if not word or not any(old):
        return "the term"
    return RETENTION if len(word) == 1 else "the erase term"


def _is_old(meaning: Atom) -> bool:
    return isinstance(meaning.node, State) and meaning.node.when is When.PREVIOUS
