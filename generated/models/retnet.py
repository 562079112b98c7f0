"""RetNet: The transformer with retention, a memory that fades at a fixed rate per head, in the place of attention.

Compiled by nlc from specs/models/retnet.yaml. Edit the spec, not this file.
sha256 of the spec: 857409ff2e88c4ef19458ec12386b773769ab52305ed67ffdc91c567f7a555a7

Levels, fastest first (Nested Learning, Definition 2)
    rank  components                                                          every  paper's number (slowest highest / slowest first)
    0     retention.memory                                                    token  1 / 3
    1     embedding.first_moment, embedding.second_moment,                    step   2 / 2
          head_norm.first_moment, head_norm.second_moment,
          retention.project_gate.first_moment,
          retention.project_gate.second_moment,
          retention.project_k.first_moment,
          retention.project_k.second_moment,
          retention.project_out.first_moment,
          retention.project_out.second_moment,
          retention.project_q.first_moment,
          retention.project_q.second_moment,
          retention.project_v.first_moment,
          retention.project_v.second_moment, retention_norm.first_moment,
          retention_norm.second_moment, swiglu.contract.first_moment,
          swiglu.contract.second_moment, swiglu.expand.first_moment,
          swiglu.expand.second_moment, swiglu.gate.first_moment,
          swiglu.gate.second_moment, swiglu_norm.first_moment,
          swiglu_norm.second_moment
    2     embedding, head_norm, retention.project_gate, retention.project_k,  step   3 / 1
          retention.project_out, retention.project_q, retention.project_v,
          retention_norm, swiglu.contract, swiglu.expand, swiglu.gate,
          swiglu_norm

Network
    embedding: vocabulary -> d_model
    blocks, layers times over:
        + retention_norm: rms_norm
          retention: RetentionLayer(d_model = d_model, heads = heads)
        + swiglu_norm: rms_norm
          swiglu: SwigluLayer(d_model = d_model, d_hidden = d_hidden)
    head_norm: rms_norm
    head: d_model -> vocabulary, tied to embedding

RetentionLayer, from specs/architectures/retention_layer.yaml

    Laws, per token; prev is the state before
        v         = split(project_v @ x, heads)                                  abbreviation
        gate      = silu(split(project_gate @ x, heads))                         abbreviation
        q         = rotary(split(project_q @ x, heads))                          abbreviation
        k         = rotary(split(project_k @ x, heads)) / sqrt(d_model / heads)  abbreviation
        surprise  = -v                                                           objective -dot(memory @ k, v), by the prediction; calculus
        gradient  = outer(surprise, k)                                           adjoint of apply; calculus
        memory    = (1 - 2 ** (-5 - index(heads))) * prev(memory) - gradient     explicit gradient step; retnet
        y         = project_out @ join(memory @ q / sqrt(norm2(memory @ q) / (d_model / heads) + 0.000001) * gate, heads)
                    read after the write
        position  = prev(position) + 1                                           kept: the tokens so far

    Form
        memory: chunked prefix sum (linear-attention, gla, mamba2)
            The old state is kept times 1 - 2 ** (-5 - index(heads)), and no write reads it (Scalar).
            All writes are known before the state is, so a chunk is a decayed sum of them: matrix products.

SwigluLayer, from specs/architectures/swiglu_layer.yaml

    Laws, per token; prev is the state before
        y  = contract @ (silu(gate @ x) * (expand @ x))  no state is read

Laws of AdamW, every step, for embedding, retention_norm, swiglu_norm, head_norm, retention.project_q, retention.project_k,
retention.project_v, retention.project_out, retention.project_gate, swiglu.expand, swiglu.gate, swiglu.contract
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

__all__ = ["RetNet", "optimizers"]


class RetNet(nn.Module):
    """The transformer with retention, a memory that fades at a fixed rate per head, in the place of attention.

    Inputs, by keyword:
        tokens  (batch, time), whole numbers below vocabulary
    State (nested, by what carries it; None starts from the initial state): what its layers carry.
    Returns the logits of the token that follows each, (batch, time, vocabulary), and the state after the last.
    """

    def __init__(
        self,
        vocabulary: int = 256,
        d_model: int = 256,
        layers: int = 4,
        heads: int = 4,
        d_hidden: int = 680,
        learning_rate: float = 0.001,
        weight_decay: float = 0.1,
    ) -> None:
        super().__init__()
        self.vocabulary = vocabulary
        self.d_model = d_model
        self.layers = layers
        self.heads = heads
        self.d_hidden = d_hidden
        self.learning_rate = learning_rate
        self.weight_decay = weight_decay
        self.embedding = nn.Parameter(torch.empty(vocabulary, d_model))
        self.blocks: Any = nn.ModuleList(RetNetBlock(d_model=d_model, heads=heads, d_hidden=d_hidden) for _ in range(layers))
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


class RetNetBlock(nn.Module):
    """What RetNet repeats: (batch, time, size) in and out, `step` without the time."""

    def __init__(self, d_model: int, heads: int, d_hidden: int) -> None:
        super().__init__()
        self.retention_norm = nn.Parameter(torch.empty(d_model))
        self.retention = RetentionLayer(d_model=d_model, heads=heads)
        self.swiglu_norm = nn.Parameter(torch.empty(d_model))
        self.swiglu = SwigluLayer(d_model=d_model, d_hidden=d_hidden)
        self.reset_parameters()

    def reset_parameters(self) -> None:
        """The block's own slow levels as training finds them."""
        nn.init.constant_(self.retention_norm, 1)
        nn.init.constant_(self.swiglu_norm, 1)

    def initial_state(self, batch: int, *, like: Tensor) -> dict[str, Any]:
        """What is carried before the first token."""
        return {
            "retention": self.retention.initial_state(batch, self.retention.heads, like=like),
        }

    def forward(self, x: Tensor, state: dict[str, Any]) -> tuple[Tensor, dict[str, Any]]:
        """All tokens at once."""
        y = nn.functional.rms_norm(x, x.shape[-1:], self.retention_norm, eps=1e-6)
        y, retention = self.retention(x=y, state=state["retention"])
        x = x + y
        y = nn.functional.rms_norm(x, x.shape[-1:], self.swiglu_norm, eps=1e-6)
        y, _ = self.swiglu(x=y)
        x = x + y
        return x, {"retention": retention}

    def step(self, x: Tensor, state: dict[str, Any]) -> tuple[Tensor, dict[str, Any]]:
        """One token."""
        y = nn.functional.rms_norm(x, x.shape[-1:], self.retention_norm, eps=1e-6)
        y, retention = self.retention.step(x=y, state=state["retention"])
        x = x + y
        y = nn.functional.rms_norm(x, x.shape[-1:], self.swiglu_norm, eps=1e-6)
        y, _ = self.swiglu.step(x=y, state={})
        x = x + y
        return x, {"retention": retention}


class RetentionLayer(nn.Module):
    """Retention between trained projections, with rotary positions, scaled keys, a norm of each head's output and a gate.

    Inputs, by keyword, in any float dtype:
        x  (batch, time, d_model)
    State, kept in float32 or wider (a dict by name; None starts from zeros):
        memory  (batch, heads, d_model / heads, d_model / heads)
        position  (), int64: how many tokens came before
    Returns the outputs (the tensor itself) and the state after the last token:
        y  (batch, time, d_model)
    `chunk`, in tokens, is about speed alone; under torch.compile every new length compiles anew.
    """

    def __init__(self, d_model: int = 256, heads: int = 4, chunk: int = 64) -> None:
        super().__init__()
        if chunk < 1:
            raise ValueError(f"chunk must be 1 or more, not {chunk}")
        self.chunk = chunk
        self.d_model = d_model
        self.heads = heads
        if d_model % heads:
            raise ValueError(f"d_head = d_model / heads must be a whole number, not {d_model} / {heads}")
        self.d_head = d_model // heads
        self.project_q = nn.Parameter(torch.empty(self.d_model, self.d_model))
        self.project_k = nn.Parameter(torch.empty(self.d_model, self.d_model))
        self.project_v = nn.Parameter(torch.empty(self.d_model, self.d_model))
        self.project_out = nn.Parameter(torch.empty(self.d_model, self.d_model))
        self.project_gate = nn.Parameter(torch.empty(self.d_model, self.d_model))
        self.reset_parameters()

    def reset_parameters(self) -> None:
        """The slow levels as training finds them."""
        for weight in (self.project_q, self.project_k, self.project_v, self.project_out, self.project_gate):
            nn.init.uniform_(weight, -(self.d_model**-0.5), self.d_model**-0.5)

    def initial_state(self, batch: int, heads: int, *, like: Tensor) -> dict[str, Tensor]:
        """Zeros on the device of `like`, in its dtype or float32, whichever is wider."""
        dtype = torch.promote_types(like.dtype, torch.float32)
        return {
            "memory": like.new_zeros(batch, heads, self.d_head, self.d_head, dtype=dtype),
            "position": like.new_zeros((), dtype=torch.int64),
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
            project_out, project_gate = (weight.to(wide) for weight in (self.project_out, self.project_gate))
            heads_index = torch.arange(start["memory"].shape[1], dtype=start["memory"].dtype, device=start["memory"].device)
            place = (start["position"] + torch.arange(x.shape[1], device=x.device)).to(x.dtype)[:, None]
            v = torch.unflatten(x @ project_v.mT, -1, (self.heads, -1))
            gate = torch.nn.functional.silu(torch.unflatten(x @ project_gate.mT, -1, (self.heads, -1)))
            q = _rotary(torch.unflatten(x @ project_q.mT, -1, (self.heads, -1)), place, 10000)
            k = _rotary(torch.unflatten(x @ project_k.mT, -1, (self.heads, -1)), place, 10000) / math.sqrt(self.d_head)
            memory_read, memory = self._memory_in_chunks(
                decay=(1 - 2 ** (-5 - heads_index))[..., None].expand(batch, heads, -1), key=k, value=v, query=q, memory=start["memory"]
            )
            y = (torch.nn.functional.rms_norm(memory_read, (self.d_head,), eps=1e-06) * gate).flatten(-2) @ project_out.mT
            return y.to(dtype), {"memory": memory, "position": start["position"] + x.shape[1]}

    def _memory_in_chunks(self, decay: Tensor, key: Tensor, value: Tensor, query: Tensor, memory: Tensor) -> tuple[Tensor, Tensor]:
        """memory_t = decay_t memory_{t-1} + value_t key_t^T, chunk by chunk.

        Streams are (batch, time, *axes, size), a scalar one with size 1.
        The decay, (batch, *axes, 1), is that of every token: its products are made once.
        """
        leading, memory = memory.shape[:-2], memory.flatten(0, -3)
        chunks = zip(*(_pieces(x, self.chunk) for x in (key, value, query)), strict=True)
        products = _decay_products(decay.flatten(0, -2).unsqueeze(1).expand(-1, min(self.chunk, key.shape[1]), -1))
        kept_after, after = products[:, 1:, :1].contiguous(), products[:, 1:, 1:].contiguous()
        reads = []
        for key, value, query in chunks:
            n = key.shape[1]
            read = (kept_after[:, :n] * query) @ memory.mT
            attention = after[:, :n, :n] * (query @ key.mT).tril()
            read = torch.baddbmm(read, attention, value)
            reads.append(read)
            memory = products[:, n : n + 1, :1] * memory
            memory = torch.baddbmm(memory, value.mT, products[:, n, 1 : n + 1, None] * key)
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
            project_out, project_gate = (weight.to(wide) for weight in (self.project_out, self.project_gate))
            heads_index = torch.arange(state["memory"].shape[1], dtype=state["memory"].dtype, device=state["memory"].device)
            position = state["position"] + 1
            place = (position - 1).to(state["memory"].dtype)
            v = torch.unflatten(x @ project_v.mT, -1, (self.heads, -1))
            gate = torch.nn.functional.silu(torch.unflatten(x @ project_gate.mT, -1, (self.heads, -1)))
            q = _rotary(torch.unflatten(x @ project_q.mT, -1, (self.heads, -1)), place, 10000)
            k = _rotary(torch.unflatten(x @ project_k.mT, -1, (self.heads, -1)), place, 10000) / math.sqrt(self.d_head)
            surprise = -v
            gradient = surprise[..., None] * k[..., None, :]
            memory = (1 - 2 ** (-5 - heads_index))[..., None, None] * state["memory"] - gradient
            memory_read = (memory @ q[..., None]).squeeze(-1)
            y = (torch.nn.functional.rms_norm(memory_read, (self.d_head,), eps=1e-06) * gate).flatten(-2) @ project_out.mT
            return y.to(dtype), {"memory": memory, "position": position}

    def _start(self, state: dict[str, Tensor] | None, batch: int, heads: int, like: Tensor) -> dict[str, Tensor]:
        """The state to start from, never narrower than zeros would be."""
        zeros = self.initial_state(batch, heads, like=like)
        if state is None:
            return zeros
        return {name: state[name].to(torch.promote_types(state[name].dtype, zero.dtype)) for name, zero in zeros.items()}


class SwigluLayer(nn.Module):
    """A feed-forward network whose hidden values are gated, between projections that a training loop moves; it remembers nothing.

    Inputs, by keyword, in any float dtype:
        x  (batch, time, d_model)
    State, kept in float32 or wider (a dict by name; None starts from zeros):
        nothing: an empty dict
    Returns the outputs (the tensor itself) and the state after the last token:
        y  (batch, time, d_model)
    No token depends on another: all are computed at once.
    """

    def __init__(self, d_model: int = 256, d_hidden: int = 680) -> None:
        super().__init__()
        self.d_model = d_model
        self.d_hidden = d_hidden
        self.expand = nn.Parameter(torch.empty(self.d_hidden, self.d_model))
        self.gate = nn.Parameter(torch.empty(self.d_hidden, self.d_model))
        self.contract = nn.Parameter(torch.empty(self.d_model, self.d_hidden))
        self.reset_parameters()

    def reset_parameters(self) -> None:
        """The slow levels as training finds them."""
        nn.init.uniform_(self.expand, -(self.d_model**-0.5), self.d_model**-0.5)
        nn.init.uniform_(self.gate, -(self.d_model**-0.5), self.d_model**-0.5)
        nn.init.uniform_(self.contract, -(self.d_hidden**-0.5), self.d_hidden**-0.5)

    def initial_state(self, batch: int, *, like: Tensor) -> dict[str, Tensor]:
        """Nothing is carried from token to token."""
        return {}

    def forward(self, *, x: Tensor, state: dict[str, Tensor] | None = None) -> tuple[Tensor, dict[str, Tensor]]:
        """All tokens at once: equal to `forward_by_token`."""
        with _full_precision(x):
            dtype = x.dtype
            wide = torch.promote_types(dtype, torch.float32)
            x = x.to(wide)
            expand, gate, contract = (weight.to(wide) for weight in (self.expand, self.gate, self.contract))
            y = torch.nn.functional.silu(x @ gate.mT) * (x @ expand.mT) @ contract.mT
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
            expand, gate, contract = (weight.to(wide) for weight in (self.expand, self.gate, self.contract))
            y = torch.nn.functional.silu(x @ gate.mT) * (x @ expand.mT) @ contract.mT
            return y.to(dtype), {}


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


def optimizers(module: RetNet) -> LevelOptimizers:
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


def _rotary(x: Tensor, place: Tensor, base: int) -> Tensor:
    """Entries j and j + half of x, (..., size), turned in pairs by place / base ** (j / half); the last of an odd number stays."""
    half = x.shape[-1] // 2
    angle = place[..., None] / base ** (torch.arange(half, dtype=x.dtype, device=x.device) / half)
    left, right, last = torch.split(x, [half, half, x.shape[-1] - 2 * half], -1)
    return torch.cat((left * angle.cos() - right * angle.sin(), left * angle.sin() + right * angle.cos(), last), -1)


# sealed by nlc, sha256 of everything above: 977a3a4733047e415b556003bcd451cf07ff6ce1419d05be7c1dc80e6f0f7add
