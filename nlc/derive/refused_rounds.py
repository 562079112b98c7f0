"""What this version does not derive around levels that start again at every update of their host: checks as in `refusals`."""

from __future__ import annotations

from collections.abc import Iterator

from nlc.codes import derive as codes
from nlc.diagnostics import Diagnostic
from nlc.ir.algebra import Expr, State, Tick, When, walk
from nlc.ir.model import Component, GradientDescent, Model, Proximal

OLDER = "what a level was that starts again at every update of another, and of which nothing is kept"


def rounds_inside(model: Model) -> Iterator[Diagnostic]:
    """Nothing of such a level outlasts the update that it is made for: only levels of the same optimizer see it, as it is then."""
    inside = {item.name: item for item in model.components if item.rounds > 1}
    for component in model.components if inside else ():
        for node in (node for value in _evaluated(component) for node in walk(value)):
            match node:
                case Tick(name) if name in inside:
                    yield codes.not_compiled(node.span, name, "the count of its rounds, which begin again at every update")
                case State(name, when=when) if name in inside and not _sees(component, inside[name], when):
                    yield codes.not_compiled(node.span, component.name, OLDER)
    for output in model.outputs if inside else ():
        for node in (node for node in walk(output.value) if isinstance(node, State) and node.component in inside):
            if node.when is not When.CURRENT or _is_slow(inside[node.component]):
                yield codes.not_compiled(node.span, output.name, OLDER)


def _sees(reader: Component, source: Component, when: When) -> bool:
    """Whether a reader is the level itself, or moves with it and sees what it has come to."""
    if reader.name == source.name:
        return True
    return when is When.CURRENT and source.host in (reader.name, reader.host)


def _is_slow(component: Component) -> bool:
    return component.reset is not None and component.reset.period > 1


def _evaluated(component: Component) -> Iterator[Expr]:
    """Every expression of a level."""
    yield from (component.objective, component.follows, *component.retention, *component.init)
    if isinstance(component.optimizer, GradientDescent | Proximal):
        yield component.optimizer.rate
