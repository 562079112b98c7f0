"""Levels that learn from the task loss inside the context -> their objective: the state times the slope of the loss, which is handed in.

The gradient of <W, slope> by W is the slope, so that every later stage knows such a level as one that is told what to do at each token.
"""

from __future__ import annotations

from collections.abc import Iterable, Iterator

from nlc.ir.algebra import Dot, Expr, Input, State, When, walk
from nlc.ir.build import add
from nlc.ir.model import Component, InputStream, Slope, StateDeclaration
from nlc.ir.spec import LevelField, Name
from nlc.resolve.scope import LevelType
from nlc.source import Span


def told_objective(level: LevelType, span: Span) -> Expr:
    """The sum over the tensors of a level of their products with the slopes of the task loss."""
    return add(*(_told(level, state, span) for state in level.memory.states))


def _told(level: LevelType, state: StateDeclaration, span: Span) -> Expr:
    own = State(level.name, state.part, state.shape, When.FITTED, span=span)
    return Dot(own, Input(slope_name(level.name, state), state.shape, span=span), ())


def slope_name(level: str, state: StateDeclaration) -> str:
    """What the stream is called that has the slope by one tensor of a level."""
    return "_".join(filter(None, ("slope", level, state.part))).replace(".", "_")


def slopes(fields: Iterable[LevelField], components: Iterable[Component]) -> Iterator[InputStream]:
    """The slopes that the levels need, in their order."""
    through = {field.name.text: isinstance(field.backprop, Name) and field.backprop.text == "full" for field in fields}
    for component in components:
        read = {node.name for node in walk(component.objective) if isinstance(node, Input)}
        for state in component.states if component.host is None else ():
            if (name := slope_name(component.name, state)) in read:
                slope = Slope(component.name, state.part, through[component.name])
                yield InputStream(name=name, shape=state.shape, slope=slope, span=component.objective_span)
