"""What the oracle carries from tick to tick, by slot name, and what it refuses to run: a Model in, names out. As apart as the oracle."""

from __future__ import annotations

from collections.abc import Iterable, Iterator
from dataclasses import fields

from nlc.ir.model import (
    ClosedForm,
    Component,
    Dim,
    Expr,
    Family,
    GradientDescent,
    GradientPoint,
    Input,
    Model,
    Proximal,
    Recent,
    RecentValues,
    Shape,
    State,
    When,
)
from nlc.verify.oracle_values import OracleError
from nlc.verify.oracle_windows import is_solved, steps_over


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
    if component.every.family is Family.SEQUENCE:
        return component.host is None
    host = next((item.every.period for item in model.components if item.name == component.host), 1)
    return component.every.is_counted and component.every.period > max(host, 1)


def sum_name(slot: str) -> str:
    """The key of the sum of gradients, by one tensor, since a level's last update."""
    return f"{slot}.gradient"


def held_name(model: Model, read: State) -> str:
    """The key of the value that a held read sees."""
    return f"{slot_name(model.component(read.component), read.part)}.held_{read.period}"


def held_point(component: Component) -> dict[str, State]:
    """The reads, by slot name, of the state at which a level takes its gradients when it holds them; nothing when it does not."""
    if not component.holds_gradient:
        return {}
    return {
        slot_name(component, state.part): State(component.name, state.part, state.shape, When.HELD, component.gradient_period)
        for state in component.states
    }


def point_slots(model: Model, component: Component, point: GradientPoint) -> dict[str, str]:
    """For every tensor of a level, by slot name, the key of the value at which its gradient is taken, unless that is the retained one."""
    held = held_point(component) if point is GradientPoint.HELD else {}
    return {name: held_name(model, held[name]) if name in held else name for name, _ in slots(component)}


def held_reads(model: Model) -> list[State]:
    """One read for every level and period that something holds."""
    nodes = [*expressions(model), *(read for component in model.fast for read in held_point(component).values())]
    reads = {held_name(model, node): node for node in nodes if isinstance(node, State) and is_held(model, node)}
    return [reads[name] for name in sorted(reads)]


def is_held(model: Model, node: State) -> bool:
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


def expressions(model: Model) -> Iterator[Expr]:
    """Every node of every expression that the oracle may evaluate."""
    return nodes_in((_at_tokens(model), _at_the_end(model)))


def nodes_in(values: Iterable[object], *, past: bool = True) -> Iterator[Expr]:
    """Every node of some expressions, one that stands in several places once; without the `past`, not of those that are remembered."""
    waiting, seen = list(values), dict[int, Expr]()
    while waiting:
        item = waiting.pop()
        if isinstance(item, tuple):
            waiting.extend(item)
        elif isinstance(item, Expr) and id(item) not in seen:
            seen[id(item)] = item
            yield item
            if past or not isinstance(item, Recent):
                waiting.extend(getattr(item, part.name) for part in fields(item))


def delayed(model: Model) -> list[str]:
    """The input streams whose previous values are read; a sequence that has ended has its last token behind it."""
    remembered = tuple(item.recent.x for item in model.recents)
    before = {node.name for node in nodes_in((_at_tokens(model), remembered)) if isinstance(node, Input) and node.delayed}
    return sorted(before | {node.name for node in nodes_in(_at_the_end(model), past=False) if isinstance(node, Input) and not node.delayed})


def _at_tokens(model: Model) -> tuple[object, ...]:
    """What is evaluated at the tokens of a sequence, and of what starts."""
    last = {component.name: _moves_by(component) for component in model.fast if component.every.family is not Family.SEQUENCE}
    own = (value for item in model.fast for value in (item.objective, item.init, *last.get(item.name, ())))
    return (*(output.value for output in model.outputs), *own)


def _at_the_end(model: Model) -> tuple[object, ...]:
    """What the levels that move when a sequence ends evaluate then, and not at its tokens."""
    return tuple(value for item in model.fast if item.every.family is Family.SEQUENCE for value in _moves_by(item))


def _moves_by(component: Component) -> Iterator[object]:
    """What a level evaluates for its move, beside the gradient of its objective."""
    yield component.retention
    yield component.optimizer.rate if isinstance(component.optimizer, GradientDescent | Proximal) else ()
    yield component.follows if component.follows != component.objective or component.host else ()


def _is_implicit(model: Model, component: Component) -> bool:
    """Whether the implicit step of a level is the minimiser of one tick's objective over one tensor."""
    alone = len(component.states) == 1 and component.follows == component.objective and component.host is None
    return alone and not sums(model, component) and component.gradient_at is GradientPoint.PREVIOUS


def _is_least(model: Model, component: Component) -> bool:
    """Whether a level that keeps a state is the minimiser of one tick's objective, whatever it was."""
    solved = isinstance(component.optimizer, ClosedForm) and not component.retention
    steps_itself = component.follows == component.objective
    return solved and not sums(model, component) and not (steps_itself and component.gradient_at is not GradientPoint.PREVIOUS)


def refuse(model: Model) -> None:
    """Raise OracleError for what the oracle would otherwise run wrongly: it never guesses."""
    family = Family.STEP if model.kind == "optimizer" else Family.TOKEN
    periods = {item.every.period for item in model.fast if item.rounds == 1} | {item.every.period for item in model.inputs}
    fractions = {period for period in periods if period < 1}
    parts = fractions if len(fractions) == 1 and all(fraction.numerator == 1 for fraction in fractions) else set()
    for component in model.fast:
        clock = component.every
        solved = is_solved(component)
        runs = clock.family is family and (clock.period.denominator == 1 or clock.period in parts)
        runs = runs or (clock.family is Family.SEQUENCE and clock.period == 1) or (solved and not parts) or component.rounds > 1
        reasons = {
            "an optimizer that takes no step": not (
                isinstance(component.optimizer, GradientDescent | Proximal) or solved or _is_least(model, component)
            ),
            "an implicit step here": isinstance(component.optimizer, Proximal) and not _is_implicit(model, component),
            f"the clock {clock}": not runs,
            "a window": component.window is not None and not solved and not steps_over(component),
            "a reset": component.reset is not None and component.reset.family not in (Family.SEQUENCE, Family.NEVER, family),
            "a held gradient of an optimizer": _holds_for_an_optimizer(model, component),
        }
        for what, present in reasons.items():
            if present:
                raise OracleError(f"the oracle does not run {what} ({component.name})")


def _holds_for_an_optimizer(model: Model, component: Component) -> bool:
    """Whether a gradient is held that is not the one of a level of tokens by its own objective."""
    serves = model.kind == "optimizer" or component.host is not None
    starts_again = component.reset is not None and component.reset.is_counted
    own = component.gradient_at is GradientPoint.HELD and (serves or starts_again or bool(component.backprop))
    return own or (component.has_inlined_optimizer and component.step_at is GradientPoint.HELD)
