"""Pieces of text -> the loss of a model that knows how often each byte follows each other: the baseline of a run."""

from __future__ import annotations

from dataclasses import dataclass, field

import torch
from torch import Tensor

ALPHABET = 256


def _no_pairs() -> Tensor:
    return torch.zeros(ALPHABET**2, dtype=torch.int64)


@dataclass(slots=True)
class Bigrams:
    """How often each byte came after each other, in pieces of text counted so far."""

    pairs: Tensor = field(default_factory=_no_pairs)

    def count(self, text: bytes) -> None:
        """Count the pairs inside a piece of text."""
        if len(text) > 1:
            codes = torch.frombuffer(bytearray(text), dtype=torch.uint8).long()
            self.pairs += torch.bincount(codes[:-1] * ALPHABET + codes[1:], minlength=ALPHABET**2)

    def loss_on(self, other: Bigrams) -> float:
        """Nats per byte of the other text's pairs, with one more count per first byte, shared by all pairs, for those never seen."""
        counts = self.pairs.view(ALPHABET, ALPHABET).double() + 1 / ALPHABET
        logarithms = (counts / counts.sum(dim=1, keepdim=True)).log().flatten()
        return -float((logarithms * other.pairs).sum() / other.pairs.sum().clamp(min=1))
