"""What this version does not derive of levels with a window, solved over it or stepping, and of rotations: checks as in `refusals`."""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from types import MappingProxyType

from nlc.codes import derive as codes
from nlc.diagnostics import Diagnostic
from nlc.ir.algebra import Age, Expr, Rotary, Split, State, Tick, When, WindowSoftmax, contains, walk
from nlc.ir.model import Component, Family, GradientDescent, Model
from nlc.ir.windows import LARGEST

NOT_KEPT: Mapping[str, str] = MappingProxyType({"init": "the start", "reset": "a reset", "backprop": "the updates"})
"""Keys that say something about a state, and what they say it about."""


def solved_levels(model: Model) -> Iterator[Diagnostic]:
    """A level that is solved for every query has data, and no state."""
    solved = [item for item in model.components if item.is_solved]
    for component in solved:
        if component.window is None:
            yield codes.needs_window(component.span, component.every_span, component.name)
        for key, what in NOT_KEPT.items():
            if component.place(key) != component.span and not (key == "reset" and component.segment):
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


def stepping_levels(model: Model) -> Iterator[Diagnostic]:
    """A level that takes steps over a window has so many tokens of data, and one token's step."""
    for component in (item for item in model.components if item.window is not None and not item.is_solved):
        refused = next(_no_steps_over(model, component), None)
        if refused is not None:
            yield codes.window(component.place("window"), component.name, *refused)


def _no_steps_over(model: Model, component: Component) -> Iterator[tuple[str, str]]:
    tokens, clock = component.window, component.every
    if model.kind == "optimizer" or clock.family is not Family.TOKEN or clock.period != 1 or model.updates_per_tick > 1:
        yield f"on the clock {clock}", "a level steps over a window on the clock `token`, in an architecture of one update a token"
    elif tokens == "all":
        yield "of all tokens", "write `window: n tokens`: a level that takes steps carries its data, and writes each of them at every token"
    elif isinstance(tokens, int) and tokens > LARGEST:
        yield f"of {tokens} tokens", f"write at most {LARGEST} tokens: each of them is a write of its own at every token"
    elif not component.data and not contains(component.objective, lambda node: isinstance(node, Age)):
        yield "of nothing", "read a stream without `now(...)` in the objective, or drop `window`"
    if component.reduce == "mean":
        yield "by their mean", "weigh the data in the objective, as in `sum(l2 / 8, over = window)`"
    if contains(component.objective, lambda node: isinstance(node, WindowSoftmax)):
        yield "by their softmax", "a softmax over a window belongs to a level on the clock `always`; weigh the data otherwise"


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
