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
        return self._in_range(value.reshape(*value.shape[:-1], *sizes))

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
    """The compiled memory between projections: (batch, time, width) in and out, from a fresh state at every call."""

    def __init__(self, width: int, memory_class: type[nn.Module], interface: MemoryInterface) -> None:
        super().__init__()
        self.interface = interface
        self.convolution = CausalConvolution(width)
        self.projections = nn.ModuleList(InputProjection(width, item) for item in interface.inputs)
        self.memory = memory_class(**interface.arguments)
        joined = sum(prod(item.axes) * prod(item.shape) for item in interface.outputs)
        self.gate = nn.Linear(width, joined)
        self.project_out = nn.Linear(joined, width, bias=False)
        nn.init.zeros_(self.project_out.weight)

    def forward(self, x: Tensor) -> Tensor:
        x = self.convolution(x)
        inputs = {item.name: project(x) for item, project in zip(self.interface.inputs, self.projections, strict=True)}
        outputs, _ = self.memory(**inputs)
        if isinstance(outputs, Tensor):
            outputs = {self.interface.outputs[0].name: outputs}
        read = torch.cat([_normalised(outputs[item.name], item) for item in self.interface.outputs], dim=-1)
        mixed: Tensor = self.project_out(read * nn.functional.silu(self.gate(x)))
        return mixed


def _normalised(value: Tensor, output: MemoryOutput) -> Tensor:
    """(batch, time, *axes, *shape) -> (batch, time, entries), each vector or matrix with a root mean square of 1."""
    if output.shape:
        value = nn.functional.rms_norm(value, output.shape)
    return value.reshape(*value.shape[:2], -1)


class FeedForward(nn.Module):
    """Two linear layers around a GELU, four times as wide inside."""

    def __init__(self, width: int) -> None:
        super().__init__()
        self.expand = nn.Linear(width, 4 * width)
        self.contract = nn.Linear(4 * width, width, bias=False)
        nn.init.zeros_(self.contract.weight)

    def forward(self, x: Tensor) -> Tensor:
        contracted: Tensor = self.contract(nn.functional.gelu(self.expand(x)))
        return contracted


class Block(nn.Module):
    """A memory and a feed-forward network, each on a normalised copy of the residual stream; starts as the identity."""

    def __init__(self, width: int, memory_class: type[nn.Module], interface: MemoryInterface) -> None:
        super().__init__()
        self.mixer_norm = nn.RMSNorm(width)
        self.mixer = MemoryMixer(width, memory_class, interface)
        self.feed_forward_norm = nn.RMSNorm(width)
        self.feed_forward = FeedForward(width)

    def forward(self, x: Tensor) -> Tensor:
        x = x + self.mixer(self.mixer_norm(x))
        result: Tensor = x + self.feed_forward(self.feed_forward_norm(x))
        return result


class LanguageModel(nn.Module):
    """Bytes (batch, time), as integers, to the logits of each next byte (batch, time, 256); causal when the memory is."""

    def __init__(self, memory_class: type[nn.Module], interface: MemoryInterface, *, layers: int, width: int) -> None:
        super().__init__()
        self.embedding = nn.Embedding(VOCABULARY, width)
        self.blocks = nn.ModuleList(Block(width, memory_class, interface) for _ in range(layers))
        self.norm = nn.RMSNorm(width)
        self.head = nn.Linear(width, VOCABULARY)
        nn.init.zeros_(self.head.weight)  # so that every byte is equally likely at first
        nn.init.zeros_(self.head.bias)

    def forward(self, text: Tensor) -> Tensor:
        x = self.embedding(text)
        for block in self.blocks:
            x = block(x)
        logits: Tensor = self.head(self.norm(x))
        return logits


def next_byte_loss(network: nn.Module, windows: Tensor) -> Tensor:
    """The mean loss, in nats per byte, of predicting each byte of (batch, length + 1) windows but the first."""
    logits = network(windows[:, :-1])
    return nn.functional.cross_entropy(logits.flatten(0, 1), windows[:, 1:].flatten())
