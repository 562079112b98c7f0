"""Data as the layers of an optimizer's weights would give them: recorded with an emitted optimizer, for those specs that want any."""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from typing import Any, cast

import torch
from torch import Tensor

from nlc.ir.contexts import contexts_of
from nlc.ir.dims import COLUMNS
from nlc.ir.model import Model


def record(optimizer: torch.optim.Optimizer, weight: Tensor, data: Mapping[str, Tensor]) -> None:
    """Add data to those of a weight, as a user does whose layer is no linear one."""
    cast(Any, optimizer).record(weight, **data)


def record_ones(model: Model, optimizer: torch.optim.Optimizer) -> None:
    """One datum of ones for every weight that has a gradient, where the optimizer takes data."""
    for weight in (x for group in optimizer.param_groups for x in group["params"] if x.grad is not None):
        data = dict(_ones(model, weight))
        if data:
            record(optimizer, weight, data)


def _ones(model: Model, weight: Tensor) -> Iterator[tuple[str, Tensor]]:
    for stream in contexts_of(model):
        size = weight.shape[1 if stream.shape[1] == COLUMNS else 0]
        yield stream.name, torch.ones(1, size, dtype=weight.dtype)
