"""Titans with memory as a context beside the same layer written by hand, segment by segment, with autograd for the memory's gradients."""

from __future__ import annotations

from itertools import pairwise
from pathlib import Path
from typing import Any

import pytest
import torch
from torch import Tensor, nn

from nlc.pipeline import compile_file

SPEC = Path(__file__).resolve().parents[2] / "specs" / "architectures" / "memory_as_context_layer.yaml"
HEADS, WIDTH, PERIOD, PERSISTENT, TIME = 2, 4, 3, 5, 11

Weights = tuple[Tensor, ...]


@pytest.fixture(scope="module")
def layer() -> Any:
    torch.manual_seed(0)
    made = compile_file(SPEC, period=PERIOD).load().MemoryAsContextLayer
    return made(d_model=HEADS * WIDTH, heads=HEADS, persistent=PERSISTENT, largest_rate=0.5).double()


def normed(x: Tensor) -> Tensor:
    return x * torch.rsqrt((x * x).mean(-1, keepdim=True) + 1e-6)


def unit(x: Tensor) -> Tensor:
    return nn.functional.normalize(nn.functional.silu(x), dim=-1)


def said(weights: Weights, x: Tensor) -> Tensor:
    first, second = weights
    return nn.functional.gelu(x @ first.T) @ second.T


def written(layer: Any, x: Tensor, head: int) -> Tensor:
    """One head over a sequence (time, width): what is gated, (time, WIDTH)."""
    own = slice(head * WIDTH, (head + 1) * WIDTH)

    def stream(name: str) -> Tensor:
        return x @ layer.get_parameter(name)[own].T

    def number(name: str) -> Tensor:
        return x @ layer.get_parameter(name)[head]

    rates, decays = 0.5 * torch.sigmoid(number("project_rate")), torch.sigmoid(number("project_decay"))
    retentions = torch.sigmoid(4 + number("project_retention"))
    memory: Weights = (layer.memory_start_W1, layer.memory_start_W2)
    momentum: Weights = tuple(torch.zeros_like(weight) for weight in memory)
    outputs = []
    for start in range(0, len(x), PERIOD):
        inside = slice(start, start + PERIOD)
        begun, held = memory, tuple(weight.clone() for weight in memory)  # what is recalled is no part of the memory's own gradient
        recalled = normed(said(begun, unit(stream("project_q")[inside])))
        tokens = len(recalled)
        keys = torch.cat((layer.persistent_k, recalled @ layer.recall_k.T, stream("near_k")[inside]))
        values = torch.cat((layer.persistent_v, recalled @ layer.recall_v.T, stream("near_v")[inside]))
        so_far = torch.ones(tokens, tokens, dtype=torch.bool).tril()
        seen = torch.cat((torch.ones(tokens, PERSISTENT, dtype=torch.bool), so_far, so_far), 1)
        found = nn.functional.scaled_dot_product_attention(stream("near_q")[inside], keys, values, seen)
        for t in range(tokens):
            key, value = unit(found[t] @ layer.write_k.T), nn.functional.silu(found[t] @ layer.write_v.T)
            loss = (said(held, key) - value).square().sum() / 2
            slopes = torch.autograd.grad(loss, held, create_graph=True)
            rate, decay, retention = (numbers[start + t] for numbers in (rates, decays, retentions))
            momentum = tuple(decay * old - rate * slope for old, slope in zip(momentum, slopes, strict=True))
            memory = tuple(retention * old + moved for old, moved in zip(memory, momentum, strict=True))
            outputs.append(found[t] * torch.sigmoid(normed(said(memory, nn.functional.normalize(found[t], dim=-1)))))
    return torch.stack(outputs)


def drawn() -> Tensor:
    return torch.randn(TIME, HEADS * WIDTH, dtype=torch.double, generator=torch.Generator().manual_seed(1), requires_grad=True)


def test_it_is_the_layer_written_by_hand(layer: Any) -> None:
    x = drawn()
    y, _ = layer(x=x[None])
    wanted = torch.cat([written(layer, x, head) for head in range(HEADS)], -1) @ layer.project_out.T
    torch.testing.assert_close(y[0], wanted, rtol=0, atol=1e-10)
    leaves = [x, *layer.parameters()]
    for found, slope in zip(torch.autograd.grad(y.square().sum(), leaves), torch.autograd.grad(wanted.square().sum(), leaves), strict=True):
        torch.testing.assert_close(found, slope, rtol=0, atol=1e-8)


def test_no_token_sees_a_later_one(layer: Any) -> None:
    x = drawn()
    y, _ = layer(x=x[None])
    for t in range(TIME - 1):
        (slope,) = torch.autograd.grad(y[0, t].square().sum(), x, retain_graph=True)
        assert bool(slope[t].any()) and not bool(slope[t + 1 :].any())


def test_pieces_of_any_length_and_single_tokens_are_the_whole(layer: Any) -> None:
    """Cuts inside a segment, at its end, and pieces of nothing."""
    x = drawn().detach()[None]
    whole, last = layer(x=x)
    for cuts in ((0, 1, TIME), (0, 3, 3, 6, TIME), (0, 2, 5, 9, TIME), tuple(range(TIME + 1))):
        state, pieces = None, []
        for start, end in pairwise(cuts):
            y, state = layer(x=x[:, start:end], state=state)
            pieces.append(y)
        assert state is not None
        torch.testing.assert_close(torch.cat(pieces, 1), whole, rtol=0, atol=1e-12)
        assert state["position"] == last["position"]
    state, tokens = layer.initial_state(1, HEADS, like=x), []
    for t in range(TIME):
        y, state = layer.step(x=x[:, t], state=state)
        tokens.append(y)
    torch.testing.assert_close(torch.stack(tokens, 1), whole, rtol=0, atol=1e-12)
