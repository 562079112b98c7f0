"""PreconditionedMomentum, compiled from its description.

A momentum whose values are the gradients in the coordinates of a preconditioner, here the inverse root of their mean square.

Compiled by nlc from specs/optimizers/preconditioned_momentum.yaml. Edit the spec, not this file.
sha256 of the spec: dea0fc96f8823cfc13a189b9791411b3d98f423b0663f3c8bfb9365746daf6c8

Levels, fastest first (Nested Learning, Definition 2)
    rank  components   every  paper's number (slowest highest / slowest first)
    0     mean_square  step   1 / 3
    1     momentum     step   2 / 2
    2     weights      step   3 / 1

Timetable
    every step  mean_square, momentum, weights

Laws, per step; prev is the state before
    mean_square_gradient  = prev(mean_square) - gradient ** 2
                            objective 0.5 * norm2(mean_square - gradient ** 2); calculus
    mean_square           = prev(mean_square) - (1 - square_decay) * mean_square_gradient  explicit gradient step; nl:eq-46; nl:eq-47
    preconditioned        = gradient / (sqrt(mean_square) + eps)                           abbreviation
    momentum              = decay * prev(momentum) - learning_rate * preconditioned        explicit gradient step; nl:eq-46; nl:eq-47
    weights               = prev(weights) + momentum
                            explicit gradient step on -dot(weights, momentum); nl:eq-46; nl:eq-47
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
    """A momentum whose values are the gradients in the coordinates of a preconditioner, here the inverse root of their mean square.

    Takes the parameters first (tensors or groups of them), then by keyword, also for each group apart:
        learning_rate = 0.001
        decay = 0.9
        square_decay = 0.99
        eps = 1e-08
    Groups keep the learning rate as `lr`, which is what torch's schedulers change.
    A gradient that is not finite stops a step with `nonfinite="raise"`, passes it over with "skip"; both wait for the device.
    State of each parameter, in its dtype or float32, whichever is wider: mean_square, momentum.
    """

    def __init__(
        self,
        params: ParamsT,
        learning_rate: float = 0.001,
        decay: float = 0.9,
        square_decay: float = 0.99,
        eps: float = 1e-08,
        nonfinite: str | None = None,
    ) -> None:
        self.nonfinite = _policy(nonfinite)
        super().__init__(params, {"lr": learning_rate, "decay": decay, "square_decay": square_decay, "eps": eps})

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
            if name == "square_decay" and value < 0:
                raise ValueError(f"{name} must not be negative, but it is {value}")
            if name == "square_decay" and value >= 1:
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
                self.state[x]["momentum"] = torch.zeros_like(x, dtype=dtype)
        mean_square = [self.state[x]["mean_square"] for x in weights]
        momentum = [self.state[x]["momentum"] for x in weights]
        learning_rate, decay, square_decay, eps = group["lr"], group["decay"], group["square_decay"], group["eps"]
        # mean_square_gradient = prev(mean_square) - gradient ** 2
        # mean_square = prev(mean_square) - (1 - square_decay) * mean_square_gradient
        torch._foreach_mul_(mean_square, square_decay)
        torch._foreach_addcmul_(mean_square, gradient, gradient, value=1 - square_decay)
        # preconditioned = gradient / (sqrt(mean_square) + eps)
        # momentum = decay * prev(momentum) - learning_rate * preconditioned
        denominator = torch._foreach_sqrt(mean_square)
        torch._foreach_add_(denominator, eps)
        torch._foreach_mul_(momentum, decay)
        torch._foreach_addcdiv_(momentum, gradient, denominator, value=-learning_rate)
        # weights = prev(weights) + momentum
        torch._foreach_add_(weights, momentum)


def _checked(gradient: Tensor) -> Tensor:
    if gradient.is_sparse or gradient.is_complex():
        raise ValueError("PreconditionedMomentum takes dense real gradients, neither sparse nor complex ones")
    return gradient


def _policy(nonfinite: str | None) -> str | None:
    if nonfinite not in (None, "raise", "skip"):
        raise ValueError(f'nonfinite must be "raise", "skip" or None, not {nonfinite!r}')
    return nonfinite


def _are_finite(groups: list[dict[str, Any]]) -> bool:
    """Whether all entries of all gradients are; this waits for the device."""
    finite = [_checked(x.grad).isfinite().all() for group in groups for x in group["params"] if x.grad is not None]
    return all(finite)


# sealed by nlc, sha256 of everything above: 18edea70a63a3ac55780ed5f6e32ca38f090f039e7fbf069cc28357257b99885
