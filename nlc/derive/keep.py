"""What a system carries from tick to tick beside the states of its levels: the laws in, the tensors that their reads need out."""

from __future__ import annotations

from collections.abc import Iterator

from nlc.derive.descent import gathered_part
from nlc.derive.settle import held_part, settle
from nlc.ir.algebra import Due, Expr, Input, Recent, Shift, State, StopGradient, Tick, When, Where, walk
from nlc.ir.build import add, constant, full, spread
from nlc.ir.law import POSITION, PREVIOUS, RECENT, Equation, Kept, Law, Reset, with_parameters
from nlc.ir.model import Component, Family, Model, StateDeclaration
from nlc.ir.order import LevelOrder
from nlc.ir.show import expression_text


def start_of(model: Model, component: Component, state: StateDeclaration) -> Expr:
    """What a tensor of a state starts from: its `init`, or zeros."""
    if not component.init:
        return full(0, state.shape)
    value = with_parameters(model, component.init[component.states.index(state)])
    return spread(value, None, state.shape) if not value.shape else value


def resets_of(model: Model) -> tuple[Reset, ...]:
    """The states that start again inside a sequence: from their start, or from what they were, cut off from how it came about."""
    return (*_begun_again(model), *_cut_off(model))


def _cut_off(model: Model) -> Iterator[Reset]:
    for item in model.fast:
        for state in item.states if item.backprop else ():
            seen = State(item.name, state.part, state.shape, When.PREVIOUS)
            yield Reset(seen, int(item.every.period) * (item.backprop or 1), StopGradient(seen, state.shape))


def _begun_again(model: Model) -> tuple[Reset, ...]:
    found = ((item, item.reset) for item in model.components if item.reset is not None and item.reset.family is Family.TOKEN)
    return tuple(
        Reset(State(item.name, state.part, state.shape, When.PREVIOUS), int(clock.period), start_of(model, item, state))
        for item, clock in found
        for state in item.states
    )


def kept_tensors(order: LevelOrder, laws: tuple[Law, ...], outputs: tuple[Equation, ...]) -> tuple[Kept, ...]:
    """Gathered gradients, held states, previous inputs; the position last, if a law or one of these asks for it."""
    expressions = [equation.value for law in laws for equation in law.equations] + [equation.value for equation in outputs]
    nodes = [node for expression in expressions for node in walk(expression)]
    kept = (*_gathered(order.model, laws), *_held(order.model, nodes), *_previous(nodes), *_recent(order))
    is_counted = any(isinstance(node, Due | Tick) for node in (*nodes, *(node for item in kept for node in walk(item.value))))
    return (*kept, *_position()) if is_counted or resets_of(order.model) else kept


def _gathered(model: Model, laws: tuple[Law, ...]) -> Iterator[Kept]:
    """Gradients are gathered anew after each update."""
    for law in laws:
        for equation in law.equations:
            component = model.component(equation.owner or law.component)
            if equation.part in {gathered_part(state.part) for state in component.states}:
                name, part, shape = component.name, equation.part, equation.value.shape
                after = Where(Due(int(component.every.period)), full(0, shape), State(name, part, shape), shape)
                yield Kept(name, part, after, "gathered since the last update")


def _held(model: Model, nodes: list[Expr]) -> Iterator[Kept]:
    """The values that held reads see: each changes at the last token of its period."""
    wanted = {(node.component, node.part): node for node in nodes if isinstance(node, State) and "held_" in node.part}
    for (name, part), read in sorted(wanted.items()):
        period = int(part.rpartition("held_")[2])
        declared = next(state for state in model.component(name).states if held_part(state.part, period) == part)
        now = State(name, declared.part, declared.shape)
        value = now if period == 1 else Where(Due(period), now, State(name, part, read.shape, When.PREVIOUS), read.shape)
        start = start_of(model, model.component(name), declared) if model.component(name).init else None
        yield Kept(name, part, value, f"read by hold({name}, {period} tokens)", start)


def _previous(nodes: list[Expr]) -> Iterator[Kept]:
    wanted = {node.name: node for node in nodes if isinstance(node, Input) and node.delayed}
    for name, node in sorted(wanted.items()):
        yield Kept(PREVIOUS, name, Input(name, node.shape), f"read by prev({name})")


def _recent(order: LevelOrder) -> Iterator[Kept]:
    """The last values of what is delayed or convolved."""
    for item in order.model.recents:
        recent = settle(order, None, item.recent)
        assert isinstance(recent, Recent)
        rule = f"the last values of {expression_text(item.recent.x)}, for delays and convolutions"
        yield Kept(RECENT, item.name, Shift(recent, recent.x, recent.shape), rule, is_whole=item.is_whole)


def _position() -> Iterator[Kept]:
    seen = State(POSITION, "", (), When.PREVIOUS)
    yield Kept(POSITION, "", add(seen, constant(1)), "the tokens so far")
