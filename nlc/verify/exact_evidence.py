"""A model -> evidence of small whole numbers and halves, as torch's tensors and as exact numbers; and exact results as torch's tensors."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import replace
from fractions import Fraction
from math import ceil, floor

import torch

from nlc.ir.model import HyperparameterDeclaration, InputStream, Model
from nlc.ir.program import Program
from nlc.verify.arithmetic import NotRational
from nlc.verify.dyadic import Dyadic
from nlc.verify.exact_laws import Evidence, Place, Seen, Slot, Values, places_of
from nlc.verify.inputs import Case, Drawn, draw, range_of
from nlc.verify.observe import Tensors
from nlc.verify.rational import Tensor

STEPS = tuple(Fraction(1, 2**bits) for bits in range(5))
LARGEST = 2
UNITS = (-1, 0, 1)
"""The entries of vectors and matrices."""


def draw_exactly(program: Program, case: Case, seed: int) -> Drawn:
    """The evidence of a case with every number replaced: small multiples of a power of two, inside what the spec declares."""
    model = program.model
    drawn = draw(model, case, program.chunk, seed=seed, slots=program.slots)
    generator = torch.Generator().manual_seed(seed)

    def units(tensor: torch.Tensor) -> torch.Tensor:
        return chosen(UNITS, tensor.shape, generator) if tensor.is_floating_point() else tensor

    pools = {stream.name: _pool(stream) for stream in model.inputs}
    return replace(
        drawn,
        inputs={name: chosen(pools[name], tensor.shape, generator) for name, tensor in drawn.inputs.items()},
        state=None if drawn.state is None else {name: units(tensor) for name, tensor in drawn.state.items()},
        parameters={name: units(tensor) for name, tensor in drawn.parameters.items()},
        hyperparameters=exact_numbers(model.hyperparameters),
    )


def exact_numbers(declared: Sequence[HyperparameterDeclaration]) -> dict[str, float]:
    """The defaults, or near them a multiple of a quarter that is not 0."""
    return {item.name: float(item.default if _is_short(item.default) else _near(item.default)) for item in declared}


def _is_short(number: Fraction) -> bool:
    return number.denominator <= 4 and 4 % number.denominator == 0


def _near(number: Fraction) -> Fraction:
    size = Fraction(max(1, int(abs(number) * 4)), 4)
    return size if number > 0 else -size


def _pool(stream: InputStream) -> tuple[float | int, ...]:
    """The numbers that an entry may be: at least three, of as few digits as the declared range allows."""
    if stream.shape and stream.low is None and stream.high is None:
        return UNITS
    low, high = range_of(stream)
    for step in STEPS:
        first, last = ceil(max(low, Fraction(-LARGEST)) / step), floor(min(high, Fraction(LARGEST)) / step)
        if last - first >= 2:
            return tuple(float(number * step) for number in (first, (first + last) // 2, last))
    raise NotRational(f"no small number over a power of two is in the range of {stream.name}")


def chosen(pool: Sequence[float], shape: Sequence[int], generator: torch.Generator) -> torch.Tensor:
    """A tensor whose entries are drawn from some numbers."""
    return torch.tensor(pool, dtype=torch.float64)[torch.randint(len(pool), tuple(shape), generator=generator)]


# --- torch's tensors as exact numbers, and back ------------------------------------------------------------------


def evidence_of(model: Model, drawn: Drawn, sequence: int) -> Evidence:
    """One sequence of a batch in exact numbers."""
    streams = {}
    for stream in model.inputs:
        tensor = drawn.inputs[stream.name]
        ticks = tensor[sequence].flatten(0, 1) if stream.is_parted else tensor[sequence]
        repeats = 1 if stream.is_parted else model.updates_per_tick
        axes = tuple(axis in stream.axes for axis in model.axes)
        at_ticks = [_everywhere(tick, tensor, axes, model, drawn.sizes) for tick in ticks]
        streams[stream.name] = [values for values in at_ticks for _ in range(repeats)]
    numbers = {name: exact(torch.tensor(value, dtype=torch.float64)) for name, value in drawn.hyperparameters.items()}
    return Evidence(streams, [numbers] * drawn.tokens, {}, drawn.sizes)


def with_parameters_of(evidence: Evidence, program: Program, parameters: Tensors) -> Evidence:
    """The evidence with the tensors of slow levels."""
    return replace(evidence, parameters={(slot.component, slot.part): exact(parameters[slot.name]) for slot in program.parameters})


def state_of(program: Program, drawn: Drawn, sequence: int) -> dict[Slot, Values]:
    """The state that a sequence starts from, in exact numbers."""
    model, found = program.model, {}
    for slot in program.slots if drawn.state is not None else ():
        tensor = (drawn.state or {})[slot.name]
        own = tensor if slot.counts else tensor[sequence]
        has = (not slot.counts and not slot.is_whole,) * len(model.axes)
        found[slot.component, slot.part] = _everywhere(own, tensor, has, model, drawn.sizes)
    return found


def _everywhere(x: torch.Tensor, like: torch.Tensor, has: tuple[bool, ...], model: Model, sizes: Mapping[str, int]) -> Values:
    """A tensor (*own axes, *shape) at every place; `has` says which axes are its own."""
    own = {place: x[tuple(number for number, is_own in zip(place, has, strict=True) if is_own)] for place in places_of(model, sizes)}
    return {place: exact(part, like) for place, part in own.items()}


def exact(x: torch.Tensor, like: torch.Tensor | None = None) -> Tensor:
    """A tensor of torch as exact numbers, each of which is taken to reach as far as any of `like`."""
    numbers = [Dyadic.of(Fraction(entry)) for entry in set((x if like is None else like).flatten().tolist())] or [Dyadic.of(0)]
    bits = max(number.bits for number in numbers)
    reach = max(number.reach << (bits - number.bits) for number in numbers)
    return Tensor(tuple(x.shape), tuple(Dyadic.of(Fraction(entry), reach, bits) for entry in x.flatten().tolist()))


def tensors_of(program: Program, sequences: Sequence[Sequence[Seen]]) -> tuple[Tensors, Tensors]:
    """What was seen of every sequence at every tick as a system gives it: outputs (batch, time, ...) and final states (batch, ...)."""
    model = program.model
    joined = {output.name: tuple(axis in output.joined for axis in model.axes) for output in model.outputs}
    outputs = {
        name: torch.stack([torch.stack([_at_places(seen[0][name], drops) for seen in ticks]) for ticks in sequences])
        for name, drops in joined.items()
    }
    drops = {slot.name: (slot.is_whole,) * len(model.axes) for slot in program.slots}
    finals = {
        slot.name: torch.stack([_at_places(ticks[-1][1][slot.component, slot.part], drops[slot.name]) for ticks in sequences])
        for slot in program.slots
    }
    return outputs, finals | {slot.name: finals[slot.name].flatten()[0].long() for slot in program.slots if slot.counts}


def _at_places(values: Values, drops: tuple[bool, ...]) -> torch.Tensor:
    """(*axes, *shape), without the axes that are dropped, along which it is the same."""
    places: list[Place] = [place for place in sorted(values) if not any(number and drop for number, drop in zip(place, drops, strict=True))]
    last = places[-1]
    sizes = [number + 1 for number, drop in zip(last, drops, strict=True) if not drop]
    entries = [float(entry) for place in places for entry in values[place].entries]
    return torch.tensor(entries, dtype=torch.float64).reshape((*sizes, *values[last].shape))
