"""Held reads of levels that stay as they are while a sequence lasts: the state itself, for nothing has to be held."""

from __future__ import annotations

from dataclasses import replace as with_changes

from nlc.ir.algebra import Expr, State, When
from nlc.ir.build import replace
from nlc.ir.model import Abbreviation, Component, Family, GradientDescent, Model, Proximal

MOVING = frozenset((Family.ALWAYS, Family.TOKEN))
"""The clocks on which levels move inside a sequence."""


def with_plain_reads(model: Model) -> Model:
    """The model of an architecture, in which what stays as it is through a sequence is read as it is."""
    if model.kind == "optimizer":
        return model
    steady = frozenset(item.name for item in model.components if _is_steady(item))

    def change(node: Expr) -> Expr | None:
        match node:
            case State(component, when=When.HELD) if component in steady:
                return with_changes(node, when=When.PREVIOUS, period=0)
        return None

    def plain(value: Expr) -> Expr:
        return replace(value, change)

    def named(items: tuple[Abbreviation, ...]) -> tuple[Abbreviation, ...]:
        return tuple(with_changes(item, value=plain(item.value)) for item in items)

    def level(item: Component) -> Component:
        optimizer = item.optimizer
        if isinstance(optimizer, GradientDescent | Proximal):
            optimizer = with_changes(optimizer, rate=plain(optimizer.rate))
        return with_changes(
            item,
            objective=plain(item.objective),
            follows=plain(item.follows),
            retention=tuple(map(plain, item.retention)),
            init=tuple(map(plain, item.init)),
            data=named(item.data),
            optimizer=optimizer,
            key=item.key and plain(item.key),
            value=item.value and plain(item.value),
            prediction=item.prediction and plain(item.prediction),
        )

    return with_changes(
        model,
        components=tuple(map(level, model.components)),
        outputs=tuple(with_changes(item, value=plain(item.value)) for item in model.outputs),
        abbreviations=named(model.abbreviations),
    )


def _is_steady(component: Component) -> bool:
    """Whether a level neither moves nor starts again inside a sequence."""
    return component.every.family not in MOVING and (component.reset is None or component.reset.family not in MOVING)
