"""Components -> the words on their boxes: memory, objective, optimizer, what enters from the context flow and what leaves."""

from __future__ import annotations

from collections.abc import Iterable, Iterator
from dataclasses import dataclass

from nlc.ir.algebra import Expr, Gradient, Input, State, When, walk
from nlc.ir.model import ClosedForm, Component, GradientDescent, Output, Proximal, Trained
from nlc.ir.order import LevelOrder
from nlc.ir.show import expression_text


@dataclass(frozen=True, slots=True)
class Leaving:
    """An output that reads a component: its new state of the tick, or an older one."""

    name: str
    is_new: bool


@dataclass(frozen=True, slots=True)
class Card:
    """The words on a component's box; `is_fast` says that there is one state per sequence rather than a shared parameter."""

    name: str
    memory: str
    objective: str
    optimizer: str
    enters: tuple[str, ...]
    leaves: tuple[Leaving, ...]
    is_fast: bool


def cards(order: LevelOrder) -> tuple[Card, ...]:
    """One card per component, in the order of the levels."""
    return tuple(_card(order.model.component(name), order) for level in order.levels for name in level.components)


def _card(component: Component, order: LevelOrder) -> Card:
    serves = f"optimizer of {component.host}" if component.host else ""
    return Card(
        name=component.name,
        memory=", ".join(word for word in (component.memory, serves) if word),
        objective=_one_line(component.objective_span.text) or expression_text(component.objective),
        optimizer=_optimizer(component),
        enters=tuple(_enters(component, order)),
        leaves=tuple(_leaves(component, order)),
        is_fast=component.every.is_fast,
    )


def _one_line(text: str) -> str:
    return " ".join(text.split())


def _optimizer(component: Component) -> str:
    """What moves the state: `gradient_descent(beta), retention alpha`."""
    words = [component.optimizer_name or _step(component)]
    words += [f"retention {expression_text(factor)}" for factor in dict.fromkeys(component.retention)]
    return ", ".join(words)


def _step(component: Component) -> str:
    match component.optimizer:
        case GradientDescent(rate):
            return f"gradient_descent({expression_text(rate)})"
        case Proximal(rate):
            return f"proximal({expression_text(rate)})"
        case ClosedForm():
            return "closed_form"
        case Trained():
            return "trained from outside"


def _enters(component: Component, order: LevelOrder) -> Iterator[str]:
    """The streams that a component reads, in the order of the spec, then the gradients that are its context."""
    nodes = tuple(_nodes(_expressions(component)))
    read = {node.name for node in nodes if isinstance(node, Input)}
    yield from (stream.name for stream in order.model.inputs if stream.name in read)
    yield from dict.fromkeys(f"gradient({node.component})" for node in nodes if isinstance(node, Gradient))


def _expressions(component: Component) -> Iterator[Expr]:
    yield from (component.objective, component.follows, *component.retention, *component.init)
    if isinstance(component.optimizer, GradientDescent | Proximal):
        yield component.optimizer.rate


def _nodes(expressions: Iterable[Expr]) -> Iterator[Expr]:
    return (node for expression in expressions for node in walk(expression))


def _leaves(component: Component, order: LevelOrder) -> Iterator[Leaving]:
    for output in order.model.outputs:
        reads = [node for node in walk(output.value) if isinstance(node, State) and node.component == component.name]
        if reads:
            yield Leaving(output.name, any(read.when is When.CURRENT for read in reads) and order.sees_new(None, component.name))


def output_text(output: Output) -> str:
    """`y = memory(q)`, in the words of the spec where there are any."""
    return f"{output.name} = {_one_line(output.span.text) or expression_text(output.value)}"
