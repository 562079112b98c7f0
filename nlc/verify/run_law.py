"""Laws -> numbers: the derived equations, run in order at every tick, exactly as they stand."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field, replace

import torch
from torch import Tensor

from nlc.ir import algebra
from nlc.ir.algebra import Age, Due, Expr, Hyperparameter, Index, Input, Named, Parameter, Position, State, When, Window
from nlc.ir.dims import LIKE_WEIGHTS
from nlc.ir.law import POSITION, PREVIOUS, RECENT, Kept, Law, Laws, Reset, recent_names
from nlc.ir.model import InputStream, Model
from nlc.ir.recents import Recent, Shift
from nlc.ir.starts import known_start
from nlc.verify.axes import axis_indices, axis_places, kept_places, places_of, with_axes, with_places, without_joined, without_places
from nlc.verify.evaluate import Evaluator
from nlc.verify.older_values import of_part, shifted
from nlc.verify.token_window import NO_WINDOWS, Windows, ages, empty, lengthened

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
    sample = inputs[of_tokens(model)]
    leading = (sample.shape[0], *(sizes[axis] for axis in model.axes))
    numbers = {name: sample.new_tensor(value) for name, value in hyperparameters.items()}
    indices = axis_indices(model, sizes, sample)
    trained = named_parameters(model, parameters)
    begun = starts(laws, leading, sizes, sample, numbers, trained)
    states = begun if state is None else {slot: with_places(laws, slot, state[slot_name(model, *slot)]) for slot in begun}
    recent = recent_names(laws.kept)
    columns: dict[str, list[Tensor]] = {output.name: [] for output in model.outputs}
    for t in range(sample.shape[1]):
        parts = [_at(model, streams, t, part) for part in range(model.updates_per_tick)]
        around = (indices, trained)
        last, windows = len(parts) - 1, Windows.of(laws)
        tick = Tick(parts[-1], numbers, dict(states), {}, sizes, model, (), *around, part=last, windows=windows, recent=recent)
        states = tick.run(laws, parts[:-1])
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


def _at(model: Model, streams: Mapping[str, Tensor], t: int, part: int) -> Tensors:
    """What flows in at one part of a token; a stream of one value a token has it at every part."""

    def at(stream: InputStream) -> Tensor:
        if stream.is_of_sequence:
            return streams[stream.name]
        return streams[stream.name][:, t, part] if stream.is_parted else streams[stream.name][:, t]

    return {item.name: at(item) for item in model.inputs}


@dataclass(frozen=True, slots=True)
class Tick:
    """What one tick sees; `new` fills up as the laws run.

    In a system of several updates a token, `between` holds the states before this part of it, where they are not those before the token.
    """

    inputs: Mapping[str, Tensor]
    hyperparameters: Mapping[str, Tensor]
    previous: dict[Slot, Tensor]
    new: dict[Slot, Tensor]
    sizes: Mapping[str, int]
    model: Model
    group: tuple[int, ...] = ()
    indices: Mapping[str, Tensor] = field(default_factory=dict)
    parameters: Mapping[Slot, Tensor] = field(default_factory=dict)
    between: Mapping[Slot, Tensor] = field(default_factory=dict)
    part: int = 0
    windows: Windows = NO_WINDOWS
    recent: Mapping[Expr, str] = field(default_factory=dict)

    def _streams_at(self, inputs: Mapping[str, Tensor]) -> dict[Slot, Tensor]:
        """Those streams of several values a token whose previous values are read, as the next part finds them."""
        names = (stream.name for stream in self.model.inputs if stream.is_parted)
        return {(PREVIOUS, name): inputs[name] for name in names if (PREVIOUS, name) in self.previous}

    def run(self, laws: Laws, early: Sequence[Mapping[str, Tensor]] = ()) -> dict[Slot, Tensor]:
        """Every law's equations in order, those of levels that move in parts once for each early part too; gives all states after."""
        first = replace(self, inputs=early[0], part=0) if early else self
        waiting = self._begin_again(laws.resets, first)
        between: dict[Slot, Tensor] = {}
        for place, law in enumerate(laws.laws):
            is_first_part = self.model.is_parted(law.component) and not any(
                self.model.is_parted(item.component) for item in laws.laws[:place]
            )
            for part, inputs in enumerate(early) if is_first_part else ():
                between = replace(self, inputs=inputs, between=between, part=part).run_part(laws) | self._streams_at(inputs)
            replace(self, between=between, part=len(early)).move(law)
            waiting = self._begin_again(waiting, first)
        kept = {(item.component, item.part): self._kept(item, early) for item in laws.kept if item.window is None}
        after = {**self.previous, **self.new, **kept}
        final = {slot: after[slot].expand_as(value).to(value.dtype) for slot, value in self.previous.items()}
        return final | {slot: self.windows.after(slot, self._window(slot)) for slot in self.windows.items}

    def _kept(self, item: Kept, early: Sequence[Mapping[str, Tensor]]) -> Tensor:
        """What is kept to the next tick; of a stream of several values a token, that of each part."""
        if not isinstance(item.value, Shift):
            return self.value(item.value)
        x, before = item.value.x, self.previous[item.component, item.part]
        parts = enumerate(early) if self.model.values_per_tick(x) > 1 else ()
        newest = [*(replace(self, inputs=inputs, part=part).value(x) for part, inputs in parts), self.value(x)]
        return shifted(before, newest, len(x.shape))

    def _window(self, slot: Slot) -> Tensor:
        """A stream at every datum of a window, this token's last."""
        return lengthened(self.previous[slot], self.value(self.windows.items[slot].value))

    def run_part(self, laws: Laws) -> dict[Slot, Tensor]:
        """One part of a tick, not the last: the states of the levels that move at each, after it."""
        part = replace(self, new=dict(self.new))
        for law in (law for law in laws.laws if self.model.is_parted(law.component)):
            part.move(law)
        return {slot: value for slot, value in part.new.items() if slot not in self.new}

    def _begin_again(self, resets: Sequence[Reset], first: Tick) -> list[Reset]:
        """Starts the states of a new period again, or cuts them off from their past; gives those that wait for new states of this tick.

        A level that moves in parts starts from what flows in at the `first`.
        """
        waiting: list[Reset] = []
        for item in resets:
            if item.waits(waiting) or any((read.component, read.part) not in self.new for read in item.sources):
                waiting.append(item)
                continue
            slot = (item.state.component, item.state.part)
            old, seen = self.previous[slot], first if self.model.is_parted(item.state.component) else self
            again = old.detach() if item.is_cut_off else seen.value(item.value).expand_as(old)
            is_always = item.period == 1 and item.at_start
            self.previous[slot] = again if is_always else torch.where(is_first(item, self.previous[POSITION, ""]), again, old)
        return waiting

    def value(self, node: Expr) -> Tensor:
        """The value of an expression that names no equation."""
        return self._evaluator({})(node)

    def move(self, law: Law) -> None:
        """One law's equations in order."""
        named: Tensors = {}
        seen = {**self.previous, **(self.between if self.model.is_parted(law.component) else {})}
        for equation in (*law.opening, *(law.round * law.rounds)):
            named[equation.name] = replace(self, previous=seen)._evaluator(named, law.component)(equation.value)
            if equation.starts is not None:
                seen[law.component, equation.starts] = named[equation.name]
            if equation.part is not None:
                slot = (equation.owner or law.component, equation.part)
                self.new[slot] = named[equation.name].expand_as(self.previous[slot]) if slot in self.previous else named[equation.name]
            if law.rounds > 1 and equation is law.equations[-1]:
                seen |= {slot: value for slot, value in self.new.items() if slot[0] == law.component}

    def outputs(self, laws: Laws) -> Tensors:
        """What the system emits after the updates."""
        named: Tensors = {}
        for equation in laws.outputs:
            named[equation.name] = self._evaluator(named)(equation.value)
        return named

    def _evaluator(self, named: Mapping[str, Tensor], component: str = "") -> Evaluator:
        like = next(iter((*self.previous.values(), *self.inputs.values())))
        slot = self.windows.first(component)
        there = None if slot is None else self.windows.there(slot, self.previous[slot], self.previous.get((POSITION, "")))
        return Evaluator(self.sizes, like, lambda node: self._leaf(node, named, slot), self.group, axis_places(self.model), there)

    def _leaf(self, node: Expr, named: Mapping[str, Tensor], window: Slot | None = None) -> Tensor:
        match node:
            case Window(component, part):
                return self._window((component, part)).movedim(1, 0)
            case Age() if window is not None:
                return ages(self.previous[window], self.windows.items[window])
            case Position():
                return self.previous[POSITION, ""].to(next(iter(self.inputs.values())).dtype)
            case Named(name):
                return named[name]
            case Input(name, _, delayed):
                return self.previous[PREVIOUS, name] if delayed else self.inputs[name]
            case Recent(x):
                parts = self.model.values_per_tick(x)
                return of_part(self.previous[RECENT, self.recent[node]], len(x.shape), self.part if parts > 1 else 0, parts)
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
        updates = declared.every.updates_per_tick
        if declared.reset is not None and declared.reset.is_counted:
            seen = seen % int(declared.reset.period)
        like = next(iter(self.previous.values()))
        before = seen * updates + self.part if updates > 1 else seen // int(declared.every.period)
        return (before + 1).to(like.dtype)


def is_first(item: Reset, seen: Tensor) -> Tensor:
    """Whether a new period begins, after so many tokens."""
    counted = seen % item.within if item.within else seen
    return ((seen == 0) & item.at_start) | ((seen > 0) & (counted % item.period == 0) if item.period else seen < 0)


# --- states and streams, as programs need them too ---------------------------------------------------------------


def initial_states(model: Model, leading: tuple[int, ...], sizes: Mapping[str, int], like: Tensor) -> dict[Slot, Tensor]:
    """Zeros for every state, (*leading, *shape); of `like(weights)` the leading dim is all there is."""
    return {
        (component.name, state.part): like.new_zeros((*leading, *(dim.size(sizes) for dim in state.shape if dim != LIKE_WEIGHTS)))
        for component in model.fast
        for state in (component.states if component.is_carried else ())
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
    given = {(item.name, state.part): known_start(model, item, state) for item in model.fast for state in item.states if item.is_carried}
    given |= {(item.component, item.part): item.start for item in laws.kept if item.start is not None}
    evaluate = Evaluator(sizes, like, known)
    return begun | {slot: evaluate(value).expand_as(begun[slot]) for slot, value in given.items() if value is not None}


def kept_zeros(laws: Laws, leading: tuple[int, ...], sizes: Mapping[str, int], like: Tensor) -> dict[Slot, Tensor]:
    """Zeros for what is kept beside the states; the position is one whole number."""
    model = laws.order.model
    return {
        (item.component, item.part): like.new_zeros((), dtype=torch.int64)
        if item.component == POSITION
        else empty(item, kept_places(model, item, leading), tuple(dim.size(sizes) for dim in item.value.shape if dim != LIKE_WEIGHTS), like)
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


def of_tokens(model: Model) -> str:
    """A stream that has values at tokens, which tells how many there are."""
    return next(stream.name for stream in model.inputs if not stream.is_of_sequence)
