"""From an inner objective to its gradient, in the paper's words: retained, prediction, error, surprise, gradient."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from dataclasses import replace as replace_with

from nlc.derive.adjoints import ADJOINT_OF
from nlc.derive.draft import Draft
from nlc.derive.gradient import gradient
from nlc.derive.settle import settle
from nlc.derive.simplify import simplify
from nlc.ir.algebra import LEAVES, ONE, Expr, Gradient, Named, Scale, State, When, contains
from nlc.ir.build import add, constant, divide, negate, replace, subtract, times
from nlc.ir.model import Component, Family, GradientDescent, GradientPoint, Model
from nlc.ir.order import LevelOrder
from nlc.ir.show import expression_text

CALCULUS = ("calculus",)

GRADIENT = "gradient"
"""The part of a component's state that gathers its gradients between two updates."""

Body = tuple[Expr, Expr]
"""An expression and its cotangent."""


@dataclass(frozen=True, slots=True)
class Abbreviation:
    """`name` stands for `definition` in the objective; the definition still has FITTED reads."""

    name: Named
    definition: Expr
    is_prediction: bool


@dataclass(frozen=True, slots=True)
class Descent:
    """How `component` comes down an objective, written into `draft`. Every expression it gives back is settled."""

    order: LevelOrder
    component: Component
    draft: Draft

    def state(self, when: When) -> State:
        (state,) = self.component.states
        return State(self.component.name, state.part, state.shape, when)

    def seen(self, node: Expr, point: Expr | None = None) -> Expr:
        """The expression as this component sees it: gradients written out by name, FITTED reads taken at the point, reads settled."""
        written = replace(node, lambda part: self._context(part) if isinstance(part, Gradient) else None)
        return settle(self.order, self.component.name, written, point)

    def retained(self) -> Expr:
        """The old state times the retention."""
        kept: Expr = self.state(When.PREVIOUS)
        for retention in self.component.retention:
            kept = times(self.seen(retention), kept)
        return kept

    def point(self, where: GradientPoint) -> Expr:
        """The state at which a gradient is taken."""
        if where is not GradientPoint.RETAINED or not self.component.retention:
            return self.state(When.PREVIOUS)
        return self.draft.let("retained", self.retained(), f"retention {expression_text(self.component.retention[0])}")

    def of_update(self, *, named: bool = False) -> Expr:
        """The gradient of this component's objective over the data of an update: of one token, or gathered over a whole period."""
        component = self.component
        if not gathers(self.order.model, component):
            return self.gradient(component.objective, component.gradient_at, named=named)
        period = int(component.every.period)
        total = replace_with(self.state(When.CURRENT), part=GRADIENT)
        gathered: Expr = total
        if self.draft.level == gatherer(self.order, component):
            gathered = self.draft.kept(total) or self._gathered(total, period)
        if component.reduce == "sum":
            return gathered
        return self.draft.let("mean_gradient", divide(gathered, constant(period)), f"the mean over {period} tokens")

    def _gathered(self, total: State, period: int) -> Named:
        """One more datum in the sum of gradients since the last update, all of them taken at the same state."""
        gradient = self.gradient(self.component.objective, self.component.gradient_at, named=True)
        value = add(replace_with(total, when=When.PREVIOUS), gradient)
        return self.draft.keep("gathered", value, f"the data since the last update, of {period} tokens", total)

    def gradient(self, objective: Expr, where: GradientPoint, *, named: bool = False) -> Expr:
        """The gradient of the objective by the state, under a name when `named` or when a reader needs one to follow."""
        point, text = self.point(where), expression_text(objective)
        body, abbreviations = self._abbreviated(objective, point)
        bodies: list[Body] = [(body, ONE)]
        is_said = any(not item.is_prediction for item in abbreviations)
        for item in reversed(abbreviations):
            arriving = self.seen(_pulled_back(bodies, item.name), point)
            if item.is_prediction and not _is_plain(arriving):
                rule = "gradient by the prediction" if is_said else f"objective {text}, by the prediction"
                arriving, is_said = self.draft.let("surprise", arriving, rule, CALCULUS), True
            bodies.append((item.definition, arriving))
        value = self.seen(_pulled_back(bodies, self.state(When.FITTED)), point)
        if not named and not _needs_a_name(value):
            return value
        return self.draft.let("gradient", value, _chain_rule(abbreviations) if is_said else f"objective {text}", CALCULUS)

    def _abbreviated(self, objective: Expr, point: Expr) -> tuple[Expr, list[Abbreviation]]:
        """The objective over names for the prediction and the error, and what they stand for."""
        read, value, text = self.component.prediction, self.component.value, expression_text(objective)
        found: list[Abbreviation] = []
        if read is not None and not isinstance(read, LEAVES) and _occurs(read, objective):
            prediction = self.draft.let("prediction", self.seen(read, point), "read at the key")
            objective, value = _put(prediction, read, objective), value and _put(prediction, read, value)
            found.append(Abbreviation(prediction, read, is_prediction=True))
            read = prediction
        if read is None or value is None or read.shape != value.shape:
            return objective, found
        difference, flipped = subtract(read, value), subtract(value, read)
        if _occurs(difference, objective) or _occurs(flipped, objective):
            error = self.draft.let("error", self.seen(difference, point), f"objective {text}")
            objective = _put(error, difference, _put(negate(error), flipped, objective))
            found.append(Abbreviation(error, difference, is_prediction=False))
        return objective, found

    def _context(self, node: Gradient) -> Expr:
        """The gradient that an inlined optimizer is fed with: derived here, where it is needed first."""
        host = self.order.model.component(node.component)
        return Descent(self.order, host, self.draft).of_update(named=True)


def gathers(model: Model, component: Component) -> bool:
    """Whether a level has several data per update: tokens, or, for a level of an optimizer, updates of the level that it serves."""
    data = model.component(component.host).every.period if component.host else 1
    return component.every.family is Family.TOKEN and component.every.period > max(data, 1)


def gatherer(order: LevelOrder, host: Component) -> str:
    """The component whose law adds up the gradients of a level: the first that runs of those that need them."""
    return next(name for name in order.run_order if name == host.name or _is_fed_by(order.model.component(name), host.name))


def _is_fed_by(component: Component, host: str) -> bool:
    rate = (component.optimizer.rate,) if isinstance(component.optimizer, GradientDescent) else ()
    wanted = (component.follows, *component.retention, *rate)
    return any(contains(node, lambda part: isinstance(part, Gradient) and part.component == host) for node in wanted)


def _pulled_back(bodies: Sequence[Body], leaf: Expr) -> Expr:
    return simplify(add(*(gradient(body, leaf, cotangent) for body, cotangent in bodies)))


def _chain_rule(abbreviations: Sequence[Abbreviation]) -> str:
    reads = [ADJOINT_OF[type(item.definition)].name for item in abbreviations if item.is_prediction]
    return f"adjoint of {reads[0]}" if reads else "adjoint of the error"


def _needs_a_name(value: Expr) -> bool:
    """A gradient that reads the state or an abbreviation is a step of the story; one of streams alone is said in place."""
    return not _is_plain(value) and contains(value, lambda part: isinstance(part, Named | State))


def _is_plain(node: Expr) -> bool:
    """A leaf, or simple scalars times one."""
    match node:
        case Scale(by, x):
            return _is_plain(by) and _is_plain(x)
    return isinstance(node, LEAVES)


def _occurs(wanted: Expr, node: Expr) -> bool:
    return contains(node, lambda part: part == wanted)


def _put(new: Expr, old: Expr, node: Expr) -> Expr:
    return replace(node, lambda part: new if part == old else None)
