"""Slow levels that start again by steps: a model in, a diagnostic out for each that this version does not compile."""

from __future__ import annotations

from collections.abc import Iterator

from nlc.codes import derive as codes
from nlc.diagnostics import Diagnostic
from nlc.ir.model import Component, Model
from nlc.ir.restarts import restarted
from nlc.ir.starts import started_from


def restarts_of_slow_levels(model: Model) -> Iterator[Diagnostic]:
    """A slow level goes back, between two of its updates, to numbers or to slower levels; the optimizers of the spec see to it."""
    moved = {name for training in model.training for name in training.levels}
    for component in restarted(model):
        place = component.place("reset")
        if component.name not in moved:
            what = "`reset` of a slow level that no optimizer of the spec moves"
            yield codes.not_compiled(place, component.name, what)
        elif why := _no_start(model, component):
            yield codes.restart(component.place("init"), component.name, why)
        elif why := _no_time(model, component):
            yield codes.not_compiled(place, component.name, why)


def _no_start(model: Model, component: Component) -> str:
    """Why there is nothing that the level can start again from; empty when there is."""
    if not component.init:
        return "nothing says what it starts again from"
    as_fast = [name for name in started_from(component) if model.component(name).every.speed <= component.every.speed]
    return f"`{as_fast[0]}`, from which it starts, moves as often as itself or more often" if as_fast else ""


def _no_time(model: Model, component: Component) -> str:
    """What in the clocks does not go together; empty when they do."""
    assert component.reset is not None
    if component.reset.period % component.every.period:
        return "`reset` of a slow level between two of its updates"
    own = (item for item in model.components if item.host == component.name and item.reset is not None)
    outlasts = any(item.reset.speed > component.reset.speed for item in own if item.reset is not None)
    return "`reset` of a slow level whose optimizer has a level that outlasts it" if outlasts else ""
