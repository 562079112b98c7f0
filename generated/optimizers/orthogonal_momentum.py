"""OrthogonalMomentum, compiled from its description.

A linear momentum, read through Newton-Schulz steps that bring its singular values near 1; what Muon is without its look ahead.

Compiled by nlc from specs/optimizers/orthogonal_momentum.yaml. Edit the spec, not this file.
sha256 of the spec: b6b625d494f656d87f5375688da3ae2cbb4972cbf4b547a0d06204871410b092

Levels, fastest first (Nested Learning, Definition 2)
    rank  components      every     paper's number (slowest highest / slowest first)
    0     orthogonalised  step / 5  1 / 3
    1     momentum        step      2 / 2
    2     weights         step      3 / 1

Timetable
    every step      momentum, weights
    every step / 5  orthogonalised

Laws, per step; prev is the state before
    momentum                 = decay * prev(momentum) + gradient
                               explicit gradient step on -dot(momentum, gradient); nl:eq-42; nl:eq-52; atlas
    gram                     = prev(orthogonalised) @ transpose(prev(orthogonalised))  the Gram matrix
    orthogonalised_gradient  = -2.4445 * prev(orthogonalised) + (4.775 * gram - 2.0315 * (gram @ gram)) @ prev(orthogonalised)
                               objective -1.22225 * norm2(orthogonalised) + 1.19375 * norm2(transpose(orthogonalised) @ orthogonalised) -
                               4063 / 12000 * norm2(orthogonalised @ transpose(orthogonalised) @ orthogonalised); calculus
    orthogonalised           = prev(orthogonalised) - orthogonalised_gradient          explicit gradient step; nl:eq-42; nl:eq-52; atlas
    weights                  = prev(weights) - learning_rate * orthogonalised
                               explicit gradient step on dot(weights, orthogonalised); nl:eq-42; nl:eq-52; atlas
    orthogonalised           = momentum / (norm(momentum) + eps)                       before every step
"""

import math
from collections.abc import Callable
from typing import Any, overload

import torch
from torch import Tensor
from torch.optim import Optimizer
from torch.optim.optimizer import ParamsT

__all__ = ["OrthogonalMomentum"]


class OrthogonalMomentum(Optimizer):
    """A linear momentum, read through Newton-Schulz steps that bring its singular values near 1; what Muon is without its look ahead.

    Takes the parameters first (tensors or groups of them), then by keyword, also for each group apart:
        learning_rate = 0.001
        decay = 0.95
        eps = 1e-07
    Takes matrices alone. Their products are in `matmul_dtype`, by default in the dtype of the state.
    Groups keep the learning rate as `lr`, which is what torch's schedulers change.
    A gradient that is not finite stops a step with `nonfinite="raise"`, passes it over with "skip"; both wait for the device.
    State of each parameter, in its dtype or float32, whichever is wider: momentum.
    """

    def __init__(
        self,
        params: ParamsT,
        learning_rate: float = 0.001,
        decay: float = 0.95,
        eps: float = 1e-07,
        matmul_dtype: torch.dtype | None = None,
        nonfinite: str | None = None,
    ) -> None:
        self.matmul_dtype = matmul_dtype
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
        super().add_param_group(param_group)
        group = self.param_groups[-1]
        for name, x in zip(group.get("param_names", range(len(group["params"]))), group["params"], strict=True):
            if x.ndim != 2:
                self.param_groups.pop()
                raise ValueError(f"OrthogonalMomentum moves matrices, not parameter {name} of shape {tuple(x.shape)}")

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
        gradient = [_checked(x.grad).to(torch.promote_types(x.dtype, torch.float32)) for x in weights if x.grad is not None]
        momentum = [self.state[x]["momentum"] for x in weights]
        learning_rate, decay, eps = group["lr"], group["decay"], group["eps"]
        # momentum = decay * prev(momentum) + gradient
        torch._foreach_mul_(momentum, decay)
        torch._foreach_add_(momentum, gradient)
        stacked_momentum = _stacked_wide(momentum, self.matmul_dtype)
        # orthogonalised starts from momentum / (norm(momentum) + eps)
        orthogonalised = stacked_momentum / (torch.linalg.vector_norm(stacked_momentum, dim=(-2, -1)) + eps)[..., None, None]
        for _ in range(5):
            # gram = prev(orthogonalised) @ transpose(prev(orthogonalised))
            gram = orthogonalised @ orthogonalised.mT
            # orthogonalised_gradient = -2.4445 * prev(orthogonalised) + (4.775 * gram - 2.0315 * (gram @ gram)) @
            # prev(orthogonalised)
            # orthogonalised = prev(orthogonalised) - orthogonalised_gradient
            polynomial = torch.baddbmm(gram, gram, gram, beta=4.775, alpha=-2.0315)
            orthogonalised = torch.baddbmm(orthogonalised, polynomial, orthogonalised, beta=3.4445, alpha=-1)
        new_orthogonalised = _unstacked(orthogonalised, gradient[0])
        # weights = prev(weights) - learning_rate * orthogonalised
        torch._foreach_add_(weights, new_orthogonalised, alpha=-learning_rate)


def _checked(gradient: Tensor) -> Tensor:
    if gradient.is_sparse or gradient.is_complex():
        raise ValueError("OrthogonalMomentum takes dense real gradients, neither sparse nor complex ones")
    return gradient


def _policy(nonfinite: str | None) -> str | None:
    if nonfinite not in (None, "raise", "skip"):
        raise ValueError(f'nonfinite must be "raise", "skip" or None, not {nonfinite!r}')
    return nonfinite


def _are_finite(groups: list[dict[str, Any]]) -> bool:
    """Whether all entries of all gradients are; this waits for the device."""
    finite = [_checked(x.grad).isfinite().all() for group in groups for x in group["params"] if x.grad is not None]
    return all(finite)


def _stacked_wide(matrices: list[Tensor], dtype: torch.dtype | None = None) -> Tensor:
    """Matrices of one shape as one tensor (number, rows, columns); tall ones transposed, whose products are smaller then."""
    stacked = torch.stack(matrices)
    stacked = stacked.to(dtype or torch.promote_types(stacked.dtype, torch.float32))
    return stacked.mT if stacked.shape[-2] > stacked.shape[-1] else stacked


def _unstacked(stacked: Tensor, like: Tensor) -> tuple[Tensor, ...]:
    """The matrices of a stack, in the shape of `like`."""
    return (stacked if stacked.shape[1:] == like.shape else stacked.mT).unbind()


# sealed by nlc, sha256 of everything above: 9b674b6534b2980e487213c9fdbf92af65d61431d698b66e666a06e58b0b9173
