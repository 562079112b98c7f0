"""States and streams as laws and programs are run on them: where each carried tensor starts, and which dims it and every stream have."""

from __future__ import annotations

from collections.abc import Mapping

import torch
from torch import Tensor

from nlc.ir.algebra import Expr, Hyperparameter, Parameter
from nlc.ir.dims import LIKE_WEIGHTS
from nlc.ir.law import POSITION, Kept, Laws
from nlc.ir.model import InputStream, Model, Output
from nlc.ir.starts import known_start
from nlc.verify.evaluate import Evaluator

Tensors = dict[str, Tensor]
Slot = tuple[str, str]
"""A component and the part of its state."""


def initial_states(model: Model, leading: tuple[int, ...], sizes: Mapping[str, int], like: Tensor) -> dict[Slot, Tensor]:
    """Zeros for every state, (*leading, *shape); of `like(weights)` the leading dim is all there is."""
    return {
        (component.name, state.part): like.new_zeros((*leading, *(dim.size(sizes) for dim in state.shape if dim != LIKE_WEIGHTS)))
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
    given = {(item.name, state.part): known_start(model, item, state) for item in model.fast for state in item.states}
    given |= {(item.component, item.part): item.start for item in laws.kept if item.start is not None}
    evaluate = Evaluator(sizes, like, known)
    return begun | {slot: evaluate(value).expand_as(begun[slot]) for slot, value in given.items() if value is not None}


def kept_zeros(laws: Laws, leading: tuple[int, ...], sizes: Mapping[str, int], like: Tensor) -> dict[Slot, Tensor]:
    """Zeros for what is kept beside the states; the position is one whole number."""
    return {
        (item.component, item.part): like.new_zeros((), dtype=torch.int64)
        if item.component == POSITION
        else like.new_zeros((*_places(laws, item, leading), *(dim.size(sizes) for dim in item.value.shape if dim != LIKE_WEIGHTS)))
        for item in laws.kept
    }


def _places(laws: Laws, item: Kept, leading: tuple[int, ...]) -> tuple[int, ...]:
    """The leading dims of what is kept: 1 for each axis when it has one value for all places along them."""
    return (leading[0], *(1 for _ in laws.order.model.axes)) if item.is_whole else leading


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
    """(batch, time, *own axes, *shape) -> (batch, time, *axes or 1, *shape); the parts of a token, if any, after time, if there is one."""
    index = (slice(None) if axis in stream.axes else None for axis in model.axes)
    leading = 1 if stream.is_of_sequence else 3 if stream.is_parted else 2
    return x[(slice(None),) * leading + tuple(index)]


def of_tokens(model: Model) -> str:
    """A stream that has values at tokens, which tells how many there are."""
    return next(stream.name for stream in model.inputs if not stream.is_of_sequence)


def with_places(laws: Laws, slot: Slot, value: Tensor) -> Tensor:
    """A carried tensor with a dim of size 1 for each axis, when it has none of their dims."""
    for _ in laws.order.model.axes if _is_whole(laws, slot) else ():
        value = value.unsqueeze(1)
    return value


def without_places(laws: Laws, slot: Slot, value: Tensor) -> Tensor:
    """The same, as it is carried on."""
    return value.flatten(0, len(laws.order.model.axes)) if _is_whole(laws, slot) else value


def _is_whole(laws: Laws, slot: Slot) -> bool:
    return any(item.is_whole for item in laws.kept if (item.component, item.part) == slot)
