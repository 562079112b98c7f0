"""One tick of the oracle: reads, starts and updates, each made when somebody first asks for it. As apart as the oracle."""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, field, replace
from fractions import Fraction

import torch
from torch import Tensor

from nlc.ir.model import (
    TOKEN,
    Clock,
    ClosedForm,
    Component,
    Convolve,
    Delay,
    Dim,
    Expr,
    Family,
    Gradient,
    GradientDescent,
    GradientPoint,
    Hyperparameter,
    Index,
    Input,
    Model,
    Now,
    Position,
    Proximal,
    Recent,
    State,
    StopGradient,
    Tick as TickCount,
    When,
    WindowSoftmax,
    WindowSum,
)
from nlc.verify.oracle_gradients import by_tensor, implicit_step, slopes
from nlc.verify.oracle_layout import at_part, parts_of, parts_of_tick
from nlc.verify.oracle_recents import convolved, remembered, remembered_at, remembered_data
from nlc.verify.oracle_slots import held_name, held_reads, point_slots, slot_name, slots, sum_name, sums
from nlc.verify.oracle_starts import begun, is_cut_off, is_new_at_start, number_of_update, owners, starts_at, starts_known, zeros_beside
from nlc.verify.oracle_values import Arithmetic, Fitted, OracleError, lift, rank_of
from nlc.verify.oracle_windows import Data, data_of, is_solved, lengthened, minimiser, minimisers, shape_of, shortened, steps_over

Tensors = dict[str, Tensor]


@dataclass(frozen=True, slots=True)
class Tick:
    """One tick: what flows in, the states when it began, and the new states that were asked for so far.

    `position` counts the ticks, this one included; `reader` is the clock of who reads (an output is on the token clock). Levels on the
    clock `token / n` are updated n times inside it, in parts: `previous` are the states before such a `part` of it, `begun` those before
    all parts; `whole` flows in at the last part, which is what whole tokens see, and `earlier` did at the part before. `started` are the
    states of levels that start again, made when somebody first asks; `starting` is such a level meanwhile. `owners` and `held` are fixed.
    """

    model: Model
    family: Family
    sizes: Mapping[str, int]
    hyperparameters: Mapping[str, Tensor]
    inputs: Mapping[str, Tensor]
    delayed: Mapping[str, Tensor]
    previous: Mapping[str, Tensor]
    differentiable: bool
    lengths: tuple[int, ...] = ()
    position: int = 0
    parameters: Mapping[str, Tensor] = field(default_factory=dict)
    reader: Clock = TOKEN
    begun: Mapping[str, Tensor] = field(default_factory=dict)
    updated: dict[str, Tensors] = field(default_factory=dict)
    running: list[str] = field(default_factory=list)
    taken: dict[str, Tensors] = field(default_factory=dict)
    part: int = 0
    whole: Mapping[str, Tensor] = field(default_factory=dict)
    earlier: Mapping[str, Tensor] = field(default_factory=dict)
    started: dict[str, Tensor] = field(default_factory=dict)
    starting: Component | None = None
    owners: Mapping[str, Component] | None = None
    held: Sequence[State] = ()

    def __post_init__(self) -> None:
        for name, find in (("owners", owners), ("held", held_reads)) if self.owners is None else ():
            object.__setattr__(self, name, find(self.model))

    def next(self, inputs: Mapping[str, Tensor]) -> Tick:
        """The tick after this one, with every due component updated."""
        states = {name: self.slot(name) for name in self.previous}
        for component in self.model.fast:
            if is_cut_off(component, self.position):
                states |= {name: states[name].detach() for name, _ in slots(component)}
        parts, passed = parts_of_tick(self.model), list[Callable[[Expr], Tensor]]()
        whole = {stream.name: at_part(inputs[stream.name], stream, parts - 1) for stream in self.model.inputs}
        tick = replace(self, delayed=self.inputs, begun=states, position=self.position + 1, started={}, whole=whole)
        for part in range(parts):
            now = {stream.name: at_part(inputs[stream.name], stream, part) for stream in self.model.inputs}
            flown = {stream.name for stream in self.model.inputs if part == 0 or parts_of(stream.every) > 1}
            earlier = {name: (tick.inputs if name in flown else tick.delayed)[name] for name in now}
            tick = replace(tick, inputs=now, earlier=earlier, previous=states, updated={}, running=[], taken={}, part=part)
            passed.append(replace(tick, reader=Clock(Family.TOKEN, Fraction(1, parts))).value)
            for component in self.model.fast:
                if part == parts - 1 or (component.every.period < 1 and component.rounds == 1):
                    tick.new_states(component)
            if part < parts - 1:
                moved = {name for item in self.model.fast if item.every.period < 1 and item.rounds == 1 for name, _ in slots(item)}
                states = {name: tick.slot(name) if name in moved else value for name, value in states.items()}
        summed = (tick.sums_after(item).items() for item in self.model.fast if sums(self.model, item))
        tick.updated["sums"] = dict(pair for pairs in summed for pair in pairs)
        tick.updated["recent"] = remembered(self.model, states, passed)
        windows = [(item, replace(tick, reader=item.every).windows(item)) for item in self.model.fast if is_solved(item)]
        tick.updated["windows"] = {name: shortened(window, item) for item, found in windows for name, window in found.items()}
        tick.updated["held"] = {held_name(self.model, read): tick.held_after(read) for read in tick.held}
        return tick

    def old(self, name: str) -> Tensor:
        """A state when this tick, or part of it, began: of a level that starts again with it, what it starts from."""
        owner = (self.owners or {}).get(name)
        if owner is None or not self.starts_again(owner, name):
            return self.previous[name]
        if name not in self.started:
            value, zeros = dict(begun(self.model, owner)).get(name), torch.zeros_like(self.previous[name])
            begins = replace(self, reader=owner.every, starting=owner)
            self.started[name] = zeros if value is None else begins.start(value, zeros)
        return self.started[name]

    def starts_again(self, component: Component, name: str) -> bool:
        """Whether a state of a level, or what is held of it, begins anew at this part of the tick."""
        if self.family is Family.SEQUENCE or (component.every.period < 1 and self.part > 0):
            return False
        known, is_held = starts_known(self.model, component), name not in dict(slots(component))
        return starts_at(component, self.position, is_known=known, is_held=is_held)

    def start(self, node: Expr, like: Tensor) -> Tensor:
        """What a state starts from; a number stands for all entries of it."""
        value, rank = self.value(node), like.dim() - 1 - len(self.model.axes)
        return (value if node.shape else value[(..., *[None] * rank)]).expand_as(like)

    def is_due(self, period: Fraction | int) -> bool:
        return self.position % period == 0

    def sums_after(self, component: Component) -> Tensors:
        """The sums of gradients that the next tick starts with: nothing after an update."""
        is_due = component.every.family is self.family and self.is_due(component.every.period)
        return {sum_name(name): torch.zeros_like(total) if is_due else total for name, total in self.gathered(component).items()}

    def gathered(self, component: Component) -> Tensors:
        """The gradients of a level at the data since its last update, summed up; all are taken at the state that it has had since."""
        now = self.gradient(component, component.objective, component.gradient_at)
        return {name: self.previous[sum_name(name)] + gradient for name, gradient in now.items()}

    def held_after(self, read: State) -> Tensor:
        """The value that a held read sees at the next tick."""
        name = slot_name(self.model.component(read.component), read.part)
        return self.slot(name) if self.is_due(read.period) else self.old(held_name(self.model, read))

    def of_update(self, component: Component) -> Tensors:
        """The gradient of a level's objective over the data of its update: taken once a tick, however many ask for a part of it."""
        if component.name not in self.taken:
            self.taken[component.name] = self._of_update(component)
        return self.taken[component.name]

    def _of_update(self, component: Component) -> Tensors:
        if not sums(self.model, component):
            return self.gradient(component, component.objective, component.gradient_at)
        if self.family is Family.SEQUENCE:
            tokens = max(self.position, 1) if component.reduce == "mean" else 1
            return {name: self.previous[sum_name(name)] / tokens for name, _ in slots(component)}
        share = component.every.period if component.reduce == "mean" else 1
        return {name: total / int(share) for name, total in self.gathered(component).items()}

    @property
    def like(self) -> Tensor:
        """Some tensor of the system, for dtype and device."""
        return next(iter((*self.previous.values(), *self.parameters.values(), *self.inputs.values())))

    def slot(self, name: str) -> Tensor:
        """The newest value of a state."""
        found = next((states for states in self.updated.values() if name in states), None)
        return self.old(name) if found is None else found[name]

    def new_states(self, component: Component) -> Tensors:
        """The states of a component after its update, or as they are when it is not due."""
        if is_solved(component):
            return self.solved(component)
        clock = component.reset if component.rounds > 1 and component.reset is not None else component.every
        if clock.family is not self.family or not self.is_due(clock.period):
            return {name: self.old(name) for name, _ in slots(component) if component.rounds == 1}
        if component.name not in self.updated:
            if component.name in self.running:
                raise OracleError(f"a cycle of same-tick reads: {' -> '.join((*self.running, component.name))}")
            self.running.append(component.name)
            self.updated[component.name] = replace(self, reader=component.every)._in_rounds(component)
            self.running.pop()
        return self.updated[component.name]

    def _in_rounds(self, component: Component) -> Tensors:
        """The states after an update, or after all that a level makes from its start in this tick."""
        if component.rounds == 1:
            return self._update(component)
        begins, given = replace(self, starting=component), dict(begun(self.model, component))
        zeros = zeros_beside(self.model, component, self.previous, self.sizes)
        states = {name: begins.value(given[name]) + zero if name in given else zero for name, zero in zeros.items()}
        for _ in range(component.rounds):
            now = replace(self, previous={**self.previous, **states}, started={**self.started, **states}, taken={**self.taken})
            states = now._update(component)
        return states

    def solved(self, component: Component) -> Tensors:
        """The minimiser of a level's objective over the data of its window."""
        if component.name not in self.updated:
            now, (name,) = replace(self, reader=component.every), [name for name, _ in slots(component)]
            windows = now.windows(component)
            leading = next(iter(windows.values())).shape[:1] + tuple(self.sizes[axis] for axis in self.model.axes)
            data, (shape, rank) = data_of(component, windows, self.position, leading), shape_of(component, self.sizes, leading)

            def objective(state: Tensor) -> Tensor:
                return now.value(component.objective, Fitted(name, {name: state}, {name: state.detach()}, data))

            self.updated[component.name] = {name: minimiser(objective, self.like.new_zeros(shape), rank, self.differentiable)}
        return self.updated[component.name]

    def windows(self, component: Component) -> Tensors:
        """The data of a level's window, this token's included, by slot name."""
        axes = tuple(self.sizes[axis] for axis in self.model.axes)
        now = {f"{component.name}.{item.name}": self.value(item.value) for item in component.data}
        return {name: lengthened(self.previous[name], x, (self.previous[name].shape[0], *axes)) for name, x in now.items()}

    def older(self, component: Component) -> Data | None:
        """The data of the window of a level that takes steps; None for a level without one."""
        now = {item.value: self.value(item.value) for item in component.data if steps_over(component)}
        return remembered_data(self.model, component, self.previous, now, self.position) if now else None

    def _update(self, component: Component) -> Tensors:
        """The explicit step: retention * state - rate * gradient, in the retained state's place."""
        if isinstance(component.optimizer, ClosedForm):
            old = {name: self.old(name) for name, _ in slots(component)}
            ranks = {name: rank_of(shape) for name, shape in slots(component)}
            return minimisers(lambda fitted: self.value(component.follows, fitted), component, old, ranks, self.differentiable)
        if isinstance(component.optimizer, Proximal):
            return self._implicit(component, component.optimizer)
        assert isinstance(component.optimizer, GradientDescent)
        own = component.follows == component.objective
        gradients = self.of_update(component) if own else self.gradient(component, component.follows, component.step_at)
        rate, retained = self.value(component.optimizer.rate), self._retained(component)
        new: Tensors = {}
        for name, shape in slots(component):
            step = lift(rate, rank_of(shape) - rank_of(component.optimizer.rate.shape)) * gradients[name]
            step = step.detach() if component.backprop == 0 else step
            new[name] = (retained[name] - step).broadcast_to(self.previous[name].shape)
        return new

    def _implicit(self, component: Component, optimizer: Proximal) -> Tensors:
        """The minimiser of the objective plus |state - retained|^2 / (2 rate), all of it at this tick."""
        ((name, shape),) = slots(component)
        retained = self._retained(component)[name].expand_as(self.previous[name])
        rate = lift(self.value(optimizer.rate), rank_of(shape) - rank_of(optimizer.rate.shape)).expand_as(retained)

        def loss(alias: Tensor) -> Tensor:
            return self.value(component.objective, Fitted(component.name, {name: alias}, {name: retained}))

        step = implicit_step(loss, retained, rate, rank_of(shape), differentiable=self.differentiable)
        return {name: retained - (step.detach() if component.backprop == 0 else step)}

    def _retained(self, component: Component) -> Tensors:
        """The states when the tick began, times the retention."""
        states = {name: self.old(name) for name, _ in slots(component)}
        for (name, shape), keep in zip(slots(component), component.retention, strict=False):
            share = self.value(keep).detach() if component.backprop == 0 else self.value(keep)
            states[name] = lift(share, rank_of(shape) - rank_of(keep.shape)) * states[name]
        return states

    def gradient(self, component: Component, objective: Expr, point: GradientPoint) -> Tensors:
        """The gradient of an objective with respect to its FITTED reads; a differentiable function of everything else."""
        with torch.enable_grad():
            keys = point_slots(self.model, component, point)
            retained = point is GradientPoint.RETAINED
            values = self._retained(component) if retained else {name: self.old(key) for name, key in keys.items()}
            aliases = {name: x.clone() if x.requires_grad else x.detach().clone().requires_grad_() for name, x in values.items()}
            now = replace(self, reader=component.every)
            loss = now.value(objective, Fitted(component.name, aliases, values, now.older(component)))
            if self.lengths and loss.dim():
                return {name: by_tensor(loss, alias, self.lengths, keep=self.differentiable) for name, alias in aliases.items()}
            found = slopes(loss.sum(), tuple(aliases.values()), keep=self.differentiable)
        return dict(zip(aliases, found, strict=True))

    def value(self, node: Expr, fitted: Fitted | None = None) -> Tensor:
        """The value of an expression: leading dims (or none), then its shape; in a sum over a window, that of the window in front."""
        if fitted is not None and fitted.data is not None and fitted.inside and (at_datum := fitted.data.at_datum(node)) is not None:
            return at_datum
        match node:
            case WindowSum(x) | WindowSoftmax(x) if fitted is not None and fitted.data is not None:
                return fitted.data.over(node, self.value(x, replace(fitted, inside=True)), self.sizes)
            case Now(x):
                return self.value(x, replace(fitted, inside=False) if fitted else None)
            case Input(name, shape, True) if self.family is Family.SEQUENCE:
                return self._before(Input(name, shape), Dim.number(1), 1)
            case Input(name, _, delayed):
                if self.reader.family is Family.TOKEN and self.reader.period < 1:
                    return (self.earlier if delayed else self.inputs)[name]
                return (self.delayed if delayed else self.whole or self.inputs)[name]
            case Hyperparameter(name):
                return self.hyperparameters[name]
            case Index(axis):
                later = len(self.model.axes) - 1 - self.model.axes.index(axis)
                return lift(torch.arange(self.sizes[axis], dtype=self.like.dtype, device=self.like.device), later)
            case Position():
                return self.like.new_tensor(self.position - 1)
            case Gradient(name, part):
                host = self.model.component(name)
                return self.of_update(host)[slot_name(host, part)]
            case State():
                return self._state(node, fitted)
            case TickCount(name):
                return self.like.new_tensor(number_of_update(self.model, self.model.component(name), self.position, self.part))
            case StopGradient(x):
                return self.value(x, fitted.stopped() if fitted else None)
            case Delay(Recent(x, (length, *_)), tokens):
                return self._before(x, length, tokens)
            case Convolve(x, kernel, Recent(_, (length, *_))):
                return convolved(self.value(x), self.value(kernel), lambda tokens: self._before(x, length, tokens))
        arithmetic = Arithmetic(self.sizes, self.lengths, self.like, self.model.axes)
        return arithmetic.value(node, lambda child: self.value(child, fitted))

    def _before(self, x: Expr, length: Dim, tokens: int) -> Tensor:
        """The value of an expression so many ticks ago, of the last `length`; where a sequence has ended, before its last token."""
        late, part = int(self.family is Family.SEQUENCE), self.part if self.reader.period < 1 else parts_of_tick(self.model) - 1
        return remembered_at(self.model, self.previous, x, length + Dim.number(late), tokens + late, part)

    def _state(self, node: State, fitted: Fitted | None) -> Tensor:
        component = self.model.component(node.component)
        name = slot_name(component, node.part)
        if self.model.is_parameter(node.component):
            return self.parameters[name]
        match node.when:
            case When.FITTED if fitted is not None and fitted.component == component.name:
                return fitted.aliases[name]
            case When.CURRENT if self.starting and not is_new_at_start(self.starting, component):
                return self.old(name)
            case When.CURRENT if self.starting or component.every.speed <= self.reader.speed:
                return self.new_states(component)[name]
            case When.CURRENT | When.PREVIOUS if component.every.period < 1 <= self.reader.period:
                return {**self.previous, **self.begun, **self.started}[name]
            case When.CURRENT | When.PREVIOUS:
                return self.old(name)
            case When.HELD:
                return self.old(held_name(self.model, node))
        raise OracleError(f"the oracle does not run a read of {name} that is {node.when.value} here")
