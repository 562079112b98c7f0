"""The laws of a system -> groups of memories whose states move as one, each group after those that it reads.

Two memories move as one when their laws read each other, directly or through others, or when one law needs the whole state of the other:
more of it than products with vectors, which are streams to whoever reads them.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from types import MappingProxyType

from nlc.ir.affine import OutputRead
from nlc.ir.algebra import Expr, MatMul, State, children
from nlc.ir.build import replace
from nlc.ir.program import NO_BLOCKS, Blocks
from nlc.schedule.reads import read_names, states_read

Group = tuple[str, ...]

NO_SOURCES: Mapping[str, frozenset[str]] = MappingProxyType({})
"""Where no level starts from what another becomes."""


def state_groups(values: Mapping[str, Sequence[Expr]], blocks: Blocks = NO_BLOCKS) -> tuple[Group, ...]:
    """The groups; inside one, memories stand in the order in which they run, which is that of `values`.

    What is steady in a block is a constant to all of them.
    """
    reads = {name: (states_read(*new, but=blocks) & values.keys()) - {name} for name, new in values.items()}
    links = dict(reads)
    for name, new in values.items():
        for source in reads[name]:
            if any(_needs_whole(value, source, blocks) for value in new):
                links[source] |= {name}
    reached = _reached(links)
    groups = {name: tuple(other for other in values if other == name or _are_one(reached, name, other)) for name in values}
    return tuple(dict.fromkeys(groups[name] for name in sorted(values, key=lambda name: len(reached[name] - {*groups[name]}))))


def after_reads(
    groups: Sequence[Group],
    reads: Sequence[OutputRead],
    streams: Mapping[str, Sequence[Expr]],
    sources: Mapping[str, frozenset[str]] = NO_SOURCES,
) -> tuple[Group, ...]:
    """The groups, each after those whose reads its laws or the vectors that it is read with need; as they came where that has no order.

    They come after the `sources` of the starts of all states that they read, and of their own.
    """
    owner = {read.name: members for members in groups for read in reads if read.component in members}
    asked = {members: [value for name in members for value in streams[name]] for members in groups}
    for read in reads:
        if read.vector is not None and read.name in owner:
            asked[owner[read.name]].append(read.vector)
    needs = {members: {owner[name] for value in values for name in read_names(value) if name in owner} for members, values in asked.items()}
    for members, values in asked.items():
        begun = frozenset[str]().union(*(sources.get(name, ()) for name in (*members, *states_read(*values))))
        needs[members] |= {other for other in groups if not begun.isdisjoint(other)}
    ordered: list[Group] = []
    while left := [members for members in groups if members not in ordered]:
        ordered.append(next((members for members in left if needs[members] - {members} <= {*ordered}), left[0]))
    return tuple(ordered)


def _needs_whole(node: Expr, component: str, blocks: Blocks) -> bool:
    """Whether an expression needs more of a component's matrices than their products with vectors."""
    match node:
        case MatMul(State(name) as state, vector) if name == component and len(vector.shape) == 1 and not blocks.is_steady(state):
            return bool(states_read(vector, but=blocks) & {component})
        case State(name, shape=shape):
            return name == component and len(shape) > 1 and not blocks.is_steady(node)
    return any(_needs_whole(child, component, blocks) for child in children(node))


def over_old_states(members: Group, values: Mapping[str, Sequence[Expr]], states: Mapping[str, Sequence[State]]) -> tuple[Expr, ...]:
    """The new states of a group's members, one after another, over the states at the token's start: new ones that they read are put in."""
    known: dict[Expr, Expr] = {}
    for name in members:
        new = [replace(value, known.get) for value in values[name]]
        known |= dict(zip(states[name], new, strict=True))
    return tuple(known.values())


def _are_one(reached: Mapping[str, frozenset[str]], name: str, other: str) -> bool:
    return other in reached[name] and name in reached[other]


def _reached(links: Mapping[str, frozenset[str]]) -> dict[str, frozenset[str]]:
    """Every memory that can be come to from another one."""
    reached = dict(links)
    for _ in links:
        reached = {name: sources.union(*(reached[source] for source in sources)) for name, sources in reached.items()}
    return reached
