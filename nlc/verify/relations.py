"""Guesses how the states of two systems are related, from their first ticks, and keeps the relations that every tick preserves.

A relation says other = c * this, with c made of numbers, sizes and hyperparameters that do not change between ticks.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, replace
from fractions import Fraction

from nlc.ir.algebra import Expr, Hyperparameter, Index, Input, Size, State, Tick
from nlc.ir.show import expression_text
from nlc.verify.letters import UNIT, Atom, Inverse, Letter, Word
from nlc.verify.normal_form import normal_form
from nlc.verify.polynomial import Factors, Monomial, Polynomial, number, subtract
from nlc.verify.products import multiply, scale
from nlc.verify.quotients import clear_denominators, reciprocal
from nlc.verify.spelling import spelled_text
from nlc.verify.twins import Moment, Source, Twins, after, initial, moment, states, step

GUESSING_TICKS = 2


@dataclass(frozen=True, slots=True)
class Relation:
    """other = ratio * this; where `ratio` has a denominator and its inverse has none it is read as this = inverse * other."""

    this: State
    other: State
    ratio: Polynomial
    inverse: Polynomial

    @property
    def is_inverted(self) -> bool:
        return _has_denominator(self.ratio) and not _has_denominator(self.inverse)

    @property
    def conditions(self) -> tuple[str, ...]:
        """What the relation needs in order to make sense."""
        if self.is_inverted or not _has_denominator(self.ratio):
            return ()
        return (f"{spelled_text(self.ratio)} is defined",)

    def texts(self, other_name: str) -> tuple[str, str]:
        """Both sides of the relation, for people."""
        this, other = expression_text(after(self.this)), f"{other_name}'s {expression_text(after(self.other))}"
        left, right, factor = (this, other, self.inverse) if self.is_inverted else (other, this, self.ratio)
        text = spelled_text(factor)
        return left, right if factor.number == 1 else f"-{right}" if factor.number == -1 else f"{text} * {right}"


def _past(leaf: Source) -> Expr:
    return replace(leaf, delayed=True) if isinstance(leaf, Input) else leaf


GENERAL = Moment(now=lambda leaf: leaf, earlier=_past, tick=Tick(""))
"""Any tick at all: sources stand for themselves."""


# --- guessing ----------------------------------------------------------------------------------------------------


def guess(twins: Twins) -> tuple[Relation, ...]:
    """For every state of the other system a state of this one in a fixed ratio after each of the first ticks."""
    history = _first_ticks(twins)
    found = (_related(leaf, twins, history) for leaf in states(twins.other))
    return tuple(relation for relation in found if relation is not None)


History = list[tuple[Mapping[Expr, Polynomial], Mapping[Expr, Polynomial]]]


def _first_ticks(twins: Twins) -> History:
    history: History = []
    before = initial(twins, normal_form, {})
    for tick in range(1, GUESSING_TICKS + 1):
        this, other = step(twins, moment(tick, twins.claim.varying), *before, normal_form, {})
        history.append((this, other))
        before = twins.carried(this, other)
    return history


def _related(leaf: State, twins: Twins, history: History) -> Relation | None:
    same_shape = [mine for mine in states(twins.this) if mine.shape == leaf.shape]
    for mine in sorted(same_shape, key=lambda item: (item.component, item.part) != (leaf.component, leaf.part)):
        ratio = _common_ratio([(this[after(mine)], other[after(leaf)]) for this, other in history], twins.claim.varying)
        both_start_alike = (mine in twins.weights) == (leaf in twins.weights)
        if ratio is not None and both_start_alike and (mine not in twins.weights or ratio.number == 1):
            return Relation(mine, leaf, ratio, reciprocal(ratio))
    return None


def _common_ratio(pairs: list[tuple[Polynomial, Polynomial]], varying: tuple[str, ...]) -> Polynomial | None:
    """c with right = c * left for every pair; 1 when all are zero."""
    ratio: Polynomial | None = None
    for left, right in pairs:
        if ratio is None and not (left.is_zero and right.is_zero):
            ratio = _ratio(left, right, varying)
            if ratio is None:
                return None
        if ratio is not None and not clear_denominators(subtract(right, scale(ratio, left))).is_zero:
            return None
    return ratio if ratio is not None else number(1)


def _ratio(left: Polynomial, right: Polynomial, varying: tuple[str, ...]) -> Polynomial | None:
    """The constant part of one term's coefficient on the right over that on the left."""
    if left.is_zero or right.is_zero:
        return None
    group = _split(left.ordered[0], varying)[1]
    above, below = (_constants(side, group, varying) for side in (right, left))
    if above.is_zero:
        return None
    times = above.terms[above.ordered[0]] / below.terms[below.ordered[0]]
    return number(times) if above == scale(number(times), below) else multiply(above, reciprocal(below))


def _constants(x: Polynomial, group: tuple[Factors, Word], varying: tuple[str, ...]) -> Polynomial:
    terms: dict[Monomial, Fraction] = {}
    for monomial, coefficient in x.terms.items():
        constants, rest = _split(monomial, varying)
        if rest == group:
            terms[constants, ()] = coefficient
    return Polynomial(UNIT, UNIT, terms)


def _split(monomial: Monomial, varying: tuple[str, ...]) -> tuple[Factors, tuple[Factors, Word]]:
    """The factors that never change, and the rest of a monomial."""
    factors, word = monomial
    constants = tuple(item for item in factors if _is_constant(item[0], varying))
    return constants, (tuple(item for item in factors if item not in constants), word)


def _is_constant(letter: Letter, varying: tuple[str, ...]) -> bool:
    match letter.meaning:
        case Atom(Hyperparameter(name)):
            return name.partition("[")[0] not in varying
        case Atom(Size() | Index()):
            return True
        case Inverse(of):
            return all(_is_constant(part, varying) for factors, word in of.terms for part in (*(item[0] for item in factors), *word))
    return False


def _has_denominator(x: Polynomial) -> bool:
    return any(exponent < 0 or isinstance(letter.meaning, Inverse) for factors, _ in x.terms for letter, exponent in factors)


# --- induction ---------------------------------------------------------------------------------------------------


def preserved(twins: Twins, relations: tuple[Relation, ...]) -> tuple[Relation, ...]:
    """The largest set of the relations that, holding before a tick, hold after it."""
    while True:
        this, other = step(twins, GENERAL, *start_of(twins, relations), normal_form, {})
        kept = tuple(item for item in relations if _holds(item, this[after(item.this)], other[after(item.other)]))
        if kept == relations:
            return kept
        relations = kept


def _holds(relation: Relation, this: Polynomial, other: Polynomial) -> bool:
    gap = subtract(this, scale(relation.inverse, other)) if relation.is_inverted else subtract(other, scale(relation.ratio, this))
    return clear_denominators(gap).is_zero


def start_of(twins: Twins, relations: tuple[Relation, ...]) -> tuple[dict[Expr, Polynomial], dict[Expr, Polynomial]]:
    """Any states before a tick that satisfy the relations; states in no relation are unknowns of their own."""
    this: dict[Expr, Polynomial] = {leaf: normal_form(leaf) for leaf in states(twins.this)}
    other: dict[Expr, Polynomial] = {leaf: normal_form(_of_other(leaf)) for leaf in states(twins.other)}
    inverted = {item.this: item for item in reversed(relations) if item.is_inverted}
    this |= {leaf: scale(item.inverse, other[item.other]) for leaf, item in inverted.items()}
    other |= {item.other: scale(item.ratio, this[item.this]) for item in relations if inverted.get(item.this) != item}
    return this, other


def _of_other(leaf: State) -> State:
    return replace(leaf, component=f"other:{leaf.component}")
