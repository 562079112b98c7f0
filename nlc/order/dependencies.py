"""Which updates read which states, and whether they need the new one: a model's components to edges between them.

What an update evaluates decides: the objective that its step follows, its retention, rate and initial state. `key`, `value` and
`prediction` only name parts. A read of another level's gradient reads what that level's objective reads.
"""

from __future__ import annotations

from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass
from typing import Literal as OneOf, TypeVar

from nlc.ir.algebra import Expr, Gradient, State, When, walk
from nlc.ir.model import Clock, Component, Family, GradientDescent, GradientPoint, Model, Proximal
from nlc.ir.order import Edge
from nlc.ir.starts import moves_at_once, starts_from_new
from nlc.order.clocks import speed

Node = TypeVar("Node", State, Gradient)


@dataclass(frozen=True, slots=True)
class Read:
    """A read of a state inside an update; `is_new` says whether it sees what the state becomes at this tick."""

    state: State
    is_new: bool


def dependencies(model: Model) -> tuple[Edge, ...]:
    """Every read that an update makes of a component's state: one edge per reader, source and kind, sorted by them.

    A component is its own source only when it needs its own new state, which no order can serve.
    """
    components = {component.name: component for component in model.components}
    edges = [edge for component in model.components for edge in _edges(component, components, model.strict)]
    return tuple(sorted(dict.fromkeys(edges), key=lambda edge: (edge.reader, edge.source, edge.kind)))


def step_expressions(component: Component) -> Sequence[Expr]:
    """What a component's step evaluates at each update."""
    match component.optimizer:
        case GradientDescent(rate) | Proximal(rate):
            return (component.follows, *component.retention, rate)
    return (component.follows, *component.retention)


def _gradient_expressions(host: Component) -> Sequence[Expr]:
    """What the gradient of a component's objective is made of: also its retention, when it is taken at the retained state."""
    return (host.objective, *host.retention) if host.gradient_at is GradientPoint.RETAINED else (host.objective,)


def _edges(reader: Component, components: Mapping[str, Component], strict: bool) -> Iterator[Edge]:
    for read in _reads(reader, components):
        if read.state.component == reader.name and not read.is_new:
            continue
        through_outputs = not strict and _block(components[read.state.component], components) != _block(reader, components)
        yield Edge(reader.name, read.state.component, _kind(read.is_new, through_outputs), read.state.span)


def _block(component: Component, components: Mapping[str, Component]) -> str:
    """The block of a component; an optimizer's levels belong to the block of the level that they serve."""
    return _block(components[component.host], components) if component.host else component.block


def _kind(is_new: bool, through_outputs: bool) -> OneOf["same tick", "older state", "forward"]:
    if not is_new:
        return "older state"
    return "forward" if through_outputs else "same tick"


def _reads(reader: Component, components: Mapping[str, Component]) -> Iterator[Read]:
    if reader.every.family is not Family.NEVER:
        for read in _reads_in(step_expressions(reader), _sees_new_at(reader.every), components):
            yield read
            yield from () if read.is_new else _reads_at_its_start(components[read.state.component], components)
    yield from _reads_at_its_start(reader, components, also_older=True)


def _reads_at_its_start(
    level: Component, components: Mapping[str, Component], passed: frozenset[str] = frozenset(), *, also_older: bool = False
) -> Iterator[Read]:
    """The new states that a level starts from: who reads it before its update, at the first tick of a period, needs them too.

    A level that starts from what another starts from needs what that one does; `passed` are those on the way.
    """
    for read in _reads_in(level.init, lambda source: starts_from_new(level, source), components):
        source = components[read.state.component]
        sees_new = read.is_new and moves_at_once(source)
        if also_older or sees_new:
            yield read
        if not sees_new and source.name not in passed:
            yield from _reads_at_its_start(source, components, passed | {level.name})


def _reads_in(
    expressions: Sequence[Expr], sees_new: Callable[[Clock], bool], components: Mapping[str, Component], hosts: frozenset[str] = frozenset()
) -> Iterator[Read]:
    """The reads in some expressions; those inside a gradient are made when the level moves that it is the gradient of."""
    for state in reads_of(State, expressions):
        yield Read(state, state.when is When.CURRENT and sees_new(components[state.component].every))
    for name in dict.fromkeys(gradient.component for gradient in reads_of(Gradient, expressions)):
        if name not in hosts:
            host = components[name]
            yield from _reads_in(_gradient_expressions(host), _sees_new_at(host.every), components, hosts | {name})


def reads_of(kind: type[Node], expressions: Iterable[Expr]) -> tuple[Node, ...]:
    """Every read of a state, or of a gradient, in the order in which they are written."""
    return tuple(node for expression in expressions for node in walk(expression) if isinstance(node, kind))


def first_by_component(reads: Sequence[Node]) -> dict[str, Node]:
    """The first read of each component."""
    return {read.component: read for read in reversed(reads)}


def _sees_new_at(clock: Clock) -> Callable[[Clock], bool]:
    return lambda source: speed(source) <= speed(clock)
