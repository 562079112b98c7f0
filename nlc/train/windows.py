"""A text of tokens and a number -> the batch of windows with that number: the order of the text is a function, so a cursor is a count.

Each text is read once an epoch. In random order every epoch cuts it anew, at another offset, and shuffles the windows; in stream order
the batch is as many readers, spread evenly, each going on where it was.
"""

from __future__ import annotations

from dataclasses import dataclass, field
from hashlib import sha256

import torch
from torch import Tensor

from nlc.codes import train as codes
from nlc.diagnostics import CompileError


@dataclass(slots=True)
class Windows:
    """Batches of (batch, length + 1) tokens, int64, by number from 0; raises CompileError for a text that holds no batch of readers."""

    text: Tensor
    batch: int
    length: int
    seed: int = 0
    is_stream: bool = False
    _epoch: int = field(default=-1, init=False)
    _starts: Tensor = field(default_factory=lambda: torch.empty(0, dtype=torch.int64), init=False)

    def __post_init__(self) -> None:
        if self.is_stream and self.batches_per_lap < 1:
            raise CompileError(codes.too_little_to_stream(len(self.text), self.batch, self.length))

    @property
    def batches_per_lap(self) -> int:
        """How many batches all readers of a stream need for their part of the text."""
        return (len(self.text) - 1) // self.batch // self.length

    def begins(self, number: int) -> bool:
        """Whether the sequences of a batch begin with it, rather than going on from the batch before."""
        return not self.is_stream or number % self.batches_per_lap == 0

    def __getitem__(self, number: int) -> Tensor:
        starts = self._stream_starts(number) if self.is_stream else self._shuffled_starts(number)
        return windows_at(self.text, starts, self.length)

    def _stream_starts(self, number: int) -> Tensor:
        share = (len(self.text) - 1) // self.batch
        return torch.arange(self.batch) * share + number % self.batches_per_lap * self.length

    def _shuffled_starts(self, number: int) -> Tensor:
        per_epoch = max(1, (len(self.text) - 1) // self.length - 1)
        places = range(number * self.batch, (number + 1) * self.batch)
        return torch.stack([self._epoch_starts(place // per_epoch, per_epoch)[place % per_epoch] for place in places])

    def _epoch_starts(self, epoch: int, count: int) -> Tensor:
        if epoch != self._epoch:
            seed = int.from_bytes(sha256(f"{self.seed} {epoch}".encode()).digest()[:8], "big") >> 1
            generator = torch.Generator().manual_seed(seed)
            offset = torch.randint(len(self.text) - count * self.length, (1,), generator=generator)
            self._starts = torch.randperm(count, generator=generator) * self.length + offset
            self._epoch = epoch
        return self._starts


def windows_at(text: Tensor, starts: Tensor, length: int) -> Tensor:
    """The windows that begin at `starts`: (windows, length + 1), int64."""
    return text[starts[:, None] + torch.arange(length + 1)].long()


def even_windows(text: Tensor, count: int, length: int) -> Tensor:
    """At most `count` windows spread evenly over the text, overlapping only where it is short: (windows, length + 1), int64."""
    last = len(text) - length - 1
    starts = torch.linspace(0, last, min(count, last + 1), dtype=torch.float64).long()
    return windows_at(text, starts, length)
