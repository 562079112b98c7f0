"""DeltaMomentum, compiled from its description.

A momentum that forgets along what it stores, since it is fitted by squared error; of each tensor as one vector, its retention clamped at 0.

Compiled by nlc from specs/optimizers/delta_momentum.yaml. Edit the spec, not this file.
sha256 of the spec: f7ebc8079dcfbb31395488d6e4a2302c6b322f8927c8756e60be27be2dab28fa

Levels, fastest first (Nested Learning, Definition 2)
    rank  components  every  paper's number (slowest highest / slowest first)
    0     momentum    step   1 / 2
    1     weights     step   2 / 1

Timetable
    every step  momentum, weights

Laws, per step; prev is the state before
    momentum  = maximum(0, decay - learning_rate * norm(gradient) ** 2) * prev(momentum) - learning_rate * gradient
                explicit gradient step on dot(momentum, gradient); nl:eq-48; nl:eq-49
    weights   = prev(weights) + momentum  explicit gradient step on -dot(weights, momentum); nl:eq-48; nl:eq-49
"""

import math
from collections.abc import Callable
from typing import Any, overload

import torch
from torch import Tensor
from torch.optim import Optimizer
from torch.optim.optimizer import ParamsT

__all__ = ["DeltaMomentum"]


class DeltaMomentum(Optimizer):
    """DeltaMomentum, a torch optimizer.

    A momentum that forgets along what it stores, since it is fitted by squared error; of each tensor as one vector, its retention
    clamped at 0.

    Takes the parameters first (tensors or groups of them), then by keyword, also for each group apart:
        learning_rate = 0.01
        decay = 0.9
    Groups keep the learning rate as `lr`, which is what torch's schedulers change.
    A gradient that is not finite stops a step with `nonfinite="raise"`, passes it over with "skip"; both wait for the device.
    State of each parameter, in its dtype or float32, whichever is wider: momentum.
    """

    def __init__(self, params: ParamsT, learning_rate: float = 0.01, decay: float = 0.9, nonfinite: str | None = None) -> None:
        self.nonfinite = _policy(nonfinite)
        super().__init__(params, {"lr": learning_rate, "decay": decay})

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
        gradient = [_checked(x.grad).to(torch.promote_types(x.dtype, torch.float32)) for x in weights]
        for x in weights:
            if not self.state[x]:
                dtype = torch.promote_types(x.dtype, torch.float32)
                self.state[x]["momentum"] = torch.zeros_like(x, dtype=dtype)
        momentum = [self.state[x]["momentum"] for x in weights]
        learning_rate, decay = group["lr"], group["decay"]
        # momentum = maximum(0, decay - learning_rate * norm(gradient) ** 2) * prev(momentum) - learning_rate * gradient
        new_momentum = [
            (decay - learning_rate * torch.linalg.vector_norm(g) ** 2).clamp(min=0) * m - learning_rate * g
            for g, m in zip(gradient, momentum, strict=True)
        ]
        torch._foreach_copy_(momentum, new_momentum)
        # weights = prev(weights) + momentum
        torch._foreach_add_(weights, momentum)


def _checked(gradient: Tensor) -> Tensor:
    if gradient.is_sparse or gradient.is_complex():
        raise ValueError("DeltaMomentum takes dense real gradients, neither sparse nor complex ones")
    return gradient


def _policy(nonfinite: str | None) -> str | None:
    if nonfinite not in (None, "raise", "skip"):
        raise ValueError(f'nonfinite must be "raise", "skip" or None, not {nonfinite!r}')
    return nonfinite


def _are_finite(groups: list[dict[str, Any]]) -> bool:
    """Whether all entries of all gradients are; this waits for the device."""
    finite = [_checked(x.grad).isfinite().all() for group in groups for x in group["params"] if x.grad is not None]
    return all(finite)


# sealed by nlc, sha256 of everything above: 58db7d14894a8ecd6329dacd0f0b8c205523f0be372913564bb45e68e5040482
