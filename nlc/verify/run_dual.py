"""A memory in the dual form, by its formula, written plainly: what of every write and start is left at each token, then sums.

With K[t, s] what a level has at token t of something that a level was given at token s (0 is the start of the block),

    X_t = sum over levels of K[t, 0] start + sum over writes of sum_{s<=t} K[t, s] value_s along_s^T
"""

from __future__ import annotations

from collections.abc import Callable, Mapping
from dataclasses import dataclass, field

import torch
from torch import Tensor

from nlc.ir.affine import OutputRead
from nlc.ir.algebra import Expr, When
from nlc.ir.dual import DualLaw, Flow, GivenWrite
from nlc.ir.law import held_of

Slot = tuple[str, str]
Stream = Callable[[Expr], Tensor]
"""Gives the value of an expression at every token of the block: (batch, *axes, time, *shape)."""

Written = Mapping[GivenWrite, tuple[Tensor, Tensor | None]]
"""What is written at every token, and along what."""


@dataclass(frozen=True, slots=True)
class DualBlock:
    """One law over the tokens of a block; `left` are the K of every level, by the level that was given something."""

    law: DualLaw
    stream: Stream
    before: Mapping[Slot, Tensor]
    left: dict[tuple[str, str], Tensor] = field(default_factory=dict)

    def run(self, reads: tuple[OutputRead, ...], known: dict[str, Tensor]) -> dict[Slot, Tensor]:
        """The states after the block; what is read of them, in order, joins `known`."""
        outside = dict(known)
        for equation in self.law.equations:
            known[equation.name] = self.stream(equation.value)
        for flow in self.law.flows:
            self._follow(flow)
        writes = {write: (self.stream(write.value), None if write.along is None else self.stream(write.along)) for write in self.law.writes}
        answers: dict[str, Tensor] = {}
        for read in reads:
            rows = slice(1, None) if read.when is When.CURRENT else slice(None, -1)
            query = None if read.vector is None else self.stream(read.vector)
            answers[read.name] = known[read.name] = self._read((read.component, read.part), rows, query, writes)
        known.clear()
        known.update(outside | answers)
        slots = [slot for slot in self.before if slot[0] in self.law.components and held_of(slot[1]) is None]
        return {slot: self._last(slot, writes) for slot in slots}

    def _follow(self, flow: Flow) -> None:
        """The K of one level: its own decays, and what earlier levels feed it."""
        decay = self.stream(flow.decay)
        size = decay.shape[-1] + 1
        for source in self.law.sources(flow.component):
            fed = torch.zeros(*decay.shape[:-1], size, size, dtype=decay.dtype)
            for feed in (feed for feed in flow.feeds if (feed.source, source) in self.left):
                rows = slice(1, None) if feed.when is When.CURRENT else slice(None, -1)
                share = self.stream(feed.coefficient)[..., None] * self.left[feed.source, source][..., rows, :]
                fed = fed + torch.nn.functional.pad(share, (0, 0, 1, 0))
            given = fed + torch.eye(size, dtype=decay.dtype) * int(source == flow.component)
            rows_of = [given[..., 0, :]]
            for t in range(1, size):
                rows_of.append(decay[..., t - 1, None] * rows_of[-1] + given[..., t, :])
            self.left[flow.component, source] = torch.stack(rows_of, -2)

    def _read(self, slot: Slot, rows: slice, query: Tensor | None, writes: Written) -> Tensor:
        """The tensor, times the query, at every token."""
        component, part = slot
        total = torch.zeros(())
        for source in self.law.sources(component):
            left = self.left[component, source][..., rows, :]
            start = self.before[source, part]
            begun = start.unsqueeze(-2) if query is None else torch.einsum("...rc,...tc->...tr", start, query)
            total = total + left[..., :1] * begun
            for write in (item for item in self.law.writes if (item.component, item.part) == (source, part)):
                value, along = writes[write]
                weights = left[..., 1:]
                if query is not None and along is not None:
                    weights = weights * torch.einsum("...tc,...sc->...ts", query, along)
                total = total + weights @ value
        return total

    def _last(self, slot: Slot, writes: Written) -> Tensor:
        """The tensor after the block."""
        component, part = slot
        total = torch.zeros(())
        for source in self.law.sources(component):
            left = self.left[component, source][..., -1, :]
            start = self.before[source, part]
            total = total + left[..., 0].reshape(*left.shape[:-1], *(1,) * (start.dim() - left.dim() + 1)) * start
            for write in (item for item in self.law.writes if (item.component, item.part) == (source, part)):
                value, along = writes[write]
                if along is None:
                    total = total + torch.einsum("...s,...sr->...r", left[..., 1:], value)
                else:
                    total = total + torch.einsum("...s,...sr,...sc->...rc", left[..., 1:], value, along)
        return total
