from __future__ import annotations

from math import log

import pytest
import torch

from nlc.train.bigrams import Bigrams


def counted(*texts: bytes) -> Bigrams:
    made = Bigrams()
    for text in texts:
        made.count(text)
    return made


def test_the_loss_is_the_entropy_of_the_next_byte() -> None:
    alternating = counted(b"ab" * 5000)
    assert alternating.loss_on(alternating) == pytest.approx(0, abs=1e-3)
    random = counted(bytes(torch.randint(4, (200_000,), generator=torch.Generator().manual_seed(0)).tolist()))
    assert random.loss_on(random) == pytest.approx(log(4), abs=1e-3)
    assert alternating.loss_on(counted(b"zz")) == pytest.approx(log(256), abs=1e-6)


def test_pairs_are_counted_inside_of_pieces() -> None:
    assert torch.equal(counted(b"ab", b"ba").pairs, counted(b"ab").pairs + counted(b"ba").pairs)
    assert counted(b"", b"a").pairs.sum() == 0
