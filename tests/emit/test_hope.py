"""Self-modifying Titans beside loops and networks written by hand, frozen and learning, and which of its memories move together."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import pytest
import torch
from torch import Tensor, nn

from nlc.pipeline import compile_file
from tests.emit.test_continuum import chain, normalised

SPECS = Path(__file__).resolve().parents[2] / "specs"
LAYER, INNER = SPECS / "architectures/self_modifying_titans.yaml", SPECS / "architectures/hope_inner.yaml"
MODEL = SPECS / "models/hope.yaml"
SIZES = {"d_model": 8, "heads": 2}
NAMES = ("key_map", "value_map", "rate_map", "keep_map", "memory")


def convolved(x: Tensor, kernel: Tensor) -> Tensor:
    """A causal convolution of (time, channels), each channel with a column of (width, channels)."""
    rows = [sum((kernel[j] * x[t - j] for j in range(len(kernel)) if t >= j), torch.zeros_like(x[0])) for t in range(len(x))]
    return torch.stack(rows)


def by_hand(weights: dict[str, Tensor], x: Tensor, *, period: int, rate: float = 0.5, retained: float = 4, erase: float = 1) -> Tensor:
    """(time, d_model) through one head after another: Nested Learning, Eqs. 83, 88 and 90 with matrices, in the words of the paper."""
    heads = []
    for columns in torch.arange(8).view(2, 4):
        query = nn.functional.normalize(convolved(x @ weights["project_q"].T, weights["kernel_q"])[:, columns], dim=-1)
        source = convolved(x @ weights["project_in"].T, weights["kernel_in"])[:, columns]
        new = {name: weights[f"{name}_start"] for name in NAMES}
        answers = []
        for t in range(len(x)):
            if t % period == 0:
                anchor = dict(new)
            key = nn.functional.normalize(anchor["key_map"] @ source[t], dim=0)
            value = anchor["value_map"] @ source[t]
            eta = rate * torch.sigmoid(anchor["rate_map"] @ source[t])
            alpha = torch.sigmoid(retained + anchor["keep_map"] @ source[t])
            answers.append(normalised(new["memory"] @ query[t]))
            for name in NAMES:
                generated = anchor[name] @ value
                surprise = anchor[name] @ key - generated
                new[name] = alpha * new[name] - erase * eta * torch.outer(new[name] @ key, key) - eta * torch.outer(surprise, key)
        heads.append(torch.stack(answers))
    return torch.cat(heads, -1) @ weights["project_out"].T


@pytest.mark.parametrize(("period", "erase"), [(1, 1.0), (3, 1.0), (4, 0.0)])
def test_it_is_the_rule_of_the_paper_with_the_gradients_through_its_writes(period: int, erase: float) -> None:
    torch.manual_seed(0)
    layer = compile_file(LAYER, period=period, **SIZES).load().SelfModifyingTitans(**SIZES, erase=erase).double()
    x = torch.randn(1, 11, 8, dtype=torch.double)
    y, _ = layer(x=x)
    weights = dict(layer.named_parameters())
    expected = by_hand(weights, x[0], period=period, erase=erase)
    assert torch.allclose(y[0], expected, atol=1e-12)
    mixed = torch.randn_like(expected)
    found = torch.autograd.grad((y[0] * mixed).sum(), list(weights.values()))
    wanted = torch.autograd.grad((expected * mixed).sum(), list(weights.values()))
    assert all(torch.allclose(one, other, atol=1e-10) for one, other in zip(found, wanted, strict=True))
    assert all(float(gradient.abs().max()) > 0 for gradient in found), "every start and projection learns through the writes"


def test_with_rates_of_zero_and_full_retention_it_is_its_frozen_network() -> None:
    torch.manual_seed(1)
    model = compile_file(MODEL, layers=2, d_hidden=12, vocabulary=20, **SIZES).load().Hope(layers=2, d_hidden=12, vocabulary=20, **SIZES)
    model = model.double()
    for block in model.blocks:
        block.self_modifying_titans.largest_rate, block.self_modifying_titans.retained = 0.0, 1e4
    tokens = torch.randint(20, (1, 37))
    logits, state = model(tokens=tokens)
    x = model.embedding[tokens[0]]
    for block, carried in zip(model.blocks, state["blocks"], strict=True):
        memories = dict(block.self_modifying_titans.named_parameters())
        x = x + by_hand(memories, normalised(x), period=16, rate=0, retained=1e4)
        x = x + chain(x, {name: tensor for name, tensor in block.cms.named_parameters()})
        for name in NAMES:
            assert torch.equal(carried["self_modifying_titans"][name][0, 1], memories[f"{name}_start"]), name
    assert torch.allclose(logits[0], normalised(x) @ model.embedding.T, atol=1e-12)


def test_memories_that_are_kept_and_erased_alike_solve_one_system(tmp_path: Path) -> None:
    slower = INNER.read_text().replace("gradient_descent(rate)", "gradient_descent(0.5 * rate)", 1)
    apart = tmp_path / "apart.yaml"
    apart.write_text(slower)
    for path, systems in ((INNER, 1), (apart, 2)):
        compiled = compile_file(path, d=4, period=3)
        assert compiled.source.count("_in_chunks(decay=") + compiled.source.count("_in_chunks(\n            decay=") == systems
        memory = compiled.load().HopeInner(d=4, chunk=2)
        torch.manual_seed(2)
        q, x = torch.randn(2, 2, 8, 2, 4, dtype=torch.double)
        rate, retention = torch.rand(2, 2, 8, 2, dtype=torch.double)
        given = {"q": q, "x": x, "rate": rate, "retention": retention}
        begun = start(memory, q)
        (y, new), (by_token, expected) = memory(**given, state=begun), memory.forward_by_token(**given, state=begun)
        assert torch.allclose(y, by_token, atol=1e-12)
        assert all(torch.allclose(new[name].double(), expected[name].double(), atol=1e-12) for name in begun)


def start(memory: Any, like: Tensor) -> dict[str, Tensor]:
    """A state from which all memories are different."""
    torch.manual_seed(5)
    zeros: dict[str, Tensor] = memory.initial_state(2, 2, like=like)
    return {name: torch.randn_like(zero) if zero.ndim else zero for name, zero in zeros.items()}


@pytest.mark.slow
@pytest.mark.parametrize(
    "option",
    [
        {"let.k": "l2_normalise(source)"},
        {"let.v": "source"},
        {"let.rate": "largest_rate * sigmoid(sum(source))"},
        {"let.q": "l2_normalise(hold(key_map, period tokens)(split(convolve(project_q(x), kernel_q), heads)))"},
    ],
    ids=lambda option: next(iter(option)),
)
def test_what_a_memory_gives_may_be_given_by_a_projection(option: dict[str, str]) -> None:
    layer = compile_file(LAYER, **SIZES, **option).load().SelfModifyingTitans(**SIZES).double()
    x = torch.randn(1, 20, 8, dtype=torch.double)
    assert torch.allclose(layer(x=x)[0], layer.forward_by_token(x=x)[0], atol=1e-12)
