"""Where this version derives no delays and convolutions: checks as in `refusals`."""

from __future__ import annotations

from collections.abc import Iterator

from nlc.codes import derive as codes
from nlc.diagnostics import Diagnostic
from nlc.ir.algebra import Expr, Input, walk
from nlc.ir.model import Component, Family, GradientDescent, Model, Proximal
from nlc.ir.recents import Recent


def older_values(model: Model) -> Iterator[Diagnostic]:
    """Where delays and convolutions cannot stand."""
    parts = {stream.name for stream in model.inputs if stream.is_parted}
    for item in model.recents:
        if any(isinstance(node, Input) and node.delayed and node.name in parts for node in walk(item.recent.x)):
            what = "`delay` or `convolve` of `prev` of a stream of several values a token"
            yield codes.not_compiled(item.recent.span, model.name, what)
    for component in model.fast:
        if any(isinstance(node, Recent) for value in component.init for node in walk(value)):
            yield codes.not_compiled(component.place("init"), component.name, "a start with `delay` or `convolve`")
        ends = at_the_end(component) if component.every.family is Family.SEQUENCE else ()
        if any(isinstance(node, Recent) for value in ends for node in walk(value)):
            yield codes.not_compiled(component.every_span, component.name, "`delay` or `convolve` where a sequence has ended")


def at_the_end(component: Component) -> Iterator[Expr]:
    """What a level evaluates when it moves, and not where it gathers its data."""
    rate = (component.optimizer.rate,) if isinstance(component.optimizer, GradientDescent | Proximal) else ()
    yield from (*component.retention, *rate)
    if component.host or component.has_inlined_optimizer:
        yield component.follows
