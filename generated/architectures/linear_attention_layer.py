"""LinearAttentionLayer, compiled from its description.

Linear attention between trained projections; the projections are slow levels, moved by gradient descent with momentum once a step.

Compiled by nlc from specs/architectures/linear_attention_layer.yaml. Edit the spec, not this file.
sha256 of the spec: 93c1eca8b4982e632b9282e5bc3c9edeb865517aca1ccc2b9d1790dd06fcc3e8

Levels, fastest first (Nested Learning, Definition 2)
    rank  components                                                     every  paper's number (slowest highest / slowest first)
    0     memory                                                         token  1 / 3
    1     project_k.momentum, project_out.momentum, project_q.momentum,  step   2 / 2
          project_v.momentum
    2     project_k, project_out, project_q, project_v                   step   3 / 1

Timetable
    every token  memory
    every step   project_k.momentum, project_out.momentum, project_q.momentum,
                 project_v.momentum, project_k, project_out, project_q, project_v

Laws, per token; prev is the state before
    q         = split(project_q @ x, heads)            abbreviation
    k         = split(project_k @ x, heads)            abbreviation
    v         = split(project_v @ x, heads)            abbreviation
    surprise  = -v                                     objective -dot(memory @ k, v), by the prediction; calculus
    gradient  = outer(surprise, k)                     adjoint of apply; calculus
    memory    = prev(memory) - gradient                explicit gradient step; nl:eq-12; nl:eq-13; nl:eq-14
    y         = project_out @ join(memory @ q, heads)  read after the write

Laws of Momentum, every step, for project_q, project_k, project_v, project_out
    momentum  = decay * prev(momentum) - learning_rate * gradient  explicit gradient step on dot(momentum, gradient); nl:eq-10; nl:eq-33
    weights   = prev(weights) + momentum                           explicit gradient step on -dot(weights, momentum); nl:eq-10; nl:eq-33

Form
    memory: chunked prefix sum (linear-attention, gla, mamba2)
        The old state is kept unchanged, and no write reads it (Identity).
        All writes are known before the state is, so a chunk is a decayed sum of them: matrix products.
"""

import copy
import math
from collections.abc import Callable
from typing import Any, overload

import torch
from torch import Tensor, nn
from torch.optim import Optimizer
from torch.optim.optimizer import ParamsT
from torch.utils.checkpoint import checkpoint

__all__ = ["LinearAttentionLayer", "optimizers"]


class LinearAttentionLayer(nn.Module):
    """LinearAttentionLayer, a memory over a sequence.

    Linear attention between trained projections; the projections are slow levels, moved by gradient descent with momentum once a
    step.

    Inputs, by keyword, in any float dtype:
        x  (batch, time, d_model)
    State, kept in float32 or wider (the tensor itself; None starts from zeros):
        memory  (batch, heads, d_model / heads, d_model / heads)
    Returns the outputs (the tensor itself) and the state after the last token:
        y  (batch, time, d_model)
    `chunk`, in tokens, is about speed alone; under torch.compile every new length compiles anew.
    `nonfinite` says what to do at a token with numbers that are not finite: "raise", "skip" (its row of the batch) or "propagate".
    `checkpoint`, in tokens: the backward keeps the states between pieces of so many tokens, and computes the rest anew.
    """

    def __init__(
        self,
        d_model: int = 256,
        heads: int = 4,
        learning_rate: float = 0.01,
        decay: float = 0.9,
        chunk: int = 64,
        nonfinite: str = "propagate",
        checkpoint: int | None = None,
    ) -> None:
        super().__init__()
        if chunk < 1:
            raise ValueError(f"chunk must be 1 or more, not {chunk}")
        self.chunk = chunk
        if nonfinite not in ("raise", "skip", "propagate"):
            raise ValueError(f'nonfinite must be "raise", "skip" or "propagate", not {nonfinite!r}')
        if checkpoint is not None and checkpoint < 1:
            raise ValueError(f"checkpoint must be None, or 1 token or more, not {checkpoint}")
        self.nonfinite = nonfinite
        self.checkpoint = checkpoint
        self.d_model = d_model
        self.heads = heads
        self.learning_rate = learning_rate
        self.decay = decay
        if d_model % heads:
            raise ValueError(f"d_head = d_model / heads must be a whole number, not {d_model} / {heads}")
        self.d_head = d_model // heads
        self.project_q = nn.Parameter(torch.empty(self.d_model, self.d_model))
        self.project_k = nn.Parameter(torch.empty(self.d_model, self.d_model))
        self.project_v = nn.Parameter(torch.empty(self.d_model, self.d_model))
        self.project_out = nn.Parameter(torch.empty(self.d_model, self.d_model))
        self.reset_parameters()

    def reset_parameters(self) -> None:
        """The slow levels as training finds them."""
        for weight in (self.project_q, self.project_k, self.project_v, self.project_out):
            nn.init.uniform_(weight, -(self.d_model**-0.5), self.d_model**-0.5)

    def initial_state(self, batch: int, heads: int, *, like: Tensor) -> Tensor:
        """Zeros on the device of `like`, in its dtype or float32, whichever is wider."""
        return like.new_zeros(batch, heads, self.d_head, self.d_head, dtype=torch.promote_types(like.dtype, torch.float32))

    def forward(self, *, x: Tensor, state: Tensor | None = None) -> tuple[Tensor, Tensor]:
        """The whole sequence in chunks: equal to `forward_by_token`."""
        if self.checkpoint is not None or self.nonfinite != "propagate":
            return _managed(self, {"x": x}, state)
        batch = x.shape[0]
        heads = self.heads
        with _full_precision(x):
            dtype = x.dtype
            memory = self._start(state, batch, heads, x)
            x = x.to(memory.dtype)
            wide = memory.dtype
            project_q, project_k, project_v = (weight.to(wide) for weight in (self.project_q, self.project_k, self.project_v))
            project_out = self.project_out.to(wide)
            q = torch.unflatten(x @ project_q.mT, -1, (self.heads, -1))
            k = torch.unflatten(x @ project_k.mT, -1, (self.heads, -1))
            v = torch.unflatten(x @ project_v.mT, -1, (self.heads, -1))
            memory_read, memory = self._memory_in_chunks(key=k, value=v, query=q, memory=memory)
            y = memory_read.flatten(-2) @ project_out.mT
            return y.to(dtype), memory

    def _memory_in_chunks(self, key: Tensor, value: Tensor, query: Tensor, memory: Tensor) -> tuple[Tensor, Tensor]:
        """memory_t = memory_{t-1} + value_t key_t^T, chunk by chunk.

        Streams are (batch, time, *axes, size), a scalar one with size 1.
        """
        leading, memory = memory.shape[:-2], memory.flatten(0, -3)
        chunks = zip(*(_pieces(x, self.chunk) for x in (key, value, query)), strict=True)
        reads = []
        for key, value, query in chunks:
            read = query @ memory.mT
            attention = (query @ key.mT).tril()
            read = torch.baddbmm(read, attention, value)
            reads.append(read)
            memory = torch.baddbmm(memory, value.mT, key)
        return _joined(reads, leading), memory.view(*leading, *memory.shape[1:])

    def forward_by_token(self, *, x: Tensor, state: Tensor | None = None) -> tuple[Tensor, Tensor]:
        """The laws, one token at a time: slow, and what `forward` must equal."""
        batch = x.shape[0]
        heads = self.heads
        state = self._start(state, batch, heads, x)
        outputs = [x.new_empty(batch, 0, self.d_model)]
        for t in range(x.shape[1]):
            y, state = self.step(x=x[:, t], state=state)
            outputs.append(y.unsqueeze(1))
        return torch.cat(outputs, 1), state

    def step(self, *, x: Tensor, state: Tensor) -> tuple[Tensor, Tensor]:
        """One token, for decoding: the laws as they stand; inputs without their time dim."""
        with _full_precision(x):
            dtype = x.dtype
            x = x.to(state.dtype)
            wide = state.dtype
            project_q, project_k, project_v = (weight.to(wide) for weight in (self.project_q, self.project_k, self.project_v))
            project_out = self.project_out.to(wide)
            q = torch.unflatten(x @ project_q.mT, -1, (self.heads, -1))
            k = torch.unflatten(x @ project_k.mT, -1, (self.heads, -1))
            v = torch.unflatten(x @ project_v.mT, -1, (self.heads, -1))
            surprise = -v
            gradient = surprise[..., None] * k[..., None, :]
            memory = state - gradient
            y = (memory @ q[..., None]).squeeze(-1).flatten(-2) @ project_out.mT
            return y.to(dtype), memory

    def _start(self, state: Tensor | None, batch: int, heads: int, like: Tensor) -> Tensor:
        """The state to start from, never narrower than zeros would be."""
        zeros = self.initial_state(batch, heads, like=like)
        return zeros if state is None else state.to(torch.promote_types(state.dtype, zeros.dtype))


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


def optimizers(module: LinearAttentionLayer) -> LevelOptimizers:
    """The optimizers of the slow levels, for any training loop: `zero_grad()`, a backward pass of the task loss, `step()`."""
    return LevelOptimizers(
        [
            (
                Momentum(
                    [module.project_q, module.project_k, module.project_v, module.project_out],
                    learning_rate=module.learning_rate,
                    decay=module.decay,
                ),
                1,
                False,
            ),
        ]
    )


class Momentum(Optimizer):
    """A value-less memory of the gradients, fitted by gradient descent; the rate is inside the memory, as in the paper.

    Takes the parameters first (tensors or groups of them), then by keyword, also for each group apart:
        learning_rate = 0.01
        decay = 0.9
    Groups keep the learning rate as `lr`, which is what torch's schedulers change.
    A gradient that is not finite stops a step with `nonfinite="raise"`, passes it over with "skip"; both wait for the device.
    State of each parameter, in its dtype or float32, whichever is wider: momentum.
    """

    def __init__(self, params: ParamsT, learning_rate: float = 0.01, decay: float = 0.9, nonfinite: str | None = None) -> None:
        self.nonfinite = _policy(nonfinite)
        super().__init__(params, {"lr": learning_rate, "decay": decay})

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
        """The laws, for all tensors of a group at once."""
        weights = [x for x in group["params"] if x.grad is not None]
        if not weights:
            return
        gradient = [_checked(x.grad) for x in weights]
        for x in weights:
            if not self.state[x]:
                dtype = torch.promote_types(x.dtype, torch.float32)
                self.state[x]["momentum"] = torch.zeros_like(x, dtype=dtype)
        momentum = [self.state[x]["momentum"] for x in weights]
        learning_rate, decay = group["lr"], group["decay"]
        # momentum = decay * prev(momentum) - learning_rate * gradient
        torch._foreach_mul_(momentum, decay)
        torch._foreach_add_(momentum, gradient, alpha=-learning_rate)
        # weights = prev(weights) + momentum
        torch._foreach_add_(weights, momentum)


def _checked(gradient: Tensor) -> Tensor:
    if gradient.is_sparse or gradient.is_complex():
        raise ValueError("Momentum takes dense real gradients, neither sparse nor complex ones")
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


def _pieces(x: Tensor, chunk: int) -> tuple[Tensor, ...]:
    """(batch, time, *axes, size) -> chunks of (batch * axes, tokens, size), the last one short: nothing is padded."""
    return torch.split(x.movedim(1, -2).flatten(0, -3), chunk, 1)


def _joined(pieces: list[Tensor], leading: torch.Size) -> Tensor:
    """Chunks of (batch * axes, tokens, size) -> (batch, time, *axes, size)."""
    whole = torch.cat(pieces, 1)
    return whole.view(*leading, *whole.shape[1:]).movedim(-2, 1)


def _managed(module: Any, streams: dict[str, Tensor], state: Tensor | None) -> tuple[Tensor, Tensor]:
    """`forward` in pieces that the backward computes anew, and watched for what is not finite, as the module was made."""
    plain = copy.copy(module)
    plain.nonfinite, plain.checkpoint = "propagate", None
    outputs, last = _in_pieces(plain, streams, state, module.checkpoint) if module.checkpoint else plain.forward(**streams, state=state)
    if module.nonfinite == "propagate" or all(bool(x.isfinite().all()) for x in (*streams.values(), outputs, last)):
        return outputs, last
    return _watched(plain, streams, state, module.nonfinite)


def _in_pieces(module: Any, streams: dict[str, Tensor], state: Tensor | None, tokens: int) -> tuple[Tensor, Tensor]:
    """Pieces of so many tokens: of each, the backward finds the streams and the state before it, and computes the rest anew."""
    names, pieces, (_, last) = tuple(streams), [], module.forward(**{name: x[:, :0] for name, x in streams.items()}, state=state)
    for piece in zip(*(torch.split(x, tokens, 1) for x in streams.values()), strict=True):
        outputs, last = checkpoint(
            lambda *x, state: module.forward(**dict(zip(names, x, strict=True)), state=state),
            *piece,
            state=last,
            use_reentrant=False,
            preserve_rng_state=False,
        )
        pieces.append(outputs)
    return torch.cat(pieces, 1), last


def _watched(module: Any, streams: dict[str, Tensor], state: Tensor | None, policy: str) -> tuple[Tensor, Tensor]:
    """Token by token: one by which something is not finite stops the sequence, or is passed over in its rows of the batch."""
    pieces, (_, last) = [], module.forward(**{name: x[:, :0] for name, x in streams.items()}, state=state)
    for t in range(streams["x"].shape[1]):
        token = {name: x[:, t : t + 1] for name, x in streams.items()}
        with torch.no_grad():
            outputs, after = module.forward(**token, state=last)
        seen = {**token, "y": outputs, "memory": after}
        rows = {name: ~x.reshape(len(x), -1).isfinite().all(1) for name, x in seen.items() if x.dim()}
        lost = torch.stack(list(rows.values())).any(0)
        if policy == "raise" and bool(lost.any()):
            names = ", ".join(name for name, row in rows.items() if bool(row.any()))
            raise FloatingPointError(f"not finite at token {t}, row {int(lost.nonzero()[0])} of the batch: {names}")
        outputs, after = module.forward(**{name: _chosen(lost, x) for name, x in token.items()}, state=last)
        pieces.append(_chosen(lost, outputs))
        last = _chosen(lost, after, last)
    return torch.cat(pieces, 1), last


def _chosen(lost: Tensor, x: Tensor, instead: Tensor | float = 0.0) -> Tensor:
    """x, (batch, ...), but for the rows that are lost."""
    return torch.where(lost.reshape(-1, *[1] * (x.dim() - 1)), instead, x)


# sealed by nlc, sha256 of everything above: 4fcea8e7546de36123b0500789ffca91c2171339d2439bace5b2f03efd2d5311
