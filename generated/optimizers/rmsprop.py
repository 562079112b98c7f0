"""RMSprop: A memory of the squares of the gradients; the weights follow the gradient over its root.

Compiled by nlc from specs/optimizers/rmsprop.yaml. Edit the spec, not this file.
sha256 of the spec: 8a8f01eddee482e7710df94755204b500799708e18e1002f7850d091143be44f

Levels, fastest first (Nested Learning, Definition 2)
    rank  components   every  paper's number (slowest highest / slowest first)
    0     mean_square  step   1 / 2
    1     weights      step   2 / 1

Timetable
    every step  mean_square, weights

Laws, per step; prev is the state before
    mean_square_gradient  = prev(mean_square) - gradient ** 2
                            objective 0.5 * norm2(mean_square - gradient ** 2); calculus
    mean_square           = prev(mean_square) - (1 - decay) * mean_square_gradient  explicit gradient step; rmsprop
    weights_gradient      = gradient / (sqrt(mean_square) + eps)
                            objective dot(weights, gradient / (sqrt(mean_square) + eps)); calculus
    weights               = prev(weights) - learning_rate * weights_gradient        explicit gradient step; rmsprop
"""

import math
from collections.abc import Callable
from typing import Any, overload

import torch
from torch import Tensor
from torch.optim import Optimizer
from torch.optim.optimizer import ParamsT

__all__ = ["RMSprop"]


class RMSprop(Optimizer):
    """A memory of the squares of the gradients; the weights follow the gradient over its root.

    Takes the parameters first (tensors or groups of them), then by keyword, also for each group apart:
        learning_rate = 0.01
        decay = 0.99
        eps = 1e-08
    Groups keep the learning rate as `lr`, which is what torch's schedulers change.
    A gradient that is not finite stops a step with `nonfinite="raise"`, passes it over with "skip"; both wait for the device.
    State of each parameter, in its dtype or float32, whichever is wider: mean_square.
    """

    def __init__(
        self, params: ParamsT, learning_rate: float = 0.01, decay: float = 0.99, eps: float = 1e-08, nonfinite: str | None = None
    ) -> None:
        self.nonfinite = _policy(nonfinite)
        super().__init__(params, {"lr": learning_rate, "decay": decay, "eps": eps})

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
            if name == "decay" and value < 0:
                raise ValueError(f"{name} must not be negative, but it is {value}")
            if name == "decay" and value >= 1:
                raise ValueError(f"{name} must be below 1, but it is {value}")
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
                self.state[x]["mean_square"] = torch.zeros_like(x, dtype=dtype)
        mean_square = [self.state[x]["mean_square"] for x in weights]
        learning_rate, decay, eps = group["lr"], group["decay"], group["eps"]
        # mean_square_gradient = prev(mean_square) - gradient ** 2
        # mean_square = prev(mean_square) - (1 - decay) * mean_square_gradient
        torch._foreach_mul_(mean_square, decay)
        torch._foreach_addcmul_(mean_square, gradient, gradient, value=1 - decay)
        # weights_gradient = gradient / (sqrt(mean_square) + eps)
        # weights = prev(weights) - learning_rate * weights_gradient
        denominator = torch._foreach_sqrt(mean_square)
        torch._foreach_add_(denominator, eps)
        torch._foreach_addcdiv_(weights, gradient, denominator, value=-learning_rate)


def _checked(gradient: Tensor) -> Tensor:
    if gradient.is_sparse or gradient.is_complex():
        raise ValueError("RMSprop takes dense real gradients, neither sparse nor complex ones")
    return gradient


def _policy(nonfinite: str | None) -> str | None:
    if nonfinite not in (None, "raise", "skip"):
        raise ValueError(f'nonfinite must be "raise", "skip" or None, not {nonfinite!r}')
    return nonfinite


def _are_finite(groups: list[dict[str, Any]]) -> bool:
    """Whether all entries of all gradients are; this waits for the device."""
    finite = [_checked(x.grad).isfinite().all() for group in groups for x in group["params"] if x.grad is not None]
    return all(finite)


# sealed by nlc, sha256 of everything above: 13d435fe3e1498903d79820ce6f402f4ddf300feae8b50652c899e4048c95d86
