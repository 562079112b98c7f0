"""Steps on objectives over the last tokens: Omega by hand, squares of all kinds of windows, and the forms that they get."""

from __future__ import annotations

import pytest
import torch
from torch import Tensor

from nlc import pipeline
from nlc.emit import emit_module
from nlc.ir.program import Form
from nlc.verify.squares import check_squares
from tests.architecture.modules import ROOT
from tests.emit.systems import program_from

OMEGA = ROOT / "specs" / "architectures" / "omega.yaml"
TOKENS = 9


def by_hand(q: Tensor, k: Tensor, v: Tensor, alpha: Tensor, gamma: Tensor, width: int) -> Tensor:
    """M_t = alpha_t M_{t-1} - sum of gamma_i (M_{t-1} k_i - v_i) k_i^T over the last `width` tokens that there are (math of Atlas)."""
    memory, outputs = torch.zeros(v.shape[-1], k.shape[-1], dtype=v.dtype), []
    for t in range(len(k)):
        seen = range(max(t - width + 1, 0), t + 1)
        step = sum((gamma[i] * torch.outer(memory @ k[i] - v[i], k[i]) for i in seen), torch.zeros_like(memory))
        memory = alpha[t] * memory - step
        outputs.append(memory @ q[t])
    return torch.stack(outputs)


@pytest.mark.parametrize("width", [1, 2, *(pytest.param(width, marks=pytest.mark.slow) for width in (5, TOKENS, TOKENS + 4))])
def test_omega_is_what_atlas_writes(width: int) -> None:
    """Also where the window is as long as the sequence or longer; a window one token shorter is another function."""
    generator = torch.Generator().manual_seed(5)
    q, k, v = (torch.randn(TOKENS, size, dtype=torch.float64, generator=generator) / 2 for size in (4, 4, 3))
    alpha, gamma = (torch.rand(TOKENS, dtype=torch.float64, generator=generator) for _ in range(2))
    made = pipeline.compile_file(OMEGA, width=width)
    module = made.load().Omega(d_k=4, d_v=3, chunk=4)
    given = {"q": q, "k": k, "v": v, "alpha": alpha, "gamma": gamma}
    y, _ = module(**{name: x[None, :, None] for name, x in given.items()})
    torch.testing.assert_close(y[0, :, 0], by_hand(**given, width=width), rtol=0, atol=1e-12)
    if 1 < width <= TOKENS:
        assert not torch.allclose(y[0, :, 0], by_hand(**given, width=width - 1), rtol=0, atol=1e-6)


SPEC = """nlc: 1
name: Windowed
dims: {{d_k: 4, d_v: 3}}
axes: [heads]
inputs:
  q: [d_k]
  k: [d_k]
  v: [d_v]
  alpha: {{shape: [], range: [0, 1]}}
  gamma: {{shape: [], range: [0, 0.5]}}
  gates: {{shape: [d_k], range: [0, 1]}}
levels:
  memory:
    memory: matrix(d_v, d_k)
    keys: k
    values: v
    window: 3 tokens
    objective: sum(gamma * l2, over = window)
    retention: alpha
    optimizer: gradient_descent(1)
    every: token
outputs: {{y: memory(q)}}
"""
PENALTY = "sum(l2 + 0.25 * norm2(memory), over = window)"
CASES: dict[str, tuple[dict[str, str], Form]] = {
    "momentum": ({"gradient_descent(1)": "momentum(learning_rate = 0.1, decay = alpha)"}, Form.STACKED_TRIANGULAR),
    "a gate for each channel": ({"retention: alpha": "retention: gates\n    gradient_at: retained"}, Form.HALVED_TRIANGULAR),
    "ages": ({"gamma * l2": "0.5 ** age * now(gamma) * l2"}, Form.STACKED_TRIANGULAR),
    "similarity": ({"gamma * l2": "gamma * dot"}, Form.PREFIX_SUM),
    "one decay for all tokens": ({"gamma * l2": "gamma * dot", "retention: alpha": "retention: 0.5"}, Form.PREFIX_SUM),
    "a penalty for each datum": ({"sum(gamma * l2, over = window)": PENALTY, "descent(1)": "descent(gamma)"}, Form.STACKED_TRIANGULAR),
    "a penalty for each datum, and a gate for each channel": (
        {"sum(gamma * l2, over = window)": PENALTY, "descent(1)": "descent(gamma)", "retention: alpha": "retention: gates"},
        Form.HALVED_TRIANGULAR,
    ),
    "a penalty once": ({"over = window)": "over = window) + 0.1 * norm2(memory)"}, Form.STACKED_TRIANGULAR),
    "features of the keys": ({"keys: k": "keys: sigmoid(k)"}, Form.STACKED_TRIANGULAR),
    "a held gradient": ({"every: token": "every: token\n    gradient_at: hold(4 tokens)"}, Form.PREFIX_SUM),
    "a reset": ({"every: token": "every: token\n    reset: 4 tokens"}, Form.STACKED_TRIANGULAR),
    "one token": ({"3 tokens": "1 tokens"}, Form.TRIANGULAR),
    "errors by their length": ({"gamma * l2": "gamma * huber(1)"}, Form.RECURRENCE),
}


def spec(changes: dict[str, str]) -> str:
    text = SPEC.format()
    for old, new in changes.items():
        assert old in text, old
        text = text.replace(old, new)
    return text


@pytest.mark.parametrize("name", CASES)
def test_affine_windows_run_in_parallel(name: str) -> None:
    changes, form = CASES[name]
    assert [memory.form for memory in program_from(spec(changes)).memories] == [form]


@pytest.mark.slow
@pytest.mark.parametrize("name", CASES)
def test_every_square_closes(name: str) -> None:
    program = program_from(spec(CASES[name][0]))
    assert [square.text for square in check_squares(program, emit_module(program)) if not square.closed] == []


def test_only_what_moves_before_the_first_token_counts_tokens() -> None:
    """The place in the sequence is state where a datum that is not there would move the memory, and nowhere else."""
    kept = {name: [slot.name for slot in program_from(spec(CASES[name][0])).slots] for name in CASES}
    assert {name for name, slots in kept.items() if "position" in slots} == {
        "a penalty for each datum",
        "a penalty for each datum, and a gate for each channel",
        "a held gradient",
        "a reset",
    }
