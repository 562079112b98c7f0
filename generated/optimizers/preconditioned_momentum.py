"""PreconditionedMomentum, compiled from its description.

Momentum that maps gradients to their preconditioned selves; the preconditioner is the root of a moving average of squares.

Compiled by nlc from specs/optimizers/preconditioned_momentum.yaml. Edit the spec, not this file.
sha256 of the spec: 069fdebf05a3439a5b43cbd0b0b680d66d7ca70efd032f5f86c197c63248d02b

Levels, fastest first (Nested Learning, Definition 2)
    rank  components     every  paper's number (slowest highest / slowest first)
    0     second_moment  step   1 / 3
    1     momentum       step   2 / 2
    2     weights        step   3 / 1

Timetable
    every step  second_moment, momentum, weights

Laws, per step; prev is the state before
    second_moment_gradient  = prev(second_moment) - gradient ** 2
                              objective 0.5 * norm2(second_moment - gradient ** 2); calculus
    second_moment           = prev(second_moment) - (1 - beta) * second_moment_gradient
                              explicit gradient step; nl:eq-46; nl:eq-47
    preconditioned          = gradient / (sqrt(second_moment / (1 - beta ** tick(momentum))) + eps)  abbreviation
    momentum                = decay * prev(momentum) - learning_rate * preconditioned
                              explicit gradient step; nl:eq-46; nl:eq-47
    weights                 = prev(weights) + momentum
                              explicit gradient step on -dot(weights, momentum); nl:eq-46; nl:eq-47
    position                = prev(position) + 1                                                     kept: the steps so far
"""

import math
from collections.abc import Callable
from typing import Any, overload

import torch
from torch import Tensor
from torch.optim import Optimizer
from torch.optim.optimizer import ParamsT

__all__ = ["PreconditionedMomentum"]


class PreconditionedMomentum(Optimizer):
    """Momentum that maps gradients to their preconditioned selves; the preconditioner is the root of a moving average of squares.

    Takes the parameters first (tensors or groups of them), then by keyword, also for each group apart:
        learning_rate = 0.001
        decay = 0.9
        beta = 0.999
        eps = 1e-08
    Groups keep the learning rate as `lr`, which is what torch's schedulers change.
    State of each parameter, in its dtype or float32, whichever is wider: second_moment, momentum.
    Each parameter counts the steps at which it had a gradient.
    """

    def __init__(self, params: ParamsT, learning_rate: float = 0.001, decay: float = 0.9, beta: float = 0.999, eps: float = 1e-08) -> None:
        super().__init__(params, {"lr": learning_rate, "decay": decay, "beta": beta, "eps": eps})

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
                self.state[x]["second_moment"] = torch.zeros_like(x, dtype=dtype)
                self.state[x]["momentum"] = torch.zeros_like(x, dtype=dtype)
                self.state[x]["step"] = 0
        for kind in dict.fromkeys(self.state[x]["step"] for x in weights):
            self._move([x for x in weights if self.state[x]["step"] == kind], group)

    def _move(self, weights: list[Tensor], group: dict[str, Any]) -> None:
        """One update of tensors that have had equally many."""
        gradient = [_checked(x.grad) for x in weights]
        step = self.state[weights[0]]["step"] + 1
        second_moment = [self.state[x]["second_moment"] for x in weights]
        momentum = [self.state[x]["momentum"] for x in weights]
        learning_rate, decay, beta, eps = group["lr"], group["decay"], group["beta"], group["eps"]
        # second_moment_gradient = prev(second_moment) - gradient ** 2
        # second_moment = prev(second_moment) - (1 - beta) * second_moment_gradient
        torch._foreach_mul_(second_moment, beta)
        torch._foreach_addcmul_(second_moment, gradient, gradient, value=1 - beta)
        # preconditioned = gradient / (sqrt(second_moment / (1 - beta ** tick(momentum))) + eps)
        # momentum = decay * prev(momentum) - learning_rate * preconditioned
        denominator = torch._foreach_div(second_moment, 1 - beta**step)
        torch._foreach_sqrt_(denominator)
        torch._foreach_add_(denominator, eps)
        torch._foreach_mul_(momentum, decay)
        torch._foreach_addcdiv_(momentum, gradient, denominator, value=-learning_rate)
        # weights = prev(weights) + momentum
        torch._foreach_add_(weights, momentum)
        for x in weights:
            self.state[x]["step"] = step


def _checked(gradient: Tensor) -> Tensor:
    if gradient.is_sparse or gradient.is_complex():
        raise ValueError("PreconditionedMomentum takes dense real gradients, neither sparse nor complex ones")
    return gradient


# sealed by nlc, sha256 of everything above: ce3c2692fa7b57e8220e0fb7e6bec08f24c59a7e999a67b84d9577c246cb790a
