"""DMGD, compiled from its description.

A deep momentum; a network that is fitted, step by step, to answer each row of the gradient with minus that row, and by whose answers the
weights move. The gradient is taken over its norm; the network starts as a map that hands on as many entries as it has hidden units.

Compiled by nlc from specs/optimizers/dmgd.yaml. Edit the spec, not this file.
sha256 of the spec: b03300c9d66e355e1d2996953047bf8c060a8811de48a795d60c23b480565c5c

Levels, fastest first (Nested Learning, Definition 2)
    rank  components  every  paper's number (slowest highest / slowest first)
    0     momentum    step   1 / 2
    1     weights     step   2 / 1

Timetable
    every step  momentum, weights

Laws, per step; prev is the state before
    surprise          = gradient / (norm(gradient) + eps)                                  abbreviation
    layer             = surprise @ transpose(prev(momentum.W1))                            into gelu
    activation        = gelu(layer)                                                        out of gelu
    slope             = normal_cdf(layer) + layer * normal_density(layer)                  derivative of gelu
    local_surprise    = (activation @ transpose(prev(momentum.W2)) + surprise) @ prev(momentum.W2) * slope
                        objective 0.5 * norm2(gelu(surprise @ transpose(momentum.W1)) @ transpose(momentum.W2) + surprise), by layer;
                        calculus
    gradient_W1       = transpose(local_surprise) @ surprise                               adjoint of the layers; calculus
    gradient_W2       = (prev(momentum.W2) @ transpose(activation) + transpose(surprise)) @ activation
                        adjoint of the layers; calculus
    momentum.W1       = decay * prev(momentum.W1) - inner_rate * gradient_W1               explicit gradient step; nl:eq-50
    momentum.W2       = decay * prev(momentum.W2) - inner_rate * gradient_W2               explicit gradient step; nl:eq-50
    weights_gradient  = -gelu(surprise @ transpose(momentum.W1)) @ transpose(momentum.W2)
                        objective -dot(weights, gelu(surprise @ transpose(momentum.W1)) @ transpose(momentum.W2)); calculus
    weights           = prev(weights) - learning_rate * weights_gradient                   explicit gradient step; nl:eq-50
"""

import math
from collections.abc import Callable
from typing import Any, overload

import torch
from torch import Tensor
from torch.optim import Optimizer
from torch.optim.optimizer import ParamsT

__all__ = ["DMGD"]


class DMGD(Optimizer):
    """DMGD, a torch optimizer.

    A deep momentum; a network that is fitted, step by step, to answer each row of the gradient with minus that row, and by whose
    answers the weights move. The gradient is taken over its norm; the network starts as a map that hands on as many entries as it
    has hidden units.

    Takes the parameters first (tensors or groups of them), then by keyword, also for each group apart:
        learning_rate = 0.01
        decay = 0.999
        inner_rate = 1.0
        eps = 1e-12
        hidden = 16
    Takes matrices alone.
    Groups keep the learning rate as `lr`, which is what torch's schedulers change.
    A gradient that is not finite stops a step with `nonfinite="raise"`, passes it over with "skip"; both wait for the device.
    State of each parameter, in its dtype or float32, whichever is wider: momentum.W1, momentum.W2.
    """

    def __init__(
        self,
        params: ParamsT,
        learning_rate: float = 0.01,
        decay: float = 0.999,
        inner_rate: float = 1.0,
        eps: float = 1e-12,
        hidden: int = 16,
        nonfinite: str | None = None,
    ) -> None:
        self.nonfinite = _policy(nonfinite)
        super().__init__(params, {"lr": learning_rate, "decay": decay, "inner_rate": inner_rate, "eps": eps, "hidden": hidden})

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
            if name == "inner_rate" and value < 0:
                raise ValueError(f"{name} must not be negative, but it is {value}")
            if name == "hidden" and (not isinstance(value, int) or value < 1):
                raise ValueError(f"{name} must be a whole number from 1 on, but it is {value}")
        super().add_param_group(param_group)
        group = self.param_groups[-1]
        for name, x in zip(group.get("param_names", range(len(group["params"]))), group["params"], strict=True):
            if x.ndim != 2:
                self.param_groups.pop()
                raise ValueError(f"DMGD moves matrices, not parameter {name} of shape {tuple(x.shape)}")

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
                self.state[x]["momentum.W1"] = torch.eye(group["hidden"], x.shape[1], dtype=dtype, device=x.device)
                self.state[x]["momentum.W2"] = torch.eye(x.shape[1], group["hidden"], dtype=dtype, device=x.device)
        kinds = [x.shape for x in weights]
        for place, kind in enumerate(kinds):
            if kind not in kinds[:place]:
                self._move([x for x, own in zip(weights, kinds, strict=True) if own == kind], group)

    def _move(self, weights: list[Tensor], group: dict[str, Any]) -> None:
        """One update of tensors of one shape."""
        gradient = [_checked(x.grad) for x in weights if x.grad is not None]
        momentum_W1 = [self.state[x]["momentum.W1"] for x in weights]
        momentum_W2 = [self.state[x]["momentum.W2"] for x in weights]
        learning_rate, decay, inner_rate, eps = group["lr"], group["decay"], group["inner_rate"], group["eps"]
        stacked_gradient = _stacked(gradient)
        stacked_momentum_W1 = _stacked(momentum_W1)
        stacked_momentum_W2 = _stacked(momentum_W2)
        stacked_weights = _stacked(weights)
        # surprise = gradient / (norm(gradient) + eps)
        surprise = stacked_gradient / (torch.linalg.vector_norm(stacked_gradient, dim=(-2, -1)) + eps)[..., None, None]
        # layer = surprise @ transpose(prev(momentum.W1))
        layer = surprise @ stacked_momentum_W1.mT
        # activation = gelu(layer)
        activation = torch.nn.functional.gelu(layer)
        # slope = normal_cdf(layer) + layer * normal_density(layer)
        slope = torch.special.ndtr(layer) + layer * (torch.exp(-layer.square() / 2) / math.sqrt(2 * math.pi))
        # local_surprise = (activation @ transpose(prev(momentum.W2)) + surprise) @ prev(momentum.W2) * slope
        local_surprise = (activation @ stacked_momentum_W2.mT + surprise) @ stacked_momentum_W2 * slope
        # gradient_W1 = transpose(local_surprise) @ surprise
        gradient_W1 = local_surprise.mT @ surprise
        # gradient_W2 = (prev(momentum.W2) @ transpose(activation) + transpose(surprise)) @ activation
        gradient_W2 = torch.baddbmm(surprise.mT, stacked_momentum_W2, activation.mT) @ activation
        # momentum.W1 = decay * prev(momentum.W1) - inner_rate * gradient_W1
        stacked_momentum_W1 = decay * stacked_momentum_W1 - inner_rate * gradient_W1
        # momentum.W2 = decay * prev(momentum.W2) - inner_rate * gradient_W2
        stacked_momentum_W2 = decay * stacked_momentum_W2 - inner_rate * gradient_W2
        # surprise = gradient / (norm(gradient) + eps)
        weights_surprise = stacked_gradient / (torch.linalg.vector_norm(stacked_gradient, dim=(-2, -1)) + eps)[..., None, None]
        # weights_gradient = -gelu(surprise @ transpose(momentum.W1)) @ transpose(momentum.W2)
        # weights = prev(weights) - learning_rate * weights_gradient
        polynomial = torch.nn.functional.gelu(weights_surprise @ stacked_momentum_W1.mT)
        stacked_weights = torch.baddbmm(stacked_weights, polynomial, stacked_momentum_W2.mT, alpha=learning_rate)
        torch._foreach_copy_(momentum_W1, stacked_momentum_W1.unbind())
        torch._foreach_copy_(momentum_W2, stacked_momentum_W2.unbind())
        torch._foreach_copy_(weights, stacked_weights.unbind())


def _checked(gradient: Tensor) -> Tensor:
    if gradient.is_sparse or gradient.is_complex():
        raise ValueError("DMGD takes dense real gradients, neither sparse nor complex ones")
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


# sealed by nlc, sha256 of everything above: e33ec596d883338e0cff9def31f37825080ef0986db998bf42beebfaf39503a4
