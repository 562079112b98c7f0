"""Several processes, started by torchrun, that train one model: each reads its own rows of every batch, and gradients are averaged.

Gradients of a level are averaged at the steps at which it moves, and at no others: a level with a period of 8 steps is sent an eighth as
often. What is fast, the state of a sequence, never leaves its process except for a checkpoint. One process does nothing of this.
"""

from __future__ import annotations

import os
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from dataclasses import dataclass

import torch
import torch.distributed as distributed
from torch import Tensor

from nlc.train.tree import Tree, map_tensors


@dataclass(frozen=True, slots=True)
class Processes:
    """How many processes train together, and which of them this one is."""

    count: int = 1
    rank: int = 0

    @property
    def writes(self) -> bool:
        """Whether this is the one that writes files and talks to people."""
        return self.rank == 0

    def average(self, tensors: Sequence[Tensor]) -> None:
        """Put into every tensor its mean over the processes, in one exchange for each dtype."""
        if self.count == 1:
            return
        for dtype in dict.fromkeys(tensor.dtype for tensor in tensors):
            same = [tensor for tensor in tensors if tensor.dtype == dtype]
            flat = torch.cat([tensor.reshape(-1) for tensor in same])
            distributed.all_reduce(flat)
            flat /= self.count
            for tensor, part in zip(same, torch.split(flat, [tensor.numel() for tensor in same]), strict=True):
                tensor.copy_(part.view_as(tensor))

    def mean(self, number: float) -> float:
        """The mean of a number over the processes."""
        value = torch.tensor(number, dtype=torch.float64)
        self.average([value])
        return float(value)

    def any(self, fact: bool) -> bool:
        """Whether it is true in some process, so that all of them stop at the same step."""
        return fact if self.count == 1 else self.mean(float(fact)) > 0

    def rows(self, batch: Tensor) -> Tensor:
        """This process's rows of a batch that all know."""
        return batch[self.rank :: self.count]

    def gathered(self, state: Tree, rows: int) -> Tree:
        """A state of the sequences of this process, `rows` of them, as the state of the whole batch; counts are the same everywhere."""
        return state if self.count == 1 else map_tensors(lambda tensor: self._joined(tensor, rows), state)

    def scattered(self, state: Tree, rows: int) -> Tree:
        """The part of this process of a state of the whole batch of `rows`."""
        return map_tensors(lambda tensor: self.rows(tensor).contiguous() if _has_rows(tensor, rows) else tensor, state)

    def everyone(self, tensor: Tensor) -> Tensor:
        """The tensors of all processes, stacked."""
        if self.count == 1:
            return tensor[None]
        parts = [torch.empty_like(tensor) for _ in range(self.count)]
        distributed.all_gather(parts, tensor.contiguous())
        return torch.stack(parts)

    def wait(self) -> None:
        """Go on when all processes have come here."""
        if self.count > 1:
            distributed.barrier()

    def _joined(self, tensor: Tensor, rows: int) -> Tensor:
        if not _has_rows(tensor, rows):
            return tensor
        return self.everyone(tensor.detach()).transpose(0, 1).flatten(0, 1)


def _has_rows(tensor: Tensor, rows: int) -> bool:
    return tensor.dim() > 0 and len(tensor) == rows


@contextmanager
def processes() -> Iterator[Processes]:
    """The processes that torchrun started; one when it did not."""
    if "TORCHELASTIC_RUN_ID" not in os.environ:
        yield Processes()
        return
    # imported later, its functions would keep the group as a default and its threads alive into the end of Python, which may abort
    import torch.distributed.nn  # noqa: F401

    distributed.init_process_group("gloo")
    try:
        yield Processes(distributed.get_world_size(), distributed.get_rank())
    finally:
        distributed.destroy_process_group()
