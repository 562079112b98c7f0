from __future__ import annotations

from math import log

import pytest
import torch
from hypothesis import given, strategies as st
from torch import Tensor, nn

from nlc.train.interface import MemoryInput, MemoryInterface, MemoryOutput
from nlc.train.model import CausalConvolution, InputProjection, LanguageModel, next_byte_loss
from tests.train.tiny import INTERFACE, Tiny


def network() -> LanguageModel:
    """A small model whose every part matters: trained models start as the identity."""
    torch.manual_seed(0)
    made = LanguageModel(Tiny, INTERFACE, layers=2, width=16)
    for parameter in made.parameters():
        nn.init.normal_(parameter, std=0.3)
    return made


def windows(count: int = 2, length: int = 12) -> Tensor:
    return torch.randint(256, (count, length), generator=torch.Generator().manual_seed(1))


def test_an_untrained_model_thinks_every_byte_as_likely() -> None:
    fresh = LanguageModel(Tiny, INTERFACE, layers=2, width=16)
    assert next_byte_loss(fresh, windows()).item() == pytest.approx(log(256), abs=1e-5)


def test_the_model_is_causal() -> None:
    made, text = network(), windows()
    changed = text.clone()
    changed[:, 7:] = 255 - changed[:, 7:]
    before, after = made(text), made(changed)
    assert torch.equal(before[:, :7], after[:, :7])
    assert not torch.allclose(before[:, 7], after[:, 7])


def test_every_parameter_learns() -> None:
    made = network()
    next_byte_loss(made, windows()).backward()  # type: ignore[no-untyped-call]
    for name, parameter in made.named_parameters():
        assert parameter.grad is not None and parameter.grad.abs().sum() > 0, name


def test_the_convolution_starts_as_the_identity_and_sees_four_tokens() -> None:
    x = torch.randn(1, 6, 3, generator=torch.Generator().manual_seed(0))
    convolution = CausalConvolution(3)
    assert torch.equal(convolution(x), x)
    nn.init.ones_(convolution.weight)
    assert torch.allclose(convolution(x)[:, 5], x[:, 2:6].sum(1))
    assert torch.allclose(convolution(x)[:, 1], x[:, :2].sum(1))


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

    def forward(self, *, x: Tensor) -> tuple[dict[str, Tensor], None]:
        return {"scalar": x.sum(-1), "vector": x.cumsum(1)}, None


def test_memories_with_several_outputs_and_no_axes_fit() -> None:
    interface = MemoryInterface(
        name="TwoOutputs",
        inputs=(MemoryInput(name="x", shape=(3,)),),
        outputs=(MemoryOutput(name="vector", shape=(3,)), MemoryOutput(name="scalar")),
    )
    assert LanguageModel(TwoOutputs, interface, layers=1, width=8)(windows()).shape == (2, 12, 256)
