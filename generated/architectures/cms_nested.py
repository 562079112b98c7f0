"""NestedContinuumMemorySystem, compiled from its description.

A continuum memory system in which each network starts from the next slower one, and goes back to it after the period in which that one
moves once: what the slow ones know is where the fast ones begin again.

Compiled by nlc from specs/architectures/cms_nested.yaml. Edit the spec, not this file.
sha256 of the spec: c89095a2aa47923fa99afe583e492a36f7fc250da5bda4f21cbfa1f97a71c38a

Levels, fastest first (Nested Learning, Definition 2)
    rank  components                                 every     paper's number (slowest highest / slowest first)
    0     fast.first_moment, fast.second_moment      step      1 / 6
    1     fast                                       step      2 / 5
    2     medium.first_moment, medium.second_moment  4 steps   3 / 4
    3     medium                                     4 steps   4 / 3
    4     slow.first_moment, slow.second_moment      16 steps  5 / 2
    5     slow                                       16 steps  6 / 1

Timetable
    every step      fast.first_moment, fast.second_moment, fast
    every 4 steps   medium.first_moment, medium.second_moment, medium
    every 16 steps  slow.first_moment, slow.second_moment, slow

Laws, per token; prev is the state before
    near    = fast.W2 @ gelu(fast.W1 @ (x / sqrt(norm2(x) / d_model + 0.000001)))  abbreviation
    middle  = medium.W2 @ gelu(medium.W1 @ ((x + near) / sqrt(norm2(x + near) / d_model + 0.000001)))
              abbreviation
    far     = slow.W2 @ gelu(slow.W1 @ ((x + near + middle) / sqrt(norm2(x + near + middle) / d_model + 0.000001)))
              abbreviation
    y       = near + middle + far                                                  no state is read

Laws of AdamW, every step, for fast
Laws of AdamW, every 4 steps, on the sum of the gradients since the last update, for medium
Laws of AdamW, every 16 steps, on the sum of the gradients since the last update, for slow
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

Slow levels that start again
    medium.W1  = slow.W1    starts again after every 16 steps, its optimizer too
    medium.W2  = slow.W2    starts again after every 16 steps, its optimizer too
    fast.W1    = medium.W1  starts again after every 4 steps, its optimizer too
    fast.W2    = medium.W2  starts again after every 4 steps, its optimizer too
"""

import math
from collections.abc import Callable, Iterable, Iterator
from typing import Any, overload

import torch
from torch import Tensor, nn
from torch.optim import Optimizer
from torch.optim.optimizer import ParamsT

__all__ = ["NestedContinuumMemorySystem", "optimizers"]


class NestedContinuumMemorySystem(nn.Module):
    """NestedContinuumMemorySystem, a memory over a sequence.

    A continuum memory system in which each network starts from the next slower one, and goes back to it after the period in which
    that one moves once: what the slow ones know is where the fast ones begin again.

    Inputs, by keyword, in any float dtype:
        x  (batch, time, d_model)
    State, kept in float32 or wider (a dict by name; None starts from zeros):
        nothing: an empty dict
    Returns the outputs (the tensor itself) and the state after the last token:
        y  (batch, time, d_model)
    No token depends on another: all are computed at once.
    """

    def __init__(self, d_model: int = 256, d_hidden: int = 512, learning_rate: float = 0.001) -> None:
        super().__init__()
        self.d_model = d_model
        self.d_hidden = d_hidden
        self.learning_rate = learning_rate
        self.fast_W1 = nn.Parameter(torch.empty(self.d_hidden, self.d_model))
        self.fast_W2 = nn.Parameter(torch.empty(self.d_model, self.d_hidden))
        self.medium_W1 = nn.Parameter(torch.empty(self.d_hidden, self.d_model))
        self.medium_W2 = nn.Parameter(torch.empty(self.d_model, self.d_hidden))
        self.slow_W1 = nn.Parameter(torch.empty(self.d_hidden, self.d_model))
        self.slow_W2 = nn.Parameter(torch.empty(self.d_model, self.d_hidden))
        self.reset_parameters()

    def reset_parameters(self) -> None:
        """The slow levels as training finds them."""
        nn.init.uniform_(self.slow_W1, -(self.d_model**-0.5), self.d_model**-0.5)
        with torch.no_grad():
            self.medium_W1.copy_(self.slow_W1)
        with torch.no_grad():
            self.fast_W1.copy_(self.medium_W1)
        nn.init.uniform_(self.slow_W2, -(self.d_hidden**-0.5), self.d_hidden**-0.5)
        with torch.no_grad():
            self.medium_W2.copy_(self.slow_W2)
        with torch.no_grad():
            self.fast_W2.copy_(self.medium_W2)

    def initial_state(self, batch: int, *, like: Tensor) -> dict[str, Tensor]:
        """Nothing is carried from token to token."""
        return {}

    def forward(self, *, x: Tensor, state: dict[str, Tensor] | None = None) -> tuple[Tensor, dict[str, Tensor]]:
        """All tokens at once: equal to `forward_by_token`."""
        with _full_precision(x):
            dtype = x.dtype
            wide = torch.promote_types(dtype, torch.float32)
            x = x.to(wide)
            fast_W1, fast_W2, medium_W1 = (weight.to(wide) for weight in (self.fast_W1, self.fast_W2, self.medium_W1))
            medium_W2, slow_W1, slow_W2 = (weight.to(wide) for weight in (self.medium_W2, self.slow_W1, self.slow_W2))
            near = torch.nn.functional.gelu(torch.nn.functional.rms_norm(x, (self.d_model,), eps=1e-06) @ fast_W1.mT) @ fast_W2.mT
            middle = (
                torch.nn.functional.gelu(torch.nn.functional.rms_norm(x + near, (self.d_model,), eps=1e-06) @ medium_W1.mT) @ medium_W2.mT
            )
            far = (
                torch.nn.functional.gelu(torch.nn.functional.rms_norm(x + near + middle, (self.d_model,), eps=1e-06) @ slow_W1.mT)
                @ slow_W2.mT
            )
            y = near + middle + far
            return y.to(dtype), {}

    def forward_by_token(self, *, x: Tensor, state: dict[str, Tensor] | None = None) -> tuple[Tensor, dict[str, Tensor]]:
        """The laws, one token at a time: slow, and what `forward` must equal."""
        batch = x.shape[0]
        state = {}
        outputs = [x.new_empty(batch, 0, self.d_model)]
        for t in range(x.shape[1]):
            y, state = self.step(x=x[:, t], state=state)
            outputs.append(y.unsqueeze(1))
        return torch.cat(outputs, 1), state

    def step(self, *, x: Tensor, state: dict[str, Tensor]) -> tuple[Tensor, dict[str, Tensor]]:
        """One token, for decoding: the laws as they stand; inputs without their time dim."""
        with _full_precision(x):
            dtype = x.dtype
            wide = torch.promote_types(dtype, torch.float32)
            x = x.to(wide)
            fast_W1, fast_W2, medium_W1 = (weight.to(wide) for weight in (self.fast_W1, self.fast_W2, self.medium_W1))
            medium_W2, slow_W1, slow_W2 = (weight.to(wide) for weight in (self.medium_W2, self.slow_W1, self.slow_W2))
            near = torch.nn.functional.gelu(torch.nn.functional.rms_norm(x, (self.d_model,), eps=1e-06) @ fast_W1.mT) @ fast_W2.mT
            middle = (
                torch.nn.functional.gelu(torch.nn.functional.rms_norm(x + near, (self.d_model,), eps=1e-06) @ medium_W1.mT) @ medium_W2.mT
            )
            far = (
                torch.nn.functional.gelu(torch.nn.functional.rms_norm(x + near + middle, (self.d_model,), eps=1e-06) @ slow_W1.mT)
                @ slow_W2.mT
            )
            y = near + middle + far
            return y.to(dtype), {}


class LevelOptimizers:
    """Optimizers at their own periods, each (optimizer, period in steps, whether gradients are averaged over it or summed).

    An optimizer moves its levels at every `period`-th step, on the gradients since it last did. Learning rate schedulers take
    the optimizers themselves, which are in `optimizers`.
    After so many steps `restarts` gives parameters that start again, each with what it starts from; its optimizer forgets it.
    """

    def __init__(
        self, levels: list[tuple[Optimizer, int, bool]], restarts: Callable[[int], Iterable[tuple[Tensor, Tensor]]] = lambda _: ()
    ) -> None:
        self.restarts = restarts
        self.levels = levels
        self.steps = 0

    @property
    def optimizers(self) -> list[Optimizer]:
        """The optimizers, in the order of the levels."""
        return [optimizer for optimizer, _, _ in self.levels]

    def zero_grad(self) -> None:
        """Forget the gradients that have been used; those of a period that has not ended stay."""
        for optimizer, period, _ in self.levels:
            if self.steps % period == 0:
                optimizer.zero_grad()

    @torch.no_grad()
    def step(self) -> None:
        """One step of the training loop: every level whose period ends here moves."""
        self.steps = self.steps + 1
        for optimizer, period, averages in self.levels:
            if self.steps % period == 0:
                for gradient in _gradients(optimizer) if averages else []:
                    gradient.div_(period)
                optimizer.step()
        for parameter, start in self.restarts(self.steps):
            parameter.copy_(start)
            for optimizer in self.optimizers:
                optimizer.state.pop(parameter, None)

    def state_dict(self) -> dict[str, Any]:
        """The optimizers' states, how many steps there were, and the gradients of periods that have not ended."""
        return {
            "optimizers": [optimizer.state_dict() for optimizer in self.optimizers],
            "steps": self.steps,
            "gradients": [[x.grad for x in _parameters(optimizer)] for optimizer in self.optimizers],
        }

    def load_state_dict(self, state_dict: dict[str, Any]) -> None:
        """Go on where `state_dict` was taken."""
        self.steps = state_dict["steps"]
        for optimizer, state in zip(self.optimizers, state_dict["optimizers"], strict=True):
            optimizer.load_state_dict(state)
        for optimizer, gradients in zip(self.optimizers, state_dict["gradients"], strict=True):
            for x, gradient in zip(_parameters(optimizer), gradients, strict=True):
                x.grad = None if gradient is None else gradient.detach().clone().to(x)


def _parameters(optimizer: Optimizer) -> list[Tensor]:
    return [x for group in optimizer.param_groups for x in group["params"]]


def _gradients(optimizer: Optimizer) -> list[Tensor]:
    return [x.grad for x in _parameters(optimizer) if x.grad is not None]


def optimizers(module: NestedContinuumMemorySystem) -> LevelOptimizers:
    """The optimizers of the slow levels, for any training loop: `zero_grad()`, a backward pass of the task loss, `step()`."""
    return LevelOptimizers(
        [
            (AdamW([module.fast_W1, module.fast_W2], learning_rate=module.learning_rate), 1, False),
            (AdamW([module.medium_W1, module.medium_W2], learning_rate=module.learning_rate), 4, False),
            (AdamW([module.slow_W1, module.slow_W2], learning_rate=module.learning_rate), 16, False),
        ],
        lambda steps: _restarts(module, steps),
    )


def _restarts(module: NestedContinuumMemorySystem, steps: int) -> Iterator[tuple[Tensor, Tensor]]:
    """The parameters that start again after so many steps, each with what it starts from; what others start from comes first."""
    if steps % 16 == 0:
        yield module.medium_W1, module.slow_W1
        yield module.medium_W2, module.slow_W2
    if steps % 4 == 0:
        yield module.fast_W1, module.medium_W1
        yield module.fast_W2, module.medium_W2


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


def _full_precision(x: Tensor) -> torch.autocast:
    """No autocast inside: the state keeps its precision."""
    return torch.autocast("cpu" if x.is_meta else x.device.type, enabled=False)


# sealed by nlc, sha256 of everything above: 33b21379fb6da6fd25acb55c658e5471a107f0a91b9565bafc490ceb16296911
