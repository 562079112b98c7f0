"""Models: a network of layers as one module, beside the same network written by hand."""

from __future__ import annotations

import copy
from collections.abc import Callable
from pathlib import Path
from types import ModuleType
from typing import Any

import pytest
import torch
from torch import Tensor, nn

from nlc.pipeline import compile_file

SPECS = Path(__file__).resolve().parents[2] / "specs"
SIZES = {"vocabulary": 11, "d_model": 24, "layers": 2, "heads": 3, "d_hidden": 20}

SMALL = """
nlc: 1
name: Small
kind: model
dims: {{vocabulary: 7, d_model: 8, layers: 3}}
inputs: {{tokens: integer(vocabulary)}}
network:
{network}
outer: {outer}
"""
OUTER = "{objective: cross_entropy, optimizer: momentum(0.1)}"


@pytest.fixture(scope="module")
def transformer() -> ModuleType:
    return compile_file(SPECS / "models" / "transformer.yaml").load()


def small(tmp_path: Path, *network: str, outer: str = OUTER) -> ModuleType:
    """A model whose parts are given as lines of YAML."""
    path = tmp_path / "small.yaml"
    path.write_text(SMALL.format(network="\n".join(f"  {line}" for line in network), outer=outer))
    return compile_file(path).load()


def drawn(module: Any, seed: int = 0) -> Any:
    """The module in float64, with parameters for which nothing saturates."""
    torch.manual_seed(seed)
    with torch.no_grad():
        for parameter in module.double().parameters():
            parameter.copy_(torch.randn_like(parameter) / parameter.shape[-1] ** 0.5)
    return module


# --- the transformer, written by hand ----------------------------------------------------------------------------


def normalised(x: Tensor, weight: Tensor) -> Tensor:
    return x * torch.rsqrt((x * x).mean(-1, keepdim=True) + 1e-6) * weight


def turned(x: Tensor) -> Tensor:
    """Rotary positions, (batch, heads, time, size): entry j is turned together with entry j + half."""
    half = x.shape[-1] // 2
    angles = torch.arange(x.shape[-2], dtype=x.dtype)[:, None] * 10000.0 ** (-torch.arange(half, dtype=x.dtype) / half)
    turns = torch.polar(torch.ones_like(angles), angles) * torch.complex(x[..., :half], x[..., half:])
    return torch.cat((turns.real, turns.imag), -1)


def attended(x: Tensor, weights: dict[str, Tensor], place: str, heads: int) -> Tensor:
    def projected(name: str) -> Tensor:
        return (x @ weights[f"{place}.project_{name}"].T).unflatten(-1, (heads, -1)).transpose(1, 2)

    query, key, value = turned(projected("q")), turned(projected("k")), projected("v")
    scores = query @ key.mT / key.shape[-1] ** 0.5
    later = torch.ones_like(scores[0, 0]).triu(1).bool()
    read = scores.masked_fill(later, -torch.inf).softmax(-1) @ value
    return read.transpose(1, 2).flatten(2) @ weights[f"{place}.project_out"].T


def fed_forward(x: Tensor, weights: dict[str, Tensor], place: str) -> Tensor:
    hidden = nn.functional.silu(x @ weights[f"{place}.gate"].T) * (x @ weights[f"{place}.expand"].T)
    return hidden @ weights[f"{place}.contract"].T


def logits_by_hand(tokens: Tensor, weights: dict[str, Tensor], layers: int, heads: int) -> Tensor:
    x = weights["embedding"][tokens]
    for number in range(layers):
        block = f"blocks.{number}"
        x = x + attended(normalised(x, weights[f"{block}.softmax_attention_norm"]), weights, f"{block}.softmax_attention", heads)
        x = x + fed_forward(normalised(x, weights[f"{block}.swiglu_norm"]), weights, f"{block}.swiglu")
    return normalised(x, weights["head_norm"]) @ weights["embedding"].T


def test_the_transformer_trained_by_its_own_optimizers_is_the_one_written_by_hand(transformer: ModuleType) -> None:
    model = drawn(transformer.Transformer(**SIZES, learning_rate=0.01, weight_decay=0.2))
    by_hand = {name: parameter.detach().clone().requires_grad_() for name, parameter in model.named_parameters()}
    reference = torch.optim.AdamW(by_hand.values(), lr=0.01, weight_decay=0.2)
    optimizer = transformer.optimizers(model)
    for _ in range(12):
        tokens = torch.randint(11, (2, 18))
        wanted = logits_by_hand(tokens[:, :-1], by_hand, layers=2, heads=3)
        torch.testing.assert_close(model(tokens=tokens[:, :-1])[0], wanted, rtol=0, atol=1e-10)
        optimizer.zero_grad()
        loss, _ = model.loss(tokens=tokens[:, :-1], targets=tokens[:, 1:])
        loss.backward()
        optimizer.step()
        reference.zero_grad()
        by_hand_loss = nn.functional.cross_entropy(wanted.flatten(0, 1), tokens[:, 1:].flatten())
        by_hand_loss.backward()
        reference.step()
        torch.testing.assert_close(loss, by_hand_loss, rtol=0, atol=1e-11)
    for name, parameter in model.named_parameters():
        torch.testing.assert_close(parameter, by_hand[name], rtol=0, atol=1e-10)


def test_a_sequence_in_pieces_and_token_by_token_is_the_sequence_at_once(transformer: ModuleType) -> None:
    model = drawn(transformer.Transformer(**SIZES))
    tokens = torch.randint(11, (3, 29))
    whole, final = model(tokens=tokens)
    first, state = model(tokens=tokens[:, :13])
    second, pieces = model(tokens=tokens[:, 13:], state=state)
    torch.testing.assert_close(torch.cat((first, second), 1), whole, rtol=0, atol=1e-12)
    torch.testing.assert_close(pieces, final, rtol=0, atol=1e-12)
    by_token, carried = model.forward_by_token(tokens=tokens)
    torch.testing.assert_close(by_token, whole, rtol=0, atol=1e-12)
    torch.testing.assert_close(carried, final, rtol=0, atol=1e-12)


@pytest.mark.parametrize("dtype", [torch.float32, torch.bfloat16], ids=str)
def test_a_model_has_the_dtype_of_its_parameters(transformer: ModuleType, dtype: torch.dtype) -> None:
    model = drawn(transformer.Transformer(**SIZES))
    tokens = torch.randint(11, (2, 9))
    wanted, _ = model(tokens=tokens)
    logits, state = model.to(dtype)(tokens=tokens)
    assert logits.dtype == dtype
    torch.testing.assert_close(logits.double(), wanted, rtol=0, atol=64 * torch.finfo(dtype).eps)
    assert state["blocks"][0]["softmax_attention"]["attention.k"].dtype == torch.float32
    assert model.loss(tokens=tokens, targets=tokens)[0].dtype == torch.float32


def test_a_model_overfits_a_sentence(transformer: ModuleType) -> None:
    torch.manual_seed(1)
    model = transformer.Transformer(**SIZES, learning_rate=0.01, weight_decay=0.0)
    optimizer = transformer.optimizers(model)
    tokens = torch.randint(11, (1, 24))
    for _ in range(150):
        optimizer.zero_grad()
        loss, _ = model.loss(tokens=tokens[:, :-1], targets=tokens[:, 1:])
        loss.backward()
        optimizer.step()
    assert loss.item() < 0.1
    _, state = model(tokens=tokens[:, :4])
    written = [tokens[:, 4]]
    for _ in range(5, 24):
        logits, state = model.step(tokens=written[-1], state=state)
        written.append(logits.argmax(-1))
    torch.testing.assert_close(torch.stack(written, 1), tokens[:, 4:])


def test_a_model_trains_where_its_state_dict_was_taken(transformer: ModuleType) -> None:
    model = drawn(transformer.Transformer(**SIZES))
    optimizer = transformer.optimizers(model)
    data = [torch.randint(11, (2, 9)) for _ in range(6)]

    def train(model: Any, optimizer: Any, some: list[Tensor]) -> None:
        for tokens in some:
            optimizer.zero_grad()
            model.loss(tokens=tokens[:, :-1], targets=tokens[:, 1:])[0].backward()
            optimizer.step()

    train(model, optimizer, data[:3])
    other = transformer.Transformer(**SIZES).double()
    other.load_state_dict(model.state_dict())
    resumed = transformer.optimizers(other)
    resumed.load_state_dict(copy.deepcopy(optimizer.state_dict()))
    train(model, optimizer, data[3:])
    train(other, resumed, data[3:])
    for one, two in zip(model.parameters(), other.parameters(), strict=True):
        assert torch.equal(one, two)


# --- networks of other shapes ------------------------------------------------------------------------------------


def two_norms(x: Tensor, weights: dict[str, Tensor]) -> Tensor:
    x = normalised(x, weights["norm"])
    return x + normalised(x, weights["norm_2"])


def no_layers(x: Tensor, weights: dict[str, Tensor]) -> Tensor:
    return x


def nested(x: Tensor, weights: dict[str, Tensor]) -> Tensor:
    for outer in range(2):
        for inner in range(3):
            place = f"blocks.{outer}.blocks_2.{inner}"
            x = x + fed_forward(normalised(x, weights[f"{place}.swiglu_norm"]), weights, f"{place}.swiglu")
        x = fed_forward(x, weights, f"blocks.{outer}.swiglu_2")
    return x


def several(x: Tensor, weights: dict[str, Tensor]) -> Tensor:
    for first, second in (("swiglu", "swiglu_2"), ("swiglu_3", "swiglu_4")):
        x = x + fed_forward(fed_forward(x, weights, first), weights, second)
    return x


EMBED = "- embed: vocabulary -> d_model"
SWIGLU = "architectures/swiglu_layer(d_hidden = {})"
NETWORKS: tuple[tuple[tuple[str, ...], Callable[[Tensor, dict[str, Tensor]], Tensor], bool], ...] = (
    ((EMBED, "- head"), no_layers, False),
    ((EMBED, "- head(tied)"), no_layers, True),
    ((EMBED, "- rms_norm", "- head"), lambda x, weights: normalised(x, weights["head_norm"]), False),
    ((EMBED, "- rms_norm", "- residual: [[rms_norm]]", "- head"), two_norms, False),
    (
        (
            EMBED,
            "- repeat: 2",
            "  parts:",
            "    - repeat: layers",
            f"      residual: [[rms_norm, '{SWIGLU.format(6)}']]",
            f"    - {SWIGLU.format(5)}",
            "- head(tied)",
        ),
        nested,
        True,
    ),
    (
        (
            EMBED,
            "- residual:",
            f"    - ['{SWIGLU.format(6)}', '{SWIGLU.format('2 * d_model')}']",
            f"    - ['{SWIGLU.format(6)}', '{SWIGLU.format('2 * d_model')}']",
            "- head",
        ),
        several,
        False,
    ),
)


@pytest.mark.parametrize(("lines", "by_hand", "is_tied"), NETWORKS, ids=lambda value: getattr(value, "__name__", ""))
def test_a_network_is_what_its_parts_say(
    tmp_path: Path, lines: tuple[str, ...], by_hand: Callable[[Tensor, dict[str, Tensor]], Tensor], is_tied: bool
) -> None:
    model = drawn(small(tmp_path, *lines).Small())
    weights = dict(model.named_parameters())
    tokens = torch.randint(7, (2, 5))
    wanted = by_hand(weights["embedding"][tokens], weights) @ weights["embedding" if is_tied else "head"].T
    torch.testing.assert_close(model(tokens=tokens)[0], wanted, rtol=0, atol=1e-12)
    torch.testing.assert_close(model.forward_by_token(tokens=tokens)[0], wanted, rtol=0, atol=1e-12)
    assert set(weights) == {name for name, _ in model.named_parameters() if weights[name].requires_grad}


def test_outer_gives_the_clock_of_all_that_it_moves(tmp_path: Path) -> None:
    outer = "{objective: cross_entropy, optimizer: momentum(0.5), every: 3 steps}"
    module = small(tmp_path, EMBED, f"- {SWIGLU.format(6)}", "- head", outer=outer)
    model = drawn(module.Small())
    optimizer = module.optimizers(model)
    start = [parameter.detach().clone() for parameter in model.parameters()]
    gathered = [torch.zeros_like(parameter) for parameter in start]
    for _ in range(3):
        assert all(torch.equal(one, two) for one, two in zip(model.parameters(), start, strict=True))
        tokens = torch.randint(7, (2, 6))
        loss, _ = model.loss(tokens=tokens[:, :-1], targets=tokens[:, 1:])
        found = torch.autograd.grad(loss, list(model.parameters()))
        gathered = [one + two for one, two in zip(gathered, found, strict=True)]
        optimizer.zero_grad()
        model.loss(tokens=tokens[:, :-1], targets=tokens[:, 1:])[0].backward()
        optimizer.step()
    for parameter, before, gradient in zip(model.parameters(), start, gathered, strict=True):
        torch.testing.assert_close(parameter, before - 0.5 * gradient, rtol=0, atol=1e-14)


def test_layers_with_different_numbers_of_the_same_spec_share_a_class(tmp_path: Path) -> None:
    module = small(tmp_path, EMBED, f"- {SWIGLU.format(6)}", f"- {SWIGLU.format(4)}", "- head")
    assert {name for name in vars(module) if name.startswith("Swiglu")} == {"SwigluLayer"}
    model = module.Small()
    assert (model.swiglu.d_hidden, model.swiglu_2.d_hidden) == (6, 4)
