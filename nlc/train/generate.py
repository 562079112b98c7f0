"""A trained network and a prompt -> the text that goes on from it, one token at a time.

The prompt is read by the parallel form, and what learns from the loss inside the context learns from it; generated tokens teach nothing.
Then `step` is all that runs, on a state that goes in and comes out. What is fast has a fixed size, so that the thousandth token costs what
the first did; only attention to everything before keeps more and more.
"""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass

import torch
from torch import Tensor

from nlc.train.recipe import Network


@dataclass(frozen=True, slots=True)
class Sampling:
    """How the next token is chosen: the likeliest at `temperature` 0, else at random among the `top` likeliest (0: among all).

    Of equally likely ones the first come first.
    """

    temperature: float = 1.0
    top: int = 0
    seed: int = 0


def generated(network: Network, prompt: Tensor, sampling: Sampling, count: int) -> Iterator[int]:
    """`count` tokens after a prompt, (time,), of one token or more."""
    generator = torch.Generator().manual_seed(sampling.seed)
    with torch.no_grad():
        state = network.loss(prompt[None])[1] if len(prompt) > 1 else None
        logits, state = network.logits(prompt[None, -1:], state)
        token = _choice(logits[:, -1], sampling, generator)
        for _ in range(count - 1):
            yield int(token)
            logits, state = network.step(token, state)
            token = _choice(logits, sampling, generator)
        yield int(token)


def _choice(logits: Tensor, sampling: Sampling, generator: torch.Generator) -> Tensor:
    """(1, vocabulary) -> (1,)."""
    if sampling.temperature == 0:
        return logits.argmax(-1)
    wide = logits.double().cpu() / sampling.temperature
    if sampling.top:
        kept = wide.sort(dim=-1, descending=True, stable=True).indices[:, : sampling.top]  # of equals the first, as argmax has it
        wide = torch.full_like(wide, float("-inf")).scatter(-1, kept, wide.gather(-1, kept))
    return torch.multinomial(wide.softmax(-1), 1, generator=generator)[:, 0].to(logits.device)
