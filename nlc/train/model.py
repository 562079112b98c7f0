"""Turns a compiled memory into a byte-level language model: residual blocks around it, everything else as plain as it can be."""

from __future__ import annotations

from math import log, prod

import torch
from torch import Tensor, nn

from nlc.train.interface import MemoryInput, MemoryInterface, MemoryOutput

VOCABULARY = 256
CONVOLUTION_WINDOW = 4


class CausalConvolution(nn.Module):
    """Each channel mixed over the last few tokens; starts as the identity. (batch, time, width) in and out."""

    def __init__(self, width: int) -> None:
        super().__init__()
        self.weight = nn.Parameter(torch.zeros(CONVOLUTION_WINDOW, width))
        nn.init.ones_(self.weight[-1])

    def forward(self, x: Tensor) -> Tensor:
        time = x.shape[1]
        padded = nn.functional.pad(x, (0, 0, CONVOLUTION_WINDOW - 1, 0))
        delayed = torch.stack([padded[:, start : start + time] for start in range(CONVOLUTION_WINDOW)], dim=-1)
        return torch.einsum("btcw,wc->btc", delayed, self.weight)


class InputProjection(nn.Module):
    """Makes one input of the memory from the residual stream.

    A bounded input goes through a sigmoid onto its range, a half-bounded one through a softplus. Any other goes through silu, and is
    L2-normalised when it is an address: a memory is stable when what it is applied to has length 1.
    """

    def __init__(self, width: int, interface: MemoryInput) -> None:
        super().__init__()
        self.interface = interface
        self.linear = nn.Linear(width, prod(interface.axes) * prod(interface.shape), bias=True)
        nn.init.zeros_(self.linear.bias)
        if interface.low is not None and interface.high is not None:
            nn.init.constant_(self.linear.bias, log(interface.start / (1 - interface.start)))

    def forward(self, x: Tensor) -> Tensor:
        sizes = (*self.interface.axes, *self.interface.shape)
        value: Tensor = self.linear(x)
        return self._in_range(value.unflatten(-1, sizes) if sizes else value.squeeze(-1))

    def _in_range(self, value: Tensor) -> Tensor:
        match self.interface.low, self.interface.high:
            case None, None if self.interface.is_address:
                return nn.functional.normalize(nn.functional.silu(value), dim=-1)
            case None, None:
                return nn.functional.silu(value) if self.interface.shape else value
            case float(low), None:
                return low + nn.functional.softplus(value)
            case None, float(high):
                return high - nn.functional.softplus(value)
            case float(low), float(high):
                return low + (high - low) * torch.sigmoid(value)
        raise AssertionError("a bound is a float or None")


class MemoryMixer(nn.Module):
    """The compiled memory between projections: (batch, time, width) in and out, the state starting from `init` at every call."""

    def __init__(self, width: int, memory_class: type[nn.Module], interface: MemoryInterface) -> None:
        super().__init__()
        self.convolution = CausalConvolution(width)
        self.projections = nn.ModuleDict({item.name: InputProjection(width, item) for item in interface.inputs})
        self.memory = memory_class(**interface.arguments)
        self.outputs = interface.outputs
        self.norms = nn.ModuleDict({item.name: nn.RMSNorm(item.shape or (1,)) for item in interface.outputs})
        joined = sum(prod(item.axes) * prod(item.shape) for item in interface.outputs)
        self.gate = nn.Linear(width, joined)
        self.project_out = nn.Linear(joined, width, bias=False)

    def forward(self, x: Tensor) -> Tensor:
        x = self.convolution(x)
        result, _ = self.memory(**{name: project(x) for name, project in self.projections.items()})
        values = {self.outputs[0].name: result} if isinstance(result, Tensor) else result
        joined = torch.cat([self._normalised(values[item.name], item) for item in self.outputs], dim=-1)
        mixed: Tensor = self.project_out(joined * nn.functional.silu(self.gate(x)))
        return mixed

    def _normalised(self, value: Tensor, output: MemoryOutput) -> Tensor:
        if not output.shape:
            return value.flatten(2) if output.axes else value.unsqueeze(-1)
        normalised: Tensor = self.norms[output.name](value)
        return normalised.flatten(2)
