"""DeltaMomentumOfMatrices, compiled from its description.

Momentum that is to answer the gradient's direction with minus the identity, fitted to the squared error; for matrices.

Compiled by nlc from specs/optimizers/delta_momentum_of_matrices.yaml. Edit the spec, not this file.
sha256 of the spec: 8e6bc865db1d13a260567ce53e448357fc42bf7de12c98cd8e57d91d35e8cc26

Levels, fastest first (Nested Learning, Definition 2)
    rank  components  every  paper's number (slowest highest / slowest first)
    0     momentum    step   1 / 2
    1     weights     step   2 / 1

Timetable
    every step  momentum, weights

Laws, per step; prev is the state before
    direction          = gradient / (norm(gradient) + eps)                           abbreviation
    momentum_gradient  = (prev(momentum) @ transpose(direction) + eye) @ direction
                         objective 0.5 * norm2(momentum @ transpose(direction) + eye); calculus
    momentum           = decay * prev(momentum) - learning_rate * momentum_gradient  explicit gradient step; nl:eq-48; nl:eq-49
    weights            = prev(weights) + momentum
                         explicit gradient step on -dot(weights, momentum); nl:eq-48; nl:eq-49
"""

import math
from collections.abc import Callable
from typing import Any, overload

import torch
from torch import Tensor
from torch.optim import Optimizer
from torch.optim.optimizer import ParamsT

__all__ = ["DeltaMomentumOfMatrices"]


class DeltaMomentumOfMatrices(Optimizer):
    """Momentum that is to answer the gradient's direction with minus the identity, fitted to the squared error; for matrices.

    Takes the parameters first (tensors or groups of them), then by keyword, also for each group apart:
        learning_rate = 0.01
        decay = 0.9
        eps = 1e-08
    Takes matrices alone.
    Groups keep the learning rate as `lr`, which is what torch's schedulers change.
    State of each parameter, in its dtype or float32, whichever is wider: momentum.
    """

    def __init__(self, params: ParamsT, learning_rate: float = 0.01, decay: float = 0.9, eps: float = 1e-08) -> None:
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
        super().add_param_group(param_group)
        group = self.param_groups[-1]
        for name, x in zip(group.get("param_names", range(len(group["params"]))), group["params"], strict=True):
            if x.ndim != 2:
                raise ValueError(f"DeltaMomentumOfMatrices moves matrices; parameter {name} has the shape {tuple(x.shape)}: give it to another optimizer")

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
                self.state[x]["momentum"] = torch.zeros_like(x, dtype=dtype)
        for kind in dict.fromkeys(x.shape for x in weights):
            self._move([x for x in weights if x.shape == kind], group)

    def _move(self, weights: list[Tensor], group: dict[str, Any]) -> None:
        """One update of tensors of one shape."""
        gradient = [_checked(x.grad).to(torch.promote_types(x.dtype, torch.float32)) for x in weights]
        momentum = [self.state[x]["momentum"] for x in weights]
        learning_rate, decay, eps = group["lr"], group["decay"], group["eps"]
        rows, columns = weights[0].shape
        stacked_gradient = _stacked(gradient, None, as_they_are=True)
        stacked_momentum = _stacked(momentum, None, as_they_are=True)
        # direction = gradient / (norm(gradient) + eps)
        direction = stacked_gradient / (torch.linalg.vector_norm(stacked_gradient, dim=(-2, -1)) + eps)[..., None, None]
        # momentum_gradient = (prev(momentum) @ transpose(direction) + eye) @ direction
        # momentum = decay * prev(momentum) - learning_rate * momentum_gradient
        stacked_momentum = torch.baddbmm(
            stacked_momentum,
            torch.baddbmm(torch.eye(rows, dtype=stacked_gradient.dtype, device=stacked_gradient.device), stacked_momentum, direction.mT),
            direction,
            beta=decay,
            alpha=-learning_rate,
        )
        torch._foreach_copy_(momentum, stacked_momentum.unbind())
        # weights = prev(weights) + momentum
        torch._foreach_add_(weights, momentum)


def _checked(gradient: Tensor) -> Tensor:
    if gradient.is_sparse or gradient.is_complex():
        raise ValueError("DeltaMomentumOfMatrices takes dense real gradients, neither sparse nor complex ones")
    return gradient


def _stacked(matrices: list[Tensor], dtype: torch.dtype | None, as_they_are: bool = False) -> Tensor:
    """Matrices of one shape as one tensor (number, rows, columns); tall ones transposed, whose products are smaller then."""
    stacked = torch.stack(matrices)
    stacked = stacked if dtype is None else stacked.to(dtype)
    return stacked.mT if stacked.shape[-2] > stacked.shape[-1] and not as_they_are else stacked


def _unstacked(stacked: Tensor, like: Tensor) -> tuple[Tensor, ...]:
    """The matrices of a stack, in the shape of `like`."""
    return (stacked if stacked.shape[1:] == like.shape else stacked.mT).unbind()


# sealed by nlc, sha256 of everything above: 522236aa7f9d13b5170f590d6877a88e6b1ebb63dc0944e2a7d81f127ea36f33
