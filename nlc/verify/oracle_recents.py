"""Older values of streams for the oracle: what it remembers of them, and what delays and convolutions read. As apart as the oracle."""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence

import torch
from torch import Tensor

from nlc.ir.model import Component, Dim, Expr, Input, InputStream, Model, RecentValues
from nlc.verify.oracle_layout import parts_of
from nlc.verify.oracle_slots import nodes_in, recent_name, recent_of, slots
from nlc.verify.oracle_values import rank_of, sizes_of
from nlc.verify.oracle_windows import Data, data_there


def started(
    model: Model, given: Mapping[str, Tensor], leading: tuple[int, ...], sizes: Mapping[str, int], like: Tensor
) -> dict[str, Tensor]:
    """What is remembered before the first token, (batch, *axes, n, *shape): zeros, or what is handed in; size 1 for axes without a say."""
    found = {}
    for item in model.recents:
        dims = (leading[0], *(1 if item.is_whole else size for size in leading[1:]))
        count, *own = sizes_of(item.recent.shape, sizes)
        shape = (*dims, count * values_a_tick(model, item.recent.x), *own)
        name = recent_name(item)
        found[name] = given[name].reshape(shape) if name in given else like.new_zeros(shape)
    return found


def with_axes(value: Tensor, item: RecentValues | InputStream, model: Model) -> Tensor:
    """What is handed in, with a dim of size 1 for each axis where axes have no say."""
    return value.reshape(value.shape[0], *(1 for _ in model.axes), *value.shape[1:]) if item.is_whole else value


def without_axes(value: Tensor, item: RecentValues | InputStream, model: Model) -> Tensor:
    """What is carried on, without the dims of axes that have no say."""
    return value.reshape(value.shape[0], *value.shape[1 + len(model.axes) :]) if item.is_whole else value


def values_a_tick(model: Model, x: Expr) -> int:
    """How many values an expression has at a tick: several where it reads a stream that flows in at each of its parts."""
    parted = {stream.name: parts_of(stream.every) for stream in model.inputs}
    return max((parted[node.name] for node in nodes_in([x]) if isinstance(node, Input)), default=1)


def shifted(before: Tensor, x: Tensor, rank: int) -> Tensor:
    """The remembered values with a new one x, which has `rank` dims of its own: without the oldest, with x."""
    rows = torch.unbind(before, before.dim() - 1 - rank)
    return torch.stack((*rows[1:], x.broadcast_to(rows[0].shape)), before.dim() - 1 - rank)


def remembered(model: Model, before: Mapping[str, Tensor], parts: Sequence[Callable[[Expr], Tensor]]) -> dict[str, Tensor]:
    """What the next tick remembers: `parts` tell the value of an expression at each part of this one."""
    found = {}
    for item in model.recents:
        name, x = recent_name(item), item.recent.x
        found[name] = before[name]
        for value in parts if values_a_tick(model, x) > 1 else parts[-1:]:
            found[name] = shifted(found[name], value(x), rank_of(x.shape))
    return found


def remembered_at(model: Model, before: Mapping[str, Tensor], x: Expr, length: Dim, tokens: int, part: int) -> Tensor:
    """The value of an expression so many ticks ago, at the same part as this one, of those that are remembered of so many ticks."""
    found, parts, rank = before[recent_name(recent_of(model, x, length))], values_a_tick(model, x), rank_of(x.shape)
    return torch.unbind(found, found.dim() - 1 - rank)[min(part, parts - 1) - tokens * parts]


def remembered_data(model: Model, component: Component, before: Mapping[str, Tensor], now: Mapping[Expr, Tensor], position: int) -> Data:
    """The data of the window of a level that takes steps: what is remembered of each stream, then its value `now`."""
    older = int(component.window or 1) - 1
    names = {item.recent.x: recent_name(item) for item in model.recents if older and item.recent.shape[0].size({}) == older}
    streams = {}
    for x, newest in now.items():
        rank = rank_of(x.shape)
        rows = torch.unbind(before[names[x]], before[names[x]].dim() - 1 - rank) if older else ()
        streams[x] = torch.stack([*rows, newest.broadcast_to(rows[0].shape) if rows else newest])
    state = before[slots(component)[0][0]]
    return data_there(streams, position, tuple(state.shape[: 1 + len(model.axes)]))


def convolved(x: Tensor, kernel: Tensor, before: Callable[[int], Tensor]) -> Tensor:
    """The sum over j of row j of the kernel times the vector j ticks ago, entry by entry."""
    total = kernel[0] * x
    for tokens in range(1, kernel.shape[0]):
        total = total + kernel[tokens] * before(tokens)
    return total
