"""M3: Two momenta of different speeds, both with singular values brought near 1, over the root of the summed squares; as printed.

Compiled by nlc from specs/optimizers/m3.yaml. Edit the spec, not this file.
sha256 of the spec: cec896067da1d8ff3e414767ec1ee9f559a382bacca550580b8560752b995f42

Levels, fastest first (Nested Learning, Definition 2)
    rank  components                           every     paper's number (slowest highest / slowest first)
    0     orthogonalised, slow_orthogonalised  step / 5  1 / 4
    1     momentum, sum_of_squares             step      2 / 3
    2     weights                              step      3 / 2
    3     slow                                 10 steps  4 / 1

Timetable
    every step      momentum, sum_of_squares, weights
    every step / 5  orthogonalised, slow_orthogonalised
    every 10 steps  slow

Laws, per step; prev is the state before
    momentum                      = prev(momentum) + beta1 * gradient
                                    explicit gradient step on -dot(momentum, gradient); nl:algorithm-1
    gram                          = prev(orthogonalised) @ transpose(prev(orthogonalised))            the Gram matrix
    orthogonalised_gradient       = -2.4445 * prev(orthogonalised) + (4.775 * gram - 2.0315 * (gram @ gram)) @ prev(orthogonalised)
                                    objective -1.22225 * norm2(orthogonalised) + 1.19375 * norm2(transpose(orthogonalised) @
                                    orthogonalised) - 4063 / 12000 * norm2(orthogonalised @ transpose(orthogonalised) @ orthogonalised);
                                    calculus
    orthogonalised                = prev(orthogonalised) - orthogonalised_gradient                    explicit gradient step; nl:algorithm-1
    gram                          = prev(slow_orthogonalised) @ transpose(prev(slow_orthogonalised))  the Gram matrix
    slow_orthogonalised_gradient  = -2.4445 * prev(slow_orthogonalised) + (4.775 * gram - 2.0315 * (gram @ gram)) @
                                    prev(slow_orthogonalised)
                                    objective -1.22225 * norm2(slow_orthogonalised) + 1.19375 * norm2(transpose(slow_orthogonalised) @
                                    slow_orthogonalised) - 4063 / 12000 * norm2(slow_orthogonalised @ transpose(slow_orthogonalised) @
                                    slow_orthogonalised); calculus
    slow_orthogonalised           = prev(slow_orthogonalised) - slow_orthogonalised_gradient          explicit gradient step; nl:algorithm-1
    sum_of_squares                = prev(sum_of_squares) + beta2 * gradient ** 2
                                    explicit gradient step on -dot(sum_of_squares, gradient ** 2); nl:algorithm-1
    direction                     = (orthogonalised + alpha * slow_orthogonalised) / (sqrt(sum_of_squares) + eps)
                                    abbreviation
    weights                       = prev(weights) - learning_rate * direction                         explicit gradient step; nl:algorithm-1
    slow_gradient                 = -gradient
                                    objective -dot(slow, gradient); calculus
    gathered                      = prev(slow.gradient) + slow_gradient
                                    the data since the last update, of 10 steps
    slow                          = where(due(10 steps), prev(slow) - beta3 * gathered, prev(slow))   explicit gradient step; nl:algorithm-1
    slow.gradient                 = where(due(10 steps), 0, slow.gradient)                            kept: gathered since the last update
    position                      = prev(position) + 1                                                kept: the steps so far
    orthogonalised                = momentum / (norm(momentum) + eps)                                 before every step
    slow_orthogonalised           = prev(slow) / (norm(prev(slow)) + eps)                             before every step
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
    """Two momenta of different speeds, both with singular values brought near 1, over the root of the summed squares; as printed.

    Takes the parameters first (tensors or groups of them), then by keyword, also for each group apart:
        learning_rate = 0.001
        beta1 = 0.9
        beta2 = 0.999
        beta3 = 0.9
        alpha = 0.5
        eps = 1e-08
    Takes matrices alone. Their products are in `matmul_dtype`, by default in the dtype of the state.
    Groups keep the learning rate as `lr`, which is what torch's schedulers change.
    State of each parameter, in its dtype or float32, whichever is wider: momentum, sum_of_squares, slow, slow.gradient.
    Each parameter counts the steps at which it had a gradient.
    """

    def __init__(
        self,
        params: ParamsT,
        learning_rate: float = 0.001,
        beta1: float = 0.9,
        beta2: float = 0.999,
        beta3: float = 0.9,
        alpha: float = 0.5,
        eps: float = 1e-08,
        matmul_dtype: torch.dtype | None = None,
    ) -> None:
        self.matmul_dtype = matmul_dtype
        super().__init__(params, {"lr": learning_rate, "beta1": beta1, "beta2": beta2, "beta3": beta3, "alpha": alpha, "eps": eps})

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
                raise ValueError(f"M3 moves matrices; parameter {name} has the shape {tuple(x.shape)}: give it to another optimizer")

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
                self.state[x]["sum_of_squares"] = torch.zeros_like(x, dtype=dtype)
                self.state[x]["slow"] = torch.zeros_like(x, dtype=dtype)
                self.state[x]["slow.gradient"] = torch.zeros_like(x, dtype=dtype)
                self.state[x]["step"] = 0
        for kind in dict.fromkeys((self.state[x]["step"], x.shape) for x in weights):
            self._move([x for x in weights if (self.state[x]["step"], x.shape) == kind], group)

    def _move(self, weights: list[Tensor], group: dict[str, Any]) -> None:
        """One update of tensors of one shape that have had equally many."""
        gradient = [_checked(x.grad).to(torch.promote_types(x.dtype, torch.float32)) for x in weights]
        step = self.state[weights[0]]["step"] + 1
        momentum = [self.state[x]["momentum"] for x in weights]
        sum_of_squares = [self.state[x]["sum_of_squares"] for x in weights]
        slow = [self.state[x]["slow"] for x in weights]
        slow_gradient = [self.state[x]["slow.gradient"] for x in weights]
        learning_rate = group["lr"]
        beta1 = group["beta1"]
        beta2 = group["beta2"]
        beta3 = group["beta3"]
        alpha = group["alpha"]
        eps = group["eps"]
        # momentum = prev(momentum) + beta1 * gradient
        torch._foreach_add_(momentum, gradient, alpha=beta1)
        stacked_momentum = _stacked(momentum, self.matmul_dtype)
        stacked_slow = _stacked(slow, self.matmul_dtype)
        # orthogonalised starts from momentum / (norm(momentum) + eps)
        orthogonalised = stacked_momentum / (torch.linalg.vector_norm(stacked_momentum, dim=(-2, -1)) + eps)[..., None, None]
        # slow_orthogonalised starts from prev(slow) / (norm(prev(slow)) + eps)
        slow_orthogonalised = stacked_slow / (torch.linalg.vector_norm(stacked_slow, dim=(-2, -1)) + eps)[..., None, None]
        for _ in range(5):
            # gram = prev(orthogonalised) @ transpose(prev(orthogonalised))
            gram = orthogonalised @ orthogonalised.mT
            # orthogonalised_gradient = -2.4445 * prev(orthogonalised) + (4.775 * gram - 2.0315 * (gram @ gram)) @
            # prev(orthogonalised)
            # orthogonalised = prev(orthogonalised) - orthogonalised_gradient
            orthogonalised = torch.baddbmm(
                orthogonalised, torch.baddbmm(gram, gram, gram, beta=4.775, alpha=-2.0315), orthogonalised, beta=3.4445, alpha=-1
            )
            # gram = prev(slow_orthogonalised) @ transpose(prev(slow_orthogonalised))
            gram_ = slow_orthogonalised @ slow_orthogonalised.mT
            # slow_orthogonalised_gradient = -2.4445 * prev(slow_orthogonalised) + (4.775 * gram - 2.0315 * (gram @ gram)) @
            # prev(slow_orthogonalised)
            # slow_orthogonalised = prev(slow_orthogonalised) - slow_orthogonalised_gradient
            slow_orthogonalised = torch.baddbmm(
                slow_orthogonalised,
                torch.baddbmm(gram_, gram_, gram_, beta=4.775, alpha=-2.0315),
                slow_orthogonalised,
                beta=3.4445,
                alpha=-1,
            )
        new_orthogonalised = _unstacked(orthogonalised, gradient[0])
        new_slow_orthogonalised = _unstacked(slow_orthogonalised, gradient[0])
        # sum_of_squares = prev(sum_of_squares) + beta2 * gradient ** 2
        torch._foreach_addcmul_(sum_of_squares, gradient, gradient, value=beta2)
        # direction = (orthogonalised + alpha * slow_orthogonalised) / (sqrt(sum_of_squares) + eps)
        # weights = prev(weights) - learning_rate * direction
        numerator = torch._foreach_add(new_orthogonalised, new_slow_orthogonalised, alpha=alpha)
        denominator = torch._foreach_sqrt(sum_of_squares)
        torch._foreach_add_(denominator, eps)
        torch._foreach_addcdiv_(weights, numerator, denominator, value=-learning_rate)
        # slow_gradient = -gradient
        # gathered = prev(slow.gradient) + slow_gradient
        torch._foreach_add_(slow_gradient, gradient, alpha=-1)
        if step % 10 == 0:
            # slow = prev(slow) - beta3 * gathered
            torch._foreach_add_(slow, slow_gradient, alpha=-beta3)
            torch._foreach_zero_(slow_gradient)
        for x in weights:
            self.state[x]["step"] = step


def _checked(gradient: Tensor) -> Tensor:
    if gradient.is_sparse or gradient.is_complex():
        raise ValueError("M3 takes dense real gradients, neither sparse nor complex ones")
    return gradient


def _stacked(matrices: list[Tensor], dtype: torch.dtype | None, as_they_are: bool = False) -> Tensor:
    """Matrices of one shape as one tensor (number, rows, columns); tall ones transposed, whose products are smaller then."""
    stacked = torch.stack(matrices)
    stacked = stacked if dtype is None else stacked.to(dtype)
    return stacked.mT if stacked.shape[-2] > stacked.shape[-1] and not as_they_are else stacked


def _unstacked(stacked: Tensor, like: Tensor) -> tuple[Tensor, ...]:
    """The matrices of a stack, in the shape of `like`."""
    return (stacked if stacked.shape[1:] == like.shape else stacked.mT).unbind()


# sealed by nlc, sha256 of everything above: f55939c91a63c91edf88fb2ebefe5e579e26e1df8f194aeea491dd24b0a4b673
