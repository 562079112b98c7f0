"""EntropyMirror, compiled from its description.

A mirror step by entropy; the weights are positive and sum up to a fixed total, and are multiplied by what the gradients say, after a power
of the old ones.

Compiled by nlc from specs/optimizers/entropy_mirror.yaml. Edit the spec, not this file.
sha256 of the spec: 99abf5e57e9146cb78aca4bf5e2191e81e26cc94702fa7db759b8849c8f23ef9

Levels, fastest first (Nested Learning, Definition 2)
    rank  components  every  paper's number (slowest highest / slowest first)
    0     dual        step   1 / 2
    1     weights     step   2 / 1

Timetable
    every step  dual, weights

Laws, per step; prev is the state before
    dual     = decay * prev(dual) - learning_rate * gradient  explicit gradient step on dot(dual, gradient); miras
    weights  = total * exp(dual) / sum(exp(dual))             the minimiser, where the derivative by it is zero; miras
"""

import math
from collections.abc import Callable
from typing import Any, overload

import torch
from torch import Tensor
from torch.optim import Optimizer
from torch.optim.optimizer import ParamsT

__all__ = ["EntropyMirror"]


class EntropyMirror(Optimizer):
    """EntropyMirror, a torch optimizer.

    A mirror step by entropy; the weights are positive and sum up to a fixed total, and are multiplied by what the gradients say,
    after a power of the old ones.

    Takes the parameters first (tensors or groups of them), then by keyword, also for each group apart:
        learning_rate = 0.01
        decay = 1.0
        total = 1.0
    Groups keep the learning rate as `lr`, which is what torch's schedulers change.
    A gradient that is not finite stops a step with `nonfinite="raise"`, passes it over with "skip"; both wait for the device.
    State of each parameter, in its dtype or float32, whichever is wider: dual.
    """

    def __init__(
        self, params: ParamsT, learning_rate: float = 0.01, decay: float = 1.0, total: float = 1.0, nonfinite: str | None = None
    ) -> None:
        self.nonfinite = _policy(nonfinite)
        super().__init__(params, {"lr": learning_rate, "decay": decay, "total": total})

    def add_param_group(self, param_group: dict[str, Any]) -> None:
        """Add parameters with hyperparameters of their own; raises ValueError for one that makes no sense."""
        if "learning_rate" in param_group:
            param_group["lr"] = param_group.pop("learning_rate")
        for name, default in self.defaults.items():
            value = param_group.get(name, default)
            if isinstance(value, bool) or not isinstance(value, (int, float)) or not math.isfinite(value):
                raise ValueError(f"{name} must be a finite number, not {value!r}")
            if name == "lr" and value < 0:
                raise ValueError(f"learning_rate must not be negative, but it is {value}")
        super().add_param_group(param_group)

    @overload
    def step(self, closure: None = None) -> None: ...

    @overload
    def step(self, closure: Callable[[], float]) -> float: ...

    @torch.no_grad()
    def step(self, closure: Callable[[], float] | None = None) -> float | None:
        """One update of every parameter that has a gradient; returns what `closure`, which computes the gradients anew, returns."""
        loss = None
        if closure is not None:
            with torch.enable_grad():
                loss = closure()
        if self.nonfinite is not None and not _are_finite(self.param_groups):
            if self.nonfinite == "raise":
                raise FloatingPointError("a gradient is not finite; this step has changed nothing")
            return loss
        for group in self.param_groups:
            self._update(group)
        return loss

    def _update(self, group: dict[str, Any]) -> None:
        """The laws, for all tensors of a group at once."""
        weights = [x for x in group["params"] if x.grad is not None]
        if not weights:
            return
        gradient = [_checked(x.grad) for x in weights]
        for x in weights:
            if not self.state[x]:
                dtype = torch.promote_types(x.dtype, torch.float32)
                self.state[x]["dual"] = torch.zeros_like(x, dtype=dtype)
        dual = [self.state[x]["dual"] for x in weights]
        learning_rate, decay, total = group["lr"], group["decay"], group["total"]
        # dual = decay * prev(dual) - learning_rate * gradient
        torch._foreach_mul_(dual, decay)
        torch._foreach_add_(dual, gradient, alpha=-learning_rate)
        total_ = torch.stack([x.exp().sum() for x in dual]).sum()
        # weights = total * exp(dual) / sum(exp(dual))
        new_weights = [total * x.exp() / total_ for x in dual]
        torch._foreach_copy_(weights, new_weights)


def _checked(gradient: Tensor) -> Tensor:
    if gradient.is_sparse or gradient.is_complex():
        raise ValueError("EntropyMirror takes dense real gradients, neither sparse nor complex ones")
    return gradient


def _policy(nonfinite: str | None) -> str | None:
    if nonfinite not in (None, "raise", "skip"):
        raise ValueError(f'nonfinite must be "raise", "skip" or None, not {nonfinite!r}')
    return nonfinite


def _are_finite(groups: list[dict[str, Any]]) -> bool:
    """Whether all entries of all gradients are; this waits for the device."""
    finite = [_checked(x.grad).isfinite().all() for group in groups for x in group["params"] if x.grad is not None]
    return all(finite)


# sealed by nlc, sha256 of everything above: 96aa74688b2d363d971c82dcd9a0d1a01a2ab8fd01019c79a28a996310634f79
