"""What evidence is drawn for a model: small distinct sizes, streams with special values, carried states, optimizer steps.

Vectors and matrices are normal with norm about 1 per row; scalars, and streams with a declared range, are uniform on their range
(else on [0, 1]), and lie exactly on an end of it at about every third token. Every draw has its own seed.
"""

from __future__ import annotations

import math
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from fractions import Fraction
from itertools import islice, permutations

import torch
from torch import Tensor

from nlc.ir.contexts import contexts_of, number_of_data
from nlc.ir.dims import COLUMNS, ROWS
from nlc.ir.model import Component, Family, HyperparameterDeclaration, Input, InputStream, Map, Model, Shape
from nlc.ir.program import StateSlot
from nlc.ir.windows import tokens_stepped_over

SMALL_CHUNK = 4
DIM_SIZES = (5, 3, 4, 7, 6, 8, 12, 9, 10, 16)
AXIS_SIZES = (2, 3, 1)
LONGEST = 160
"""Tokens, at most, of a case at the program's own chunk."""
TOKENS_KEPT = 3
"""Tokens in the carried state of a window of all tokens."""
MOST_TRIES = 5_000
LEAST_QUOTIENT = 4
"""Entries that a dim made of others has, at least, where that is possible."""
BEST = 3


@dataclass(frozen=True, slots=True, kw_only=True)
class Case:
    """One shape of evidence: `chunks` * chunk + `extra` tokens.

    The chunk is SMALL_CHUNK, or the program's own, and then the module is built with its defaults, and the longest period ends twice
    where LONGEST tokens are enough. `varied` takes hyperparameters other than the defaults.
    """

    name: str
    chunks: int
    extra: int
    batch: int = 3
    carried: bool = False
    own_chunk: bool = False
    varied: bool = False


SHAPE_CASES: tuple[Case, ...] = (
    Case(name="no tokens", chunks=0, extra=0, carried=True),
    Case(name="one token", chunks=0, extra=1),
    Case(name="one token, state carried", chunks=0, extra=1, batch=1, carried=True),
    Case(name="a chunk less one", chunks=1, extra=-1, batch=1),
    Case(name="one chunk", chunks=1, extra=0, carried=True, varied=True),
    Case(name="a chunk and one", chunks=1, extra=1),
    Case(name="two chunks and one", chunks=2, extra=1),
    Case(name="two chunks and one, state carried", chunks=2, extra=1, carried=True, varied=True),
    Case(name="batch 0", chunks=1, extra=1, batch=0, carried=True),
    Case(name="the program's own chunk and one", chunks=1, extra=1, batch=1, carried=True, own_chunk=True),
)


@dataclass(frozen=True, slots=True, kw_only=True)
class Drawn:
    """Evidence for an architecture: inputs (batch, time, *own axes, *shape), states (batch, *axes, *shape) or None for zeros.

    `parameters` are the tensors of slow levels, (*shape). Streams of one value for each sequence, those named in `whole`, have no time.
    """

    inputs: Mapping[str, Tensor]
    state: Mapping[str, Tensor] | None
    parameters: Mapping[str, Tensor]
    sizes: Mapping[str, int]
    hyperparameters: Mapping[str, float]
    batch: int
    tokens: int
    chunk: int
    seed: int
    by_default: bool
    updates_per_tick: int = 1
    whole: frozenset[str] = frozenset()

    def at(self, tokens: slice) -> dict[str, Tensor]:
        """The inputs at some of the tokens; a stream of one value for each sequence is whole at any."""
        return {name: stream if name in self.whole else stream[:, tokens] for name, stream in self.inputs.items()}

    @property
    def updates(self) -> int:
        """How often the fastest levels move over the whole sequence."""
        return self.tokens * self.updates_per_tick


def draw(model: Model, case: Case, own_chunk: int, *, seed: int = 0, edges: bool = True, slots: Sequence[StateSlot] = ()) -> Drawn:
    """The evidence of a case in float64; without `edges` no scalar lies on an end of its range.

    `slots` are all that is carried; the position, a whole number, is anywhere in the last two chunks before the longest period ends.
    """
    chunk = own_chunk if case.own_chunk else SMALL_CHUNK
    tokens = min(max(case.chunks * chunk + case.extra, _two_ends(model) if case.own_chunk else 0), LONGEST)
    sizes = small_sizes(model)
    generator = torch.Generator().manual_seed(seed)
    inputs = {stream.name: _stream(stream, (case.batch, tokens), sizes, generator, edges) for stream in model.inputs}
    axes = tuple(sizes[axis] for axis in model.axes)
    states = {
        name: _normal((case.batch, *axes, *(dim.size(sizes) for dim in shape)), generator) for name, shape in _tensors(model.fast).items()
    }
    for slot in slots:
        if slot.counts:
            states[slot.name] = torch.randint(2 * SMALL_CHUNK, (), generator=generator) + _first_position(model)
        elif slot.name not in states:
            kept = (TOKENS_KEPT,) if slot.window == "all" else tokens_before(slot)
            own_axes = () if slot.is_whole else axes
            shape = (case.batch, *kept, *own_axes, *(dim.size(sizes) for dim in slot.shape))
            states[slot.name] = _normal(shape, generator) if slot.window is None else _datum(model, slot, shape, generator)
    numbers = _varied(model) if case.varied else {item.name: float(item.default) for item in model.hyperparameters}
    return Drawn(
        inputs=inputs,
        state=states if case.carried else None,
        parameters=draw_parameters(model, sizes, generator),
        sizes=sizes,
        hyperparameters=numbers,
        batch=case.batch,
        tokens=tokens,
        chunk=chunk,
        seed=seed,
        by_default=case.own_chunk,
        updates_per_tick=model.updates_per_tick,
        whole=frozenset(stream.name for stream in model.inputs if stream.is_of_sequence),
    )


def _first_position(model: Model) -> int:
    """The least position that is drawn: where a level takes steps over a window, all that it remembers was there."""
    remembered = max((tokens_stepped_over(level) - 1 for level in model.fast), default=0)
    return max(longest_period(model) - 2 * SMALL_CHUNK, remembered, 0)


def _two_ends(model: Model) -> int:
    """Tokens in which the longest period ends twice, wherever the position lies; 0 when there is none."""
    period = max(_periods(model), default=1)
    return 2 * SMALL_CHUNK + period + 1 if period > 1 else 0


def longest_period(model: Model) -> int:
    """The tokens of the longest period, or of the longest window; 1 when there is none."""
    windows = (item.window for item in model.fast if isinstance(item.window, int))
    return max((*_periods(model), *windows), default=1)


def _periods(model: Model) -> Iterator[int]:
    """The tokens of each period at whose end a level moves, is reset, or takes its gradient from then on."""
    for item in model.fast:
        clocks = (clock for clock in (item.every, item.reset) if clock is not None and clock.family is Family.TOKEN)
        yield from (int(clock.period) for clock in clocks)
        if item.holds_gradient:
            yield item.gradient_period


def draw_parameters(model: Model, sizes: Mapping[str, int], generator: torch.Generator) -> dict[str, Tensor]:
    """Values for the slow levels, frozen ones too, in float64: normal, of norm about 1 per row."""
    shapes = {name: tuple(dim.size(sizes) for dim in shape) for name, shape in _tensors(model.parameters).items()}
    return {name: _normal(shape, generator) for name, shape in shapes.items()}


def _tensors(components: Sequence[Component]) -> dict[str, Shape]:
    """Every tensor of some components, by slot name."""
    return {
        component.name if len(component.states) == 1 else f"{component.name}.{state.part}": state.shape
        for component in components
        for state in (component.states if component.is_carried else ())
    }


def tokens_before(slot: StateSlot) -> tuple[int, ...]:
    """The dim for the tokens of a window in what a sequence starts from; no dim for other slots."""
    return () if slot.window is None else (0 if slot.window == "all" else slot.window - 1,)


def moving(model: Model) -> tuple[str, ...]:
    """The slots of the slow levels that training moves: all but the frozen ones."""
    return tuple(_tensors([item for item in model.parameters if item.every.family is not Family.NEVER]))


def cotangents(tensors: Mapping[str, Tensor], seed: int) -> dict[str, Tensor]:
    """A random direction for every tensor, by name, so that all systems are asked for the same gradient."""
    generator = torch.Generator().manual_seed(seed + 1)
    return {name: torch.randn(tensors[name].shape, dtype=torch.float64, generator=generator) for name in sorted(tensors)}


# --- sizes -------------------------------------------------------------------------------------------------------


def small_sizes(model: Model) -> dict[str, int]:
    """A size for every dim and axis: small, all different and none made of others tiny where that is possible, and always whole.

    The halves of a vector of 3 entries have one each, so that what a module does with the rest of them would not be seen.
    """
    quotients = [dim.name for dim in model.dims if dim.definition is not None]
    found: dict[str, int] | None = None
    most = -1
    for sizes in islice(_assignments(model), MOST_TRIES):
        if _fits(model, sizes):
            merit = 2 * (len(set(sizes.values())) == len(sizes)) + all(sizes[name] >= LEAST_QUOTIENT for name in quotients)
            if merit > most:
                found, most = sizes, merit
            if merit == BEST:
                break
    return found or default_sizes(model)


def default_sizes(model: Model) -> dict[str, int]:
    """The sizes that the spec gives its dims, and small ones of the axes that are no dims."""
    return _defined(model, _axis_sizes(model) | {dim.name: dim.default for dim in model.dims})


def _assignments(model: Model) -> Iterator[dict[str, int]]:
    axes = _axis_sizes(model)
    free = [dim.name for dim in model.dims if dim.definition is None and dim.name not in axes]
    for sizes in permutations(DIM_SIZES, len(free)):
        try:
            yield _defined(model, axes | dict(zip(free, sizes, strict=True)))
        except ValueError:
            continue


def _axis_sizes(model: Model) -> dict[str, int]:
    defined = {dim.name for dim in model.dims if dim.definition is not None}
    return {axis: AXIS_SIZES[place % len(AXIS_SIZES)] for place, axis in enumerate(model.axes) if axis not in defined}


def _defined(model: Model, sizes: dict[str, int]) -> dict[str, int]:
    """The sizes with every defined dim added; raises ValueError when one is not a whole number."""
    for _ in model.dims:
        for dim in model.dims:
            if dim.definition is not None and dim.definition.names <= sizes.keys():
                sizes = sizes | {dim.name: dim.definition.size(sizes)}
    return sizes


def _fits(model: Model, sizes: Mapping[str, int]) -> bool:
    states = [state.shape for component in model.components for state in component.states]
    try:
        recents = (item.recent.shape for item in model.recents)
        for shape in (*states, *(stream.shape for stream in model.inputs), *(output.value.shape for output in model.outputs), *recents):
            _ = [dim.size(sizes) for dim in shape]
    except ValueError:
        return False
    return True


# --- values ------------------------------------------------------------------------------------------------------


def _varied(model: Model) -> dict[str, float]:
    """A value near each default but not equal to it, nor to another's of the same default: what is mixed up or written out is found."""
    places = enumerate(model.hyperparameters)
    return {item.name: (float(item.default) * 0.75 if item.default else 0.125) / (1 + place / 8) for place, item in places}


def _stream(stream: InputStream, leading: tuple[int, int], sizes: Mapping[str, int], generator: torch.Generator, edges: bool) -> Tensor:
    own_axes = tuple(sizes[axis] for axis in stream.axes)
    parts = (stream.every.updates_per_tick,) if stream.is_parted else ()
    shape = (*(leading[:1] if stream.is_of_sequence else leading), *parts, *own_axes, *(dim.size(sizes) for dim in stream.shape))
    if stream.shape and stream.low is None and stream.high is None:
        return _normal(shape, generator)
    low, high = map(float, range_of(stream))
    drawn = torch.rand(shape, dtype=torch.float64, generator=generator)
    choice = torch.rand(shape, dtype=torch.float64, generator=generator)
    if edges:
        drawn = torch.where(choice < 1 / 6, 0.0, torch.where(choice > 5 / 6, 1.0, drawn))
    return low + (high - low) * drawn


def _datum(model: Model, slot: StateSlot, shape: Sequence[int], generator: torch.Generator) -> Tensor:
    """Kept data of a window, from the values that its stream takes; of other scalars, and of functions of one sign, they are positive."""
    value = next(item.value for item in model.component(slot.component).data if item.name == slot.part)
    stream = next((item for item in model.inputs if isinstance(value, Input) and item.name == value.name), None)
    if stream is not None and (not stream.shape or stream.low is not None or stream.high is not None):
        low, high = map(float, range_of(stream))
        return low + (high - low) * torch.rand(tuple(shape), dtype=torch.float64, generator=generator)
    drawn = _normal(shape, generator)
    return drawn.abs() if isinstance(value, Map) or not slot.shape else drawn


def range_of(stream: InputStream) -> tuple[Fraction, Fraction]:
    """The declared range; an open side is one away from the other."""
    low, high = stream.low, stream.high
    if low is None:
        return (Fraction(0), Fraction(1)) if high is None else (high - 1, high)
    return low, low + 1 if high is None else high


def _normal(shape: Sequence[int], generator: torch.Generator) -> Tensor:
    return torch.randn(tuple(shape), dtype=torch.float64, generator=generator) / math.sqrt(shape[-1] if shape else 1)


# --- optimizers --------------------------------------------------------------------------------------------------

PARAMETER_SHAPES: tuple[tuple[int, ...], ...] = ((3,), (2, 3), (4, 1, 2), ())
MATRIX_SHAPES: tuple[tuple[int, ...], ...] = ((2, 3), (4, 2), (2, 3), (1, 3))


@dataclass(frozen=True, slots=True, kw_only=True)
class DrawnSteps:
    """Evidence for an optimizer and one parameter group: start values, then for every step gradients, data of layers and numbers."""

    weights: tuple[Tensor, ...]
    gradients: tuple[tuple[Tensor, ...], ...]
    contexts: tuple[tuple[Mapping[str, Tensor], ...], ...] = ()
    hyperparameters: tuple[Mapping[str, float], ...]


def draw_steps(model: Model, steps: int, *, seed: int, schedule: bool) -> DrawnSteps:
    """Random weights, gradients and data of layers in float64.

    With `schedule` every hyperparameter takes a new value at every step, else one value other than its default.
    """
    generator = torch.Generator().manual_seed(seed)

    def tensors() -> tuple[Tensor, ...]:
        return tuple(
            torch.randn(shape, dtype=torch.float64, generator=generator)
            for shape in (MATRIX_SHAPES if model.moves_matrices else PARAMETER_SHAPES)
        )

    def data() -> Iterator[Mapping[str, Tensor]]:
        """Of each matrix as many as its sides have in common, so that no two shapes have equally many."""
        for rows, columns in MATRIX_SHAPES if contexts_of(model) else ():
            sizes = {str(ROWS): rows, str(COLUMNS): columns, number_of_data(model): rows + columns - 1}
            shapes = {stream.name: [dim.size(sizes) for dim in stream.shape] for stream in contexts_of(model)}
            yield {name: torch.randn(shape, dtype=torch.float64, generator=generator) for name, shape in shapes.items()}

    def number(item: HyperparameterDeclaration) -> float:
        factor = float(torch.rand((), generator=generator))
        return float(item.default) * (1 + factor) / 2 if item.default else factor / 8

    return DrawnSteps(
        weights=tensors(),
        gradients=tuple(tensors() for _ in range(steps)),
        contexts=tuple(tuple(data()) for _ in range(steps)) if contexts_of(model) else (),
        hyperparameters=tuple(
            {item.name: number(item) for item in model.hyperparameters} if schedule else _varied(model) for _ in range(steps)
        ),
    )
