"""M3Guarded: M3 with moving averages in place of sums, over a root that is at least a share of its mean, so that no step explodes.

Compiled by nlc from specs/optimizers/m3_guarded.yaml. Edit the spec, not this file.
sha256 of the spec: 5754c9fd66cdc2928893ebaa51d549485fe9815ab04f67e1ef6f3533b726d559

Levels, fastest first (Nested Learning, Definition 2)
    rank  components                           every     paper's number (slowest highest / slowest first)
    0     orthogonalised, slow_orthogonalised  step / 5  1 / 4
    1     momentum, second_moment              step      2 / 3
    2     weights                              step      3 / 2
    3     slow                                 10 steps  4 / 1

Timetable
    every step      momentum, second_moment, weights
    every step / 5  orthogonalised, slow_orthogonalised
    every 10 steps  slow

Laws, per step; prev is the state before
    momentum_gradient             = prev(momentum) - gradient
                                    objective 0.5 * norm2(momentum - gradient); calculus
    momentum                      = prev(momentum) - (1 - beta1) * momentum_gradient
                                    explicit gradient step; nl:algorithm-1; nlc
    gram                          = prev(orthogonalised) @ transpose(prev(orthogonalised))                      the Gram matrix
    orthogonalised_gradient       = -2.4445 * prev(orthogonalised) + (4.775 * gram - 2.0315 * (gram @ gram)) @ prev(orthogonalised)
                                    objective -1.22225 * norm2(orthogonalised) + 1.19375 * norm2(transpose(orthogonalised) @
                                    orthogonalised) - 4063 / 12000 * norm2(orthogonalised @ transpose(orthogonalised) @ orthogonalised);
                                    calculus
    orthogonalised                = prev(orthogonalised) - orthogonalised_gradient
                                    explicit gradient step; nl:algorithm-1; nlc
    gram                          = prev(slow_orthogonalised) @ transpose(prev(slow_orthogonalised))            the Gram matrix
    slow_orthogonalised_gradient  = -2.4445 * prev(slow_orthogonalised) + (4.775 * gram - 2.0315 * (gram @ gram)) @
                                    prev(slow_orthogonalised)
                                    objective -1.22225 * norm2(slow_orthogonalised) + 1.19375 * norm2(transpose(slow_orthogonalised) @
                                    slow_orthogonalised) - 4063 / 12000 * norm2(slow_orthogonalised @ transpose(slow_orthogonalised) @
                                    slow_orthogonalised); calculus
    slow_orthogonalised           = prev(slow_orthogonalised) - slow_orthogonalised_gradient
                                    explicit gradient step; nl:algorithm-1; nlc
    second_moment_gradient        = prev(second_moment) - gradient ** 2
                                    objective 0.5 * norm2(second_moment - gradient ** 2); calculus
    second_moment                 = prev(second_moment) - (1 - beta2) * second_moment_gradient
                                    explicit gradient step; nl:algorithm-1; nlc
    root                          = sqrt(second_moment / (1 - beta2 ** tick(weights)))                          abbreviation
    direction                     = (orthogonalised + alpha * slow_orthogonalised) / (root / (sum(root) / (columns(weights) * rows(weights))
                                    + eps) + guard)
                                    abbreviation
    weights                       = prev(weights) - learning_rate * direction
                                    explicit gradient step; nl:algorithm-1; nlc
    slow_gradient                 = prev(slow) - gradient
                                    objective 0.5 * norm2(slow - gradient); calculus
    gathered                      = prev(slow.gradient) + slow_gradient
                                    the data since the last update, of 10 steps
    mean_gradient                 = 0.1 * gathered                                                              the mean over 10 steps
    slow                          = where(due(10 steps), prev(slow) - (1 - beta3) * mean_gradient, prev(slow))
                                    explicit gradient step; nl:algorithm-1; nlc
    slow.gradient                 = where(due(10 steps), 0, slow.gradient)
                                    kept: gathered since the last update
    position                      = prev(position) + 1                                                          kept: the steps so far
    orthogonalised                = momentum / (norm(momentum) + eps)                                           before every step
    slow_orthogonalised           = prev(slow) / (norm(prev(slow)) + eps)                                       before every step
"""

import math
from collections.abc import Callable
from typing import Any, overload

import torch
from torch import Tensor
from torch.optim import Optimizer
from torch.optim.optimizer import ParamsT

__all__ = ["M3Guarded"]


class M3Guarded(Optimizer):
    """M3 with moving averages in place of sums, over a root that is at least a share of its mean, so that no step explodes.

    Takes the parameters first (tensors or groups of them), then by keyword, also for each group apart:
        learning_rate = 0.001
        beta1 = 0.9
        beta2 = 0.999
        beta3 = 0.9
        alpha = 0.5
        guard = 0.1
        eps = 1e-08
    Takes matrices alone. Their products are in `matmul_dtype`, by default in the dtype of the state.
    Groups keep the learning rate as `lr`, which is what torch's schedulers change.
    State of each parameter, in its dtype or float32, whichever is wider: momentum, second_moment, slow, slow.gradient.
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
        guard: float = 0.1,
        eps: float = 1e-08,
        matmul_dtype: torch.dtype | None = None,
    ) -> None:
        self.matmul_dtype = matmul_dtype
        super().__init__(params, {"lr": learning_rate, "beta1": beta1, "beta2": beta2, "beta3": beta3, "alpha": alpha, "guard": guard, "eps": eps})

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
                raise ValueError(f"M3Guarded moves matrices; parameter {name} has the shape {tuple(x.shape)}: give it to another optimizer")

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
                self.state[x]["second_moment"] = torch.zeros_like(x, dtype=dtype)
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
        second_moment = [self.state[x]["second_moment"] for x in weights]
        slow = [self.state[x]["slow"] for x in weights]
        slow_gradient = [self.state[x]["slow.gradient"] for x in weights]
        learning_rate = group["lr"]
        beta1 = group["beta1"]
        beta2 = group["beta2"]
        beta3 = group["beta3"]
        alpha = group["alpha"]
        guard = group["guard"]
        eps = group["eps"]
        rows, columns = weights[0].shape
        # momentum_gradient = prev(momentum) - gradient
        # momentum = prev(momentum) - (1 - beta1) * momentum_gradient
        torch._foreach_lerp_(momentum, gradient, 1 - beta1)
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
        # second_moment_gradient = prev(second_moment) - gradient ** 2
        # second_moment = prev(second_moment) - (1 - beta2) * second_moment_gradient
        torch._foreach_mul_(second_moment, beta2)
        torch._foreach_addcmul_(second_moment, gradient, gradient, value=1 - beta2)
        # root = sqrt(second_moment / (1 - beta2 ** tick(weights)))
        root_ = torch._foreach_div(second_moment, 1 - beta2**step)
        torch._foreach_sqrt_(root_)
        # direction = (orthogonalised + alpha * slow_orthogonalised) / (root / (sum(root) / (columns(weights) * rows(weights)) +
        # eps) + guard)
        # weights = prev(weights) - learning_rate * direction
        new_weights = [
            weights - learning_rate * ((new_orthogonalised + alpha * new_slow_orthogonalised) / (root_ / (root_.sum() / (columns * rows) + eps) + guard))
            for weights, new_orthogonalised, new_slow_orthogonalised, root_ in zip(weights, new_orthogonalised, new_slow_orthogonalised, root_, strict=True)
        ]
        torch._foreach_copy_(weights, new_weights)
        # slow_gradient = prev(slow) - gradient
        # gathered = prev(slow.gradient) + slow_gradient
        torch._foreach_add_(slow_gradient, slow)
        torch._foreach_add_(slow_gradient, gradient, alpha=-1)
        if step % 10 == 0:
            # mean_gradient = 0.1 * gathered
            # slow = prev(slow) - (1 - beta3) * mean_gradient
            torch._foreach_add_(slow, slow_gradient, alpha=-0.1 * (1 - beta3))
            torch._foreach_zero_(slow_gradient)
        for x in weights:
            self.state[x]["step"] = step


def _checked(gradient: Tensor) -> Tensor:
    if gradient.is_sparse or gradient.is_complex():
        raise ValueError("M3Guarded takes dense real gradients, neither sparse nor complex ones")
    return gradient


def _stacked(matrices: list[Tensor], dtype: torch.dtype | None, as_they_are: bool = False) -> Tensor:
    """Matrices of one shape as one tensor (number, rows, columns); tall ones transposed, whose products are smaller then."""
    stacked = torch.stack(matrices)
    stacked = stacked if dtype is None else stacked.to(dtype)
    return stacked.mT if stacked.shape[-2] > stacked.shape[-1] and not as_they_are else stacked


def _unstacked(stacked: Tensor, like: Tensor) -> tuple[Tensor, ...]:
    """The matrices of a stack, in the shape of `like`."""
    return (stacked if stacked.shape[1:] == like.shape else stacked.mT).unbind()


# sealed by nlc, sha256 of everything above: 1306f076437f7dc75164d17df5eed62eb47d885b835779fae7c3033dc97e09aa
