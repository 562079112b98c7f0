"""NestedContinuumMemorySystemInContext, compiled from its description.

A nested continuum memory system inside the context: each network starts from the next slower one, and goes back to it when that one has
moved. Where the slowest starts is trained, through all that follows from it.

Compiled by nlc from specs/architectures/cms_nested_in_context.yaml. Edit the spec, not this file.
sha256 of the spec: 441e0ce68c154d6a39c962d68dc588f488477e0d6d6092c91f20e7646eb9e2cd

Levels, fastest first (Nested Learning, Definition 2)
    rank  components                                         every       paper's number (slowest highest / slowest first)
    0     fast                                               16 tokens   1 / 5
    1     medium                                             64 tokens   2 / 4
    2     slow                                               256 tokens  3 / 3
    3     slow.start.first_moment, slow.start.second_moment  step        4 / 2
    4     slow.start                                         step        5 / 1

Timetable
    every 16 tokens   fast
    every 64 tokens   medium
    every 256 tokens  slow
    every step        slow.start.first_moment, slow.start.second_moment, slow.start

Laws, per token; prev is the state before
    gradient_W1         = slope_fast_W1
                          objective dot(fast.W1, slope_fast_W1) + dot(fast.W2, slope_fast_W2); calculus
    gradient_W2         = slope_fast_W2
                          objective dot(fast.W1, slope_fast_W1) + dot(fast.W2, slope_fast_W2); calculus
    gathered_W1         = prev(fast.W1.gradient) + gradient_W1          the data since the last update, of 16 tokens
    gathered_W2         = prev(fast.W2.gradient) + gradient_W2          the data since the last update, of 16 tokens
    mean_gradient_W1    = 0.0625 * gathered_W1                          the mean over 16 tokens
    mean_gradient_W2    = 0.0625 * gathered_W2                          the mean over 16 tokens
    fast.W1             = where(due(16 tokens), prev(fast.W1) - rate * mean_gradient_W1, prev(fast.W1))
                          explicit gradient step; nl:eq-72
    fast.W2             = where(due(16 tokens), prev(fast.W2) - rate * mean_gradient_W2, prev(fast.W2))
                          explicit gradient step; nl:eq-72
    gradient_W1         = slope_medium_W1
                          objective dot(medium.W1, slope_medium_W1) + dot(medium.W2, slope_medium_W2); calculus
    gradient_W2         = slope_medium_W2
                          objective dot(medium.W1, slope_medium_W1) + dot(medium.W2, slope_medium_W2); calculus
    gathered_W1         = prev(medium.W1.gradient) + gradient_W1        the data since the last update, of 64 tokens
    gathered_W2         = prev(medium.W2.gradient) + gradient_W2        the data since the last update, of 64 tokens
    mean_gradient_W1    = 0.015625 * gathered_W1                        the mean over 64 tokens
    mean_gradient_W2    = 0.015625 * gathered_W2                        the mean over 64 tokens
    medium.W1           = where(due(64 tokens), prev(medium.W1) - rate * mean_gradient_W1, prev(medium.W1))
                          explicit gradient step; nl:eq-72
    medium.W2           = where(due(64 tokens), prev(medium.W2) - rate * mean_gradient_W2, prev(medium.W2))
                          explicit gradient step; nl:eq-72
    gradient_W1         = slope_slow_W1
                          objective dot(slow.W1, slope_slow_W1) + dot(slow.W2, slope_slow_W2); calculus
    gradient_W2         = slope_slow_W2
                          objective dot(slow.W1, slope_slow_W1) + dot(slow.W2, slope_slow_W2); calculus
    gathered_W1         = prev(slow.W1.gradient) + gradient_W1          the data since the last update, of 256 tokens
    gathered_W2         = prev(slow.W2.gradient) + gradient_W2          the data since the last update, of 256 tokens
    mean_gradient_W1    = 0.00390625 * gathered_W1                      the mean over 256 tokens
    mean_gradient_W2    = 0.00390625 * gathered_W2                      the mean over 256 tokens
    slow.W1             = where(due(256 tokens), prev(slow.W1) - rate * mean_gradient_W1, prev(slow.W1))
                          explicit gradient step; nl:eq-72
    slow.W2             = where(due(256 tokens), prev(slow.W2) - rate * mean_gradient_W2, prev(slow.W2))
                          explicit gradient step; nl:eq-72
    near                = prev(fast.W2) @ gelu(prev(fast.W1) @ (x / sqrt(norm2(x) / d_model + 0.000001)))
                          abbreviation
    middle              = prev(medium.W2) @ gelu(prev(medium.W1) @ ((x + near) / sqrt(norm2(x + near) / d_model + 0.000001)))
                          abbreviation
    y                   = near + middle + prev(slow.W2) @ gelu(prev(slow.W1) @ ((x + near + middle) / sqrt(norm2(x + near + middle) /
                          d_model + 0.000001)))
                          read before the write
    fast.W1.gradient    = where(due(16 tokens), 0, fast.W1.gradient)    kept: gathered since the last update
    fast.W2.gradient    = where(due(16 tokens), 0, fast.W2.gradient)    kept: gathered since the last update
    medium.W1.gradient  = where(due(64 tokens), 0, medium.W1.gradient)  kept: gathered since the last update
    medium.W2.gradient  = where(due(64 tokens), 0, medium.W2.gradient)  kept: gathered since the last update
    slow.W1.gradient    = where(due(256 tokens), 0, slow.W1.gradient)   kept: gathered since the last update
    slow.W2.gradient    = where(due(256 tokens), 0, slow.W2.gradient)   kept: gathered since the last update
    position            = prev(position) + 1                            kept: the tokens so far
    medium.W1           = prev(slow.W1)                                 before the first of 256 tokens
    medium.W2           = prev(slow.W2)                                 before the first of 256 tokens
    fast.W1             = prev(medium.W1)                               before the first of 64 tokens
    fast.W2             = prev(medium.W2)                               before the first of 64 tokens

Laws of AdamW, every step, for slow.start
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

Forms
    fast, medium, slow: sums over blocks (nl:eq-71)
        The states W1 and W2 move as one, but have not the same shape: they have no common normal form (Dense).
        It stays as it is until a period ends, so the tokens of a block read it, and add up their gradients, in products of matrices.
"""

import math
from collections.abc import Callable, Iterable
from typing import Any, overload

import torch
from torch import Tensor, nn
from torch.optim import Optimizer
from torch.optim.optimizer import ParamsT

__all__ = ["NestedContinuumMemorySystemInContext", "optimizers"]


class NestedContinuumMemorySystemInContext(nn.Module):
    """NestedContinuumMemorySystemInContext, levels that learn inside the context.

    A nested continuum memory system inside the context: each network starts from the next slower one, and goes back to it when that
    one has moved. Where the slowest starts is trained, through all that follows from it.

    Inputs, by keyword, in any float dtype:
        x  (batch, time, d_model)
        loss     a function of outputs and their targets, (batch, time, ...), that gives the loss of each token, (batch, time)
        targets  (batch, time, ...), what it is given of the same tokens
    State, kept in float32 or wider (a dict by name; None starts from the initial state):
        fast.W1, medium.W1, slow.W1, fast.W1.gradient, medium.W1.gradient, slow.W1.gradient  (batch, d_hidden, d_model)
        fast.W2, medium.W2, slow.W2, fast.W2.gradient, medium.W2.gradient, slow.W2.gradient  (batch, d_model, d_hidden)
        position  (), int64: how many tokens came before
    Returns the outputs (the tensor itself) and the state after the last token:
        y  (batch, time, d_model)
    Levels learn from the loss of the tokens since they last moved, and from nothing without one; later tokens see what they learned.
    The sequence runs in blocks of 16 tokens, counted from the position of the state that is handed in.
    """

    def __init__(self, d_model: int = 256, d_hidden: int = 512, rate: float = 0.1, learning_rate: float = 0.001) -> None:
        super().__init__()
        self.d_model = d_model
        self.d_hidden = d_hidden
        self.rate = rate
        self.learning_rate = learning_rate
        self.slow_start_W1 = nn.Parameter(torch.empty(self.d_hidden, self.d_model))
        self.slow_start_W2 = nn.Parameter(torch.empty(self.d_model, self.d_hidden))
        self.reset_parameters()

    def reset_parameters(self) -> None:
        """The slow levels as training finds them."""
        nn.init.uniform_(self.slow_start_W1, -(self.d_model**-0.5), self.d_model**-0.5)
        nn.init.uniform_(self.slow_start_W2, -(self.d_hidden**-0.5), self.d_hidden**-0.5)

    def initial_state(self, batch: int, *, like: Tensor) -> dict[str, Tensor]:
        """The start on the device of `like`, in its dtype or float32, whichever is wider."""
        dtype = torch.promote_types(like.dtype, torch.float32)
        return {
            "fast.W1": self.slow_start_W1.to(dtype).expand(batch, self.d_hidden, self.d_model),
            "fast.W2": self.slow_start_W2.to(dtype).expand(batch, self.d_model, self.d_hidden),
            "medium.W1": self.slow_start_W1.to(dtype).expand(batch, self.d_hidden, self.d_model),
            "medium.W2": self.slow_start_W2.to(dtype).expand(batch, self.d_model, self.d_hidden),
            "slow.W1": self.slow_start_W1.to(dtype).expand(batch, self.d_hidden, self.d_model),
            "slow.W2": self.slow_start_W2.to(dtype).expand(batch, self.d_model, self.d_hidden),
            "fast.W1.gradient": like.new_zeros(batch, self.d_hidden, self.d_model, dtype=dtype),
            "fast.W2.gradient": like.new_zeros(batch, self.d_model, self.d_hidden, dtype=dtype),
            "medium.W1.gradient": like.new_zeros(batch, self.d_hidden, self.d_model, dtype=dtype),
            "medium.W2.gradient": like.new_zeros(batch, self.d_model, self.d_hidden, dtype=dtype),
            "slow.W1.gradient": like.new_zeros(batch, self.d_hidden, self.d_model, dtype=dtype),
            "slow.W2.gradient": like.new_zeros(batch, self.d_model, self.d_hidden, dtype=dtype),
            "position": like.new_zeros((), dtype=torch.int64),
        }

    def forward(
        self,
        *,
        x: Tensor,
        targets: Tensor | None = None,
        loss: Callable[[Tensor, Any], Tensor] | None = None,
        state: dict[str, Tensor] | None = None,
    ) -> tuple[Tensor, dict[str, Tensor]]:
        """The sequence in blocks, at whose ends the levels that are due move: equal to `forward_by_token`."""
        return self._in_blocks((x,), targets, loss, state, 16)

    def forward_by_token(
        self,
        *,
        x: Tensor,
        targets: Tensor | None = None,
        loss: Callable[[Tensor, Any], Tensor] | None = None,
        state: dict[str, Tensor] | None = None,
    ) -> tuple[Tensor, dict[str, Tensor]]:
        """One token at a time: slow, and what `forward` must equal."""
        return self._in_blocks((x,), targets, loss, state, 1)

    def step(
        self, *, x: Tensor, targets: Tensor | None = None, loss: Callable[[Tensor, Any], Tensor] | None = None, state: dict[str, Tensor]
    ) -> tuple[Tensor, dict[str, Tensor]]:
        """One token of each sequence, for decoding: what is handed in without its time dim; the loss still gets (batch, 1, ...)."""
        targets = None if targets is None else targets.unsqueeze(1)
        outputs, state = self._in_blocks((x.unsqueeze(1),), targets, loss, state, 1)
        return outputs.squeeze(1), state

    def _in_blocks(
        self,
        streams: tuple[Tensor, ...],
        targets: Tensor | None,
        loss: Callable[[Tensor, Any], Tensor] | None,
        state: dict[str, Tensor] | None,
        tokens: int,
    ) -> tuple[Tensor, dict[str, Tensor]]:
        """Block after block: what it gives, and the levels after it."""
        like = streams[0]
        with _full_precision(like):
            before = 0 if state is None or state["position"].is_meta else int(state["position"])
            state = self._start(state, like.shape[0], like)
            lengths = _block_lengths(before, tokens, like.shape[1])
            blocks = zip(*(torch.split(x.to(state["fast.W1"].dtype), lengths, 1) for x in streams), strict=True)
            wanted = [None] * len(lengths) if targets is None else torch.split(targets, lengths, 1)
            outputs = [like.new_empty(like.shape[0], 0, self.d_model)]
            for given, target in zip(blocks, wanted, strict=True):
                state = self._begun(state, before)
                read, slopes = self._slopes(given, target, loss, state)
                state = self._learned(*given, *slopes, state=state, before=before) | {"position": state["position"] + read.shape[1]}
                before = before + read.shape[1]
                outputs.append(read.to(like.dtype))
            return torch.cat(outputs, 1), state

    def _slopes(
        self, given: tuple[Tensor, ...], target: Tensor | None, loss: Callable[[Tensor, Any], Tensor] | None, state: dict[str, Tensor]
    ) -> tuple[Tensor, Iterable[Tensor]]:
        """What a block gives, and the slopes of its loss, summed over its tokens, by what learns, each with a value for each sequence."""
        names = ("fast.W1", "fast.W2", "medium.W1", "medium.W2", "slow.W1", "slow.W2")
        if loss is None:
            return self._read(*given, state=state), [torch.zeros_like(state[name]) for name in names]
        learns = torch.is_grad_enabled()
        with torch.enable_grad():
            # Views, so that a level that starts as another is differentiated by itself.
            levels = [x.view_as(x) if x.requires_grad else x.detach().requires_grad_() for x in (state[name] for name in names)]
            read = self._read(*given, state=state | dict(zip(names, levels, strict=True)))
            losses = loss(read, target)
            if losses.shape != read.shape[:2]:
                raise ValueError(f"the loss must be that of each token, {tuple(read.shape[:2])}, not {tuple(losses.shape)}")
            slopes = torch.autograd.grad(losses.sum(), levels, create_graph=learns)
        return read if learns else read.detach(), slopes

    def _read(self, x: Tensor, *, state: dict[str, Tensor]) -> Tensor:
        """The output at the tokens of a block, with the levels as they stand."""
        fast_read = torch.nn.functional.rms_norm(x, (self.d_model,), eps=1e-06) @ state["fast.W1"].mT
        near_hidden = torch.nn.functional.gelu(fast_read)
        near = near_hidden @ state["fast.W2"].mT
        middle_hidden = torch.nn.functional.gelu(torch.nn.functional.rms_norm(x + near, (self.d_model,), eps=1e-06) @ state["medium.W1"].mT)
        middle = middle_hidden @ state["medium.W2"].mT
        far_hidden = torch.nn.functional.gelu(
            torch.nn.functional.rms_norm(x + near + middle, (self.d_model,), eps=1e-06) @ state["slow.W1"].mT
        )
        far = far_hidden @ state["slow.W2"].mT
        y = near + middle + far
        return y

    def _learned(
        self,
        x: Tensor,
        slope_fast_W1: Tensor,
        slope_fast_W2: Tensor,
        slope_medium_W1: Tensor,
        slope_medium_W2: Tensor,
        slope_slow_W1: Tensor,
        slope_slow_W2: Tensor,
        *,
        state: dict[str, Tensor],
        before: int,
    ) -> dict[str, Tensor]:
        """The state after a block: what has been gathered, and the levels whose periods end there, moved."""
        position = before + x.shape[1]
        due_16 = position % 16 == 0
        due_64 = position % 64 == 0
        due_256 = position % 256 == 0
        gradient_W1 = slope_fast_W1
        gradient_W2 = slope_fast_W2
        gathered_W1 = state["fast.W1.gradient"] + gradient_W1
        gathered_W2 = state["fast.W2.gradient"] + gradient_W2
        mean_gradient_W1 = 0.0625 * gathered_W1
        mean_gradient_W2 = 0.0625 * gathered_W2
        fast_W1 = state["fast.W1"].add(mean_gradient_W1, alpha=-self.rate) if due_16 else state["fast.W1"]
        fast_W2 = state["fast.W2"].add(mean_gradient_W2, alpha=-self.rate) if due_16 else state["fast.W2"]
        medium_gradient_W1 = slope_medium_W1
        medium_gradient_W2 = slope_medium_W2
        medium_gathered_W1 = state["medium.W1.gradient"] + medium_gradient_W1
        medium_gathered_W2 = state["medium.W2.gradient"] + medium_gradient_W2
        medium_mean_gradient_W1 = 0.015625 * medium_gathered_W1
        medium_mean_gradient_W2 = 0.015625 * medium_gathered_W2
        medium_W1 = state["medium.W1"].add(medium_mean_gradient_W1, alpha=-self.rate) if due_64 else state["medium.W1"]
        medium_W2 = state["medium.W2"].add(medium_mean_gradient_W2, alpha=-self.rate) if due_64 else state["medium.W2"]
        slow_gradient_W1 = slope_slow_W1
        slow_gradient_W2 = slope_slow_W2
        slow_gathered_W1 = state["slow.W1.gradient"] + slow_gradient_W1
        slow_gathered_W2 = state["slow.W2.gradient"] + slow_gradient_W2
        slow_mean_gradient_W1 = 0.00390625 * slow_gathered_W1
        slow_mean_gradient_W2 = 0.00390625 * slow_gathered_W2
        slow_W1 = state["slow.W1"].add(slow_mean_gradient_W1, alpha=-self.rate) if due_256 else state["slow.W1"]
        slow_W2 = state["slow.W2"].add(slow_mean_gradient_W2, alpha=-self.rate) if due_256 else state["slow.W2"]
        state = {
            "fast.W1": fast_W1,
            "fast.W2": fast_W2,
            "medium.W1": medium_W1,
            "medium.W2": medium_W2,
            "slow.W1": slow_W1,
            "slow.W2": slow_W2,
            "fast.W1.gradient": torch.zeros_like(gathered_W1) if due_16 else gathered_W1,
            "fast.W2.gradient": torch.zeros_like(gathered_W2) if due_16 else gathered_W2,
            "medium.W1.gradient": torch.zeros_like(medium_gathered_W1) if due_64 else medium_gathered_W1,
            "medium.W2.gradient": torch.zeros_like(medium_gathered_W2) if due_64 else medium_gathered_W2,
            "slow.W1.gradient": torch.zeros_like(slow_gathered_W1) if due_256 else slow_gathered_W1,
            "slow.W2.gradient": torch.zeros_like(slow_gathered_W2) if due_256 else slow_gathered_W2,
        }
        return state

    def _begun(self, state: dict[str, Tensor], before: int) -> dict[str, Tensor]:
        """The state before a block of which some levels start again with it."""
        if before > 0 and before % 256 == 0:
            state = state | {"medium.W1": state["slow.W1"]}
            state = state | {"medium.W2": state["slow.W2"]}
        if before > 0 and before % 64 == 0:
            state = state | {"fast.W1": state["medium.W1"]}
            state = state | {"fast.W2": state["medium.W2"]}
        return state

    def _start(self, state: dict[str, Tensor] | None, batch: int, like: Tensor) -> dict[str, Tensor]:
        """The state to start from, never narrower than zeros would be."""
        zeros = self.initial_state(batch, like=like)
        if state is None:
            return zeros
        return {name: state[name].to(torch.promote_types(state[name].dtype, zero.dtype)) for name, zero in zeros.items()}


class LevelOptimizers:
    """Optimizers at their own periods, each (optimizer, period in steps, whether gradients are averaged over it or summed).

    An optimizer moves its levels at every `period`-th step, on the gradients since it last did. Learning rate schedulers take
    the optimizers themselves, which are in `optimizers`.
    """

    def __init__(self, levels: list[tuple[Optimizer, int, bool]]) -> None:
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


def optimizers(module: NestedContinuumMemorySystemInContext) -> LevelOptimizers:
    """The optimizers of the slow levels, for any training loop: `zero_grad()`, a backward pass of the task loss, `step()`."""
    return LevelOptimizers(
        [
            (AdamW([module.slow_start_W1, module.slow_start_W2], learning_rate=module.learning_rate), 1, False),
        ]
    )


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


def _block_lengths(before: int, tokens: int, time: int) -> list[int]:
    """The lengths of blocks that end at every multiple of `tokens`, counted from the start of the stream, and with the sequence."""
    ends = [*range(tokens - before % tokens, time, tokens), time]
    return [end - start for start, end in zip([0, *ends], ends, strict=False)] if time else []


# sealed by nlc, sha256 of everything above: 7ec68fde96829e8baf38529ce9694fb41923d9d14dfd67724a0015ba113bb13c
