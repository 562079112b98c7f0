"""The relation "is faster than" to levels: within one frequency, each component on the earliest level that its reads allow.

Ties are not transitive, so Definition 2 alone does not determine levels; the earliest topological layer is the canonical choice.
"""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Mapping, Sequence
from graphlib import TopologicalSorter
from heapq import heappop, heappush
from itertools import combinations, groupby

from nlc.ir.clock import Clock
from nlc.ir.order import Edge, Level, Relation
from nlc.order.clocks import speed
from nlc.order.faster_than import Comparison


def levels_of(comparison: Comparison) -> tuple[Level, ...]:
    """The levels, fastest first, names sorted within each."""
    layers = list(_layers(comparison))
    return tuple(
        Level(
            speed_rank=rank,
            components=names,
            clock=comparison.clocks[names[0]],
            number_slowest_highest=rank + 1,
            number_slowest_first=len(layers) - rank,
        )
        for rank, names in enumerate(layers)
    )


def _layers(comparison: Comparison) -> Iterator[tuple[str, ...]]:
    clocks = comparison.clocks
    by_speed = sorted(clocks, key=lambda name: (speed(clocks[name]), name))
    for _, group in groupby(by_speed, key=lambda name: speed(clocks[name])):
        waiting = tuple(group)
        while waiting:
            layer = tuple(name for name in waiting if not any(comparison.is_faster(other, name) for other in waiting))
            yield layer
            waiting = tuple(name for name in waiting if name not in layer)


def relations_of(levels: Iterable[Level], comparison: Comparison) -> tuple[Relation, ...]:
    """How every two components compare, the one on the earlier level (then the earlier name) on the left."""
    ranks = _ranks(levels)
    return tuple(_relation(left, right, ranks, comparison) for left, right in combinations(ranks, 2))


def _relation(left: str, right: str, ranks: Mapping[str, int], comparison: Comparison) -> Relation:
    if comparison.is_faster(left, right):
        return Relation(left, right, "faster", comparison.why_faster(left, right))
    later = ranks[right] - ranks[left]
    if not later:
        return Relation(left, right, "tie", comparison.why_tied(left, right))
    before = next(name for name in ranks if ranks[name] == ranks[right] - 1 and comparison.is_faster(name, right))
    placed = f"placed {'one level' if later == 1 else f'{later} levels'} later"
    because = comparison.why_faster(before, right)
    return Relation(left, right, "tie", f"{comparison.why_tied(left, right)}; {right} is {placed} because {because}")


def run_order_of(levels: Sequence[Level], edges: Iterable[Edge]) -> tuple[str, ...]:
    """Components as they run when all are due: what is read new comes first, then the faster level, then the earlier name.

    A faster component runs after a slower one when it starts from that one's new state. Those that move several times a tick wait for all
    that does not need them, so that they stand together: they move by turns. Those that do not move at every tick wait for all others.
    """
    ranks = _ranks(levels)
    waits = {name: _patience(level.clock) for level in levels for name in level.components}
    sorter = TopologicalSorter({name: [] for name in ranks})
    for edge in edges:
        if edge.kind != "older state":
            sorter.add(edge.reader, edge.source)
    sorter.prepare()
    return tuple(_in_order(sorter, ranks, waits))


def _patience(clock: Clock) -> int:
    return 2 if clock.period > 1 else 1 if clock.updates_per_tick > 1 else 0


def _in_order(sorter: TopologicalSorter[str], ranks: Mapping[str, int], waits: Mapping[str, int]) -> Iterator[str]:
    ready: list[tuple[int, int, str]] = []
    while sorter.is_active():
        for name in sorter.get_ready():
            heappush(ready, (waits[name], ranks[name], name))
        _, _, name = heappop(ready)
        sorter.done(name)
        yield name


def _ranks(levels: Iterable[Level]) -> dict[str, int]:
    """The speed rank of every component, in the order of the levels."""
    return {name: level.speed_rank for level in levels for name in level.components}
