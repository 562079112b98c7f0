"""Autograd for the oracle: gradients, and the implicit step: an objective and a retained state in, the way to the minimiser out.

As apart as the oracle: it imports torch and the oracle's own values only.
"""

from __future__ import annotations

import math
from collections.abc import Callable, Sequence

import torch
from torch import Tensor

from nlc.verify.oracle_values import OracleError

FLATNESS = 1e-6
"""How flat, relative to the step, the penalised objective must be at its minimiser: an objective that is not quadratic is not."""


def slopes(loss: Tensor, leaves: tuple[Tensor, ...], *, keep: bool) -> tuple[Tensor, ...]:
    """The gradient of a number by each leaf, zeros where it does not depend on it; differentiable itself when `keep`."""
    if not loss.requires_grad:
        return tuple(torch.zeros_like(leaf) for leaf in leaves)
    found: tuple[Tensor, ...] = torch.autograd.grad(
        loss, leaves, create_graph=keep, retain_graph=True, allow_unused=True, materialize_grads=True
    )
    return found


def by_tensor(loss: Tensor, alias: Tensor, lengths: Sequence[int], *, keep: bool) -> Tensor:
    """Where norms make the objective differ from tensor to tensor, each tensor descends its own."""
    firsts = [sum(lengths[:index]) for index in range(len(lengths))]
    pieces = [
        slopes(loss[first], (alias,), keep=keep)[0][first : first + length] if length else alias[:0]
        for first, length in zip(firsts, lengths, strict=True)
    ]
    return torch.cat(pieces)


def implicit_step(loss: Callable[[Tensor], Tensor], retained: Tensor, rate: Tensor, rank: int, *, differentiable: bool) -> Tensor:
    """retained minus the W at which loss(W) + |W - retained|^2 / (2 rate) is flat, for a quadratic loss: one Newton step, which is exact.

    The last `rank` dims are the state's, those before them copies of it; `rate` is one number for each entry, and may be 0. Where the loss
    curves so much that rounding leaves nothing of the penalty, there is no answer: not a number.
    """
    with torch.enable_grad():
        point = retained.clone() if retained.requires_grad else retained.detach().clone().requires_grad_()
        slope = _slope(loss, point)
        count = math.prod(retained.shape[retained.dim() - rank :])
        entries, rates = (x.reshape(*x.shape[: x.dim() - rank], count) for x in (slope, rate))
        rows = [_slope_of(entries[..., place].sum(), point, keep=differentiable).reshape(entries.shape) for place in range(count)]
        curvature = torch.stack(rows, -2)
        change = rates.unsqueeze(-1) * curvature
        solved, _ = torch.linalg.solve_ex(torch.eye(count).to(entries) + change, (rates * entries).unsqueeze(-1))
        is_lost = change.abs().amax((-1, -2)) * torch.finfo(change.dtype).eps >= 1
        step: Tensor = torch.where(is_lost.unsqueeze(-1), torch.nan, solved.squeeze(-1)).reshape(retained.shape)
        step = step if differentiable else step.detach()
        _check(loss, retained.detach(), rate.detach(), step.detach())
    return step


def _slope(loss: Callable[[Tensor], Tensor], point: Tensor) -> Tensor:
    return _slope_of(loss(point).sum(), point, keep=True)


def _slope_of(total: Tensor, point: Tensor, *, keep: bool) -> Tensor:
    return slopes(total, (point,), keep=keep)[0]


def _check(loss: Callable[[Tensor], Tensor], retained: Tensor, rate: Tensor, step: Tensor) -> None:
    """Raise OracleError when the penalised objective is not flat where the step leads."""
    slope = _slope(loss, (retained - step).requires_grad_()).detach()
    if bool(((rate * slope - step).abs() > FLATNESS * (1 + step.abs())).any()):
        raise OracleError("the oracle takes implicit steps on objectives that are quadratic in the state only")
