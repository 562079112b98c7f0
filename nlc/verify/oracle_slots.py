"""What the oracle carries from tick to tick, by slot name, and what it refuses to run: a Model in, names out. As apart as the oracle."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import fields

from nlc.ir.model import (
    Component,
    Dim,
    Expr,
    Eye,
    Family,
    Gradient,
    GradientDescent,
    GradientPoint,
    Input,
    Model,
    Named,
    Proximal,
    RecentValues,
    Shape,
    State,
    Tick,
    When,
)
from nlc.verify.oracle_values import OracleError


def slot_name(component: Component, part: str) -> str:
    """The key of one tensor of a component's state."""
    return component.name if len(component.states) == 1 else f"{component.name}.{part}"


def slots(component: Component) -> tuple[tuple[str, Shape], ...]:
    """Every tensor of a component's state, by slot name."""
    return tuple((slot_name(component, state.part), state.shape) for state in component.states)


def parameters(model: Model) -> dict[str, Shape]:
    """The tensors of slow levels, by slot name."""
    return {name: shape for component in model.parameters for name, shape in slots(component)}


def sums(model: Model, component: Component) -> bool:
    """Whether several data come to one update; a level of an optimizer is fed one gradient at each update of its host."""
    host = next((item.every.period for item in model.components if item.name == component.host), 1)
    return component.every.family is Family.TOKEN and component.every.period > max(host, 1)


def sum_name(slot: str) -> str:
    """The key of the sum of gradients, by one tensor, since a level's last update."""
    return f"{slot}.gradient"


def held_name(model: Model, read: State) -> str:
    """The key of the value that a held read sees."""
    return f"{slot_name(model.component(read.component), read.part)}.held_{read.period}"


def held_reads(model: Model) -> list[State]:
    """One read for every level and period that something holds."""
    reads = {held_name(model, node): node for node in _expressions(model) if isinstance(node, State) and _is_held(model, node)}
    return [reads[name] for name in sorted(reads)]


def _is_held(model: Model, node: State) -> bool:
    """Whether something has to be kept for a read; slow levels stay as they are anyway."""
    return node.when is When.HELD and not model.is_parameter(node.component)


def kept(model: Model) -> Iterator[tuple[str, Shape]]:
    """What is carried beside the states of levels, by slot name."""
    for component in model.fast:
        if sums(model, component):
            yield from ((sum_name(name), shape) for name, shape in slots(component))
    for read in held_reads(model):
        yield held_name(model, read), read.shape


def recent_name(item: RecentValues) -> str:
    """The key of the last values of an expression."""
    return f"recent.{item.name}"


def recent_of(model: Model, x: Expr, length: Dim) -> RecentValues:
    """What is carried of an expression."""
    return next(item for item in model.recents if item.recent.x == x and item.recent.shape[0] == length)


def _expressions(model: Model) -> Iterator[Expr]:
    """Every node of every expression that the oracle may evaluate."""
    waiting: list[object] = [output.value for output in model.outputs]
    for component in model.fast:
        waiting += [component.objective, component.follows, component.retention]
        waiting += [component.optimizer.rate] if isinstance(component.optimizer, GradientDescent | Proximal) else []
    while waiting:
        item = waiting.pop()
        if isinstance(item, tuple):
            waiting.extend(item)
        elif isinstance(item, Expr):
            yield item
            waiting.extend(getattr(item, part.name) for part in fields(item))


def initial(model: Model) -> Iterator[tuple[str, Expr]]:
    """The states that have an `init`, and what is held of them before the first period ends, by slot name."""
    for component in model.fast:
        for (name, _), value in zip(slots(component), component.init, strict=False):
            yield name, value
            for read in held_reads(model):
                if slot_name(model.component(read.component), read.part) == name:
                    yield held_name(model, read), value


def counts(model: Model) -> bool:
    """Whether the position of a token decides about anything."""
    clocks = [clock for item in model.fast for clock in (item.every, item.reset) if clock is not None]
    has_periods = any(clock.family is Family.TOKEN and clock.period > 1 for clock in clocks)
    resets = any(item.reset is not None and item.reset.family is Family.TOKEN for item in model.fast)
    truncated = any(item.backprop for item in model.components)
    return has_periods or resets or truncated or any(_counts(model, node) for node in _expressions(model))


def _counts(model: Model, node: Expr) -> bool:
    return isinstance(node, Tick) or (isinstance(node, State) and _is_held(model, node) and node.period > 1)


def delayed(model: Model) -> list[str]:
    """The input streams whose previous values are read."""
    return sorted({node.name for node in _expressions(model) if isinstance(node, Input) and node.delayed})


def _is_known(model: Model, value: Expr) -> bool:
    """Whether a value depends on numbers and slow levels alone."""
    slow = parameters(model)
    waiting: list[object] = [value]
    while waiting:
        item = waiting.pop()
        if isinstance(item, State) and slot_name(model.component(item.component), item.part) in slow:
            continue
        if isinstance(item, Input | State | Gradient | Tick | Named | Eye):
            return False
        if isinstance(item, tuple):
            waiting.extend(item)
        elif isinstance(item, Expr):
            waiting.extend(getattr(item, part.name) for part in fields(item))
    return True


def _is_implicit(model: Model, component: Component) -> bool:
    """Whether the implicit step of a level is the minimiser of one tick's objective over one tensor."""
    alone = len(component.states) == 1 and component.follows == component.objective and component.host is None
    return alone and model.kind != "optimizer" and not sums(model, component) and component.gradient_at is GradientPoint.PREVIOUS


def refuse(model: Model) -> None:
    """Raise OracleError for what the oracle would otherwise run wrongly: it never guesses."""
    family = Family.STEP if model.kind == "optimizer" else Family.TOKEN
    periods = {item.every.period for item in model.fast} | {item.every.period for item in model.inputs}
    fractions = {period for period in periods if period < 1}
    parts = fractions if len(fractions) == 1 and all(fraction.numerator == 1 for fraction in fractions) else set()
    for component in model.fast:
        clock = component.every
        runs = clock.family is family and (clock.period.denominator == 1 or clock.period in parts)
        if family is Family.STEP:
            runs = runs and clock.period == 1
        reasons = {
            "an optimizer that takes no step": not isinstance(component.optimizer, GradientDescent | Proximal),
            "an implicit step here": isinstance(component.optimizer, Proximal) and not _is_implicit(model, component),
            f"the clock {clock}": not runs,
            "a window": component.window is not None,
            "a start that depends on the stream": not all(_is_known(model, value) for value in component.init),
            "a reset": component.reset is not None and component.reset.family not in (Family.SEQUENCE, family),
            "a held gradient": GradientPoint.HELD in (component.gradient_at, component.step_at),
        }
        for what, present in reasons.items():
            if present:
                raise OracleError(f"the oracle does not run {what} ({component.name})")
