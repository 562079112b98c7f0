"""Older values of streams as they are carried from tick to tick, (..., n * values a tick, *shape): what a part reads, what comes after."""

from __future__ import annotations

from collections.abc import Sequence

import torch
from torch import Tensor


def of_part(before: Tensor, rank: int, part: int, parts: int) -> Tensor:
    """(..., n, *shape): what was carried of the same part of the n ticks before, of values with `rank` dims."""
    place = before.dim() - 1 - rank
    return torch.unflatten(before, place, (-1, parts)).select(place + 1, part)


def shifted(before: Tensor, newest: Sequence[Tensor], rank: int) -> Tensor:
    """What is carried on: without the oldest values, with the newest, one for each part of the tick."""
    place = before.dim() - 1 - rank
    alike = before.narrow(place, 0, 1)
    values = (value.unsqueeze(-1 - rank).expand_as(alike) for value in newest)
    return torch.cat((before, *values), place).narrow(place, len(newest), before.shape[place])


def unfolded(whole: Tensor, time: int, count: int, parts: int) -> Tensor:
    """(..., count + updates, *shape) -> (..., updates, n, *shape): at every update the values at its part of the n ticks before."""
    updates = whole.shape[time] - count
    windows = whole.unfold(time, count, 1).narrow(time, 0, updates).movedim(-1, time + 1)
    return windows[(slice(None),) * (time + 1) + (slice(None, None, parts),)]


def at_first_part(x: Tensor, time: int, parts: int) -> Tensor:
    """The value at the first part of a token, at all of its parts."""
    return x[(slice(None),) * time + (slice(None, None, parts),)].repeat_interleave(parts, time)
