"""From an inner objective to its gradients, in the paper's words: retained, prediction, error, surprise, gradient."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, replace as replace_with

from nlc.derive.abbreviations import Abbreviation, count_layers, first_layer, occurs, put
from nlc.derive.adjoints import ADJOINT_OF, deviation
from nlc.derive.draft import Draft
from nlc.derive.gradient import gradient
from nlc.derive.grams import over_gram
from nlc.derive.names import said, worded
from nlc.derive.settle import settle
from nlc.derive.simplify import simplify
from nlc.ir.algebra import (
    LEAVES,
    ONE,
    ZERO,
    Compare,
    Expr,
    Gradient,
    LayerNorm,
    Map,
    Named,
    Scale,
    State,
    StopGradient,
    When,
    Where,
    contains,
    walk,
)
from nlc.ir.build import add, constant, divide, negate, rebuild, replace, subtract, times
from nlc.ir.law import POSITION, Held
from nlc.ir.maps import MAPS
from nlc.ir.model import Component, Family, GradientDescent, GradientPoint, Model, Proximal
from nlc.ir.order import LevelOrder
from nlc.ir.recents import Delay, Recent
from nlc.ir.windows import at_age, over_ages, tokens_stepped_over

CALCULUS = ("calculus",)

GRADIENT = "gradient"
"""The part of a component's state that gathers its gradients between two updates."""

Body = tuple[Expr, Expr]
"""An expression and its cotangent."""

Parts = dict[str, Expr]
"""An expression for each tensor of a component's state, by part."""


@dataclass(frozen=True, slots=True)
class Descent:
    """How `component` comes down an objective, written into `draft`. Every expression it gives back is settled."""

    order: LevelOrder
    component: Component
    draft: Draft

    def states(self, when: When) -> Parts:
        """The component's tensors, as they are at some moment."""
        return dict(self._tensors(when))

    def _tensors(self, when: When) -> dict[str, State]:
        return {state.part: State(self.component.name, state.part, state.shape, when) for state in self.component.states}

    def seen(self, node: Expr, point: Parts | None = None) -> Expr:
        """The expression as this component sees it: gradients written out by name, FITTED reads taken at the point, reads settled."""
        return settle(self.order, self.component.name, self.with_gradients(node), point)

    def with_gradients(self, node: Expr) -> Expr:
        """The expression with the gradients that it reads by name."""
        return replace(node, lambda part: self._context(part) if isinstance(part, Gradient) else None)

    def retained(self) -> Parts:
        """The old state times the retention, a constant for slower levels when they do not learn through the updates of this one."""
        kept = self.states(When.PREVIOUS)
        for part, retention in zip(kept if self.component.retention else (), self.component.retention, strict=True):
            share = self.seen(retention)
            kept[part] = times(StopGradient(share, share.shape) if self.component.backprop == 0 else share, kept[part])
        return kept

    def rate(self, rate: Expr) -> Expr:
        """The learning rate, under a name when several tensors move with one that takes more than a product to say."""
        value = self._shared(self.seen(rate))
        return value if len(self.component.states) == 1 or _is_plain(value) else self.draft.let("rate", value, "learning rate")

    def point(self, where: GradientPoint) -> Parts:
        """The state at which a gradient is taken."""
        if where is GradientPoint.HELD and self.component.holds_gradient:
            period = self.component.gradient_period
            return {part: replace_with(state, part=Held(part, period).part) for part, state in self._tensors(When.PREVIOUS).items()}
        if where is not GradientPoint.RETAINED or not self.component.retention:
            return self.states(When.PREVIOUS)
        rule = f"retention {said(self.order.model, self.component.retention[0])}"
        return {part: self.draft.let(worded("retained", part), value, rule) for part, value in self.retained().items()}

    def of_update(self, *, named: bool = False) -> Parts:
        """The gradient of this component's objective over the data of an update: of one token, or gathered over a whole period."""
        component = self.component
        if not gathers(self.order.model, component):
            return self.gradients(component.objective, component.gradient_at, named=named)
        if component.every.family is Family.SEQUENCE:
            return self._of_sequence()
        period = int(component.every.period)
        totals = {part: replace_with(state, part=gathered_part(part)) for part, state in self._tensors(When.CURRENT).items()}
        gathered: Parts = dict(totals)
        if self.draft.level == gatherer(self.order, component):
            gathered = self._gathered(totals, period)
        if component.reduce == "sum":
            return gathered
        rule = f"the mean over {period} {self.order.model.unit}s"
        return {
            part: self.draft.let(worded("mean_gradient", part), divide(total, constant(period)), rule) for part, total in gathered.items()
        }

    def _of_sequence(self) -> Parts:
        """The gradients that were gathered over a sequence, when it has ended."""
        totals = {part: replace_with(state, part=gathered_part(part)) for part, state in self._tensors(When.PREVIOUS).items()}
        if self.component.reduce == "sum":
            return dict(totals)
        position = State(POSITION, "", (), When.PREVIOUS)
        tokens = Where(Compare(">", position, ZERO, ()), position, ONE, ())
        rule = "the mean over the tokens of the sequence"
        return {part: self.draft.let(worded("mean_gradient", part), divide(total, tokens), rule) for part, total in totals.items()}

    def gather(self) -> None:
        """One token's data for a level that moves when the sequence ends, into the draft."""
        self._gathered({part: replace_with(state, part=gathered_part(part)) for part, state in self._tensors(When.CURRENT).items()}, 0)

    def _gathered(self, totals: dict[str, State], period: int) -> Parts:
        """One more datum in the sums of gradients since the last update, all of them taken at the same state."""
        known = {part: self.draft.kept(total) for part, total in totals.items()}
        if all(known.values()):
            return {part: name for part, name in known.items() if name is not None}
        gradients = self.gradients(self.component.objective, self.component.gradient_at, named=True)
        unit = self.order.model.unit
        rule = f"the data since the last update, of {period} {unit}s" if period else "the data of the sequence so far"
        return {
            part: self.draft.keep(worded("gathered", part), add(replace_with(total, when=When.PREVIOUS), gradients[part]), rule, total)
            for part, total in totals.items()
        }

    def gradients(self, objective: Expr, where: GradientPoint, *, named: bool = False) -> Parts:
        """The gradient of the objective by each tensor, under a name when `named` or when a reader needs one to follow."""
        point, text = self.point(where), said(self.order.model, objective)
        body, abbreviations = self._abbreviated(over_ages(self.component, objective), point, text)
        bodies: list[Body] = [(body, ONE)]
        is_said = any(item.is_error for item in abbreviations)
        for item in reversed(abbreviations):
            self._say_slope(bodies, item.name)
            arriving = self._shared(self.seen(_pulled_back(bodies, item.name), point))
            if item.surprise and not _is_plain(arriving):
                what = "the prediction" if item.is_read else item.name.name
                rule = f"gradient by {what}" if is_said else f"objective {text}, by {what}"
                arriving, is_said = self.draft.let(item.surprise, arriving, rule, CALCULUS), True
            bodies.append((item.definition, arriving))
        rule = _chain_rule(abbreviations) if is_said else f"objective {text}"
        return {part: self._gradient(bodies, state, point, rule, named) for part, state in self.states(When.FITTED).items()}

    def _gradient(self, bodies: Sequence[Body], state: Expr, point: Parts, rule: str, named: bool) -> Expr:
        value = over_gram(self._shared(self.seen(_pulled_back(bodies, state), point)), self.draft)
        if not named and not _needs_a_name(value):
            return value
        assert isinstance(state, State)
        return self.draft.let(worded("gradient", state.part), value, rule, CALCULUS)

    def _abbreviated(self, objective: Expr, point: Parts, text: str) -> tuple[Expr, list[Abbreviation]]:
        """The objective over names for the layers, the prediction and the error, and what they stand for; at every datum of a window."""
        found: list[Abbreviation] = []
        for age in range(max(tokens_stepped_over(self.component), 1)):
            objective, more = self._abbreviated_at(age, objective, point, text)
            found = [*more, *found]
        return objective, found

    def _abbreviated_at(self, age: int, objective: Expr, point: Parts, text: str) -> tuple[Expr, list[Abbreviation]]:
        read, value = (part and at_age(self.component, part, age) for part in (self.component.prediction, self.component.value))
        ago = str(age) if age else ""
        found: list[Abbreviation] = []
        if self._says_layers:
            found = self._layers(objective if read is None else read, point, ago)
            for layer in found:
                objective = put(layer.name, layer.definition, objective)
                read, value = read and put(layer.name, layer.definition, read), value and put(layer.name, layer.definition, value)
        if read is not None and not isinstance(read, LEAVES) and occurs(read, objective):
            rule = f"read at the key {age} token{'s' * (age > 1)} ago" if age else "read at the key"
            prediction = self.draft.let(worded("prediction", ago), self.seen(read, point), rule)
            objective, value = put(prediction, read, objective), value and put(prediction, read, value)
            found.append(Abbreviation(prediction, read, worded("surprise", ago), is_read=True))
            read = prediction
        if read is None or value is None or read.shape != value.shape:
            return objective, found
        difference, flipped = subtract(read, value), subtract(value, read)
        if occurs(difference, objective) or occurs(flipped, objective):
            error = self.draft.let(worded("error", ago), self.seen(difference, point), f"objective {text}")
            objective = put(error, difference, put(negate(error), flipped, objective))
            found.append(Abbreviation(error, difference, is_error=True))
        return objective, found

    def _layers(self, read: Expr, point: Parts, ago: str) -> list[Abbreviation]:
        """For every elementwise map and layer norm inside a read: what goes into it, and (unless it is the read itself) what comes out."""
        found: list[Abbreviation] = []
        count, number = count_layers(read, self.component.name), 0
        while (inner := first_layer(read, self.component.name)) is not None:
            number += 1
            part, activated = "_".join(filter(None, (str(number) if count > 1 else "", ago))), rebuild(inner, (inner.x,))
            function = inner.function if isinstance(inner, Map) else "layer_norm"
            if not isinstance(inner.x, LEAVES):
                layer = self.draft.let(worded("layer", part), self.seen(inner.x, point), f"into {function}")
                found.append(Abbreviation(layer, inner.x, worded("local_surprise", part)))
                read, activated = put(layer, inner.x, read), rebuild(inner, (layer,))
            if activated == read:
                break
            activation = self.draft.let(worded("activation", part), self.seen(activated, point), f"out of {function}")
            found.append(Abbreviation(activation, activated, worded("norm_surprise", part) if isinstance(inner, LayerNorm) else ""))
            read = put(activation, activated, read)
        return found

    def _say_slope(self, bodies: Sequence[Body], layer: Named) -> None:
        """The derivative of the map that a layer goes through next, for the surprise that comes back through it."""
        for definition, _ in bodies:
            if isinstance(definition, Map) and definition.x == layer:
                word = layer.name.replace("layer", "slope")
                self.draft.let(word, self._shared(MAPS[definition.function].derivative(layer)), f"derivative of {definition.function}")
            if isinstance(definition, LayerNorm) and definition.x == layer:
                self.draft.let(layer.name.replace("layer", "deviation"), self._shared(deviation(layer)), "the norm divides by it")

    @property
    def _says_layers(self) -> bool:
        """Whether a gradient is told layer by layer: of several tensors, or through a norm, which stands in it several times."""
        return len(self.component.states) > 1 or contains(self.component.objective, lambda node: isinstance(node, LayerNorm))

    def _shared(self, node: Expr) -> Expr:
        """The expression over the names of what has been computed before; where layers have none, everything is said in place."""
        if not self._says_layers:
            return node
        while (shared := replace(node, self._named)) != node:
            node = shared
        return node

    def _named(self, node: Expr) -> Expr | None:
        known = self.draft.known(node)
        return known if known != node else None

    def _context(self, node: Gradient) -> Expr:
        """The gradient that an inlined optimizer is fed with: derived here, where it is needed first."""
        host = self.order.model.component(node.component)
        return Descent(self.order, host, self.draft).of_update(named=True)[node.part]


def gathered_part(part: str) -> str:
    """What the sum of the gradients by a tensor is kept under between two updates."""
    return f"{part}.{GRADIENT}" if part else GRADIENT


def gathers(model: Model, component: Component) -> bool:
    """Whether a level has several data per update: tokens, or, for a level of an optimizer, updates of the level that it serves."""
    if component.every.family is Family.SEQUENCE:
        return component.host is None
    data = model.component(component.host).every.period if component.host else 1
    return component.every.is_counted and component.every.period > max(data, 1)


def gatherer(order: LevelOrder, host: Component) -> str:
    """The component whose law adds up the gradients of a level: the first that runs of those that need them."""
    return next(name for name in order.run_order if name == host.name or _is_fed_by(order.model, order.model.component(name), host.name))


def _is_fed_by(model: Model, component: Component, host: str) -> bool:
    """Whether a component's step needs the gradient of a level, be it inside that of another."""
    rate = (component.optimizer.rate,) if isinstance(component.optimizer, GradientDescent | Proximal) else ()
    waiting, seen = [component.follows, *component.retention, *rate, *component.init], {component.name}
    while waiting:
        for name in {node.component for node in walk(waiting.pop()) if isinstance(node, Gradient)} - seen:
            if name == host:
                return True
            seen.add(name)
            waiting.append(model.component(name).objective)
    return False


def _pulled_back(bodies: Sequence[Body], leaf: Expr) -> Expr:
    return simplify(add(*(gradient(body, leaf, cotangent) for body, cotangent in bodies)))


def _chain_rule(abbreviations: Sequence[Abbreviation]) -> str:
    reads = [ADJOINT_OF[type(item.definition)].name for item in abbreviations if item.is_read]
    if reads:
        return f"adjoint of {reads[0]}"
    return "adjoint of the error" if abbreviations[-1].is_error else "adjoint of the layers"


def _needs_a_name(value: Expr) -> bool:
    """A gradient that reads the state or an abbreviation is a step of the story; one of streams alone is said in place."""
    return not _is_plain(value) and contains(value, lambda part: isinstance(part, Named | State))


def _is_plain(node: Expr) -> bool:
    """A leaf, an older value of one, or simple scalars times one."""
    match node:
        case Delay(Recent(x)):
            return _is_plain(x)
        case Scale(by, x):
            return _is_plain(by) and _is_plain(x)
    return isinstance(node, LEAVES)
