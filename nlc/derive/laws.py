"""The law of one component: its equations in the paper's words, and the explicit gradient step that ends them."""

from __future__ import annotations

from collections.abc import Mapping
from types import MappingProxyType

from nlc.codes import derive as codes
from nlc.derive.descent import Descent, gathers
from nlc.derive.draft import Draft
from nlc.derive.gradient import LARGEST, DerivativeTooLarge
from nlc.derive.names import last_segment, words_of
from nlc.derive.settle import settle
from nlc.diagnostics import CompileError
from nlc.ir.algebra import Due, Expr, State, When, Where, walk
from nlc.ir.build import subtract, times
from nlc.ir.law import Equation, Law
from nlc.ir.model import Component, Family, GradientDescent, GradientPoint, Output
from nlc.ir.order import LevelOrder
from nlc.ir.show import expression_text

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
    """new state = retained - rate * gradient (Nested Learning, Eq. 3), with everything that leads to it named."""
    assert isinstance(component.optimizer, GradientDescent), component.optimizer
    draft = Draft(component.name, words_of(order.model))
    descent = Descent(order, component, draft)
    try:
        if gathers(order.model, component) and not component.has_inlined_optimizer:
            gradient = descent.of_update()
        else:
            gradient = descent.gradient(component.follows, _step_point(component))
        value = subtract(draft.known(descent.retained()), times(descent.seen(component.optimizer.rate), gradient))
        value = _when_due(component, value, descent.state(When.PREVIOUS))
    except DerivativeTooLarge as error:
        raise CompileError(codes.derivative_too_large(component.objective_span, component.name, LARGEST)) from error
    cites = component.cites or order.model.cites
    rule = "explicit gradient step" if draft.defines(gradient) else f"explicit gradient step on {expression_text(component.follows)}"
    new_state = Equation(last_segment(component.name), value, rule, cites, component.states[0].part)
    return Law(component.name, component.every, draft.finished(new_state))


def _when_due(component: Component, value: Expr, before: Expr) -> Expr:
    """The new state at the last token of each period, the old one at the others."""
    if component.every.family is not Family.TOKEN or component.every.period == 1:
        return value
    return Where(Due(int(component.every.period)), value, before, value.shape)


def output_equation(order: LevelOrder, output: Output) -> Equation:
    """What the system emits after the tick's updates, reads settled."""
    value = settle(order, None, output.value)
    return Equation(output.name, value, _reading(value))


def _step_point(component: Component) -> GradientPoint:
    return component.step_at if component.has_inlined_optimizer else component.gradient_at


def _reading(value: Expr) -> str:
    return READINGS[frozenset(part.when for part in walk(value) if isinstance(part, State))]
