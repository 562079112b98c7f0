"""Modules made with `checkpoint` and `nonfinite`: what is computed anew, what is told, and what is passed over."""

from __future__ import annotations

from typing import Any

import pytest
import torch
from torch import Tensor

from generated.architectures.delta_rule import DeltaRule
from generated.architectures.sliding_window_attention import SlidingWindowAttention
from generated.architectures.softmax_attention import SoftmaxAttention
from generated.architectures.titans import Titans
from generated.architectures.titans_linear import TitansLinear

TOKENS, SIZE = 9, 4


def streams(*scalars: str, tokens: int = TOKENS) -> dict[str, Tensor]:
    generator = torch.Generator().manual_seed(3)
    vectors = {name: torch.randn(3, tokens, 2, SIZE, generator=generator) for name in ("q", "k", "v")}
    return vectors | {name: torch.rand(3, tokens, 2, generator=generator) / 2 for name in scalars}


def saved(module: Any, given: dict[str, Tensor]) -> int:
    """How many numbers the backward keeps of a forward."""
    sizes: list[int] = []
    with torch.autograd.graph.saved_tensors_hooks(lambda x: sizes.append(x.numel()) or x, lambda x: x):
        module(**{name: x.clone().requires_grad_() for name, x in given.items()})
    return sum(sizes)


@pytest.mark.parametrize(("made", "scalars"), [(DeltaRule, ("beta",)), (TitansLinear, ("learning_rate", "decay", "retention"))])
def test_pieces_keep_nothing_but_their_streams_and_states(made: Any, scalars: tuple[str, ...]) -> None:
    given = streams(*scalars, tokens=128)
    assert saved(made(SIZE, SIZE, checkpoint=16), given) < saved(made(SIZE, SIZE), given) / 2


def test_a_token_that_is_not_finite_is_told_with_its_stream_and_levels() -> None:
    given = streams("learning_rate", "decay", "retention")
    given["v"][1, 5, 0, 2] = torch.nan
    with pytest.raises(FloatingPointError, match=r"^not finite at token 5, row 1 of the batch: v, y, memory\.momentum, memory$"):
        TitansLinear(SIZE, SIZE, nonfinite="raise")(**given)


def test_a_level_that_grows_beyond_all_bounds_is_told_with_its_token() -> None:
    """The streams are finite: by the delta rule at a rate of 1 a memory grows by the square of a long key's length a token."""
    given = streams("beta")
    given |= {"k": 1e9 * given["k"], "beta": torch.ones(3, TOKENS, 2)}
    with pytest.raises(FloatingPointError, match=r"^not finite at token [1-4], row 0 of the batch: (y, )?memory$"):
        DeltaRule(SIZE, SIZE, nonfinite="raise")(**given)
    assert not DeltaRule(SIZE, SIZE)(**given)[1].isfinite().all()


def test_gradients_beside_a_token_that_is_passed_over_are_finite_and_right() -> None:
    """In float64: the writes of random keys grow, and which sums of float32 come out differs from kernel to kernel."""
    given = {name: x.double() for name, x in streams("beta").items()}
    leaves = {name: x.clone().requires_grad_() for name, x in given.items()}
    broken = dict(leaves, v=leaves["v"] + torch.where(torch.arange(TOKENS) == 3, torch.inf, 0.0)[None, :, None, None])
    y, last = DeltaRule(SIZE, SIZE, nonfinite="skip")(**broken)
    (y.square().sum() + last.sum()).backward()
    others = [t for t in range(TOKENS) if t != 3]
    alone = {name: x[:, others].clone().requires_grad_() for name, x in given.items()}
    y, last = DeltaRule(SIZE, SIZE)(**alone)
    (y.square().sum() + last.sum()).backward()
    for name, leaf in leaves.items():
        assert leaf.grad is not None
        assert leaf.grad.isfinite().all()
        torch.testing.assert_close(leaf.grad[:, others], alone[name].grad)


def test_a_deep_memory_in_blocks_tells_token_stream_and_levels() -> None:
    given = streams("learning_rate", "decay", "retention", tokens=70)
    given["k"][2, 66, 1, 0] = torch.inf
    with pytest.raises(FloatingPointError, match=r"^not finite at token 66, row 2 of the batch: k, y, memory\.momentum\.W1, .*memory\.W2$"):
        Titans(SIZE, SIZE, nonfinite="raise")(**given)
    assert not Titans(SIZE, SIZE)(**given)[0].isfinite().all()


@pytest.mark.parametrize("tokens", [1, 24, 64, 100])
def test_pieces_of_a_module_in_blocks_may_end_inside_a_period(tokens: int) -> None:
    given = {name: x.double() for name, x in streams("learning_rate", "decay", "retention", tokens=150).items()}
    seen = []
    for module in (Titans(SIZE, SIZE), Titans(SIZE, SIZE, checkpoint=tokens)):
        leaves = {name: x.clone().requires_grad_() for name, x in given.items()}
        y, last = module(**leaves)
        sum((x.square().sum() for x in last.values() if x.is_floating_point()), y.square().sum()).backward()
        seen.append((y, *last.values(), *(leaf.grad for leaf in leaves.values())))
    for found, wanted in zip(*seen, strict=True):
        torch.testing.assert_close(found, wanted)


@pytest.mark.parametrize("made", [SoftmaxAttention, SlidingWindowAttention])
def test_nothing_is_passed_over_where_tokens_are_counted_or_kept(made: Any) -> None:
    with pytest.raises(ValueError, match=r'^nonfinite must be "raise" or "propagate", not \'skip\'$'):
        made(nonfinite="skip")


@pytest.mark.parametrize("tokens", [0, 1])
def test_sequences_of_no_token_and_of_one(tokens: int) -> None:
    given = streams("beta", tokens=tokens)
    wanted = DeltaRule(SIZE, SIZE)(**given)
    for module in (DeltaRule(SIZE, SIZE, checkpoint=4), DeltaRule(SIZE, SIZE, nonfinite="raise"), DeltaRule(SIZE, SIZE, nonfinite="skip")):
        for found, x in zip(module(**given), wanted, strict=True):
            torch.testing.assert_close(found, x, rtol=0, atol=0)
