"""GradientDescent: Weights that follow the present gradient and remember nothing else.

Compiled by nlc from specs/optimizers/gradient_descent.yaml. Edit the spec, not this file.
sha256 of the spec: 251b0bab675e6e064d47b7cba4cc548c60c85915bee6b0fe145068430f578f76

Levels, fastest first (Nested Learning, Definition 2)
    rank  components  every  paper's number (slowest highest / slowest first)
    0     weights     step   1 / 1

Timetable
    every step  weights

Laws, per step; prev is the state before
    weights  = prev(weights) - learning_rate * gradient  explicit gradient step on dot(weights, gradient); nl:eq-1
"""

import math
from collections.abc import Callable
from typing import Any, overload

import torch
from torch import Tensor
from torch.optim import Optimizer
from torch.optim.optimizer import ParamsT

__all__ = ["GradientDescent"]


class GradientDescent(Optimizer):
    """Weights that follow the present gradient and remember nothing else.

    Takes the parameters first (tensors or groups of them), then by keyword, also for each group apart:
        learning_rate = 0.01
    Groups keep the learning rate as `lr`, which is what torch's schedulers change.
    A gradient that is not finite stops a step with `nonfinite="raise"`, passes it over with "skip"; both wait for the device.
    """

    def __init__(self, params: ParamsT, learning_rate: float = 0.01, nonfinite: str | None = None) -> None:
        self.nonfinite = _policy(nonfinite)
        super().__init__(params, {"lr": learning_rate})

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
        learning_rate = group["lr"]
        # weights = prev(weights) - learning_rate * gradient
        torch._foreach_add_(weights, gradient, alpha=-learning_rate)


def _checked(gradient: Tensor) -> Tensor:
    if gradient.is_sparse or gradient.is_complex():
        raise ValueError("GradientDescent takes dense real gradients, neither sparse nor complex ones")
    return gradient


def _policy(nonfinite: str | None) -> str | None:
    if nonfinite not in (None, "raise", "skip"):
        raise ValueError(f'nonfinite must be "raise", "skip" or None, not {nonfinite!r}')
    return nonfinite


def _are_finite(groups: list[dict[str, Any]]) -> bool:
    """Whether all entries of all gradients are; this waits for the device."""
    finite = [_checked(x.grad).isfinite().all() for group in groups for x in group["params"] if x.grad is not None]
    return all(finite)


# sealed by nlc, sha256 of everything above: 5ac6a4d9fa2a3fa590cac727574d53c496b8fe35d1951b67cbc26596824c596d
