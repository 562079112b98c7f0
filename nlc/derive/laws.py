"""The law of one component: its equations in the paper's words, and the explicit or implicit step that ends them."""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from dataclasses import replace as with_changes
from types import MappingProxyType

from nlc.codes import derive as codes
from nlc.derive.closed import RULE, minimiser
from nlc.derive.descent import Descent, gathers
from nlc.derive.draft import Draft, names_in
from nlc.derive.gradient import LARGEST, DerivativeTooLarge
from nlc.derive.implicit import Curvature, ImplicitStep, curvature
from nlc.derive.lets import abbreviated
from nlc.derive.minimiser import derive_minimiser
from nlc.derive.names import last_segment, said, worded, words_of
from nlc.derive.settle import settle
from nlc.derive.simplify import simplify
from nlc.derive.starts import settled_start
from nlc.diagnostics import CompileError
from nlc.ir.algebra import LEAVES, Due, Expr, Gradient, Named, Norm, State, StopGradient, Tick, When, Where, contains, is_number, walk
from nlc.ir.build import replace, subtract, times
from nlc.ir.law import WORD, Equation, Law
from nlc.ir.model import ClosedForm, Component, GradientDescent, GradientPoint, Model, Output, Proximal
from nlc.ir.order import LevelOrder

READINGS: Mapping[frozenset[When], str] = MappingProxyType(
    {
        frozenset(): "no state is read",
        frozenset({When.CURRENT}): "read after the write",
        frozenset({When.PREVIOUS}): "read before the write",
        frozenset({When.CURRENT, When.PREVIOUS}): "read before and after the write",
    }
)
"""What an output's reads of states are called."""


def derive_law(order: LevelOrder, component: Component) -> Law:
    """new state = retained - step (Nested Learning, Eq. 3), with everything that leads to it named; or the minimiser."""
    if isinstance(component.optimizer, ClosedForm):
        return derive_minimiser(order, component) if component.is_solved else _solved(order, component)
    assert isinstance(component.optimizer, GradientDescent | Proximal), component.optimizer
    draft = Draft(component.name, words_of(order.model))
    descent = Descent(order, component, draft)
    try:
        opening = _opening(descent) if component.rounds > 1 else ()
        steps = _steps(descent)
        retained, before = descent.retained(), descent.states(When.PREVIOUS)
    except DerivativeTooLarge as error:
        raise CompileError(codes.derivative_too_large(component.objective_span, component.name, LARGEST)) from error
    cites = component.cites or order.model.cites
    new_states = [
        Equation(
            _name(component, part),
            _when_due(order.model, component, subtract(draft.known(retained[part]), _learned_through(component, step)), before[part]),
            rule,
            cites,
            part,
        )
        for part, (step, rule) in steps.items()
    ]
    if component.rounds > 1:
        return _in_rounds(component, opening, draft.finished(*opening, *new_states))
    return Law(component.name, component.every, abbreviated(order, component.name, draft.finished(*new_states)))


def _opening(descent: Descent) -> tuple[Equation, ...]:
    """What each tensor of a level of several rounds starts from; a vector or matrix that its start takes apart has a name."""
    component, draft = descent.component, descent.draft
    starts = []
    for state in component.states:
        value = descent.with_gradients(settled_start(descent.order, component, state))
        for node in walk(value):
            if isinstance(node, Norm) and not isinstance(node.x, LEAVES):
                direction: dict[Expr, Expr] = {node.x: draft.let(worded("direction", state.part), node.x, "what it starts along")}
                value = replace(value, direction.get)
        starts.append(Equation(worded("start", state.part), value, "where its rounds start", starts=state.part))
    return tuple(starts)


def _in_rounds(component: Component, opening: tuple[Equation, ...], equations: tuple[Equation, ...]) -> Law:
    """The law of a level that moves several times at each tick, from its start: what does not change with the rounds comes before them."""
    moving: set[str] = set()
    for equation in equations:
        own = contains(equation.value, lambda node: isinstance(node, State) and node.component == component.name)
        if own or names_in(equation.value) & moving or equation in opening:
            moving.add(equation.name)
    before = [item for item in equations if item.name not in moving]
    rounds = _in_one(component, [item for item in equations if item.name in moving and item not in opening])
    assert component.reset is not None
    return Law(component.name, component.reset, (*before, *opening, *rounds), component.rounds)


def _in_one(component: Component, equations: list[Equation]) -> Iterator[Equation]:
    """The equations of a round, in which each tensor takes its step at once: what is subtracted has no name of its own."""
    told = {item.name: item.value for item in equations if item.part is None}
    steps = {name for item in equations if item.part is not None for name in names_in(item.value)}
    shared = {name for item in equations if item.part is None for name in names_in(item.value)}
    for equation in equations:
        if equation.part is None:
            yield from (equation,) if equation.name not in steps - shared else ()
            continue
        whole = replace(equation.value, lambda node: told.get(node.name) if isinstance(node, Named) and node.name not in shared else None)
        yield with_changes(equation, value=simplify(whole), rule=f"{equation.rule}, in each of {component.rounds} rounds")


def _solved(order: LevelOrder, component: Component) -> Law:
    """The law of a level that keeps a state, which is the minimiser of its objective whatever it was."""
    draft = Draft(component.name, words_of(order.model))
    found = minimiser(Descent(order, component, draft))
    cites = component.cites or order.model.cites
    new_states = [Equation(_name(component, part), _learned_through(component, value), RULE, cites, part) for part, value in found.items()]
    return Law(component.name, component.every, abbreviated(order, component.name, draft.finished(*new_states)))


def _name(component: Component, part: str) -> str:
    return ".".join(filter(None, (last_segment(component.name), part)))


def _steps(descent: Descent) -> dict[str, tuple[Expr, str]]:
    """What is taken off each retained tensor, and by which rule."""
    component, model = descent.component, descent.order.model
    if isinstance(component.optimizer, Proximal):
        found = curvature(component)
        assert isinstance(found, Curvature), found
        step = ImplicitStep(descent, found).off(descent.seen(component.optimizer.rate))
        return {component.states[0].part: (step, "implicit gradient step")}
    assert isinstance(component.optimizer, GradientDescent)
    if gathers(model, component) and not component.has_inlined_optimizer:
        gradients = descent.of_update()
    else:
        gradients = descent.gradients(component.follows, _step_point(component))
    rate = descent.rate(component.optimizer.rate)
    return {part: (times(rate, gradient), _rule(model, component, descent.draft, gradient)) for part, gradient in gradients.items()}


def _rule(model: Model, component: Component, draft: Draft, gradient: Expr) -> str:
    if draft.defines(gradient):
        return "explicit gradient step"
    if len(component.states) > 1 and is_number(gradient, 0):
        return "the objective does not depend on it"
    return f"explicit gradient step on {said(model, component.follows)}"


def _learned_through(component: Component, step: Expr) -> Expr:
    """What an update adds; a constant for slower levels when they do not learn through the updates of this one."""
    return StopGradient(step, step.shape) if component.backprop == 0 else step


def _when_due(model: Model, component: Component, value: Expr, before: Expr) -> Expr:
    """The new state at the last token of each period, the old one at the others."""
    if not component.every.is_counted or component.every.period <= 1 or component.rounds > 1:
        return value
    return Where(Due(int(component.every.period), model.unit), value, before, value.shape)


def definitions_of(order: LevelOrder) -> tuple[Equation, ...]:
    """The spec's abbreviations over streams and parameters alone, shorter ones first: each may stand in those after it.

    An optimizer, whose laws run in one place, has them among the equations of the laws.
    """
    if order.model.kind == "optimizer":
        return ()
    settled = ((item.name, settle(order, None, item.value)) for item in order.model.abbreviations)
    found = [
        Equation(name, value, WORD)
        for name, value in settled
        if not isinstance(value, LEAVES) and not contains(value, lambda node: isinstance(node, State | Gradient | Tick))
    ]
    return tuple(sorted(found, key=lambda item: sum(1 for _ in walk(item.value))))


def output_equation(order: LevelOrder, output: Output) -> Equation:
    """What the system emits after the tick's updates, reads settled."""
    value = settle(order, None, output.value)
    return Equation(output.name, value, _reading(value))


def _step_point(component: Component) -> GradientPoint:
    return component.step_at if component.has_inlined_optimizer else component.gradient_at


def _reading(value: Expr) -> str:
    return READINGS[frozenset(part.when for part in walk(value) if isinstance(part, State))]
