"""Adagrad: Steps along the gradient, each entry over the root of the sum of all its squares so far.

Compiled by nlc from specs/optimizers/adagrad.yaml. Edit the spec, not this file.
sha256 of the spec: f86473ca3b72f040d75b56cdf1781d15f854b6c4e5f8f23959e97a85fbf3ba84

Levels, fastest first (Nested Learning, Definition 2)
    rank  components      every  paper's number (slowest highest / slowest first)
    0     sum_of_squares  step   1 / 2
    1     weights         step   2 / 1

Timetable
    every step  sum_of_squares, weights

Laws, per step; prev is the state before
    sum_of_squares    = prev(sum_of_squares) + gradient ** 2
                        explicit gradient step on -dot(sum_of_squares, gradient ** 2); adagrad; nl:appendix-b
    weights_gradient  = gradient / (sqrt(sum_of_squares) + eps)  objective dot(weights, gradient / (sqrt(sum_of_squares) + eps)); calculus
    weights           = prev(weights) - learning_rate / (1 + (tick(weights) - 1) * rate_decay) * weights_gradient
                        explicit gradient step; adagrad; nl:appendix-b
    position          = prev(position) + 1                       kept: the steps so far
"""

import math
from collections.abc import Callable
from typing import Any, overload

import torch
from torch import Tensor
from torch.optim import Optimizer
from torch.optim.optimizer import ParamsT

__all__ = ["Adagrad"]


class Adagrad(Optimizer):
    """Steps along the gradient, each entry over the root of the sum of all its squares so far.

    Takes the parameters first (tensors or groups of them), then by keyword, also for each group apart:
        learning_rate = 0.01
        rate_decay = 0.0
        eps = 1e-10
    Groups keep the learning rate as `lr`, which is what torch's schedulers change.
    State of each parameter, in its dtype or float32, whichever is wider: sum_of_squares.
    Each parameter counts the steps at which it had a gradient.
    """

    def __init__(self, params: ParamsT, learning_rate: float = 0.01, rate_decay: float = 0.0, eps: float = 1e-10) -> None:
        super().__init__(params, {"lr": learning_rate, "rate_decay": rate_decay, "eps": eps})

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
        for group in self.param_groups:
            self._update(group)
        return loss

    def _update(self, group: dict[str, Any]) -> None:
        """The laws, for all tensors of a group at once, as far as they are alike."""
        weights = [x for x in group["params"] if x.grad is not None]
        if not weights:
            return
        for x in weights:
            if not self.state[x]:
                dtype = torch.promote_types(x.dtype, torch.float32)
                self.state[x]["sum_of_squares"] = torch.zeros_like(x, dtype=dtype)
                self.state[x]["step"] = 0
        for kind in dict.fromkeys(self.state[x]["step"] for x in weights):
            self._move([x for x in weights if self.state[x]["step"] == kind], group)

    def _move(self, weights: list[Tensor], group: dict[str, Any]) -> None:
        """One update of tensors that have had equally many."""
        gradient = [_checked(x.grad) for x in weights]
        step = self.state[weights[0]]["step"] + 1
        sum_of_squares = [self.state[x]["sum_of_squares"] for x in weights]
        learning_rate, rate_decay, eps = group["lr"], group["rate_decay"], group["eps"]
        # sum_of_squares = prev(sum_of_squares) + gradient ** 2
        torch._foreach_addcmul_(sum_of_squares, gradient, gradient)
        # weights_gradient = gradient / (sqrt(sum_of_squares) + eps)
        # weights = prev(weights) - learning_rate / (1 + (tick(weights) - 1) * rate_decay) * weights_gradient
        denominator = torch._foreach_sqrt(sum_of_squares)
        torch._foreach_add_(denominator, eps)
        torch._foreach_addcdiv_(weights, gradient, denominator, value=-learning_rate / (1 + (step - 1) * rate_decay))
        for x in weights:
            self.state[x]["step"] = step


def _checked(gradient: Tensor) -> Tensor:
    if gradient.is_sparse or gradient.is_complex():
        raise ValueError("Adagrad takes dense real gradients, neither sparse nor complex ones")
    return gradient


# sealed by nlc, sha256 of everything above: db559555d0f0d3cbf96b84b854367650f3986e8ab62395bee9e892701b742105
