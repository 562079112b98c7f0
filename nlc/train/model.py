"""Turns a compiled memory into a language model: residual blocks around it, everything else as plain as it can be."""

from __future__ import annotations

from collections.abc import Iterable, Iterator
from math import log, prod
from typing import Any, cast

import torch
from torch import Tensor, nn

from nlc.train.interface import MemoryInput, MemoryInterface, MemoryOutput
from nlc.train.tokens import ALPHABET
from nlc.train.tree import Tree

CONVOLUTION_WINDOW = 4
RECENT, MEMORY = "recent", "memory"
"""What a block remembers: its last inputs, and its memory's state."""


class CausalConvolution(nn.Module):
    """Each channel mixed over the last few tokens; starts as the identity.

    `forward` takes (batch, time, width) and the tokens just before, (batch, window - 1, width), and returns both alike, going on.
    """

    def __init__(self, width: int) -> None:
        super().__init__()
        self.weight = nn.Parameter(torch.zeros(CONVOLUTION_WINDOW, width))
        nn.init.ones_(self.weight[-1])

    def forward(self, x: Tensor, before: Tensor | None = None) -> tuple[Tensor, Tensor]:
        time = x.shape[1]
        if before is None:
            before = x.new_zeros(x.shape[0], CONVOLUTION_WINDOW - 1, x.shape[2])
        padded = torch.cat((before, x), dim=1)
        delayed = torch.stack([padded[:, start : start + time] for start in range(CONVOLUTION_WINDOW)], dim=-1)
        return torch.einsum("btcw,wc->btc", delayed, self.weight), padded[:, time:]


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
    """The compiled memory between projections: (batch, time, width) in and out, with what it remembers; None starts afresh."""

    def __init__(self, width: int, memory_class: type[nn.Module], interface: MemoryInterface) -> None:
        super().__init__()
        self.interface = interface
        self.convolution = CausalConvolution(width)
        self.projections = nn.ModuleList(InputProjection(width, item) for item in interface.inputs)
        self.memory: Any = memory_class(**interface.arguments)
        joined = sum(prod(item.axes) * prod(item.shape) for item in interface.outputs)
        self.gate = nn.Linear(width, joined)
        self.project_out = nn.Linear(joined, width, bias=False)
        nn.init.zeros_(self.project_out.weight)

    def forward(self, x: Tensor, state: Tree = None) -> tuple[Tensor, Tree]:
        state = state or {RECENT: None, MEMORY: None}
        x, recent = self.convolution(x, state[RECENT])
        outputs, memory = self.memory(**self._inputs(x), state=state[MEMORY])
        return self._mixed(x, outputs), {RECENT: recent, MEMORY: memory}

    def step(self, x: Tensor, state: Tree) -> tuple[Tensor, Tree]:
        """One token: (batch, width) in and out, by the memory's own step."""
        x, recent = self.convolution(x[:, None], state[RECENT])
        outputs, memory = self.memory.step(**self._inputs(x[:, 0]), state=state[MEMORY])
        return self._mixed(x[:, 0], outputs), {RECENT: recent, MEMORY: memory}

    def _inputs(self, x: Tensor) -> dict[str, Tensor]:
        return {item.name: project(x) for item, project in zip(self.interface.inputs, self.projections, strict=True)}

    def _mixed(self, x: Tensor, outputs: Tensor | dict[str, Tensor]) -> Tensor:
        if isinstance(outputs, Tensor):
            outputs = {self.interface.outputs[0].name: outputs}
        leading = x.shape[:-1]
        read = torch.cat([_normalised(outputs[item.name], item).reshape(*leading, -1) for item in self.interface.outputs], dim=-1)
        mixed: Tensor = self.project_out(read * nn.functional.silu(self.gate(x)))
        return mixed


def _normalised(value: Tensor, output: MemoryOutput) -> Tensor:
    """Each vector or matrix with a root mean square of 1."""
    return nn.functional.rms_norm(value, output.shape) if output.shape else value


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

    def forward(self, x: Tensor, state: Tree = None) -> tuple[Tensor, Tree]:
        mixed, state = self.mixer(self.mixer_norm(x), state)
        return self._fed_forward(x + mixed), state

    def step(self, x: Tensor, state: Tree) -> tuple[Tensor, Tree]:
        """One token."""
        mixed, state = self.mixer.step(self.mixer_norm(x), state)
        return self._fed_forward(x + mixed), state

    def _fed_forward(self, x: Tensor) -> Tensor:
        result: Tensor = x + self.feed_forward(self.feed_forward_norm(x))
        return result


class LanguageModel(nn.Module):
    """Tokens (batch, time), as integers, to the logits of each next token (batch, time, vocabulary); causal when the memory is.

    It offers what a compiled model does: `forward`, `step` and `loss`, with a state that goes in and comes out.
    """

    def __init__(
        self, memory_class: type[nn.Module], interface: MemoryInterface, *, layers: int, width: int, vocabulary: int = ALPHABET
    ) -> None:
        super().__init__()
        self.embedding = nn.Embedding(vocabulary, width)
        self.blocks = nn.ModuleList(Block(width, memory_class, interface) for _ in range(layers))
        self.norm = nn.RMSNorm(width)
        self.head = nn.Linear(width, vocabulary)
        nn.init.zeros_(self.head.weight)  # so that every token is equally likely at first
        nn.init.zeros_(self.head.bias)

    def forward(self, *, tokens: Tensor, state: Tree = None) -> tuple[Tensor, Tree]:
        x = self.embedding(tokens)
        after = []
        for number, block in enumerate(self._blocks()):
            x, remembered = block(x, None if state is None else state[number])
            after.append(remembered)
        return self.head(self.norm(x)), after

    def step(self, *, tokens: Tensor, state: Tree) -> tuple[Tensor, Tree]:
        """One token for each sequence, (batch,), to the logits of the next, (batch, vocabulary)."""
        x = self.embedding(tokens)
        after = []
        for block, before in zip(self._blocks(), state, strict=True):
            x, remembered = block.step(x, before)
            after.append(remembered)
        return self.head(self.norm(x)), after

    def loss(self, *, tokens: Tensor, targets: Tensor, state: Tree = None) -> tuple[Tensor, Tree]:
        """The mean cross entropy, in nats, of the targets (batch, time) under the logits."""
        logits, after = self(tokens=tokens, state=state)
        wide = logits.to(torch.promote_types(logits.dtype, torch.float32))
        return nn.functional.cross_entropy(wide.flatten(0, 1), targets.flatten()), after

    def next_sequence(self, state: Tree) -> Tree:
        """The state at the start of the next sequence: what memories keep beyond the end of one."""
        after = []
        for block, before in zip(self._blocks(), state, strict=True):
            memory = block.mixer.memory
            kept = memory.next_sequence(before[MEMORY]) if hasattr(memory, "next_sequence") else None
            after.append({RECENT: None, MEMORY: kept})
        return after

    def _blocks(self) -> Iterator[Block]:
        yield from cast("Iterable[Block]", self.blocks)
