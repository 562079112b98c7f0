"""Windows at one token: the data kept and this token's own, how old each datum is, and which of them there are."""

from __future__ import annotations

import math
from collections.abc import Mapping
from dataclasses import dataclass, field

import torch
from torch import Tensor

from nlc.ir.law import Kept, Laws

Slot = tuple[str, str]


@dataclass(frozen=True, slots=True)
class Windows:
    """The windows of a system: `items` says what is kept, `segments` after how many tokens those of a level begin anew."""

    items: Mapping[Slot, Kept] = field(default_factory=dict)
    segments: Mapping[str, int] = field(default_factory=dict)

    @classmethod
    def of(cls, laws: Laws) -> Windows:
        """The windows among what a system keeps."""
        segments = {component.name: component.segment for component in laws.order.model.components if component.segment}
        return cls({(item.component, item.part): item for item in laws.kept if item.window is not None}, segments)

    def first(self, component: str) -> Slot | None:
        """One of the streams of a level's window."""
        return next((slot for slot in self.items if slot[0] == component), None)

    def after(self, slot: Slot, whole: Tensor) -> Tensor:
        """What the next token still sees of a window."""
        return whole if self.items[slot].window == "all" else whole[:, 1:]

    def there(self, slot: Slot, kept: Tensor, position: Tensor | None) -> Tensor:
        """Which data there are, when so many tokens came before, as `ages`."""
        oldest: Tensor | float = math.inf if self.items[slot].window == "all" or position is None else position
        return ages(kept, self.items[slot]) <= (oldest % self.segments[slot[0]] if slot[0] in self.segments else oldest)


NO_WINDOWS = Windows()
"""A system without windows."""


def ages(kept: Tensor, item: Kept) -> Tensor:
    """How old each datum is, this token's last, with a dim of size 1 for each of (batch, *axes)."""
    leading = kept.dim() - 1 - len(item.value.shape)
    return torch.arange(kept.shape[1], -1, -1, dtype=kept.dtype).reshape(-1, *[1] * leading)


def lengthened(kept: Tensor, now: Tensor) -> Tensor:
    """The data kept, then this token's: (batch, tokens + 1, *axes, *shape)."""
    return torch.cat((kept, now.expand(kept.shape[0], *kept.shape[2:]).unsqueeze(1)), 1)


def empty(item: Kept, leading: tuple[int, ...], shape: tuple[int, ...], like: Tensor) -> Tensor:
    """What is kept of a stream, of a window or not, before the first token; `leading` is (batch, *axes)."""
    tokens = () if item.window is None else (0 if item.window == "all" else item.window - 1,)
    return like.new_zeros((*leading[:1], *tokens, *leading[1:], *shape))
