"""Axes as dims of tensors: places along them, streams and outputs as they stand along all of them."""

from __future__ import annotations

from collections.abc import Mapping

import torch
from torch import Tensor

from nlc.ir.law import Kept, Laws
from nlc.ir.model import InputStream, Model, Output


def axis_indices(model: Model, sizes: Mapping[str, int], like: Tensor) -> dict[str, Tensor]:
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


def kept_places(model: Model, item: Kept, leading: tuple[int, ...]) -> tuple[int, ...]:
    """The leading dims of what is kept: 1 for each axis when it has one value for all places along them."""
    return (leading[0], *(1 for _ in model.axes)) if item.is_whole else leading


def with_places(laws: Laws, slot: tuple[str, str], value: Tensor) -> Tensor:
    """A carried tensor with a dim of size 1 for each axis, when it has none of their dims."""
    for _ in laws.order.model.axes if _is_whole(laws, slot) else ():
        value = value.unsqueeze(1)
    return value


def without_places(laws: Laws, slot: tuple[str, str], value: Tensor) -> Tensor:
    """The same, as it is carried on."""
    return value.flatten(0, len(laws.order.model.axes)) if _is_whole(laws, slot) else value


def _is_whole(laws: Laws, slot: tuple[str, str]) -> bool:
    return any(item.is_whole for item in laws.kept if (item.component, item.part) == slot)
