"""AdamW: Adam with decoupled weight decay, which is the retention of the weights.

Compiled by nlc from specs/optimizers/adamw.yaml. Edit the spec, not this file.
sha256 of the spec: 19801a0f7740f4c83d5cb8cca4b416fc3b417cb5f0c2818fffacad2aad2a6c18

Levels, fastest first (Nested Learning, Definition 2)
    rank  components                   every  paper's number (slowest highest / slowest first)
    0     first_moment, second_moment  step   1 / 2
    1     weights                      step   2 / 1

Timetable
    every step  first_moment, second_moment, weights

Laws, per step; prev is the state before
    first_moment_gradient   = prev(first_moment) - gradient
                              objective 0.5 * norm2(first_moment - gradient); calculus
    first_moment            = prev(first_moment) - (1 - beta1) * first_moment_gradient    explicit gradient step; adamw; nl:eq-38
    second_moment_gradient  = prev(second_moment) - gradient ** 2
                              objective 0.5 * norm2(second_moment - gradient ** 2); calculus
    second_moment           = prev(second_moment) - (1 - beta2) * second_moment_gradient  explicit gradient step; adamw; nl:eq-38
    unbiased_first          = first_moment / (1 - beta1 ** tick(weights))                 abbreviation
    unbiased_second         = second_moment / (1 - beta2 ** tick(weights))                abbreviation
    direction               = unbiased_first / (sqrt(unbiased_second) + eps)              abbreviation
    weights                 = (1 - learning_rate * weight_decay) * prev(weights) - learning_rate * direction
                              explicit gradient step; adamw; nl:eq-38
    position                = prev(position) + 1                                          kept: the steps so far
"""

import math
from collections.abc import Callable
from typing import Any, overload

import torch
from torch import Tensor
from torch.optim import Optimizer
from torch.optim.optimizer import ParamsT

__all__ = ["AdamW"]


class AdamW(Optimizer):
    """Adam with decoupled weight decay, which is the retention of the weights.

    Takes the parameters first (tensors or groups of them), then by keyword, also for each group apart:
        learning_rate = 0.001
        beta1 = 0.9
        beta2 = 0.999
        eps = 1e-08
        weight_decay = 0.01
    Groups keep the learning rate as `lr`, which is what torch's schedulers change.
    A gradient that is not finite stops a step with `nonfinite="raise"`, passes it over with "skip"; both wait for the device.
    State of each parameter, in its dtype or float32, whichever is wider: first_moment, second_moment.
    Each parameter counts the steps at which it had a gradient.
    """

    def __init__(
        self,
        params: ParamsT,
        learning_rate: float = 0.001,
        beta1: float = 0.9,
        beta2: float = 0.999,
        eps: float = 1e-08,
        weight_decay: float = 0.01,
        nonfinite: str | None = None,
    ) -> None:
        self.nonfinite = _policy(nonfinite)
        super().__init__(params, {"lr": learning_rate, "beta1": beta1, "beta2": beta2, "eps": eps, "weight_decay": weight_decay})

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
            if name in ("beta1", "beta2") and value < 0:
                raise ValueError(f"{name} must not be negative, but it is {value}")
            if name in ("beta1", "beta2") and value >= 1:
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
        """The laws, for all tensors of a group at once, as far as they are alike."""
        weights = [x for x in group["params"] if x.grad is not None]
        for x in weights:
            if not self.state[x]:
                dtype = torch.promote_types(x.dtype, torch.float32)
                self.state[x]["first_moment"] = torch.zeros_like(x, dtype=dtype)
                self.state[x]["second_moment"] = torch.zeros_like(x, dtype=dtype)
                self.state[x]["step"] = 0
        kinds = [self.state[x]["step"] for x in weights]
        for place, kind in enumerate(kinds):
            if kind not in kinds[:place]:
                self._move([x for x, own in zip(weights, kinds, strict=True) if own == kind], group)

    def _move(self, weights: list[Tensor], group: dict[str, Any]) -> None:
        """One update of tensors after equally many steps."""
        gradient = [_checked(x.grad).to(torch.promote_types(x.dtype, torch.float32)) for x in weights if x.grad is not None]
        step = self.state[weights[0]]["step"] + 1
        first_moment = [self.state[x]["first_moment"] for x in weights]
        second_moment = [self.state[x]["second_moment"] for x in weights]
        learning_rate, beta1, beta2, eps, weight_decay = group["lr"], group["beta1"], group["beta2"], group["eps"], group["weight_decay"]
        # first_moment_gradient = prev(first_moment) - gradient
        # first_moment = prev(first_moment) - (1 - beta1) * first_moment_gradient
        torch._foreach_lerp_(first_moment, gradient, 1 - beta1)
        # second_moment_gradient = prev(second_moment) - gradient ** 2
        # second_moment = prev(second_moment) - (1 - beta2) * second_moment_gradient
        torch._foreach_mul_(second_moment, beta2)
        torch._foreach_addcmul_(second_moment, gradient, gradient, value=1 - beta2)
        # unbiased_second = second_moment / (1 - beta2 ** tick(weights))
        # unbiased_first = first_moment / (1 - beta1 ** tick(weights))
        # direction = unbiased_first / (sqrt(unbiased_second) + eps)
        # weights = (1 - learning_rate * weight_decay) * prev(weights) - learning_rate * direction
        denominator = torch._foreach_div(second_moment, 1 - beta2**step)
        torch._foreach_sqrt_(denominator)
        torch._foreach_add_(denominator, eps)
        torch._foreach_mul_(weights, 1 - learning_rate * weight_decay)
        torch._foreach_addcdiv_(weights, first_moment, denominator, value=-learning_rate / (1 - beta1**step))
        for x in weights:
            self.state[x]["step"] = step


def _checked(gradient: Tensor) -> Tensor:
    if gradient.is_sparse or gradient.is_complex():
        raise ValueError("AdamW takes dense real gradients, neither sparse nor complex ones")
    return gradient


def _policy(nonfinite: str | None) -> str | None:
    if nonfinite not in (None, "raise", "skip"):
        raise ValueError(f'nonfinite must be "raise", "skip" or None, not {nonfinite!r}')
    return nonfinite


def _are_finite(groups: list[dict[str, Any]]) -> bool:
    """Whether all entries of all gradients are; this waits for the device."""
    finite = [_checked(x.grad).isfinite().all() for group in groups for x in group["params"] if x.grad is not None]
    return all(finite)


# sealed by nlc, sha256 of everything above: e616581f0c12fbad094b11ee5a237ac716dfd805273829f46dbce46960632852
