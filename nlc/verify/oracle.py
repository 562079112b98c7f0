"""The judge: runs a Model tick by tick in torch, with autograd on the user's own objective, and nothing derived.

It imports torch and `nlc.ir.model` only (and `oracle_values`, which does the same), so it shares no code with what it judges. Nothing
is ordered beforehand: a component is updated when somebody first asks for its new state, which is the order of the same-tick reads
(design section 2).
"""

from __future__ import annotations

import math
from collections.abc import Mapping
from dataclasses import dataclass, field, replace
from fractions import Fraction

import torch
from torch import Tensor

from nlc.ir.model import (
    TOKEN,
    Clock,
    Component,
    Convolve,
    Delay,
    Expr,
    Family,
    Gradient,
    GradientDescent,
    GradientPoint,
    Hyperparameter,
    Index,
    Input,
    Model,
    Proximal,
    Recent,
    RecentValues,
    State,
    StopGradient,
    When,
)
from nlc.ir.model import Tick as TickCount
from nlc.verify.oracle_gradients import by_tensor, implicit_step, slopes
from nlc.verify.oracle_layout import aligned, at_part, parts_of_tick, wants_graph, with_ones
from nlc.verify.oracle_recents import ago, convolved, shifted, started, without_axes
from nlc.verify.oracle_slots import (
    counts,
    delayed,
    held_name,
    held_reads,
    initial,
    kept,
    recent_name,
    recent_of,
    refuse,
    slot_name,
    slots,
    sum_name,
    sums,
)
from nlc.verify.oracle_slots import (
    parameters as parameters_of,
)
from nlc.verify.oracle_values import Arithmetic, Fitted, OracleError, lift, rank_of, sizes_of

__all__ = ["OracleError", "Tick", "run_oracle"]

Tensors = dict[str, Tensor]


def run_oracle(
    model: Model,
    inputs: Mapping[str, Tensor],
    sizes: Mapping[str, int],
    hyperparameters: Mapping[str, float],
    state: Mapping[str, Tensor] | None = None,
    parameters: Mapping[str, Tensor] | None = None,
) -> tuple[Tensors, Tensors]:
    """An architecture over a sequence: outputs (batch, time, *axes, *shape) and the state after the last token, by slot name.

    Inputs are (batch, time, *own axes, *shape), states (batch, *axes, *shape); `state` None is zeros. `parameters` are the tensors of
    slow levels, (*shape). An output has no dims of axes that it has joined. Differentiable in all of them.
    """
    refuse(model)
    trained = parameters or {}
    if missing := ", ".join(parameters_of(model).keys() - trained.keys()):
        raise OracleError(f"no value is given for the slow level {missing}")
    sample = next(iter(inputs.values()))
    leading = (sample.shape[0], *(sizes[axis] for axis in model.axes))
    given = state or {}
    start = {
        name: given.get(name, sample.new_zeros((*leading, *sizes_of(shape, sizes))))
        for component in model.fast
        for name, shape in slots(component)
    }
    for name, shape in kept(model):
        start[name] = given.get(name, sample.new_zeros((*leading, *sizes_of(shape, sizes))))
    start |= started(model, given, leading, sizes, sample)
    numbers = {name: sample.new_tensor(value) for name, value in hyperparameters.items()}
    nothing = Tick(model, Family.TOKEN, sizes, numbers, {}, {}, start, False, parameters=trained)
    start |= {name: nothing.start(node, start[name]) for name, node in initial(model) if name not in given}
    streams = {stream.name: aligned(inputs[stream.name], stream, model) for stream in model.inputs}
    before = {name: given.get(f"previous.{name}", torch.zeros_like(x.sum(1))) for name, x in streams.items()}
    position = int(given["position"]) if "position" in given else 0
    differentiable = wants_graph((*inputs.values(), *start.values(), *trained.values()))
    tick = Tick(model, Family.TOKEN, sizes, numbers, before, before, start, differentiable, position=position, parameters=trained)
    dims = {output.name: with_ones(leading, output, model) + sizes_of(output.value.shape, sizes) for output in model.outputs}
    outputs = {output.name: [sample.new_zeros(0, *dims[output.name])] for output in model.outputs}
    for t in range(sample.shape[1]):
        tick = tick.next({name: x[:, t] for name, x in streams.items()})
        for output in model.outputs:
            value = tick.value(output.value)
            outputs[output.name].append(value.broadcast_to((1, *dims[output.name])))
    final = {name: tick.slot(name) for name in start}
    if counts(model):
        final["position"] = torch.tensor(position + sample.shape[1])
    final |= {f"previous.{name}": tick.inputs[name].expand(*leading, *tick.inputs[name].shape[len(leading) :]) for name in delayed(model)}
    final |= {recent_name(item): without_axes(final[recent_name(item)], item, model) for item in model.recents}
    joined = {output.name: [2 + model.axes.index(axis) for axis in output.joined] for output in model.outputs}
    return {name: torch.cat(values).transpose(0, 1).squeeze(joined[name]) for name, values in outputs.items()}, final


@dataclass(frozen=True, slots=True)
class Tick:
    """One tick: what flows in, the states when it began, and the new states that were asked for so far.

    `position` counts the ticks, this one included; `reader` is the clock of who reads (an output is on the token clock). Levels on the
    clock `token / n` are updated n times inside it: `previous` are the states before such a part of it, `begun` those before all parts.
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

    def next(self, inputs: Mapping[str, Tensor]) -> Tick:
        """The tick after this one, with every due component updated."""
        states = {name: self.slot(name) for name in self.previous}
        for component in self.model.fast:
            clock = component.reset
            if clock is not None and clock.family is Family.TOKEN and self.position > 0 and self.is_due(clock.period):
                begun = dict(initial(self.model))
                zeros = {name: torch.zeros_like(states[name]) for name, _ in slots(component)}
                states |= {name: self.start(begun[name], zero) if name in begun else zero for name, zero in zeros.items()}
        for component in self.model.fast:
            if component.backprop and self.position > 0 and self.is_due(component.backprop * component.every.period):
                states |= {name: states[name].detach() for name, _ in slots(component)}
        tick = replace(self, delayed=self.inputs, begun=states, position=self.position + 1)
        parts = parts_of_tick(self.model)
        for part in range(parts):
            now = {stream.name: at_part(inputs[stream.name], stream, part) for stream in self.model.inputs}
            tick = replace(tick, inputs=now, previous=states, updated={}, running=[])
            for component in self.model.fast:
                if part == parts - 1 or component.every.period < 1:
                    tick.new_states(component)
            states = {name: tick.slot(name) for name in states}
        summed = [tick.sums_after(item) for item in self.model.fast if sums(self.model, item)]
        tick.updated["sums"] = {name: total for totals in summed for name, total in totals.items()}
        for item in self.model.recents:
            tick.updated[recent_name(item)] = {recent_name(item): tick.remembered(item)}
        tick.updated["held"] = {held_name(self.model, read): tick.held_after(read) for read in held_reads(self.model)}
        return tick

    def start(self, node: Expr, like: Tensor) -> Tensor:
        """What a state starts from."""
        return self.value(node).expand_as(like)

    def remembered(self, item: RecentValues) -> Tensor:
        """The last values of an expression that the next tick starts with."""
        return shifted(self.previous[recent_name(item)], self.value(item.recent.x), rank_of(item.recent.x.shape))

    def is_due(self, period: Fraction | int) -> bool:
        return self.position % period == 0

    def sums_after(self, component: Component) -> Tensors:
        """The sums of gradients that the next tick starts with: nothing after an update."""
        is_due = self.is_due(component.every.period)
        return {sum_name(name): torch.zeros_like(total) if is_due else total for name, total in self.gathered(component).items()}

    def gathered(self, component: Component) -> Tensors:
        """The gradients of a level at the data since its last update, summed up; all are taken at the state that it has had since."""
        now = self.gradient(component, component.objective, component.gradient_at)
        return {name: self.previous[sum_name(name)] + gradient for name, gradient in now.items()}

    def held_after(self, read: State) -> Tensor:
        """The value that a held read sees at the next tick."""
        name = slot_name(self.model.component(read.component), read.part)
        return self.slot(name) if self.is_due(read.period) else self.previous[held_name(self.model, read)]

    def of_update(self, component: Component) -> Tensors:
        """The gradient of a level's objective over the data of its update."""
        if not sums(self.model, component):
            return self.gradient(component, component.objective, component.gradient_at)
        share = component.every.period if component.reduce == "mean" else 1
        return {name: total / int(share) for name, total in self.gathered(component).items()}

    @property
    def like(self) -> Tensor:
        """Some tensor of the system, for dtype and device."""
        return next(iter((*self.previous.values(), *self.parameters.values())))

    def slot(self, name: str) -> Tensor:
        """The newest value of a state."""
        return next((states[name] for states in self.updated.values() if name in states), self.previous[name])

    def new_states(self, component: Component) -> Tensors:
        """The states of a component after its update, or as they are when it is not due."""
        names = [name for name, _ in slots(component)]
        if component.every.family is not self.family or not self.is_due(component.every.period):
            return {name: self.previous[name] for name in names}
        if component.name not in self.updated:
            if component.name in self.running:
                raise OracleError(f"a cycle of same-tick reads: {' -> '.join((*self.running, component.name))}")
            self.running.append(component.name)
            self.updated[component.name] = replace(self, reader=component.every)._update(component)
            self.running.pop()
        return self.updated[component.name]

    def _update(self, component: Component) -> Tensors:
        """The explicit step: retention * state - rate * gradient, in the retained state's place."""
        if isinstance(component.optimizer, Proximal):
            return self._implicit(component, component.optimizer)
        assert isinstance(component.optimizer, GradientDescent)
        own = component.follows == component.objective
        gradients = self.of_update(component) if own else self.gradient(component, component.follows, component.step_at)
        rate = self.value(component.optimizer.rate)
        new: Tensors = {}
        retained = self._retained(component)
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
        states: Tensors = {}
        for index, (name, shape) in enumerate(slots(component)):
            states[name] = self.previous[name]
            if component.retention:
                keep = component.retention[index]
                share = self.value(keep).detach() if component.backprop == 0 else self.value(keep)
                states[name] = lift(share, rank_of(shape) - rank_of(keep.shape)) * states[name]
        return states

    def gradient(self, component: Component, objective: Expr, point: GradientPoint) -> Tensors:
        """The gradient of an objective with respect to its FITTED reads; a differentiable function of everything else."""
        with torch.enable_grad():
            retained = point is GradientPoint.RETAINED
            values = self._retained(component) if retained else {name: self.previous[name] for name, _ in slots(component)}
            aliases = {name: x.clone() if x.requires_grad else x.detach().clone().requires_grad_() for name, x in values.items()}
            loss = replace(self, reader=component.every).value(objective, Fitted(component.name, aliases, values))
            if self.lengths and loss.dim():
                return {name: by_tensor(loss, alias, self.lengths, keep=self.differentiable) for name, alias in aliases.items()}
            found = slopes(loss.sum(), tuple(aliases.values()), keep=self.differentiable)
        return dict(zip(aliases, found, strict=True))

    # --- the value of an expression ------------------------------------------------------------------------------

    def value(self, node: Expr, fitted: Fitted | None = None) -> Tensor:
        """The value of an expression: leading dims (or none), then its shape."""
        match node:
            case Input(name, _, delayed):
                return (self.delayed if delayed else self.inputs)[name]
            case Hyperparameter(name):
                return self.hyperparameters[name]
            case Index(axis):
                later = len(self.model.axes) - 1 - self.model.axes.index(axis)
                return lift(torch.arange(self.sizes[axis], dtype=self.like.dtype, device=self.like.device), later)
            case Gradient(name, part):
                host = self.model.component(name)
                return self.of_update(host)[slot_name(host, part)]
            case State():
                return self._state(node, fitted)
            case TickCount(name):
                return self._count(self.model.component(name))
            case StopGradient(x):
                return self.value(x, fitted.stopped() if fitted else None)
            case Delay(Recent(x, (length, *_)), tokens):
                return ago(self.previous[recent_name(recent_of(self.model, x, length))], tokens, rank_of(node.shape))
            case Convolve(x, kernel, Recent(_, (length, *_))):
                before = self.previous[recent_name(recent_of(self.model, x, length))]
                return convolved(self.value(x), self.value(kernel), before)
        arithmetic = Arithmetic(self.sizes, self.lengths, self.like, self.model.axes)
        return arithmetic.value(node, lambda child: self.value(child, fitted))

    def _count(self, component: Component) -> Tensor:
        """The number, since the last reset, of the update that this tick belongs to: chunks are 1, 2, ..."""
        reset = component.reset
        ticks = self.position
        while reset is not None and reset.family is Family.TOKEN and ticks > reset.period:
            ticks -= int(reset.period)
        return self.like.new_tensor(math.ceil(ticks / component.every.period))

    def _state(self, node: State, fitted: Fitted | None) -> Tensor:
        component = self.model.component(node.component)
        name = slot_name(component, node.part)
        if self.model.is_parameter(node.component):
            return self.parameters[name]
        match node.when:
            case When.FITTED if fitted is not None and fitted.component == component.name:
                return fitted.aliases[name]
            case When.CURRENT if component.every.speed <= self.reader.speed:
                return self.new_states(component)[name]
            case When.CURRENT | When.PREVIOUS:
                return (self.begun if component.every.period < 1 <= self.reader.period else self.previous)[name]
            case When.HELD:
                return self.previous[held_name(self.model, node)]
        raise OracleError(f"the oracle does not run a read of {name} that is {node.when.value} here")
