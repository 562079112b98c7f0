"""What a system carries from tick to tick beside the states of its levels: the laws in, the tensors that their reads need out."""

from __future__ import annotations

from collections.abc import Iterator

from nlc.derive.descent import gathered_part
from nlc.derive.settle import settle
from nlc.derive.starts import restarts, settled_starts
from nlc.ir.algebra import Due, Expr, Input, Position, State, Tick, When, Where, walk
from nlc.ir.build import add, constant, full
from nlc.ir.dims import Dim
from nlc.ir.law import POSITION, PREVIOUS, RECENT, Equation, Kept, Law, held_of
from nlc.ir.model import Family, Model
from nlc.ir.order import LevelOrder
from nlc.ir.recents import Recent, Shift
from nlc.ir.show import expression_text
from nlc.ir.starts import known_start
from nlc.ir.windows import older_data, window_text


def kept_tensors(order: LevelOrder, laws: tuple[Law, ...], outputs: tuple[Equation, ...], endings: tuple[Law, ...]) -> tuple[Kept, ...]:
    """Gathered gradients, held states, previous inputs; the position last, if a law or one of these asks for it."""
    expressions = [equation.value for law in (*laws, *endings) for equation in law.equations] + [equation.value for equation in outputs]
    expressions += settled_starts(order)
    nodes = [node for expression in expressions for node in walk(expression)]
    windows = tuple(_windows(order))
    nodes.extend(node for item in windows for node in walk(item.value))
    kept = (*_gathered(order.model, laws), *_held(order.model, nodes), *_previous(order.model, nodes), *windows, *_recent(order))
    is_counted = any(isinstance(item.window, int) for item in windows) or any(
        isinstance(node, Due | Tick | Position) or _is_position(node)
        for node in (*nodes, *(node for item in kept for node in walk(item.value)))
    )
    return (*kept, *_position(order.model)) if is_counted or restarts(order.model) else kept


def _is_position(node: Expr) -> bool:
    return isinstance(node, State) and node.component == POSITION


def _gathered(model: Model, laws: tuple[Law, ...]) -> Iterator[Kept]:
    """Gradients are gathered anew after each update."""
    for law in laws:
        for equation in law.equations:
            component = model.component(equation.owner or law.component)
            if equation.part in {gathered_part(state.part) for state in component.states}:
                name, part, shape = component.name, equation.part, equation.value.shape
                total = State(name, part, shape)
                is_sequence = component.every.family is Family.SEQUENCE
                due = Due(int(component.every.period), model.unit)
                after = total if is_sequence else Where(due, full(0, shape), total, shape)
                yield Kept(name, part, after, "gathered since the sequence began" if is_sequence else "gathered since the last update")


def _held(model: Model, nodes: list[Expr]) -> Iterator[Kept]:
    """The values that held reads see: each changes at the last token of its period."""
    wanted = {(node.component, node.part): node for node in nodes if isinstance(node, State) and held_of(node.part)}
    places = {item.name: place for place, item in enumerate(model.components)}
    for (name, part), read in sorted(wanted.items(), key=lambda item: (places[item[0][0]], item[0][1])):
        held = held_of(part)
        assert held is not None
        period = held.period
        declared = next(state for state in model.component(name).states if state.part == held.tensor)
        now = State(name, declared.part, declared.shape)
        value = now if period == 1 else Where(Due(period, model.unit), now, State(name, part, read.shape, When.PREVIOUS), read.shape)
        start = known_start(model, model.component(name), declared) if model.component(name).init else None
        yield Kept(name, part, value, f"read by hold({name}, {period} {model.unit}s)", start)


def _previous(model: Model, nodes: list[Expr]) -> Iterator[Kept]:
    wanted = {node.name: node for node in nodes if isinstance(node, Input) and node.delayed}
    whole = {stream.name for stream in model.inputs if stream.is_whole}
    for name, node in sorted(wanted.items()):
        yield Kept(PREVIOUS, name, Input(name, node.shape), f"read by prev({name})", is_whole=name in whole)


def _recent(order: LevelOrder) -> Iterator[Kept]:
    """The last values of what is delayed or convolved."""
    for item in order.model.recents:
        recent = settle(order, None, item.recent)
        assert isinstance(recent, Recent)
        is_data = any(item.recent == kept for level in order.model.fast for kept in older_data(level))
        whose = "windows" if is_data else "delays and convolutions"
        rule = f"the last values of {expression_text(item.recent.x)}, for {whose}"
        count = recent.shape[0] * Dim.number(order.model.values_per_tick(item.recent.x))
        yield Kept(RECENT, item.name, Shift(recent, recent.x, (count, *recent.x.shape)), rule, is_whole=item.is_whole)


def _windows(order: LevelOrder) -> Iterator[Kept]:
    """The data of windows that later tokens still see."""
    for component in (component for component in order.model.fast if component.is_solved):
        for item in component.data:
            value = settle(order, component.name, item.value)
            span = "all tokens" if component.window == "all" else window_text(component.window, component.segment)
            yield Kept(component.name, item.name, value, f"a window of {span}", window=component.window)


def _position(model: Model) -> Iterator[Kept]:
    seen = State(POSITION, "", (), When.PREVIOUS)
    yield Kept(POSITION, "", add(seen, constant(1)), f"the {model.unit}s so far")
