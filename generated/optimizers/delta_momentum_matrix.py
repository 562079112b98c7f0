"""DeltaMomentumMatrix, compiled from its description.

A momentum that maps gradients, its keys, to minus themselves by squared error; it forgets in the directions of their columns alone.

Compiled by nlc from specs/optimizers/delta_momentum_matrix.yaml. Edit the spec, not this file.
sha256 of the spec: 451a9e98a91dc6a45571c874a0e45e873ef90bdf68d8685c09a8fac9228a95dc

Levels, fastest first (Nested Learning, Definition 2)
    rank  components  every  paper's number (slowest highest / slowest first)
    0     momentum    step   1 / 2
    1     weights     step   2 / 1

Timetable
    every step  momentum, weights

Laws, per step; prev is the state before
    direction          = gradient / (norm(gradient) + eps)           abbreviation
    momentum_gradient  = rate * (prev(momentum) @ transpose(direction) @ direction) + learning_rate * gradient
                         objective 0.5 * (rate * norm2(momentum @ transpose(direction))) + learning_rate * dot(momentum, gradient);
                         calculus
    momentum           = decay * prev(momentum) - momentum_gradient  explicit gradient step; nl:eq-48; nl:eq-49
    weights            = prev(weights) + momentum                    explicit gradient step on -dot(weights, momentum); nl:eq-48; nl:eq-49
"""

import math
from collections.abc import Callable
from typing import Any, overload

import torch
from torch import Tensor
from torch.optim import Optimizer
from torch.optim.optimizer import ParamsT

__all__ = ["DeltaMomentumMatrix"]


class DeltaMomentumMatrix(Optimizer):
    """DeltaMomentumMatrix, a torch optimizer.

    A momentum that maps gradients, its keys, to minus themselves by squared error; it forgets in the directions of their columns
    alone.

    Takes the parameters first (tensors or groups of them), then by keyword, also for each group apart:
        learning_rate = 0.01
        decay = 0.9
        rate = 0.1
        eps = 1e-12
    Takes matrices alone.
    Groups keep the learning rate as `lr`, which is what torch's schedulers change.
    A gradient that is not finite stops a step with `nonfinite="raise"`, passes it over with "skip"; both wait for the device.
    State of each parameter, in its dtype or float32, whichever is wider: momentum.
    """

    def __init__(
        self,
        params: ParamsT,
        learning_rate: float = 0.01,
        decay: float = 0.9,
        rate: float = 0.1,
        eps: float = 1e-12,
        nonfinite: str | None = None,
    ) -> None:
        self.nonfinite = _policy(nonfinite)
        super().__init__(params, {"lr": learning_rate, "decay": decay, "rate": rate, "eps": eps})

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
                self.param_groups.pop()
                raise ValueError(f"DeltaMomentumMatrix moves matrices, not parameter {name} of shape {tuple(x.shape)}")

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
                self.state[x]["momentum"] = torch.zeros_like(x, dtype=dtype)
        kinds = [x.shape for x in weights]
        for place, kind in enumerate(kinds):
            if kind not in kinds[:place]:
                self._move([x for x, own in zip(weights, kinds, strict=True) if own == kind], group)

    def _move(self, weights: list[Tensor], group: dict[str, Any]) -> None:
        """One update of tensors of one shape."""
        gradient = [_checked(x.grad) for x in weights if x.grad is not None]
        momentum = [self.state[x]["momentum"] for x in weights]
        learning_rate, decay, rate, eps = group["lr"], group["decay"], group["rate"], group["eps"]
        stacked_gradient = _stacked(gradient)
        stacked_momentum = _stacked(momentum)
        # direction = gradient / (norm(gradient) + eps)
        direction = stacked_gradient / (torch.linalg.vector_norm(stacked_gradient, dim=(-2, -1)) + eps)[..., None, None]
        # momentum_gradient = rate * (prev(momentum) @ transpose(direction) @ direction) + learning_rate * gradient
        # momentum = decay * prev(momentum) - momentum_gradient
        stacked_momentum = (
            decay * stacked_momentum - rate * (stacked_momentum @ direction.mT @ direction) - learning_rate * stacked_gradient
        )
        torch._foreach_copy_(momentum, stacked_momentum.unbind())
        # weights = prev(weights) + momentum
        torch._foreach_add_(weights, momentum)


def _checked(gradient: Tensor) -> Tensor:
    if gradient.is_sparse or gradient.is_complex():
        raise ValueError("DeltaMomentumMatrix takes dense real gradients, neither sparse nor complex ones")
    return gradient


def _policy(nonfinite: str | None) -> str | None:
    if nonfinite not in (None, "raise", "skip"):
        raise ValueError(f'nonfinite must be "raise", "skip" or None, not {nonfinite!r}')
    return nonfinite


def _are_finite(groups: list[dict[str, Any]]) -> bool:
    """Whether all entries of all gradients are; this waits for the device."""
    finite = [_checked(x.grad).isfinite().all() for group in groups for x in group["params"] if x.grad is not None]
    return all(finite)


def _stacked(matrices: list[Tensor], dtype: torch.dtype | None = None) -> Tensor:
    """Matrices of one shape as one tensor (number, rows, columns)."""
    stacked = torch.stack(matrices)
    return stacked.to(dtype or torch.promote_types(stacked.dtype, torch.float32))


# sealed by nlc, sha256 of everything above: a6386a5f1f912be35eeb320d4a2322c5fcb3bc4c4e4ccb9b607baff4b7bf11b1
