"""What this version does not derive of levels that are solved over a window, and of rotations: checks as in `refusals`."""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from types import MappingProxyType

from nlc.codes import derive as codes
from nlc.diagnostics import Diagnostic
from nlc.ir.algebra import Expr, Rotary, Split, State, Tick, When, contains, walk
from nlc.ir.model import GradientDescent, Model

NOT_KEPT: Mapping[str, str] = MappingProxyType({"init": "the start", "reset": "a reset", "backprop": "the updates"})
"""Keys that say something about a state, and what they say it about."""


def solved_levels(model: Model) -> Iterator[Diagnostic]:
    """A level that is solved for every query has data, and no state."""
    solved = [item for item in model.components if item.is_solved]
    for component in solved:
        if component.window is None:
            yield codes.needs_window(component.span, component.every_span, component.name)
        for key, what in NOT_KEPT.items():
            if component.place(key) != component.span:
                yield codes.nothing_kept(component.place(key), component.name, what)
        if component.reduce == "mean":
            yield codes.not_compiled(component.place("reduce"), component.name, "a mean over a window")
        if model.updates_per_tick > 1:
            yield codes.not_compiled(component.every_span, component.name, "the clock `always` in a system of several updates a token")
    names = {item.name for item in solved}
    for node in _nodes(model):
        if isinstance(node, State) and node.component in names and node.when in (When.PREVIOUS, When.HELD):
            yield codes.nothing_kept(node.span, node.component, "an older state")
        if isinstance(node, Tick) and node.component in names:
            yield codes.nothing_kept(node.span, node.component, "the count of updates")


def rotations(model: Model) -> Iterator[Diagnostic]:
    """A vector is turned by the place of its token in the sequence, as it stands along the axes."""
    for node in _nodes(model):
        if isinstance(node, Split) and contains(node.x, lambda part: isinstance(part, Rotary)):
            yield codes.not_compiled(model.span, model.name, "`rotary` of what is split afterwards, not before")
        if isinstance(node, Rotary) and (model.kind == "optimizer" or model.updates_per_tick > 1):
            yield codes.not_compiled(model.span, model.name, "`rotary` where there is no one place in a sequence")


def _nodes(model: Model) -> Iterator[Expr]:
    for value in _expressions(model):
        yield from walk(value)


def _expressions(model: Model) -> Iterator[Expr]:
    for component in model.components:
        yield from (component.objective, component.follows, *component.retention, *component.init)
        if isinstance(component.optimizer, GradientDescent):
            yield component.optimizer.rate
    yield from (output.value for output in model.outputs)
