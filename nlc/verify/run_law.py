"""Laws -> numbers: the derived equations, run in order at every tick, exactly as they stand."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field, replace

import torch
from torch import Tensor

from nlc.ir import algebra
from nlc.ir.algebra import Due, Expr, Hyperparameter, Index, Input, Named, Parameter, Recent, State, StopGradient, When
from nlc.ir.law import POSITION, PREVIOUS, Kept, Law, Laws, recent_names, with_parameters
from nlc.ir.model import Family, InputStream, Model, Output
from nlc.verify.evaluate import Evaluator

Tensors = dict[str, Tensor]
Slot = tuple[str, str]
"""A component and the part of its state."""


def run_laws(
    laws: Laws,
    inputs: Mapping[str, Tensor],
    state: Mapping[str, Tensor] | None = None,
    *,
    sizes: Mapping[str, int],
    hyperparameters: Mapping[str, float],
    parameters: Mapping[str, Tensor] | None = None,
) -> tuple[Tensors, Tensors]:
    """An architecture's laws over a sequence: outputs (batch, time, *axes, *shape) and the final state by slot name.

    Inputs are (batch, time, *own axes, *shape), states (batch, *axes, *shape), `parameters` (*shape); `state` None is zeros.
    """
    model = laws.order.model
    streams = {stream.name: with_axes(inputs[stream.name], stream, model) for stream in model.inputs}
    sample = next(iter(inputs.values()))
    leading = (sample.shape[0], *(sizes[axis] for axis in model.axes))
    numbers = {name: sample.new_tensor(value) for name, value in hyperparameters.items()}
    indices = axis_indices(model, sizes, sample)
    trained = named_parameters(model, parameters)
    begun = starts(laws, leading, sizes, sample, numbers, trained)
    states = begun if state is None else {slot: with_places(laws, slot, state[slot_name(model, *slot)]) for slot in begun}
    columns: dict[str, list[Tensor]] = {output.name: [] for output in model.outputs}
    for t in range(sample.shape[1]):
        states = _reset(laws, states, begun)
        parts = [_at(model, streams, t, part) for part in range(model.updates_per_tick)]
        tick = Tick(parts[-1], numbers, states, {}, sizes, model, (), indices, trained, recent=recent_names(laws.kept))
        for early in parts[:-1]:
            tick = replace(tick, between=replace(tick, inputs=early).run_part(laws))
        states = tick.run(laws)
        emitted = tick.outputs(laws)
        for output in model.outputs:
            size = (*places_of(model, output, leading), *(dim.size(sizes) for dim in output.value.shape))
            columns[output.name].append(without_joined(model, output, emitted[output.name].expand(size)))
    empty = {
        output.name: sample.new_empty(
            (leading[0], 0, *(sizes[axis] for axis in model.axes_of(output)), *(dim.size(sizes) for dim in output.value.shape))
        )
        for output in model.outputs
    }
    outputs = {name: torch.stack(column, dim=1) if column else empty[name] for name, column in columns.items()}
    return outputs, {slot_name(model, *slot): without_places(laws, slot, value) for slot, value in states.items()}


def with_places(laws: Laws, slot: Slot, value: Tensor) -> Tensor:
    """A carried tensor with a dim of size 1 for each axis, when it has none of their dims."""
    return value[(slice(None), *(None for _ in laws.order.model.axes))] if _is_whole(laws, slot) else value


def without_places(laws: Laws, slot: Slot, value: Tensor) -> Tensor:
    """The same, as it is carried on."""
    return value[(slice(None), *(0 for _ in laws.order.model.axes))] if _is_whole(laws, slot) else value


def _is_whole(laws: Laws, slot: Slot) -> bool:
    return any(item.is_whole for item in laws.kept if (item.component, item.part) == slot)


def _at(model: Model, streams: Mapping[str, Tensor], t: int, part: int) -> Tensors:
    """What flows in at one part of a token; a stream of one value a token has it at every part."""
    return {item.name: streams[item.name][:, t, part] if item.is_parted else streams[item.name][:, t] for item in model.inputs}


def run_law_steps(
    laws: Laws,
    weights: Sequence[Tensor],
    gradients: Sequence[Sequence[Tensor]],
    hyperparameters: Sequence[Mapping[str, float]],
) -> tuple[list[Tensor], dict[str, list[Tensor]]]:
    """An optimizer's laws over steps of one parameter group, from zero states: the weights, and the other states by slot name."""
    model = laws.order.model
    group = tuple(weight.numel() for weight in weights)
    flat = torch.cat([weight.flatten() for weight in weights])
    states = initial_states(model, (sum(group),), {}, flat)
    states = {slot: flat if slot[0] == "weights" else value for slot, value in states.items()}
    (stream,) = model.inputs
    for step, numbers in zip(gradients, hyperparameters, strict=True):
        data = {stream.name: torch.cat([gradient.flatten() for gradient in step])}
        tick = Tick(data, {name: flat.new_tensor(value) for name, value in numbers.items()}, states, {}, {}, model, group)
        states = {slot: value.expand_as(flat) for slot, value in tick.run(laws).items()}
    by_name = {slot_name(model, *slot): _split(value, weights) for slot, value in states.items()}
    return by_name.pop("weights"), by_name


def _reset(laws: Laws, states: dict[Slot, Tensor], begun: dict[Slot, Tensor]) -> dict[Slot, Tensor]:
    """The states as the next tick finds them, those of a new period as they begun, or cut off from their past."""
    new = dict(states)
    for item in laws.resets:
        seen = states[POSITION, ""]
        slot = (item.state.component, item.state.part)
        again = states[slot].detach() if isinstance(item.value, StopGradient) else begun[slot]
        new[slot] = torch.where((seen > 0) & (seen % item.period == 0), again, states[slot])
    return new


@dataclass(frozen=True, slots=True)
class Tick:
    """What one tick sees; `new` fills up as the laws run.

    In a system of several updates a token, `between` holds the states before this part of it, where they are not those before the token.
    """

    inputs: Mapping[str, Tensor]
    hyperparameters: Mapping[str, Tensor]
    previous: Mapping[Slot, Tensor]
    new: dict[Slot, Tensor]
    sizes: Mapping[str, int]
    model: Model
    group: tuple[int, ...] = ()
    indices: Mapping[str, Tensor] = field(default_factory=dict)
    parameters: Mapping[Slot, Tensor] = field(default_factory=dict)
    between: Mapping[Slot, Tensor] = field(default_factory=dict)
    recent: Mapping[Expr, Kept] = field(default_factory=dict)

    def run_part(self, laws: Laws) -> dict[Slot, Tensor]:
        """One part of a tick, not the last: the states of the levels that move at each, after it."""
        part = replace(self, new={})
        for law in laws.laws:
            if self.model.is_parted(law.component):
                part._run(law)
        return part.new

    def run(self, laws: Laws) -> dict[Slot, Tensor]:
        """Every law's equations in order; gives all states after the tick."""
        for law in laws.laws:
            self._run(law)
        kept = {(item.component, item.part): self._evaluator({})(item.value) for item in laws.kept}
        after = {**self.previous, **self.new, **kept}
        return {slot: after[slot].expand_as(value).to(value.dtype) for slot, value in self.previous.items()}

    def _run(self, law: Law) -> None:
        named: Tensors = {}
        seen = {**self.previous, **self.between} if self.model.is_parted(law.component) else self.previous
        for equation in law.equations:
            named[equation.name] = replace(self, previous=seen)._evaluator(named)(equation.value)
            if equation.part is not None:
                slot = (equation.owner or law.component, equation.part)
                self.new[slot] = named[equation.name].expand_as(self.previous[slot])

    def outputs(self, laws: Laws) -> Tensors:
        """What the system emits after the updates."""
        named: Tensors = {}
        for equation in laws.outputs:
            named[equation.name] = self._evaluator(named)(equation.value)
        return named

    def _evaluator(self, named: Mapping[str, Tensor]) -> Evaluator:
        like = next(iter(self.previous.values()))
        return Evaluator(self.sizes, like, lambda node: self._leaf(node, named), self.group, axis_places(self.model))

    def _leaf(self, node: Expr, named: Mapping[str, Tensor]) -> Tensor:
        match node:
            case Named(name):
                return named[name]
            case Input(name, _, delayed):
                return self.previous[PREVIOUS, name] if delayed else self.inputs[name]
            case Recent():
                item = self.recent[node]
                return self.previous[item.component, item.part]
            case Due(period):
                return (self.previous[POSITION, ""] + 1) % period == 0
            case algebra.Tick(component):
                return self._count(component)
            case Hyperparameter(name):
                return self.hyperparameters[name]
            case Index(axis):
                return self.indices[axis]
            case Parameter(component, part):
                return self.parameters[component, part]
            case State(component, part, when=When.CURRENT):
                return self.new[component, part]
            case State(component, part, when=When.PREVIOUS):
                return self.previous[component, part]
        raise ValueError(f"a law cannot hold {node}")

    def _count(self, component: str) -> Tensor:
        """Updates since the last reset, the one at the end of this period included."""
        declared, seen = self.model.component(component), self.previous[POSITION, ""]
        if declared.reset is not None and declared.reset.family is Family.TOKEN:
            seen = seen % int(declared.reset.period)
        like = next(iter(self.previous.values()))
        return (seen // int(declared.every.period) + 1).to(like.dtype)


# --- states and streams, as programs need them too ---------------------------------------------------------------


def initial_states(model: Model, leading: tuple[int, ...], sizes: Mapping[str, int], like: Tensor) -> dict[Slot, Tensor]:
    """Zeros for every state, (*leading, *shape); of `like(weights)` the leading dim is all there is."""
    return {
        (component.name, state.part): like.new_zeros((*leading, *(dim.size(sizes) for dim in state.shape if model.kind != "optimizer")))
        for component in model.fast
        for state in component.states
    }


def starts(
    laws: Laws,
    leading: tuple[int, ...],
    sizes: Mapping[str, int],
    like: Tensor,
    numbers: Mapping[str, Tensor],
    parameters: Mapping[Slot, Tensor],
) -> dict[Slot, Tensor]:
    """What every state, and everything kept beside it, starts from."""
    model = laws.order.model

    def known(node: Expr) -> Tensor:
        match node:
            case Hyperparameter(name):
                return numbers[name]
            case Parameter(component, part):
                return parameters[component, part]
        raise ValueError(f"a start cannot hold {node}")

    begun = initial_states(model, leading, sizes, like) | kept_zeros(laws, leading, sizes, like)
    given = {(item.name, state.part): value for item in model.fast for state, value in zip(item.states, item.init, strict=False)}
    given |= {(item.component, item.part): item.start for item in laws.kept if item.start is not None}
    evaluate = Evaluator(sizes, like, known)
    return begun | {slot: evaluate(with_parameters(model, value)).expand_as(begun[slot]) for slot, value in given.items()}


def kept_zeros(laws: Laws, leading: tuple[int, ...], sizes: Mapping[str, int], like: Tensor) -> dict[Slot, Tensor]:
    """Zeros for what is kept beside the states; the position is one whole number."""
    return {
        (item.component, item.part): like.new_zeros((), dtype=torch.int64)
        if item.component == POSITION
        else like.new_zeros((leading[0], *(1 if item.is_whole else n for n in leading[1:]), *(dim.size(sizes) for dim in item.value.shape)))
        for item in laws.kept
    }


def named_parameters(model: Model, parameters: Mapping[str, Tensor] | None) -> dict[Slot, Tensor]:
    """The tensors of slow levels by component and part."""
    slots = [(component.name, declared.part) for component in model.parameters for declared in component.states]
    return {slot: (parameters or {})[slot_name(model, *slot)] for slot in slots}


def slot_name(model: Model, component: str, part: str) -> str:
    """The key of a state in the state dict."""
    declared = next((item.states for item in model.components if item.name == component), ())
    is_only = len(declared) == 1 and part == declared[0].part
    return component if is_only or not part else f"{component}.{part}"


def axis_indices(model: Model, sizes: Mapping[str, int], like: Tensor) -> Tensors:
    """0, 1, 2, ... along each axis, with a dim of size 1 for each axis after it."""
    later = {axis: [1] * (len(model.axes) - place) for place, axis in enumerate(model.axes, start=1)}
    return {axis: torch.arange(sizes[axis], dtype=like.dtype).reshape(-1, *ones) for axis, ones in later.items()}


def axis_places(model: Model) -> dict[str, int]:
    """Which of the leading dims, when they end with the axes, is that of each axis: -1 is the last."""
    return {axis: place - len(model.axes) for place, axis in enumerate(model.axes)}


def places_of(model: Model, output: Output, leading: tuple[int, ...]) -> tuple[int, ...]:
    """Leading dims (batch, *axes, ...) as an output has them: 1 for each axis that it has joined."""
    joined = [1 + model.axes.index(axis) for axis in output.joined]
    return tuple(1 if place in joined else size for place, size in enumerate(leading))


def without_joined(model: Model, output: Output, value: Tensor) -> Tensor:
    """(batch, *axes or 1, ...) without the dims of the axes that an output has joined."""
    return value[tuple(0 if axis in output.joined else slice(None) for axis in ("", *model.axes))]


def with_axes(x: Tensor, stream: InputStream, model: Model) -> Tensor:
    """(batch, time, *own axes, *shape) -> (batch, time, *axes or 1, *shape); the parts of a token, if any, come after time."""
    index = (slice(None) if axis in stream.axes else None for axis in model.axes)
    return x[(slice(None),) * (3 if stream.is_parted else 2) + tuple(index)]


def _split(flat: Tensor, like: Sequence[Tensor]) -> list[Tensor]:
    pieces = torch.split(flat, [tensor.numel() for tensor in like])
    return [piece.reshape(tensor.shape) for piece, tensor in zip(pieces, like, strict=True)]
