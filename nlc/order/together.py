"""The reasons for all pairs -> as few sentences: pairs that compare for the same reason are told together.

Between clocks only neighbours are compared, since a faster clock is faster than all that are slower than its neighbour.
"""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from itertools import combinations, pairwise

from nlc.ir.order import Level, LevelOrder, Relation
from nlc.order.clocks import speed, why_faster

Pair = tuple[str, str]

TRANSITIVE = "A level is faster than all levels on clocks below its own."


@dataclass(frozen=True, slots=True)
class Sentence:
    """What is said of some pairs: `b, c ~ d: same frequency, ...` of (b, d) and (c, d)."""

    text: str
    pairs: tuple[Pair, ...]


def told_together(order: LevelOrder) -> tuple[str, ...]:
    """Sentences from which the reason for every pair can be read."""
    neighbours = tuple(
        f"{_names(fast)} > {_names(slow)}: {why_faster(fast[0].clock, slow[0].clock)}" for fast, slow in pairwise(_clocks(order))
    )
    transitive = (TRANSITIVE,) if len(neighbours) > 1 else ()
    return (*neighbours, *transitive, *(sentence.text for sentence in sentences_of_one_clock(order)))


def sentences_of_one_clock(order: LevelOrder) -> tuple[Sentence, ...]:
    """What is said of pairs of one frequency, each pair in one sentence."""
    return tuple(sentence for levels in _clocks(order) for sentence in _sentences(_relations(order, levels)))


def _clocks(order: LevelOrder) -> list[list[Level]]:
    """The levels of each frequency, fastest first."""
    speeds = dict.fromkeys(speed(level.clock) for level in order.levels)
    return [[level for level in order.levels if speed(level.clock) == one] for one in speeds]


def _names(levels: Sequence[Level]) -> str:
    return ", ".join(name for level in levels for name in level.components)


def _relations(order: LevelOrder, levels: Sequence[Level]) -> list[Relation]:
    inside = {name for level in levels for name in level.components}
    return [item for item in order.relations if item.left in inside and item.right in inside]


def _sentences(relations: Sequence[Relation]) -> Iterator[Sentence]:
    for kind, reason in dict.fromkeys((item.kind, item.reason) for item in relations):
        pairs = [(item.left, item.right) for item in relations if (item.kind, item.reason) == (kind, reason)]
        sign = ">" if kind == "faster" else "~"
        for group in _groups(pairs) if kind == "tie" else ():
            yield Sentence(f"{' ~ '.join(group)}: {reason}", tuple(combinations(group, 2)))
            pairs = [pair for pair in pairs if not set(pair) <= set(group)]
        for right in dict.fromkeys(right for _, right in pairs):
            lefts = tuple(left for left, other in pairs if other == right)
            yield Sentence(f"{', '.join(lefts)} {sign} {right}: {reason}", tuple((left, right) for left in lefts))


def _groups(pairs: Sequence[Pair]) -> Iterator[tuple[str, ...]]:
    """Groups of three and more names all of whose pairs are there: `a ~ b ~ c` says all that is to be said of them."""
    left = list(pairs)
    while left:
        known = {frozenset(pair) for pair in left}
        group: list[str] = []
        for name in dict.fromkeys(name for pair in left for name in pair):
            if all(frozenset((other, name)) in known for other in group):
                group.append(name)
        if len(group) > 2:
            yield tuple(group)
        left = [pair for pair in left if not set(pair) <= set(group)]
