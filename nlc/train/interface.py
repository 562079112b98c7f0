"""Turns a resolved Model into what a network must know of its compiled memory: the inputs to make, the outputs to expect."""

from __future__ import annotations

from collections.abc import Collection, Iterator, Mapping
from dataclasses import dataclass, field
from math import prod

from nlc.ir.algebra import Expr, Input, MatMul, Split, State, walk
from nlc.ir.dims import Shape
from nlc.ir.model import Family, GradientDescent, InputStream, Model, Proximal
from nlc.train.settings import TrainSettings

RETENTION_START = 0.97
"""What a bounded retention starts at, as a part of its range: a memory that forgets at once learns nothing."""


@dataclass(frozen=True, slots=True, kw_only=True)
class MemoryInput:
    """One input stream of a compiled memory, with sizes: a value is (batch, time, *axes, *shape).

    `axes` begins with the updates per token of a faster stream. A stream with a `low` or `high` is kept inside its range; `start`
    is where in a bounded range it begins. `is_address` marks what a memory is applied to (keys and queries).
    """

    name: str
    axes: tuple[int, ...] = ()
    shape: tuple[int, ...] = ()
    low: float | None = None
    high: float | None = None
    start: float = 0.5
    is_address: bool = False


@dataclass(frozen=True, slots=True, kw_only=True)
class MemoryOutput:
    """One output of a compiled memory: a value is (batch, time, *axes, *shape)."""

    name: str
    axes: tuple[int, ...] = ()
    shape: tuple[int, ...] = ()


@dataclass(frozen=True, slots=True, kw_only=True)
class MemoryInterface:
    """What a network must know of a compiled memory; `arguments` go to the constructor of its class by keyword."""

    name: str
    inputs: tuple[MemoryInput, ...]
    outputs: tuple[MemoryOutput, ...]
    arguments: Mapping[str, float] = field(default_factory=dict)


def memory_interface(model: Model, settings: TrainSettings, chosen: Mapping[str, float]) -> MemoryInterface:
    """The interface of an architecture's emitted class, at the sizes of a run; `chosen` are the user's dims, axes and hyperparameters.

    The first axis has `settings.heads` copies, any other one; a dim of an input that was not chosen is the width of a head,
    or of the whole network for a vector without axes, which the architecture cuts up itself.
    Raises ValueError for a derived dim that does not come out whole.
    """
    axes = _axis_sizes(model, settings, chosen)
    free = _free_sizes(model, max(1, settings.d_model // prod(axes.values())), {**_whole_widths(model, settings), **chosen, **axes})
    sizes = {**free, **axes}
    for item in model.dims:
        if item.definition is not None:
            sizes[item.name] = item.definition.size(sizes)
    addresses, retentions = _addresses(model), _retentions(model)
    return MemoryInterface(
        name=model.name,
        inputs=tuple(_input(item, sizes, addresses, retentions) for item in model.inputs),
        outputs=tuple(
            MemoryOutput(name=item.name, axes=tuple(axes[axis] for axis in model.axes_of(item)), shape=_shape(item.value.shape, sizes))
            for item in model.outputs
        ),
        arguments={**{name: value for name, value in chosen.items() if name not in axes or name in free}, **free},
    )


def _axis_sizes(model: Model, settings: TrainSettings, chosen: Mapping[str, float]) -> dict[str, int]:
    names = dict.fromkeys((*model.axes, *(axis for item in model.inputs for axis in item.axes)))
    return {name: int(chosen.get(name, 1 if number else settings.heads)) for number, name in enumerate(names)}


def _free_sizes(model: Model, width: int, chosen: Mapping[str, float]) -> dict[str, int]:
    streamed = {name for item in model.inputs for dim in item.shape for name in dim.names}
    return {
        item.name: int(chosen.get(item.name, width if item.name in streamed else item.default))
        for item in model.dims
        if item.definition is None
    }


def _whole_widths(model: Model, settings: TrainSettings) -> dict[str, float]:
    """The dims of streams that an architecture splits over its axes itself: these are as wide as the network."""
    if not any(isinstance(node, Split) for expression in _expressions(model) for node in walk(expression)):
        return {}
    own = {stream.shape[0].name for stream in model.inputs if model.axes and not stream.axes and len(stream.shape) == 1}
    return {name: settings.d_model for name in own if name is not None}


def _input(item: InputStream, sizes: Mapping[str, int], addresses: Collection[str], retentions: Collection[str]) -> MemoryInput:
    low, high = (None if bound is None else float(bound) for bound in (item.low, item.high))
    if not item.shape and low is None and high is None:
        low, high = 0.0, 1.0  # a rate of unknown range: the same range as the verifier draws it from
    return MemoryInput(
        name=item.name,
        axes=(*_updates_per_token(item), *(sizes[axis] for axis in item.axes)),
        shape=_shape(item.shape, sizes),
        low=low,
        high=high,
        start=RETENTION_START if item.name in retentions else 0.5,
        is_address=item.name in addresses,
    )


def _updates_per_token(item: InputStream) -> tuple[int, ...]:
    several = item.every.family is Family.TOKEN and item.every.period < 1
    return (int(item.every.frequency),) if several else ()


def _shape(shape: Shape, sizes: Mapping[str, int]) -> tuple[int, ...]:
    return tuple(dim.size(sizes) for dim in shape)


def _addresses(model: Model) -> frozenset[str]:
    """The inputs that some memory is applied to, as they come."""
    return frozenset(
        node.right.name
        for expression in _expressions(model)
        for node in walk(expression)
        if isinstance(node, MatMul) and isinstance(node.left, State) and isinstance(node.right, Input)
    )


def _retentions(model: Model) -> frozenset[str]:
    return frozenset(
        node.name
        for component in model.components
        for expression in component.retention
        for node in walk(expression)
        if isinstance(node, Input)
    )


def _expressions(model: Model) -> Iterator[Expr]:
    for component in model.components:
        yield component.objective
        yield component.follows
        yield from component.retention
        if isinstance(component.optimizer, GradientDescent | Proximal):
            yield component.optimizer.rate
    for output in model.outputs:
        yield output.value
