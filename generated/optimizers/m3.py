"""M3: Momenta at two speeds and a sum of squares, as Algorithm 1 prints them; the slow momentum moves more slowly than the weights.

Compiled by nlc from specs/optimizers/m3.yaml. Edit the spec, not this file.
sha256 of the spec: c9cd3cbb030073924f52e918a4edced9f486bebbbaa9f2af0c16b9e76fe0e1c5

Levels, fastest first (Nested Learning, Definition 2)
    rank  components                      every     paper's number (slowest highest / slowest first)
    0     fast_direction, slow_direction  step / 5  1 / 4
    1     fast, square_sum                step      2 / 3
    2     weights                         step      3 / 2
    3     slow                            8 steps   4 / 1

Timetable
    every step      fast, square_sum, weights
    every step / 5  fast_direction, slow_direction
    every 8 steps   slow

Laws, per step; prev is the state before
    fast                     = prev(fast) + beta1 * gradient
                               explicit gradient step on -dot(fast, gradient); nl:algorithm-1; nl:eq-75; muon
    square_sum               = prev(square_sum) + beta2 * gradient ** 2
                               explicit gradient step on -dot(square_sum, gradient ** 2); nl:algorithm-1; nl:eq-75; muon
    gram                     = prev(fast_direction) @ transpose(prev(fast_direction))                the Gram matrix
    fast_direction_gradient  = -2.4445 * prev(fast_direction) + (4.775 * gram - 2.0315 * (gram @ gram)) @ prev(fast_direction)
                               objective -1.22225 * norm2(fast_direction) + 1.19375 * norm2(transpose(fast_direction) @ fast_direction) -
                               4063 / 12000 * norm2(fast_direction @ transpose(fast_direction) @ fast_direction); calculus
    fast_direction           = prev(fast_direction) - fast_direction_gradient
                               explicit gradient step; nl:algorithm-1; nl:eq-75; muon
    gram                     = prev(slow_direction) @ transpose(prev(slow_direction))                the Gram matrix
    slow_direction_gradient  = -2.4445 * prev(slow_direction) + (4.775 * gram - 2.0315 * (gram @ gram)) @ prev(slow_direction)
                               objective -1.22225 * norm2(slow_direction) + 1.19375 * norm2(transpose(slow_direction) @ slow_direction) -
                               4063 / 12000 * norm2(slow_direction @ transpose(slow_direction) @ slow_direction); calculus
    slow_direction           = prev(slow_direction) - slow_direction_gradient
                               explicit gradient step; nl:algorithm-1; nl:eq-75; muon
    weights_gradient         = (fast_direction + share * slow_direction) / (sqrt(square_sum) + eps)
                               objective dot(weights, (fast_direction + share * slow_direction) / (sqrt(square_sum) + eps)); calculus
    weights                  = prev(weights) - learning_rate * weights_gradient
                               explicit gradient step; nl:algorithm-1; nl:eq-75; muon
    slow_gradient            = -gradient
                               objective -dot(slow, gradient); calculus
    gathered                 = prev(slow.gradient) + slow_gradient
                               the data since the last update, of 8 steps
    slow                     = where(due(8 steps), prev(slow) - beta3 * gathered, prev(slow))
                               explicit gradient step; nl:algorithm-1; nl:eq-75; muon
    slow.gradient            = where(due(8 steps), 0, slow.gradient)                                 kept: gathered since the last update
    position                 = prev(position) + 1                                                    kept: the steps so far
    fast_direction           = fast / (norm(fast) + eps)                                             before every step
    slow_direction           = prev(slow) / (norm(prev(slow)) + eps)                                 before every step
"""

import math
from collections.abc import Callable
from typing import Any, overload

import torch
from torch import Tensor
from torch.optim import Optimizer
from torch.optim.optimizer import ParamsT

__all__ = ["M3"]


class M3(Optimizer):
    """Momenta at two speeds and a sum of squares, as Algorithm 1 prints them; the slow momentum moves more slowly than the weights.

    Takes the parameters first (tensors or groups of them), then by keyword, also for each group apart:
        learning_rate = 0.02
        beta1 = 0.9
        beta2 = 0.999
        beta3 = 0.9
        share = 0.5
        eps = 1e-08
    Takes matrices alone. Their products are in `matmul_dtype`, by default in the dtype of the state.
    Groups keep the learning rate as `lr`, which is what torch's schedulers change.
    A gradient that is not finite stops a step with `nonfinite="raise"`, passes it over with "skip"; both wait for the device.
    State of each parameter, in its dtype or float32, whichever is wider: fast, square_sum, slow, slow.gradient.
    Each parameter counts the steps at which it had a gradient.
    """

    def __init__(
        self,
        params: ParamsT,
        learning_rate: float = 0.02,
        beta1: float = 0.9,
        beta2: float = 0.999,
        beta3: float = 0.9,
        share: float = 0.5,
        eps: float = 1e-08,
        matmul_dtype: torch.dtype | None = None,
        nonfinite: str | None = None,
    ) -> None:
        self.matmul_dtype = matmul_dtype
        self.nonfinite = _policy(nonfinite)
        super().__init__(params, {"lr": learning_rate, "beta1": beta1, "beta2": beta2, "beta3": beta3, "share": share, "eps": eps})

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
            if name in ("beta1", "beta2", "beta3") and value < 0:
                raise ValueError(f"{name} must not be negative, but it is {value}")
        super().add_param_group(param_group)
        group = self.param_groups[-1]
        for name, x in zip(group.get("param_names", range(len(group["params"]))), group["params"], strict=True):
            if x.ndim != 2:
                self.param_groups.pop()
                raise ValueError(f"M3 moves matrices, not parameter {name} of shape {tuple(x.shape)}")

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
                self.state[x]["fast"] = torch.zeros_like(x, dtype=dtype)
                self.state[x]["square_sum"] = torch.zeros_like(x, dtype=dtype)
                self.state[x]["slow"] = torch.zeros_like(x, dtype=dtype)
                self.state[x]["slow.gradient"] = torch.zeros_like(x, dtype=dtype)
                self.state[x]["step"] = 0
        kinds = [(x.shape, self.state[x]["step"]) for x in weights]
        for place, kind in enumerate(kinds):
            if kind not in kinds[:place]:
                self._move([x for x, own in zip(weights, kinds, strict=True) if own == kind], group)

    def _move(self, weights: list[Tensor], group: dict[str, Any]) -> None:
        """One update of tensors of one shape, after equally many steps."""
        gradient = [_checked(x.grad).to(torch.promote_types(x.dtype, torch.float32)) for x in weights if x.grad is not None]
        step = self.state[weights[0]]["step"] + 1
        fast = [self.state[x]["fast"] for x in weights]
        square_sum = [self.state[x]["square_sum"] for x in weights]
        slow = [self.state[x]["slow"] for x in weights]
        slow_gradient = [self.state[x]["slow.gradient"] for x in weights]
        learning_rate, beta1, beta2, beta3, share, eps = (group[name] for name in ("lr", "beta1", "beta2", "beta3", "share", "eps"))
        # fast = prev(fast) + beta1 * gradient
        torch._foreach_add_(fast, gradient, alpha=beta1)
        # square_sum = prev(square_sum) + beta2 * gradient ** 2
        torch._foreach_addcmul_(square_sum, gradient, gradient, value=beta2)
        stacked_fast = _stacked_wide(fast, self.matmul_dtype)
        stacked_slow = _stacked_wide(slow, self.matmul_dtype)
        # fast_direction starts from fast / (norm(fast) + eps)
        fast_direction = stacked_fast / (torch.linalg.vector_norm(stacked_fast, dim=(-2, -1)) + eps)[..., None, None]
        # slow_direction starts from prev(slow) / (norm(prev(slow)) + eps)
        slow_direction = stacked_slow / (torch.linalg.vector_norm(stacked_slow, dim=(-2, -1)) + eps)[..., None, None]
        for _ in range(5):
            # gram = prev(fast_direction) @ transpose(prev(fast_direction))
            gram = fast_direction @ fast_direction.mT
            # fast_direction_gradient = -2.4445 * prev(fast_direction) + (4.775 * gram - 2.0315 * (gram @ gram)) @
            # prev(fast_direction)
            # fast_direction = prev(fast_direction) - fast_direction_gradient
            polynomial = torch.baddbmm(gram, gram, gram, beta=4.775, alpha=-2.0315)
            fast_direction = torch.baddbmm(fast_direction, polynomial, fast_direction, beta=3.4445, alpha=-1)
            # gram = prev(slow_direction) @ transpose(prev(slow_direction))
            slow_direction_gram = slow_direction @ slow_direction.mT
            # slow_direction_gradient = -2.4445 * prev(slow_direction) + (4.775 * gram - 2.0315 * (gram @ gram)) @
            # prev(slow_direction)
            # slow_direction = prev(slow_direction) - slow_direction_gradient
            slow_direction_polynomial = torch.baddbmm(
                slow_direction_gram, slow_direction_gram, slow_direction_gram, beta=4.775, alpha=-2.0315
            )
            slow_direction = torch.baddbmm(slow_direction, slow_direction_polynomial, slow_direction, beta=3.4445, alpha=-1)
        new_fast_direction = _unstacked(fast_direction, gradient[0])
        new_slow_direction = _unstacked(slow_direction, gradient[0])
        # weights_gradient = (fast_direction + share * slow_direction) / (sqrt(square_sum) + eps)
        # weights = prev(weights) - learning_rate * weights_gradient
        numerator = torch._foreach_add(new_fast_direction, new_slow_direction, alpha=share)
        denominator = torch._foreach_sqrt(square_sum)
        torch._foreach_add_(denominator, eps)
        torch._foreach_addcdiv_(weights, numerator, denominator, value=-learning_rate)
        # slow_gradient = -gradient
        # gathered = prev(slow.gradient) + slow_gradient
        torch._foreach_add_(slow_gradient, gradient, alpha=-1)
        if step % 8 == 0:
            # slow = prev(slow) - beta3 * gathered
            torch._foreach_add_(slow, slow_gradient, alpha=-beta3)
            torch._foreach_zero_(slow_gradient)
        for x in weights:
            self.state[x]["step"] = step


def _checked(gradient: Tensor) -> Tensor:
    if gradient.is_sparse or gradient.is_complex():
        raise ValueError("M3 takes dense real gradients, neither sparse nor complex ones")
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


# sealed by nlc, sha256 of everything above: 430e96d63a610657569b2bb2577d4c4c11d52046faf75f757f39017e3bac00dc
