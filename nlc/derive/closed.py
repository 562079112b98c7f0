"""The minimiser of an objective whose level keeps a state, where it curves alike in all directions of an entry: squared distances, weighed.

With the slope  penalty * W - pull,  the penalty being a positive number or one for each entry, the objective is least at pull / penalty.
"""

from __future__ import annotations

from collections.abc import Callable

from nlc.derive.descent import Descent, Parts
from nlc.derive.gradient import DerivativeTooLarge, gradient
from nlc.derive.implicit import Curvature, curvature_of, several_data
from nlc.derive.signs import is_positive
from nlc.derive.simplify import simplify
from nlc.ir.algebra import Expr, State, When, walk
from nlc.ir.build import divide, full, negate, replace
from nlc.ir.model import Component, GradientPoint, Model
from nlc.ir.show import expression_text

RULE = "the minimiser, where the derivative by it is zero"


def no_closed_form(model: Model, component: Component) -> str:
    """Why the minimiser of a level that keeps a state is not derived; empty when it is."""
    if model.is_parameter(component.name):
        return "it is moved by outer steps"
    if component.retention:
        return "it has a retention, but the minimiser does not depend on the old state"
    if not component.has_inlined_optimizer and component.gradient_at is not GradientPoint.PREVIOUS:
        return "it has `gradient_at`, but the gradient is zero at the new state"
    if why := several_data(model, component, component.follows):
        return why
    for state in _fitted(component):
        try:
            slope = gradient(component.follows, state)
        except DerivativeTooLarge:
            return "the gradient of its objective is too large"
        if any(node in _fitted(component) and node != state for node in walk(slope)):
            return "its memory has several tensors, which the minimiser couples"
        if why := _unfit(model, curvature_of(slope, state)):
            return why
    return ""


def _unfit(model: Model, found: Curvature | str) -> str:
    """Why a curvature has no minimiser that is known in closed form."""
    if isinstance(found, str):
        return found
    if found.reads:
        vector = expression_text(found.reads[0].vector)
        return f"its objective reads the state along {vector}, and the closed form is known for squared distances to the state itself"
    if not is_positive(model, found.penalty):
        return f"it curves by {expression_text(found.penalty)}, which is not surely above 0, so that it may have no minimum"
    return ""


def minimiser(descent: Descent) -> Parts:
    """The new state of a level that is solved in closed form, by tensor."""
    component, new = descent.component, {}
    for state in _fitted(component):
        slope = gradient(component.follows, state)
        found = curvature_of(slope, state)
        assert isinstance(found, Curvature), found
        pull = negate(simplify(replace(slope, _nothing(state))))
        new[state.part] = descent.seen(simplify(divide(pull, found.penalty)))
    return new


def _nothing(state: State) -> Callable[[Expr], Expr | None]:
    """What puts zero in a state's place."""
    return lambda node: full(0, state.shape) if node == state else None


def _fitted(component: Component) -> tuple[State, ...]:
    return tuple(State(component.name, item.part, item.shape, When.FITTED) for item in component.states)
