"""Levels that outlast a sequence: a level order in, the laws that run when a sequence ends and what the next begins with out."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import replace as with_changes

from nlc.derive.descent import Descent
from nlc.derive.draft import Draft
from nlc.derive.laws import derive_law
from nlc.derive.names import words_of
from nlc.derive.starts import settled_start
from nlc.ir.algebra import Expr, State, When
from nlc.ir.build import full, replace
from nlc.ir.endings import ended
from nlc.ir.law import Beginning, Kept, Law
from nlc.ir.model import Component, Family, Model
from nlc.ir.order import LevelOrder
from nlc.ir.starts import by_start, known_start, lasts


def gathering_law(order: LevelOrder, component: Component) -> Law:
    """What a level that moves when the sequence ends does at each of its tokens: it adds up its gradients."""
    draft = Draft(component.name, words_of(order.model))
    Descent(order, component, draft).gather()
    return Law(component.name, component.every, draft.finished())


def ending_law(order: LevelOrder, component: Component) -> Law:
    """How the level moves when the sequence has ended."""
    law = derive_law(order, component)
    equations = tuple(with_changes(item, value=_at_the_end(order.model, item.value)) for item in law.equations)
    return Law(law.component, law.clock, equations)


def _at_the_end(model: Model, value: Expr) -> Expr:
    """The expression over the state that a sequence ended with: faster levels have moved, and its last token is the previous one."""

    def change(node: Expr) -> Expr | None:
        match node:
            case State(name, when=When.CURRENT) if model.component(name).every.family is not Family.SEQUENCE:
                return with_changes(node, when=When.PREVIOUS)
        return None

    return replace(ended(value), change)


def beginnings(order: LevelOrder, kept: tuple[Kept, ...]) -> tuple[Beginning, ...]:
    """What the next sequence begins with, when some level outlasts a sequence; else it begins as every one does, with the initial state."""
    model = order.model
    if model.kind == "optimizer" or not any(lasts(item) for item in model.fast):
        return ()
    states = tuple(_begins(order, component) for component in by_start(model))
    return (*(item for found in states for item in found), *(_kept(model, item) for item in kept))


def _begins(order: LevelOrder, component: Component) -> Iterator[Beginning]:
    for state in component.states:
        tensor = State(component.name, state.part, state.shape, When.PREVIOUS)
        if lasts(component):
            yield Beginning(tensor, with_changes(tensor, when=When.CURRENT))
        elif known_start(order.model, component, state) is None:
            yield Beginning(tensor, full(0, state.shape))
        else:
            yield Beginning(tensor, settled_start(order, component, state))


def _kept(model: Model, item: Kept) -> Beginning:
    """Sums, counts and previous values are cleared; a held value is that with which its level begins."""
    tensor = State(item.component, item.part, item.value.shape, When.PREVIOUS)
    for component in (component for component in model.fast if component.name == item.component):
        for state in component.states:
            if item.holds(component.name, state.part):
                return Beginning(tensor, with_changes(tensor, part=state.part))
    return Beginning(tensor, full(0, tensor.shape))
