"""Where levels start again inside a sequence: a model in, the resets of its states out, each after those that it reads."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import replace as with_changes

from nlc.derive.settle import settle
from nlc.ir.algebra import LEAVES, Expr, State, StopGradient, When, walk
from nlc.ir.build import replace
from nlc.ir.law import Equation, Kept, Reset
from nlc.ir.model import Component, Model, StateDeclaration
from nlc.ir.order import LevelOrder
from nlc.ir.starts import by_start, known_start, sees_new_at_start, start_of


def resets_of(order: LevelOrder, kept: tuple[Kept, ...]) -> tuple[Reset, ...]:
    """The states that start again inside a sequence: from their start, or from what they were, cut off from how it came about."""
    restarting = (component for component in by_start(order.model) if component.rounds == 1)
    return tuple(item for component in restarting for item in _resets(order, component, kept))


def restarts(model: Model) -> bool:
    """Whether some state starts again inside a sequence, or is cut off from its past, or starts at the first token."""
    counted = [item for item in model.fast if item.rounds == 1 and (model.kind != "optimizer" or _period(item) != 1)]
    return any(item.backprop or _period(item) or any(known_start(model, item, state) is None for state in item.states) for item in counted)


def settled_starts(order: LevelOrder) -> list[Expr]:
    """What is evaluated inside a sequence where levels start."""
    model = order.model
    return [
        settled_start(order, item, state)
        for item in model.fast
        for state in item.states
        if item.init and item.rounds == 1 and (_period(item) or known_start(model, item, state) is None)
    ]


def _resets(order: LevelOrder, component: Component, kept: tuple[Kept, ...]) -> Iterator[Reset]:
    period = _period(component)
    for state in component.states:
        seen = State(component.name, state.part, state.shape, When.PREVIOUS)
        if component.backprop:
            yield Reset(seen, int(component.every.period * component.backprop), StopGradient(seen, state.shape), within=period)
        is_late = known_start(order.model, component, state) is None
        if period or is_late:
            value = settled_start(order, component, state)
            words = tuple(_words(order, component, value))
            yield Reset(seen, period, value, at_start=is_late or period == 1, unit=order.model.unit, words=words)
        for item in kept if is_late else ():
            if item.holds(component.name, state.part):
                yield Reset(with_changes(seen, part=item.part), 0, seen, at_start=True)


def _period(component: Component) -> int:
    """The tokens after which the state of a level is reset; 0 when it is not, inside a sequence."""
    clock = component.reset
    return int(clock.period) if clock is not None and clock.is_counted and not component.is_solved else 0


def settled_start(order: LevelOrder, component: Component, state: StateDeclaration) -> Expr:
    """What a tensor starts from, as the level sees it at the first tick of the period."""
    return _settled(order, component, start_of(order.model, component, state))


def _words(order: LevelOrder, component: Component, value: Expr) -> Iterator[Equation]:
    """The spec's abbreviations that read states and stand in a start, shorter ones first."""
    found = [(item.name, _settled(order, component, item.value)) for item in order.model.abbreviations]
    for name, meaning in sorted(found, key=lambda item: sum(1 for _ in walk(item[1]))):
        reads_states = any(isinstance(node, State) for node in walk(meaning))
        if reads_states and not isinstance(meaning, LEAVES) and any(node == meaning for node in walk(value)):
            yield Equation(name, meaning, "abbreviation")


def _settled(order: LevelOrder, component: Component, start: Expr) -> Expr:
    model = order.model

    def as_it_was(node: Expr) -> Expr | None:
        match node:
            case State(name, when=When.CURRENT) if not sees_new_at_start(component, model.component(name), node):
                return with_changes(node, when=When.PREVIOUS)
        return None

    return settle(order, component.host if component.rounds > 1 else None, replace(start, as_it_was))
