"""Titans with memory as a gate beside the same layer written by hand: attention over a window, and a memory with momentum."""

from __future__ import annotations

from pathlib import Path

import torch
from torch import Tensor, nn

from nlc.pipeline import compile_file

SPEC = Path(__file__).resolve().parents[2] / "specs" / "architectures" / "memory_as_gate_layer.yaml"
HEADS, WIDTH, WINDOW = 2, 4, 3


def heads(x: Tensor) -> Tensor:
    return x.unflatten(-1, (HEADS, -1))


def normed(x: Tensor) -> Tensor:
    return x * torch.rsqrt((x * x).mean(-1, keepdim=True) + 1e-6)


def turned(x: Tensor) -> Tensor:
    """Rotary positions: (time, heads, size)."""
    half = x.shape[-1] // 2
    angle = torch.arange(len(x))[:, None, None] * 10_000.0 ** (-torch.arange(half, dtype=x.dtype) / half)
    first, second = x[..., :half], x[..., half:]
    return torch.cat((first * angle.cos() - second * angle.sin(), first * angle.sin() + second * angle.cos()), -1)


def attended(x: Tensor, layer: nn.Module) -> Tensor:
    q, k, v = (heads(x @ layer.get_parameter(f"near_{name}").T) for name in "qkv")
    scores = torch.einsum("thd,shd->hts", turned(q), turned(k)) / WIDTH**0.5
    age = torch.arange(len(x))[:, None] - torch.arange(len(x))
    weights = scores.masked_fill((age < 0) | (age >= WINDOW), float("-inf")).softmax(-1)
    return torch.einsum("hts,shd->thd", weights, v)


def remembered(x: Tensor, layer: nn.Module) -> Tensor:
    def stream(name: str) -> Tensor:
        return heads(nn.functional.silu(x @ layer.get_parameter(f"project_{name}").T))

    q, k = (nn.functional.normalize(stream(name), dim=-1) for name in "qk")
    v = stream("v")
    beta, decay, kept = (torch.sigmoid(x @ layer.get_parameter(f"project_{name}").T) for name in ("beta", "decay", "retention"))
    memory = momentum = torch.zeros(HEADS, WIDTH, WIDTH, dtype=x.dtype)
    reads = []
    for t in range(len(x)):
        error = torch.einsum("hvk,hk->hv", memory, k[t]) - v[t]
        momentum = decay[t, :, None, None] * momentum - beta[t, :, None, None] * error[:, :, None] * k[t][:, None]
        memory = kept[t, :, None, None] * memory + momentum
        reads.append(torch.einsum("hvk,hk->hv", memory, q[t]))
    return torch.stack(reads)


def test_it_is_the_layer_written_by_hand() -> None:
    torch.manual_seed(0)
    made = compile_file(SPEC, **{"hyperparameters.window": WINDOW}).load().MemoryAsGateLayer
    layer = made(d_model=HEADS * WIDTH, heads=HEADS).double()
    with torch.no_grad():
        layer.near_scale.copy_(torch.rand(WIDTH))
        layer.far_scale.copy_(torch.randn(WIDTH))
    x = torch.randn(11, HEADS * WIDTH, dtype=torch.double, requires_grad=True)
    y, _ = layer(x=x[None])
    gated = normed(attended(x, layer)) * layer.near_scale * torch.sigmoid(normed(remembered(x, layer)) * layer.far_scale)
    wanted = gated.flatten(1) @ layer.project_out.T
    torch.testing.assert_close(y[0], wanted, rtol=0, atol=1e-10)
    leaves = [x, *layer.parameters()]
    for found, slope in zip(torch.autograd.grad(y.square().sum(), leaves), torch.autograd.grad(wanted.square().sum(), leaves), strict=True):
        torch.testing.assert_close(found, slope, rtol=0, atol=1e-8)
