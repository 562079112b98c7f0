"""A trained network and text it has not seen -> its loss, overall and by position, with states that end with a window or go on.

In windows, every context begins afresh: what the loss falls by along the window is what the network learns in it. As a stream, the fast
levels go on learning from window to window, to the end of the document or for good; the same windows from fresh states tell what that buys.
"""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from dataclasses import dataclass, field
from itertools import pairwise
from pathlib import Path
from time import perf_counter

import torch
from torch import Tensor

from nlc.codes import train as codes
from nlc.diagnostics import CompileError
from nlc.train.data import Corpus, encoded, whole_texts
from nlc.train.recipe import Network
from nlc.train.svg import Series, line_chart
from nlc.train.tokens import token_lengths
from nlc.train.tree import Tree
from nlc.train.windows import even_windows

PIECES = 32
"""How many places along a window the loss is told for."""


@dataclass(slots=True)
class Losses:
    """Nats and bytes by the position of their first token, and the seconds that it took to find them."""

    nats: dict[int, float] = field(default_factory=dict)
    sizes: dict[int, int] = field(default_factory=dict)
    tokens: int = 0
    seconds: float = 0.0

    def add(self, position: int, nats: float, targets: Tensor, lengths: Tensor) -> None:
        self.nats[position] = self.nats.get(position, 0.0) + nats
        self.sizes[position] = self.sizes.get(position, 0) + int(lengths[targets].sum())
        self.tokens += targets.numel()

    @property
    def mean(self) -> float:
        """Nats per byte over everything."""
        return sum(self.nats.values()) / max(1, sum(self.sizes.values()))

    @property
    def by_position(self) -> tuple[tuple[int, float], ...]:
        """Nats per byte from each position to the next one."""
        return tuple((place, self.nats[place] / max(1, self.sizes[place])) for place in sorted(self.nats))


def window_losses(network: Network, windows: Tensor, lengths: Tensor, batch: int) -> Losses:
    """The losses along windows, (windows, length + 1), each from a fresh state."""
    found, start = Losses(), perf_counter()
    length = windows.shape[1] - 1
    edges = [length * number // min(PIECES, length) for number in range(min(PIECES, length) + 1)]
    for part in torch.split(windows, batch):
        state: Tree = None
        for begin, end in pairwise(edges):
            state = _measure(network, part[:, begin : end + 1], state, begin, lengths, found)
    found.seconds = perf_counter() - start
    return found


def stream_losses(
    network: Network, text: Tensor, documents: Sequence[int], lengths: Tensor, length: int, *, carries: bool, resets: bool
) -> Losses:
    """The losses along a text that is read in order, in windows of `length` tokens.

    What is fast goes on from window to window when it `carries`; with `resets` a document is a sequence of its own, else all are one.
    """
    found, start = Losses(), perf_counter()
    state: Tree = None
    for begin, end in _spans(documents if resets else (0,), len(text)):
        state = network.next_sequence(state) if carries else None
        for place in range(begin, end - 1, length):
            window = text[place : min(place + length + 1, end)].long()[None]
            state = _measure(network, window, state if carries else None, place - begin, lengths, found)
    found.seconds = perf_counter() - start
    return found


def evaluate_run(
    network: Network, corpus: Corpus, files: Sequence[Path] | None, length: int, batch: int, tokens: int, *, adapts: bool, resets: bool
) -> tuple[tuple[str, Losses], ...]:
    """The curves, by name, over about `tokens` of the held-out text, or of `files`; raises CompileError for too little text."""
    text, documents = (corpus.held_out, corpus.documents) if files is None else encoded(whole_texts(files), corpus.tokenizer)
    if len(text) <= length:
        raise CompileError(codes.too_few_tokens(len(text), length))
    lengths = token_lengths(corpus.tokenizer)
    if not adapts:
        windows = even_windows(text, max(1, tokens // length), length)
        return (("fresh in every window", window_losses(network, windows, lengths, batch)),)
    read = text[:tokens]
    plain = stream_losses(network, read, documents, lengths, length, carries=False, resets=resets)
    adapted = stream_losses(network, read, documents, lengths, length, carries=True, resets=resets)
    return (("fresh in every window", plain), (f"going on {'through each document' if resets else 'for good'}", adapted))


def positions_picture(title: str, curves: Sequence[tuple[str, Losses]], bigram_loss: float) -> str:
    """Losses by position as SVG, with the bigram baseline across."""
    colours = ("#9aa5b1", "#1f5fbf")
    series = [
        Series(name, colour, tuple((float(place), loss) for place, loss in losses.by_position), has_markers=len(losses.by_position) < 2)
        for (name, losses), colour in zip(curves, colours, strict=False)
    ]
    label = "position in the context (tokens)"
    return line_chart(title=title, x_label=label, y_label="loss (nats per byte)", series=series, baseline=("bigram counts", bigram_loss))


def _measure(network: Network, window: Tensor, state: Tree, position: int, lengths: Tensor, found: Losses) -> Tree:
    """Add the loss of a window, (batch, time + 1); returns the state after it."""
    device = next(network.module.parameters()).device
    with torch.no_grad():
        loss, state = network.loss(window.to(device), state)
    found.add(position, float(loss) * window[:, 1:].numel(), window[:, 1:], lengths)
    return state


def _spans(documents: Sequence[int], end: int) -> Iterator[tuple[int, int]]:
    inside = [start for start in documents if start < end]
    yield from zip(inside, [*inside[1:], end], strict=True)
