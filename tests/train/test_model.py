from __future__ import annotations

from math import log

import pytest
import torch
from hypothesis import given, strategies as st
from torch import Tensor, nn

from nlc.train.interface import MemoryInput, MemoryInterface, MemoryOutput
from nlc.train.model import CausalConvolution, InputProjection, LanguageModel
from nlc.train.tree import leaves
from tests.train.tiny import INTERFACE, Tiny


def network() -> LanguageModel:
    """A small model whose every part matters: trained models start as the identity."""
    torch.manual_seed(0)
    made = LanguageModel(Tiny, INTERFACE, layers=2, width=16)
    for parameter in made.parameters():
        nn.init.normal_(parameter, std=0.3)
    return made


def loss(made: LanguageModel, text: Tensor) -> Tensor:
    found, _ = made.loss(tokens=text[:, :-1], targets=text[:, 1:])
    return found


def logits(made: LanguageModel, text: Tensor) -> Tensor:
    found: Tensor = made(tokens=text)[0]
    return found


def windows(count: int = 2, length: int = 12) -> Tensor:
    return torch.randint(256, (count, length), generator=torch.Generator().manual_seed(1))


def test_an_untrained_model_thinks_every_byte_as_likely() -> None:
    fresh = LanguageModel(Tiny, INTERFACE, layers=2, width=16)
    assert loss(fresh, windows()).item() == pytest.approx(log(256), abs=1e-5)


def test_the_model_is_causal() -> None:
    made, text = network(), windows()
    changed = text.clone()
    changed[:, 7:] = 255 - changed[:, 7:]
    before, after = logits(made, text), logits(made, changed)
    assert torch.equal(before[:, :7], after[:, :7])
    assert not torch.allclose(before[:, 7], after[:, 7])


def test_every_parameter_learns() -> None:
    made = network()
    loss(made, windows()).backward()  # type: ignore[no-untyped-call]
    for name, parameter in made.named_parameters():
        assert parameter.grad is not None and parameter.grad.abs().sum() > 0, name


def test_the_convolution_starts_as_the_identity_and_sees_four_tokens() -> None:
    x = torch.randn(1, 6, 3, generator=torch.Generator().manual_seed(0))
    convolution = CausalConvolution(3)
    assert torch.equal(convolution(x)[0], x)
    nn.init.ones_(convolution.weight)
    whole, recent = convolution(x)
    assert torch.allclose(whole[:, 5], x[:, 2:6].sum(1))
    assert torch.allclose(whole[:, 1], x[:, :2].sum(1))
    assert torch.equal(recent, x[:, 3:])


@given(
    bounds=st.sampled_from([(None, None), (0.5, None), (None, -1.0), (-2.0, 3.0), (0.0, 1.0)]),
    axes=st.lists(st.integers(1, 3), max_size=2).map(tuple),
    shape=st.lists(st.integers(1, 3), max_size=2).map(tuple),
)
def test_inputs_have_their_shape_and_stay_in_range(
    bounds: tuple[float | None, float | None], axes: tuple[int, ...], shape: tuple[int, ...]
) -> None:
    low, high = bounds
    project = InputProjection(5, MemoryInput(name="x", axes=axes, shape=shape, low=low, high=high))
    value = project(20 * torch.randn(2, 3, 5))
    assert value.shape == (2, 3, *axes, *shape)
    assert low is None or bool((value >= low).all())
    assert high is None or bool((value <= high).all())


def test_addresses_have_length_1_and_gates_begin_at_their_start() -> None:
    x = torch.randn(2, 3, 5, generator=torch.Generator().manual_seed(0))
    address = InputProjection(5, MemoryInput(name="k", axes=(2,), shape=(8,), is_address=True))
    assert torch.allclose(address(x).norm(dim=-1), torch.ones(2, 3, 2), atol=1e-5)
    gate = InputProjection(5, MemoryInput(name="alpha", axes=(2,), low=0.0, high=2.0, start=0.97))
    assert torch.allclose(gate(torch.zeros(1, 1, 5)), torch.tensor(1.94))


class TwoOutputs(nn.Module):
    """A memory with a vector and a scalar to read, as a dict, and without axes."""

    def forward(self, *, x: Tensor, state: None = None) -> tuple[dict[str, Tensor], None]:
        return {"scalar": x.sum(-1), "vector": x.cumsum(1)}, None


def test_memories_with_several_outputs_and_no_axes_fit() -> None:
    interface = MemoryInterface(
        name="TwoOutputs",
        inputs=(MemoryInput(name="x", shape=(3,)),),
        outputs=(MemoryOutput(name="vector", shape=(3,)), MemoryOutput(name="scalar")),
    )
    assert logits(LanguageModel(TwoOutputs, interface, layers=1, width=8), windows()).shape == (2, 12, 256)


@given(cut=st.integers(1, 11))
def test_a_sequence_in_two_pieces_is_the_same_sequence(cut: int) -> None:
    made, text = network().double(), windows()
    whole, end = made(tokens=text)
    first, state = made(tokens=text[:, :cut])
    second, after = made(tokens=text[:, cut:], state=state)
    assert torch.allclose(torch.cat((first, second), 1), whole, atol=1e-12)
    assert all(torch.allclose(one, other, atol=1e-12) for (_, one), (_, other) in zip(leaves(after), leaves(end), strict=True))
    assert not torch.allclose(made(tokens=text[:, 6:])[0], whole[:, 6:], atol=1e-3), "the state matters"


def test_token_by_token_is_the_parallel_form() -> None:
    made, text = network().double(), windows()
    whole, _ = made(tokens=text)
    first, state = made(tokens=text[:, :3])
    steps = [first[:, 2]]
    for t in range(3, 12):
        one, state = made.step(tokens=text[:, t], state=state)
        steps.append(one)
    assert torch.allclose(torch.stack(steps, 1), whole[:, 2:], atol=1e-12)


def test_the_loss_is_in_nats_of_the_targets() -> None:
    made, text = network(), windows()
    found, _ = made.loss(tokens=text[:, :-1], targets=text[:, 1:])
    chances = logits(made, text[:, :-1]).softmax(-1).gather(-1, text[:, 1:, None])
    assert found.item() == pytest.approx(-chances.log().mean().item(), rel=1e-5)
