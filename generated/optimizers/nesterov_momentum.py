"""NesterovMomentum: Momentum that looks one step ahead, with the rate inside the memory, as the paper writes momentum.

Compiled by nlc from specs/optimizers/nesterov_momentum.yaml. Edit the spec, not this file.
sha256 of the spec: eb28c52162a5c3ec6aa6547f9f3dd18d9ed8f06f23e768c8796cc33a0e1bb5b9

Levels, fastest first (Nested Learning, Definition 2)
    rank  components  every  paper's number (slowest highest / slowest first)
    0     momentum    step   1 / 2
    1     weights     step   2 / 1

Timetable
    every step  momentum, weights

Laws, per step; prev is the state before
    momentum          = decay * prev(momentum) - learning_rate * gradient
                        explicit gradient step on dot(momentum, gradient); nesterov; nl:eq-33
    weights_gradient  = learning_rate * gradient - decay * momentum
                        objective dot(weights, learning_rate * gradient - decay * momentum); calculus
    weights           = prev(weights) - weights_gradient                   explicit gradient step; nesterov; nl:eq-33
"""

import math
from collections.abc import Callable
from typing import Any, overload

import torch
from torch import Tensor
from torch.optim import Optimizer
from torch.optim.optimizer import ParamsT

__all__ = ["NesterovMomentum"]


class NesterovMomentum(Optimizer):
    """Momentum that looks one step ahead, with the rate inside the memory, as the paper writes momentum.

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
        gradient = [_checked(x.grad) for x in weights]
        for x in weights:
            if not self.state[x]:
                dtype = torch.promote_types(x.dtype, torch.float32)
                self.state[x]["momentum"] = torch.zeros_like(x, dtype=dtype)
        momentum = [self.state[x]["momentum"] for x in weights]
        learning_rate, decay = group["lr"], group["decay"]
        # momentum = decay * prev(momentum) - learning_rate * gradient
        torch._foreach_mul_(momentum, decay)
        torch._foreach_add_(momentum, gradient, alpha=-learning_rate)
        # weights_gradient = learning_rate * gradient - decay * momentum
        # weights = prev(weights) - weights_gradient
        torch._foreach_add_(weights, gradient, alpha=-learning_rate)
        torch._foreach_add_(weights, momentum, alpha=decay)


def _checked(gradient: Tensor) -> Tensor:
    if gradient.is_sparse or gradient.is_complex():
        raise ValueError("NesterovMomentum takes dense real gradients, neither sparse nor complex ones")
    return gradient


def _policy(nonfinite: str | None) -> str | None:
    if nonfinite not in (None, "raise", "skip"):
        raise ValueError(f'nonfinite must be "raise", "skip" or None, not {nonfinite!r}')
    return nonfinite


def _are_finite(groups: list[dict[str, Any]]) -> bool:
    """Whether all entries of all gradients are; this waits for the device."""
    finite = [_checked(x.grad).isfinite().all() for group in groups for x in group["params"] if x.grad is not None]
    return all(finite)


# sealed by nlc, sha256 of everything above: 46a7e9bf6e0f5b19e2da0bd2b4afad6e604eb54f0058f81ac8ecb1d4480e153e
