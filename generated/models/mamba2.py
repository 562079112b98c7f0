"""Mamba2Network: Mamba2's memory as the only mixer; each block is a layer, without a feed-forward network.

Compiled by nlc from specs/models/mamba2.yaml. Edit the spec, not this file.
sha256 of the spec: 93783648d1c5b0522e255b524e013e9853bde1840e6e969932c9acc413489877

Levels, fastest first (Nested Learning, Definition 2)
    rank  components                                                         every  paper's number (slowest highest / slowest first)
    0     mamba2.memory                                                      token  1 / 3
    1     embedding.first_moment, embedding.second_moment,                   step   2 / 2
          head_norm.first_moment, head_norm.second_moment,
          mamba2.kernel_k.first_moment, mamba2.kernel_k.second_moment,
          mamba2.kernel_q.first_moment, mamba2.kernel_q.second_moment,
          mamba2.kernel_v.first_moment, mamba2.kernel_v.second_moment,
          mamba2.project_delta.first_moment,
          mamba2.project_delta.second_moment,
          mamba2.project_gate.first_moment,
          mamba2.project_gate.second_moment, mamba2.project_k.first_moment,
          mamba2.project_k.second_moment, mamba2.project_out.first_moment,
          mamba2.project_out.second_moment, mamba2.project_q.first_moment,
          mamba2.project_q.second_moment, mamba2.project_v.first_moment,
          mamba2.project_v.second_moment, mamba2_norm.first_moment,
          mamba2_norm.second_moment
    2     embedding, head_norm, mamba2.kernel_k, mamba2.kernel_q,            step   3 / 1
          mamba2.kernel_v, mamba2.project_delta, mamba2.project_gate,
          mamba2.project_k, mamba2.project_out, mamba2.project_q,
          mamba2.project_v, mamba2_norm

Network
    embedding: vocabulary -> d_model
    blocks, layers times over:
        + mamba2_norm: rms_norm
          mamba2: Mamba2Layer(d_model = d_model, heads = heads)
    head_norm: rms_norm
    head: d_model -> vocabulary, tied to embedding

Mamba2Layer, from specs/architectures/mamba2_layer.yaml

    Laws, per token; prev is the state before
        delta             = softplus(split(project_delta @ x, heads))              abbreviation
        gate              = silu(split(project_gate @ x, heads))                   abbreviation
        q                 = split(silu(convolve(project_q @ x, kernel_q)), heads)  abbreviation
        k                 = split(silu(convolve(project_k @ x, kernel_k)), heads)  abbreviation
        v                 = split(silu(convolve(project_v @ x, kernel_v)), heads)  abbreviation
        surprise          = -v
                            objective -dot(memory @ k, v), by the prediction; calculus
        gradient          = outer(surprise, k)                                     adjoint of apply; calculus
        memory            = exp(-delta) * prev(memory) - delta * gradient          explicit gradient step; mamba2
        y                 = project_out @ join(memory @ q * gate / sqrt(norm2(memory @ q * gate) / (d_model / heads) + 0.000001), heads)
                            read after the write
        recent.project_k  = recent(project_k @ x) and project_k @ x
                            kept: the last values of project_k @ x, for delays and convolutions
        recent.project_v  = recent(project_v @ x) and project_v @ x
                            kept: the last values of project_v @ x, for delays and convolutions
        recent.project_q  = recent(project_q @ x) and project_q @ x
                            kept: the last values of project_q @ x, for delays and convolutions

    Form
        memory: chunked prefix sum (linear-attention, gla, mamba2)
            The old state is kept times exp(-softplus(split(project_delta @ x, heads))), and no write reads it (Scalar).
            All writes are known before the state is, so a chunk is a decayed sum of them: matrix products.

Laws of AdamW, every step, for embedding, mamba2_norm, head_norm, mamba2.project_q, mamba2.project_k, mamba2.project_v,
mamba2.project_gate, mamba2.project_out, mamba2.project_delta, mamba2.kernel_q, mamba2.kernel_k, mamba2.kernel_v
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
"""

import math
from collections.abc import Callable
from typing import Any, overload

import torch
from torch import Tensor, nn
from torch.optim import Optimizer
from torch.optim.optimizer import ParamsT

__all__ = ["Mamba2Network", "optimizers"]


class Mamba2Network(nn.Module):
    """Mamba2's memory as the only mixer; each block is a layer, without a feed-forward network.

    Inputs, by keyword:
        tokens  (batch, time), whole numbers below vocabulary
    State (nested, by what carries it; None starts from the initial state): what its layers carry.
    Returns the logits of the token that follows each, (batch, time, vocabulary), and the state after the last.
    """

    def __init__(
        self,
        vocabulary: int = 256,
        d_model: int = 256,
        layers: int = 8,
        heads: int = 4,
        learning_rate: float = 0.001,
        weight_decay: float = 0.1,
    ) -> None:
        super().__init__()
        self.vocabulary = vocabulary
        self.d_model = d_model
        self.layers = layers
        self.heads = heads
        self.learning_rate = learning_rate
        self.weight_decay = weight_decay
        self.embedding = nn.Parameter(torch.empty(vocabulary, d_model))
        self.blocks: Any = nn.ModuleList(Mamba2NetworkBlock(d_model=d_model, heads=heads) for _ in range(layers))
        self.head_norm = nn.Parameter(torch.empty(d_model))
        self.reset_parameters()

    def reset_parameters(self) -> None:
        """The model's own slow levels as training finds them."""
        nn.init.uniform_(self.embedding, -(self.d_model**-0.5), self.d_model**-0.5)
        nn.init.constant_(self.head_norm, 1)

    def initial_state(self, batch: int) -> dict[str, Any]:
        """What is carried before the first token, on the device of the parameters."""
        return {
            "blocks": [block.initial_state(batch, like=self.embedding) for block in self.blocks],
        }

    def forward(self, *, tokens: Tensor, state: dict[str, Any] | None = None) -> tuple[Tensor, dict[str, Any]]:
        """The whole sequence at once: equal to `forward_by_token`."""
        state = self.initial_state(tokens.shape[0]) if state is None else state
        x = self.embedding[tokens]
        blocks = []
        for block, carried in zip(self.blocks, state["blocks"], strict=True):
            x, carried = block(x, carried)
            blocks.append(carried)
        x = nn.functional.rms_norm(x, x.shape[-1:], self.head_norm, eps=1e-6)
        logits = x @ self.embedding.mT
        return logits, {"blocks": blocks}

    def loss(self, *, tokens: Tensor, targets: Tensor, state: dict[str, Any] | None = None) -> tuple[Tensor, dict[str, Any]]:
        """The mean cross entropy with the targets, (batch, time), in nats, and the state after the last token."""
        logits, state = self(tokens=tokens, state=state)
        logits = logits.to(torch.promote_types(logits.dtype, torch.float32))
        return nn.functional.cross_entropy(logits.flatten(0, 1), targets.flatten()), state

    def forward_by_token(self, *, tokens: Tensor, state: dict[str, Any] | None = None) -> tuple[Tensor, dict[str, Any]]:
        """One token at a time: slow, and what `forward` must equal."""
        state = self.initial_state(tokens.shape[0]) if state is None else state
        outputs = [self.embedding.new_empty(tokens.shape[0], 0, len(self.embedding))]
        for t in range(tokens.shape[1]):
            logits, state = self.step(tokens=tokens[:, t], state=state)
            outputs.append(logits.unsqueeze(1))
        return torch.cat(outputs, 1), state

    def step(self, *, tokens: Tensor, state: dict[str, Any]) -> tuple[Tensor, dict[str, Any]]:
        """One token of each sequence, (batch,), for decoding."""
        x = self.embedding[tokens]
        blocks = []
        for block, carried in zip(self.blocks, state["blocks"], strict=True):
            x, carried = block.step(x, carried)
            blocks.append(carried)
        x = nn.functional.rms_norm(x, x.shape[-1:], self.head_norm, eps=1e-6)
        logits = x @ self.embedding.mT
        return logits, {"blocks": blocks}


class Mamba2NetworkBlock(nn.Module):
    """What Mamba2Network repeats: (batch, time, size) in and out, `step` without the time."""

    def __init__(self, d_model: int, heads: int) -> None:
        super().__init__()
        self.mamba2_norm = nn.Parameter(torch.empty(d_model))
        self.mamba2 = Mamba2Layer(d_model=d_model, heads=heads)
        self.reset_parameters()

    def reset_parameters(self) -> None:
        """The block's own slow levels as training finds them."""
        nn.init.constant_(self.mamba2_norm, 1)

    def initial_state(self, batch: int, *, like: Tensor) -> dict[str, Any]:
        """What is carried before the first token."""
        return {
            "mamba2": self.mamba2.initial_state(batch, self.mamba2.heads, like=like),
        }

    def forward(self, x: Tensor, state: dict[str, Any]) -> tuple[Tensor, dict[str, Any]]:
        """All tokens at once."""
        y = nn.functional.rms_norm(x, x.shape[-1:], self.mamba2_norm, eps=1e-6)
        y, mamba2 = self.mamba2(x=y, state=state["mamba2"])
        x = x + y
        return x, {"mamba2": mamba2}

    def step(self, x: Tensor, state: dict[str, Any]) -> tuple[Tensor, dict[str, Any]]:
        """One token."""
        y = nn.functional.rms_norm(x, x.shape[-1:], self.mamba2_norm, eps=1e-6)
        y, mamba2 = self.mamba2.step(x=y, state=state["mamba2"])
        x = x + y
        return x, {"mamba2": mamba2}


class Mamba2Layer(nn.Module):
    """Mamba2Layer, a memory over a sequence.

    Mamba2's memory between trained projections, with a short causal convolution, a step size that also sets the forgetting, and a
    norm and a gate of the output.

    Inputs, by keyword, in any float dtype:
        x  (batch, time, d_model)
    State, kept in float32 or wider (a dict by name; None starts from zeros):
        memory  (batch, heads, d_model / heads, d_model / heads)
        recent.project_k, recent.project_v, recent.project_q  (batch, width - 1, d_model)
    Returns the outputs (the tensor itself) and the state after the last token:
        y  (batch, time, d_model)
    `chunk`, in tokens, is about speed alone; under torch.compile every new length compiles anew.
    """

    def __init__(self, d_model: int = 256, heads: int = 4, width: int = 4, chunk: int = 64) -> None:
        super().__init__()
        if chunk < 1:
            raise ValueError(f"chunk must be 1 or more, not {chunk}")
        self.chunk = chunk
        self.d_model = d_model
        self.heads = heads
        self.width = width
        if d_model % heads:
            raise ValueError(f"d_head = d_model / heads must be a whole number, not {d_model} / {heads}")
        self.d_head = d_model // heads
        self.project_q = nn.Parameter(torch.empty(self.d_model, self.d_model))
        self.project_k = nn.Parameter(torch.empty(self.d_model, self.d_model))
        self.project_v = nn.Parameter(torch.empty(self.d_model, self.d_model))
        self.project_gate = nn.Parameter(torch.empty(self.d_model, self.d_model))
        self.project_out = nn.Parameter(torch.empty(self.d_model, self.d_model))
        self.project_delta = nn.Parameter(torch.empty(self.heads, self.d_model))
        self.kernel_q = nn.Parameter(torch.empty(self.width, self.d_model))
        self.kernel_k = nn.Parameter(torch.empty(self.width, self.d_model))
        self.kernel_v = nn.Parameter(torch.empty(self.width, self.d_model))
        self.reset_parameters()

    def reset_parameters(self) -> None:
        """The slow levels as training finds them."""
        for weight in (self.project_q, self.project_k, self.project_v, self.project_gate, self.project_out, self.project_delta):
            nn.init.uniform_(weight, -(self.d_model**-0.5), self.d_model**-0.5)
        for weight in (self.kernel_q, self.kernel_k, self.kernel_v):
            nn.init.uniform_(weight, -(self.width**-0.5), self.width**-0.5)

    def initial_state(self, batch: int, heads: int, *, like: Tensor) -> dict[str, Tensor]:
        """Zeros on the device of `like`, in its dtype or float32, whichever is wider."""
        dtype = torch.promote_types(like.dtype, torch.float32)
        return {
            "memory": like.new_zeros(batch, heads, self.d_head, self.d_head, dtype=dtype),
            "recent.project_k": like.new_zeros(batch, self.width - 1, self.d_model, dtype=dtype),
            "recent.project_v": like.new_zeros(batch, self.width - 1, self.d_model, dtype=dtype),
            "recent.project_q": like.new_zeros(batch, self.width - 1, self.d_model, dtype=dtype),
        }

    def forward(self, *, x: Tensor, state: dict[str, Tensor] | None = None) -> tuple[Tensor, dict[str, Tensor]]:
        """The whole sequence in chunks: equal to `forward_by_token`."""
        batch = x.shape[0]
        heads = self.heads
        with _full_precision(x):
            dtype = x.dtype
            start = self._start(state, batch, heads, x)
            x = x.to(start["memory"].dtype)
            wide = start["memory"].dtype
            project_q, project_k, project_v = (weight.to(wide) for weight in (self.project_q, self.project_k, self.project_v))
            project_gate, project_out = (weight.to(wide) for weight in (self.project_gate, self.project_out))
            project_delta, kernel_q, kernel_k = (weight.to(wide) for weight in (self.project_delta, self.kernel_q, self.kernel_k))
            kernel_v = self.kernel_v.to(wide)
            recent_project_k = torch.cat((start["recent.project_k"], x @ project_k.mT), 1)
            recent_project_v = torch.cat((start["recent.project_v"], x @ project_v.mT), 1)
            recent_project_q = torch.cat((start["recent.project_q"], x @ project_q.mT), 1)
            delta = torch.nn.functional.softplus(x @ project_delta.mT, threshold=40)
            gate = torch.nn.functional.silu(torch.unflatten(x @ project_gate.mT, -1, (self.heads, -1)))
            q = torch.unflatten(torch.nn.functional.silu(_convolved(recent_project_q, kernel_q)), -1, (self.heads, -1))
            k = torch.unflatten(torch.nn.functional.silu(_convolved(recent_project_k, kernel_k)), -1, (self.heads, -1))
            v = torch.unflatten(torch.nn.functional.silu(_convolved(recent_project_v, kernel_v)), -1, (self.heads, -1))
            memory_read, memory = self._memory_in_chunks(
                decay=(-delta).exp()[..., None], key=k, value=delta[..., None] * v, query=q, memory=start["memory"]
            )
            y = torch.nn.functional.rms_norm(memory_read * gate, (self.d_head,), eps=1e-06).flatten(-2) @ project_out.mT
            state = {
                "memory": memory,
                "recent.project_k": recent_project_k[:, x.shape[1] :],
                "recent.project_v": recent_project_v[:, x.shape[1] :],
                "recent.project_q": recent_project_q[:, x.shape[1] :],
            }
            return y.to(dtype), state

    def _memory_in_chunks(self, decay: Tensor, key: Tensor, value: Tensor, query: Tensor, memory: Tensor) -> tuple[Tensor, Tensor]:
        """memory_t = decay_t memory_{t-1} + value_t key_t^T, chunk by chunk.

        Streams are (batch, time, *axes, size), a scalar one with size 1.
        """
        leading, memory = memory.shape[:-2], memory.flatten(0, -3)
        chunks = zip(*(_pieces(x, self.chunk) for x in (decay, key, value, query)), strict=True)
        reads = []
        for decay, key, value, query in chunks:
            products = _decay_products(decay)
            kept_after, after = products[:, 1:, :1], products[:, 1:, 1:]
            read = (kept_after * query) @ memory.mT
            attention = after * (query @ key.mT).tril()
            read = torch.baddbmm(read, attention, value)
            reads.append(read)
            memory = products[:, -1:, :1] * memory
            memory = torch.baddbmm(memory, value.mT, products[:, -1, 1:, None] * key)
        return _joined(reads, leading), memory.view(*leading, *memory.shape[1:])

    def forward_by_token(self, *, x: Tensor, state: dict[str, Tensor] | None = None) -> tuple[Tensor, dict[str, Tensor]]:
        """The laws, one token at a time: slow, and what `forward` must equal."""
        batch = x.shape[0]
        heads = self.heads
        state = self._start(state, batch, heads, x)
        outputs = [x.new_empty(batch, 0, self.d_model)]
        for t in range(x.shape[1]):
            y, state = self.step(x=x[:, t], state=state)
            outputs.append(y.unsqueeze(1))
        return torch.cat(outputs, 1), state

    def step(self, *, x: Tensor, state: dict[str, Tensor]) -> tuple[Tensor, dict[str, Tensor]]:
        """One token, for decoding: the laws as they stand; inputs without their time dim."""
        with _full_precision(x):
            dtype = x.dtype
            x = x.to(state["memory"].dtype)
            wide = state["memory"].dtype
            project_q, project_k, project_v = (weight.to(wide) for weight in (self.project_q, self.project_k, self.project_v))
            project_gate, project_out = (weight.to(wide) for weight in (self.project_gate, self.project_out))
            project_delta, kernel_q, kernel_k = (weight.to(wide) for weight in (self.project_delta, self.kernel_q, self.kernel_k))
            kernel_v = self.kernel_v.to(wide)
            recent_project_k = torch.cat((state["recent.project_k"], (x @ project_k.mT).unsqueeze(-2)), -2)
            recent_project_v = torch.cat((state["recent.project_v"], (x @ project_v.mT).unsqueeze(-2)), -2)
            recent_project_q = torch.cat((state["recent.project_q"], (x @ project_q.mT).unsqueeze(-2)), -2)
            delta = torch.nn.functional.softplus(x @ project_delta.mT, threshold=40)
            gate = torch.nn.functional.silu(torch.unflatten(x @ project_gate.mT, -1, (self.heads, -1)))
            q = torch.unflatten(torch.nn.functional.silu((recent_project_q * kernel_q.flip(0)).sum(-2)), -1, (self.heads, -1))
            k = torch.unflatten(torch.nn.functional.silu((recent_project_k * kernel_k.flip(0)).sum(-2)), -1, (self.heads, -1))
            v = torch.unflatten(torch.nn.functional.silu((recent_project_v * kernel_v.flip(0)).sum(-2)), -1, (self.heads, -1))
            surprise = -v
            gradient = surprise[..., None] * k[..., None, :]
            memory = (-delta).exp()[..., None, None] * state["memory"] - delta[..., None, None] * gradient
            memory_read = (memory @ q[..., None]).squeeze(-1)
            y = torch.nn.functional.rms_norm(memory_read * gate, (self.d_head,), eps=1e-06).flatten(-2) @ project_out.mT
            state = {
                "memory": memory,
                "recent.project_k": recent_project_k[..., 1:, :],
                "recent.project_v": recent_project_v[..., 1:, :],
                "recent.project_q": recent_project_q[..., 1:, :],
            }
            return y.to(dtype), state

    def _start(self, state: dict[str, Tensor] | None, batch: int, heads: int, like: Tensor) -> dict[str, Tensor]:
        """The state to start from, never narrower than zeros would be."""
        zeros = self.initial_state(batch, heads, like=like)
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


def optimizers(module: Mamba2Network) -> LevelOptimizers:
    """The optimizers of the slow levels, for any training loop: `zero_grad()`, a backward pass of the task loss, `step()`."""
    return LevelOptimizers(
        [
            (AdamW(module.parameters(), learning_rate=module.learning_rate, weight_decay=module.weight_decay), 1, False),
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


def _pieces(x: Tensor, chunk: int) -> tuple[Tensor, ...]:
    """(batch, time, *axes, size) -> chunks of (batch * axes, tokens, size), the last one short: nothing is padded."""
    return torch.split(x.movedim(1, -2).flatten(0, -3), chunk, 1)


def _joined(pieces: list[Tensor], leading: torch.Size) -> Tensor:
    """Chunks of (batch * axes, tokens, size) -> (batch, time, *axes, size)."""
    whole = torch.cat(pieces, 1)
    return whole.view(*leading, *whole.shape[1:]).movedim(-2, 1)


def _convolved(x: Tensor, kernel: Tensor) -> Tensor:
    """(batch, width - 1 + time, *axes, size) -> (batch, time, *axes, size): row j of the kernel times the value j tokens before."""
    width = kernel.shape[0]
    total = kernel[0] * x[:, width - 1 :]
    for tokens in range(1, width):
        total = total + kernel[tokens] * x[:, width - 1 - tokens : -tokens]
    return total


def _decay_products(decay: Tensor) -> Tensor:
    """(copies, n, 1) -> (copies, n + 1, n + 1): entry [t, s] is decay_{s+1} ... decay_t, row and column 0 the start of the chunk.

    It solves x_t = decay_t x_{t-1} + e_t, a bidiagonal system, by products alone: a decay of 0 is exact, in values and gradients.
    """
    identity = torch.eye(decay.shape[1] + 1, dtype=decay.dtype, device=decay.device)
    return _solve(nn.functional.pad(-decay * identity[:-1], (0, 0, 1, 0)), identity)


def _solve(below_diagonal: Tensor, right: Tensor) -> Tensor:
    """x with x_t = right_t - sum of below_diagonal[t, s] x_s over s < t; nothing else of the matrix is read."""
    solution: Tensor = torch.linalg.solve_triangular(below_diagonal, right, upper=False, unitriangular=True)
    return solution


# sealed by nlc, sha256 of everything above: a505888f7d41813cb9920e053c271688eac78d3fc6a929b8a18d130cee9e2748
