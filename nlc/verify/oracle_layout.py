"""How the oracle lays out tensors: streams along the axes of a system, an optimizer's parameters in one row. As apart as the oracle."""

from __future__ import annotations

from collections.abc import Sequence

import torch
from torch import Tensor

from nlc.ir.model import Clock, Family, InputStream, Model, Output


def aligned(x: Tensor, stream: InputStream, model: Model) -> Tensor:
    """(batch, time, *own axes, *shape) with a dim of size 1 for every axis of the system that the stream lacks.

    A stream of n values a token has n after time, one of a value for each sequence has no time.
    """
    first = 1 if is_of_sequence(stream) else 3 if parts_of(stream.every) > 1 else 2
    for place, axis in enumerate(model.axes):
        if axis not in stream.axes:
            x = x.unsqueeze(first + place)
    return x


def is_of_sequence(stream: InputStream) -> bool:
    """Whether a stream has one value for a whole sequence."""
    return stream.every.family is Family.SEQUENCE


def at_token(x: Tensor, stream: InputStream, t: int) -> Tensor:
    """The value of a stream at a token."""
    return x if is_of_sequence(stream) else x[:, t]


def parts_of(clock: Clock) -> int:
    """How often a clock ticks inside a token or step: `token / 2` ticks twice."""
    return clock.period.denominator if clock.period < 1 else 1


def parts_of_tick(model: Model) -> int:
    """How many parts a tick of the system has, for its fastest levels and streams."""
    levels = (item.every for item in model.fast if item.rounds == 1)
    return max((parts_of(clock) for clock in (*levels, *(item.every for item in model.inputs))), default=1)


def at_part(x: Tensor, stream: InputStream, part: int) -> Tensor:
    """The value of a stream, (batch, *axes, *shape), at one part of a tick; most streams have one value for all parts."""
    return x[:, part] if parts_of(stream.every) > 1 else x


def with_ones(leading: tuple[int, ...], output: Output, model: Model) -> tuple[int, ...]:
    """The leading dims of an output, (batch, *axes), with size 1 for the axes that it has joined."""
    return (leading[0], *(1 if axis in output.joined else size for axis, size in zip(model.axes, leading[1:], strict=True)))


def flatten(tensors: Sequence[Tensor]) -> Tensor:
    """All entries in one row."""
    return torch.cat([tensor.reshape(-1) for tensor in tensors])


def unflatten(flat: Tensor, like: Sequence[Tensor]) -> list[Tensor]:
    """A row of entries as tensors of the given shapes."""
    parts = torch.split(flat, [tensor.numel() for tensor in like])
    return [part.view_as(tensor) for part, tensor in zip(parts, like, strict=True)]


def wants_graph(tensors: Sequence[Tensor]) -> bool:
    """Whether somebody will differentiate."""
    return torch.is_grad_enabled() and any(tensor.requires_grad for tensor in tensors)
