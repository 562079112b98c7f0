"""A model whose layers learn from its loss inside the context -> the methods that run it block by block.

A block is read by the whole network with all levels as they stand; then its loss is differentiated by all of them at once, and every layer
moves what is due. Slopes reach back to the start of the block, so a block counts when it is whole: till then its tokens are carried.
"""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass
from math import gcd

from nlc.emit.context import block_tokens, is_told, learning
from nlc.emit.layout import Lines, indented
from nlc.emit.network_views import LearningNetworkView
from nlc.emit.render import render
from nlc.emit.scope import Sequence
from nlc.ir.network import Layer, Part, Repeat, Residual
from nlc.ir.program import Form, Program

TWICE = "nn.attention.sdpa_kernel(nn.attention.SDPBackend.MATH)"
"""Torch's only attention that can be differentiated twice."""

UNTOLD = -100
"""The target of a token that has none: torch's own."""


def learns(program: Program) -> bool:
    """Whether some layer of a model learns from its loss inside the context."""
    return any(is_told(layer) for layer in program.layers)


def network_block(program: Program) -> int:
    """The tokens of a block: as many as divide every period of every layer that learns."""
    return gcd(*(block_tokens(Sequence(layer)) for layer in program.layers if is_told(layer)))


def learning_parts(program: Program, parts: tuple[Part, ...]) -> tuple[Layer | Repeat, ...]:
    """The parts in which something learns, branches opened, in order."""
    return tuple(_learning(program, parts))


def _learning(program: Program, parts: tuple[Part, ...]) -> Iterator[Layer | Repeat]:
    for part in parts:
        match part:
            case Residual(branches):
                for branch in branches:
                    yield from _learning(program, branch)
            case Layer() if is_told(program.layers[part.place]):
                yield part
            case Repeat() if learning_parts(program, part.parts):
                yield part


def levels_lines(parts: tuple[Layer | Repeat, ...]) -> Lines:
    """The body that lists the levels by which the loss is differentiated."""
    return ("return [", *indented([_levels(part) for part in parts]), "]") if parts else ()


def _levels(part: Layer | Repeat) -> str:
    if isinstance(part, Layer):
        return f'*read["{part.name}"]["levels"],'
    return f'*(level for block, own in zip(self.{part.name}, read["{part.name}"], strict=True) for level in block.levels(own)),'


def learned_lines(parts: tuple[Layer | Repeat, ...]) -> Lines:
    """The body that gives what is carried after all of them have learned."""
    return ("return read | {", *indented([_learned(part) for part in parts]), "}") if parts else ()


def _learned(part: Layer | Repeat) -> str:
    if isinstance(part, Layer):
        return f'"{part.name}": self.{part.name}.learned(read["{part.name}"], slopes),'
    made = f'block.learned(own, slopes) for block, own in zip(self.{part.name}, read["{part.name}"], strict=True)'
    return f'"{part.name}": [{made}],'


@dataclass(frozen=True, slots=True)
class Ways:
    """How a model runs: the bodies of `forward` and `step`, the line by which `loss` runs it, and what they say."""

    forward_says: str
    forward: Lines
    loss_says: str
    logits_of_loss: str
    step: Lines


LOSS_SAYS = "The mean cross entropy with the targets, (batch, time), in nats, and the state after the last token"


def ways_in_blocks(program: Program, stream: str) -> Ways:
    """How a model runs whose layers learn from its loss."""
    tokens = network_block(program)
    return Ways(
        forward_says=f"The sequence in blocks of {tokens} tokens, from which nothing learns: equal to `forward_by_token`.",
        forward=(f"return self._in_blocks({stream}, torch.full_like({stream}, {UNTOLD}), state)",),
        loss_says=f"{LOSS_SAYS}: levels learn on the way.",
        logits_of_loss=f"logits, state = self._in_blocks({stream}, targets, state)",
        step=(f"logits, state = self({stream}={stream}.unsqueeze(1), state=state)", "return logits.squeeze(1), state"),
    )


def open_block_lines(stream: str, like: str) -> Lines:
    """The entry of a state that has the tokens of a block that has not ended: none at first."""
    nothing = f"torch.empty(batch, 0, dtype=torch.int64, device={like}.device)"
    return ('"open block": {', *indented([f'"{name}": {nothing},' for name in (stream, "targets")]), "},")


def blocks_text(program: Program, stream: str, empty: str, read: Lines) -> str:
    """The methods of a model that run it block by block; `read` is the body that runs the network once."""
    assert program.model.network is not None
    parts = learning_parts(program, program.model.network.parts)
    is_learned_through = any(any(learning(Sequence(layer)).values()) for layer in program.layers if is_told(layer))
    attends = any(memory.form is Form.ATTENTION for layer in program.layers for memory in layer.memories)
    view = LearningNetworkView(
        stream=stream,
        tokens=network_block(program),
        untold=UNTOLD,
        empty=empty,
        graph="create_graph" if is_learned_through else "retain_graph",
        kernel=f", {TWICE}" if is_learned_through and attends else "",
        read=read,
        levels=levels_lines(parts),
        learned=learned_lines(parts),
    )
    return render(view)
