"""The laws of a system -> groups of memories whose states move as one, each group after those that it reads.

Two memories move as one when their laws read each other, directly or through others, or when one law needs the whole state of the other:
more of it than products with vectors, which are streams to whoever reads them.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence

from nlc.ir.algebra import Expr, MatMul, State, children, contains
from nlc.ir.build import replace
from nlc.schedule.reads import states_read

Group = tuple[str, ...]


def state_groups(values: Mapping[str, Sequence[Expr]]) -> tuple[Group, ...]:
    """The groups; inside one, memories stand in the order in which they run, which is that of `values`."""
    links = {name: states_read(*new) - {name} for name, new in values.items()}
    for name, new in values.items():
        for source in links[name]:
            if any(needs_whole(value, source) for value in new):
                links[source] |= {name}
    reached = _reached(links)
    groups = {name: tuple(other for other in values if other == name or _are_one(reached, name, other)) for name in values}
    return tuple(dict.fromkeys(groups[name] for name in sorted(values, key=lambda name: len(reached[name] - {*groups[name]}))))


def needs_whole(node: Expr, component: str) -> bool:
    """Whether an expression needs more of a component's matrices than their products with vectors."""
    match node:
        case MatMul(State(name), vector) if name == component and len(vector.shape) == 1:
            return needs_whole(vector, component) or contains(vector, lambda part: isinstance(part, State))
        case State(name, shape=shape):
            return name == component and len(shape) != 1
    return any(needs_whole(child, component) for child in children(node))


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
