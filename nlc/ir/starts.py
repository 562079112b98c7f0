"""Where states start: when a level starts again, what its `init` sees there, and which starts are known before any token.

`init` is a read on the clock of `reset`, made at the first tick of the new period, before anybody reads the level there (design section 2).
A start of numbers, slow levels and other known starts is part of the initial state; any other is made at the first token.
"""

from __future__ import annotations

from collections.abc import Mapping
from types import MappingProxyType

from nlc.ir.algebra import LEAVES, Constant, Expr, Eye, Full, Hyperparameter, Input, Parameter, Size, State, When, walk
from nlc.ir.build import full, replace, spread
from nlc.ir.law import with_parameters
from nlc.ir.model import Clock, Component, Family, Model, StateDeclaration

NUMBERS = (Constant, Eye, Full, Hyperparameter, Parameter, Size)
"""What is known before any token, whatever the system."""


def reset_clock(component: Component) -> Clock:
    """When a component starts again from its initial state; by default fast state at every sequence, slow state never.

    A level that moves when a sequence ends would never be read as it moved if it started again there: it is kept.
    """
    is_kept = not component.every.is_fast or component.every.family is Family.SEQUENCE
    return component.reset or Clock(Family.NEVER if is_kept else Family.SEQUENCE)


def lasts(component: Component) -> bool:
    """Whether a level inside sequences goes on from one to the next."""
    return component.every.is_fast and reset_clock(component).family is Family.NEVER


def starts_from_new(reader: Component, source: Clock) -> bool:
    """Whether an initial state, made just before the first update of a new period, sees the source's new state.

    A source slower than the reader has then not moved yet, unless it moves at every tick and the reader's updates are parts of
    one: Muon's orthogonalised momentum (step / 5, reset every step) starts from this step's momentum.
    """
    reset = reset_clock(reader)
    if reset.family is Family.NEVER:
        return False  # it started once, before anything moved
    if source.speed <= reader.every.speed or (reader.rounds > 1 and source.speed <= reset.speed):
        return True
    return source.family is reader.every.family and source.period <= 1 and source.speed <= reset.speed


def starts_from_evidence(component: Component) -> bool:
    """Whether its `init` reads a stream or the state of another level."""
    return any(isinstance(node, Input | State) for value in component.init for node in walk(value))


def start_of(model: Model, component: Component, state: StateDeclaration) -> Expr:
    """What a tensor of a state starts from, in its shape, as the spec says it: its `init`, or zeros; slow levels are parameters."""
    return _spread(_written(model, component, state), state)


def known_start(model: Model, component: Component, state: StateDeclaration) -> Expr | None:
    """The start over numbers and parameters alone (a number may stand for a whole tensor); None when it needs a token."""
    started: dict[Expr, Expr] = {}
    value = _written(model, component, state)
    for read in (node for node in walk(value) if isinstance(node, State)):
        source = model.component(read.component)
        tensor = declared(source, read.part)
        is_given = model.kind == "optimizer" and source.name == "weights"
        start = None if is_given or sees_new_at_start(component, source, read) else known_start(model, source, tensor)
        if start is None:
            return None
        started[read] = _spread(start, tensor)
    known = replace(value, started.get)
    return known if all(isinstance(node, NUMBERS) for node in walk(known) if isinstance(node, LEAVES)) else None


def sees_new_at_start(component: Component, source: Component, read: State) -> bool:
    """Whether a read in a level's `init` sees what the source becomes at the first tick of the period."""
    at_once = moves_at_once(source) or component.rounds > 1
    return read.when is When.CURRENT and at_once and starts_from_new(component, source.every)


def _written(model: Model, component: Component, state: StateDeclaration) -> Expr:
    return with_parameters(model, component.init[component.states.index(state)]) if component.init else full(0, state.shape)


def _spread(value: Expr, state: StateDeclaration) -> Expr:
    return spread(value, None, state.shape) if not value.shape else value


def moves_at_once(source: Component) -> bool:
    """Whether a level may move at the first tick of a period already; those of several tokens move at its end."""
    return source.every.family is not Family.SEQUENCE and source.every.period <= 1


def declared(component: Component, part: str) -> StateDeclaration:
    """One tensor of a component's state."""
    return next(state for state in component.states if state.part == part)


def by_start(model: Model) -> tuple[Component, ...]:
    """The levels inside a sequence, each after those that it starts from."""
    waiting: Mapping[str, Component] = MappingProxyType({item.name: item for item in model.fast})
    found: dict[str, Component] = {}

    def visit(component: Component) -> None:
        if component.name not in found:
            for name in started_from(component):
                if name in waiting:
                    visit(waiting[name])
            found[component.name] = component

    for component in model.fast:
        visit(component)
    return tuple(found.values())


def started_from(component: Component) -> tuple[str, ...]:
    """The levels whose states a component's `init` reads."""
    return tuple(dict.fromkeys(node.component for value in component.init for node in walk(value) if isinstance(node, State)))
