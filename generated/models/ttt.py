"""TTT: The transformer with TTT-Linear, a map that learns from the tokens it reads, a mini-batch at a time, in the place of attention.

Compiled by nlc from specs/models/ttt.yaml. Edit the spec, not this file.
sha256 of the spec: e2a5a7a1d448cc06ec10e498eb42d5adc693299645b1594f5e2b7ead8d9afc1b

Levels, fastest first (Nested Learning, Definition 2)
    rank  components                                                          every  paper's number (slowest highest / slowest first)
    0     ttt_linear.memory                                                   token  1 / 3
    1     embedding.first_moment, embedding.second_moment,                    step   2 / 2
          head_norm.first_moment, head_norm.second_moment,
          swiglu.contract.first_moment, swiglu.contract.second_moment,
          swiglu.expand.first_moment, swiglu.expand.second_moment,
          swiglu.gate.first_moment, swiglu.gate.second_moment,
          swiglu_norm.first_moment, swiglu_norm.second_moment,
          ttt_linear.kernel_k.first_moment,
          ttt_linear.kernel_k.second_moment,
          ttt_linear.kernel_q.first_moment,
          ttt_linear.kernel_q.second_moment,
          ttt_linear.memory.start.first_moment,
          ttt_linear.memory.start.second_moment,
          ttt_linear.project_gate.first_moment,
          ttt_linear.project_gate.second_moment,
          ttt_linear.project_out.first_moment,
          ttt_linear.project_out.second_moment,
          ttt_linear.project_q.first_moment,
          ttt_linear.project_q.second_moment,
          ttt_linear.project_rate.first_moment,
          ttt_linear.project_rate.second_moment,
          ttt_linear.project_v.first_moment,
          ttt_linear.project_v.second_moment, ttt_linear.scale.first_moment,
          ttt_linear.scale.second_moment, ttt_linear.shift.first_moment,
          ttt_linear.shift.second_moment, ttt_linear_norm.first_moment,
          ttt_linear_norm.second_moment
    2     embedding, head_norm, swiglu.contract, swiglu.expand, swiglu.gate,  step   3 / 1
          swiglu_norm, ttt_linear.kernel_k, ttt_linear.kernel_q,
          ttt_linear.memory.start, ttt_linear.project_gate,
          ttt_linear.project_out, ttt_linear.project_q,
          ttt_linear.project_rate, ttt_linear.project_v, ttt_linear.scale,
          ttt_linear.shift, ttt_linear_norm

Network
    embedding: vocabulary -> d_model
    blocks, layers times over:
        + ttt_linear_norm: rms_norm
          ttt_linear: TTTLinearLayer(d_model = d_model, heads = heads)
        + swiglu_norm: rms_norm
          swiglu: SwigluLayer(d_model = d_model, d_hidden = d_hidden)
    head_norm: rms_norm
    head: d_model -> vocabulary, tied to embedding

TTTLinearLayer, from specs/architectures/ttt_linear_layer.yaml

    Laws, per token; prev is the state before
        gain                    = split(scale, heads)                                                         abbreviation
        offset                  = split(shift, heads)                                                         abbreviation
        v                       = split(project_v @ x, heads)                                                 abbreviation
        gate                    = gelu(split(project_gate @ x, heads))                                        abbreviation
        learning_rate           = largest_rate / (d_model / heads) * sigmoid(split(project_rate @ x, heads))  abbreviation
        q                       = split(convolve(project_q @ x, kernel_q), heads)                             abbreviation
        k                       = split(convolve(project_q @ x, kernel_k), heads)                             abbreviation
        layer                   = prev(memory.weights.held_16) @ k + prev(memory.bias.held_16)                into layer_norm
        activation              = layer_norm(layer)                                                           out of layer_norm
        error                   = k + gain * activation + offset - v
                                  objective 0.5 * norm2(k + gain * layer_norm(memory.weights @ k + memory.bias) + offset - v)
        norm_surprise           = error * gain
                                  gradient by activation; calculus
        deviation               = sqrt(norm2(layer - sum(layer) / (d_model / heads)) / (d_model / heads) + 0.00001)
                                  the norm divides by it
        local_surprise          = norm_surprise / deviation - sum(norm_surprise) / (d_model / heads) / deviation - dot(norm_surprise,
                                  activation) / (d_model / heads) / deviation * activation
                                  gradient by layer; calculus
        gradient_weights        = outer(local_surprise, k)                                                    adjoint of the error; calculus
        rate                    = learning_rate                                                               learning rate
        memory.weights          = prev(memory.weights) - rate * gradient_weights                              explicit gradient step; ttt
        memory.bias             = prev(memory.bias) - rate * local_surprise                                   explicit gradient step; ttt
        y                       = project_out @ join(layer_norm(q + gain * layer_norm(memory.weights @ q + memory.bias) + offset) * gate,
                                  heads)
                                  read after the write
        memory.bias.held_16     = where(due(16 tokens), memory.bias, prev(memory.bias.held_16))
                                  kept: read by hold(memory, 16 tokens)
        memory.weights.held_16  = where(due(16 tokens), memory.weights, prev(memory.weights.held_16))
                                  kept: read by hold(memory, 16 tokens)
        recent.project_q        = recent(project_q @ x) and project_q @ x
                                  kept: the last values of project_q @ x, for delays and convolutions
        position                = prev(position) + 1                                                          kept: the tokens so far

    Form
        memory: dual form (ttt, titans)
            It moves by gradients at a held state, which are told layer by layer (Dense).
            The gradients of a block are taken at one state, so its weights are sums of them, and reads are products of matrices.

SwigluLayer, from specs/architectures/swiglu_layer.yaml

    Laws, per token; prev is the state before
        y  = contract @ (silu(gate @ x) * (expand @ x))  no state is read

Laws of AdamW, every step, for embedding, ttt_linear_norm, swiglu_norm, head_norm, ttt_linear.project_q, ttt_linear.project_v,
ttt_linear.project_gate, ttt_linear.project_out, ttt_linear.project_rate, ttt_linear.kernel_q, ttt_linear.kernel_k, ttt_linear.scale,
ttt_linear.shift, ttt_linear.memory.start, swiglu.expand, swiglu.gate, swiglu.contract
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

__all__ = ["TTT", "optimizers"]


class TTT(nn.Module):
    """The transformer with TTT-Linear, a map that learns from the tokens it reads, a mini-batch at a time, in the place of attention.

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
        self.blocks: Any = nn.ModuleList(TTTBlock(d_model=d_model, heads=heads, d_hidden=d_hidden) for _ in range(layers))
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


class TTTBlock(nn.Module):
    """What TTT repeats: (batch, time, size) in and out, `step` without the time."""

    def __init__(self, d_model: int, heads: int, d_hidden: int) -> None:
        super().__init__()
        self.ttt_linear_norm = nn.Parameter(torch.empty(d_model))
        self.ttt_linear = TTTLinearLayer(d_model=d_model, heads=heads)
        self.swiglu_norm = nn.Parameter(torch.empty(d_model))
        self.swiglu = SwigluLayer(d_model=d_model, d_hidden=d_hidden)
        self.reset_parameters()

    def reset_parameters(self) -> None:
        """The block's own slow levels as training finds them."""
        nn.init.constant_(self.ttt_linear_norm, 1)
        nn.init.constant_(self.swiglu_norm, 1)

    def initial_state(self, batch: int, *, like: Tensor) -> dict[str, Any]:
        """What is carried before the first token."""
        return {
            "ttt_linear": self.ttt_linear.initial_state(batch, self.ttt_linear.heads, like=like),
        }

    def forward(self, x: Tensor, state: dict[str, Any]) -> tuple[Tensor, dict[str, Any]]:
        """All tokens at once."""
        y = nn.functional.rms_norm(x, x.shape[-1:], self.ttt_linear_norm, eps=1e-6)
        y, ttt_linear = self.ttt_linear(x=y, state=state["ttt_linear"])
        x = x + y
        y = nn.functional.rms_norm(x, x.shape[-1:], self.swiglu_norm, eps=1e-6)
        y, _ = self.swiglu(x=y)
        x = x + y
        return x, {"ttt_linear": ttt_linear}

    def step(self, x: Tensor, state: dict[str, Any]) -> tuple[Tensor, dict[str, Any]]:
        """One token."""
        y = nn.functional.rms_norm(x, x.shape[-1:], self.ttt_linear_norm, eps=1e-6)
        y, ttt_linear = self.ttt_linear.step(x=y, state=state["ttt_linear"])
        x = x + y
        y = nn.functional.rms_norm(x, x.shape[-1:], self.swiglu_norm, eps=1e-6)
        y, _ = self.swiglu.step(x=y, state={})
        x = x + y
        return x, {"ttt_linear": ttt_linear}


class TTTLinearLayer(nn.Module):
    """TTT-Linear between trained projections, with convolved queries and keys, a gate, and for each head a rate, norm and start.

    Inputs, by keyword, in any float dtype:
        x  (batch, time, d_model)
    State, kept in float32 or wider (a dict by name; None starts from the initial state):
        memory.weights, memory.weights.held_16  (batch, heads, d_model / heads, d_model / heads)
        memory.bias, memory.bias.held_16  (batch, heads, d_model / heads)
        recent.project_q  (batch, width - 1, d_model)
        position  (), int64: how many tokens came before
    Returns the outputs (the tensor itself) and the state after the last token:
        y  (batch, time, d_model)
    Under torch.compile every new length compiles anew.
    The sequence runs in blocks of 16 tokens, counted from the position of the state that is handed in.
    """

    def __init__(self, d_model: int = 256, heads: int = 4, width: int = 4, largest_rate: float = 1.0) -> None:
        super().__init__()
        self.d_model = d_model
        self.heads = heads
        self.width = width
        self.largest_rate = largest_rate
        if d_model % heads:
            raise ValueError(f"d_head = d_model / heads must be a whole number, not {d_model} / {heads}")
        self.d_head = d_model // heads
        self.project_q = nn.Parameter(torch.empty(self.d_model, self.d_model))
        self.project_v = nn.Parameter(torch.empty(self.d_model, self.d_model))
        self.project_gate = nn.Parameter(torch.empty(self.d_model, self.d_model))
        self.project_out = nn.Parameter(torch.empty(self.d_model, self.d_model))
        self.project_rate = nn.Parameter(torch.empty(self.heads, self.d_model))
        self.kernel_q = nn.Parameter(torch.empty(self.width, self.d_model))
        self.kernel_k = nn.Parameter(torch.empty(self.width, self.d_model))
        self.scale = nn.Parameter(torch.empty(self.d_model))
        self.shift = nn.Parameter(torch.empty(self.d_model))
        self.memory_start_weights = nn.Parameter(torch.empty(self.d_head, self.d_head))
        self.memory_start_bias = nn.Parameter(torch.empty(self.d_head))
        self.reset_parameters()

    def reset_parameters(self) -> None:
        """The slow levels as training finds them."""
        for weight in (self.project_q, self.project_v, self.project_gate, self.project_out, self.project_rate):
            nn.init.uniform_(weight, -(self.d_model**-0.5), self.d_model**-0.5)
        nn.init.uniform_(self.kernel_q, -(self.width**-0.5), self.width**-0.5)
        nn.init.uniform_(self.kernel_k, -(self.width**-0.5), self.width**-0.5)
        nn.init.constant_(self.scale, 1)
        nn.init.constant_(self.shift, 0)
        nn.init.uniform_(self.memory_start_weights, -(self.d_head**-0.5), self.d_head**-0.5)
        nn.init.zeros_(self.memory_start_bias)

    def initial_state(self, batch: int, heads: int, *, like: Tensor) -> dict[str, Tensor]:
        """The start on the device of `like`, in its dtype or float32, whichever is wider."""
        dtype = torch.promote_types(like.dtype, torch.float32)
        starts = {
            "memory.weights": self.memory_start_weights.to(dtype).expand(batch, heads, self.d_head, self.d_head),
            "memory.bias": self.memory_start_bias.to(dtype).expand(batch, heads, self.d_head),
        }
        held = {f"{name}.held_16": start for name, start in starts.items()}
        others = {
            "recent.project_q": like.new_zeros(batch, self.width - 1, self.d_model, dtype=dtype),
            "position": like.new_zeros((), dtype=torch.int64),
        }
        return starts | held | others

    def forward(self, *, x: Tensor, state: dict[str, Tensor] | None = None) -> tuple[Tensor, dict[str, Tensor]]:
        """The whole sequence in blocks, which end where a period may: equal to `forward_by_token`."""
        batch = x.shape[0]
        heads = self.heads
        with _full_precision(x):
            dtype = x.dtype
            before = 0 if state is None or state["position"].is_meta else int(state["position"])
            state = self._start(state, batch, heads, x)
            x = x.to(state["memory.weights"].dtype)
            wide = state["memory.weights"].dtype
            project_q, project_v, project_gate = (weight.to(wide) for weight in (self.project_q, self.project_v, self.project_gate))
            project_out, project_rate, kernel_q = (weight.to(wide) for weight in (self.project_out, self.project_rate, self.kernel_q))
            kernel_k, scale, shift = (weight.to(wide) for weight in (self.kernel_k, self.scale, self.shift))
            recent_project_q = torch.cat((state["recent.project_q"], x @ project_q.mT), 1)
            gain = torch.unflatten(scale, -1, (self.heads, -1))
            offset = torch.unflatten(shift, -1, (self.heads, -1))
            v = torch.unflatten(x @ project_v.mT, -1, (self.heads, -1))
            gate = torch.nn.functional.gelu(torch.unflatten(x @ project_gate.mT, -1, (self.heads, -1)))
            learning_rate = self.largest_rate / self.d_head * (x @ project_rate.mT).sigmoid()
            q = torch.unflatten(_convolved(recent_project_q, kernel_q), -1, (self.heads, -1))
            k = torch.unflatten(_convolved(recent_project_q, kernel_k), -1, (self.heads, -1))
            streams = (q, k, v, learning_rate, gate)
            lengths = _block_lengths(before, 16, x.shape[1])
            blocks = zip(*(torch.split(x.movedim(1, 2).flatten(0, 1), lengths, 1) for x in streams), strict=True)
            moved = {name: x.flatten(0, 1) for name, x in state.items() if name not in {"recent.project_q", "position"}}
            y_inside_in_blocks = [x.new_empty(batch * heads, 0, self.d_head)]
            for given in blocks:
                y_inside, moved = self._block(
                    *given,
                    gain=gain.expand(batch, 1, heads, -1).movedim(1, 2).flatten(0, 1),
                    offset=offset.expand(batch, 1, heads, -1).movedim(1, 2).flatten(0, 1),
                    state=moved,
                    before=before,
                )
                before = before + given[0].shape[1]
                y_inside_in_blocks.append(y_inside)
            y_inside = torch.unflatten(torch.cat(y_inside_in_blocks, 1), 0, (batch, heads)).movedim(2, 1)
            y = y_inside.flatten(-2) @ project_out.mT
            last = {"position": state["position"] + x.shape[1], "recent.project_q": recent_project_q[:, x.shape[1] :]}
            state = {name: torch.unflatten(x, 0, (batch, heads)) for name, x in moved.items()} | last
            return y.to(dtype), state

    def _block(
        self,
        q: Tensor,
        k: Tensor,
        v: Tensor,
        learning_rate: Tensor,
        gate: Tensor,
        *,
        gain: Tensor,
        offset: Tensor,
        state: dict[str, Tensor],
        before: int,
    ) -> tuple[Tensor, dict[str, Tensor]]:
        """The tokens up to where a period may end: what moves every so many tokens moves after them, if it does."""
        position = before + q.shape[1]
        due = position % 16 == 0
        layer = torch.baddbmm(state["memory.bias.held_16"].unsqueeze(1), k, state["memory.weights.held_16"].mT)
        activation = torch.nn.functional.layer_norm(layer, (self.d_head,))
        error = k + gain * activation + offset - v
        norm_surprise = error * gain
        deviation = ((layer - (layer.sum(-1) / self.d_head)[..., None]).square().sum(-1) / self.d_head + 0.00001).sqrt()
        local_surprise = (
            norm_surprise / deviation[..., None]
            - (norm_surprise.sum(-1) / self.d_head / deviation)[..., None]
            - ((norm_surprise * activation).sum(-1) / self.d_head / deviation)[..., None] * activation
        )
        memory_kept = _kept(q.new_full((), 1).expand(q.shape[0], q.shape[1]))
        weights_write = -learning_rate[..., None] * local_surprise
        memory_read = _read_matrix(q, (memory_kept, state["memory.weights"]), [(memory_kept, k, weights_write)])
        memory_read_2 = _moved_vector((memory_kept, state["memory.bias"]), [(memory_kept, weights_write)])
        memory_weights = _moved_matrix((memory_kept, state["memory.weights"]), [(memory_kept, k, weights_write)])
        memory_bias = _moved_vector((memory_kept, state["memory.bias"]), [(memory_kept, weights_write)])[:, -1]
        y_inside_hidden = q + gain * torch.nn.functional.layer_norm(memory_read + memory_read_2, (self.d_head,)) + offset
        y_inside = torch.nn.functional.layer_norm(y_inside_hidden, (self.d_head,)) * gate
        moved = {"memory.weights": memory_weights, "memory.bias": memory_bias}
        held = {f"{name}.held_16": new if due else state[f"{name}.held_16"] for name, new in moved.items()}
        return y_inside, moved | held

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
            x = x.to(state["memory.weights"].dtype)
            wide = state["memory.weights"].dtype
            project_q, project_v, project_gate = (weight.to(wide) for weight in (self.project_q, self.project_v, self.project_gate))
            project_out, project_rate, kernel_q = (weight.to(wide) for weight in (self.project_out, self.project_rate, self.kernel_q))
            kernel_k, scale, shift = (weight.to(wide) for weight in (self.kernel_k, self.scale, self.shift))
            position = state["position"] + 1
            due = position % 16 == 0
            recent_project_q = torch.cat((state["recent.project_q"], (x @ project_q.mT).unsqueeze(-2)), -2)
            gain = torch.unflatten(scale, -1, (self.heads, -1))
            offset = torch.unflatten(shift, -1, (self.heads, -1))
            v = torch.unflatten(x @ project_v.mT, -1, (self.heads, -1))
            gate = torch.nn.functional.gelu(torch.unflatten(x @ project_gate.mT, -1, (self.heads, -1)))
            learning_rate = self.largest_rate / self.d_head * (x @ project_rate.mT).sigmoid()
            q = torch.unflatten((recent_project_q * kernel_q.flip(0)).sum(-2), -1, (self.heads, -1))
            k = torch.unflatten((recent_project_q * kernel_k.flip(0)).sum(-2), -1, (self.heads, -1))
            layer = (state["memory.weights.held_16"] @ k[..., None]).squeeze(-1) + state["memory.bias.held_16"]
            activation = torch.nn.functional.layer_norm(layer, (self.d_head,))
            error = k + gain * activation + offset - v
            norm_surprise = error * gain
            layer_centred = layer - (layer.sum(-1) / self.d_head)[..., None]
            deviation = (layer_centred.square().sum(-1) / self.d_head + 0.00001).sqrt()
            local_surprise = (
                norm_surprise / deviation[..., None]
                - (norm_surprise.sum(-1) / self.d_head / deviation)[..., None]
                - ((norm_surprise * activation).sum(-1) / self.d_head / deviation)[..., None] * activation
            )
            gradient_weights = local_surprise[..., None] * k[..., None, :]
            memory_weights = state["memory.weights"] - learning_rate[..., None, None] * gradient_weights
            memory_bias = state["memory.bias"] - learning_rate[..., None] * local_surprise
            y_hidden = (
                q
                + gain * torch.nn.functional.layer_norm((memory_weights @ q[..., None]).squeeze(-1) + memory_bias, (self.d_head,))
                + offset
            )
            y = (torch.nn.functional.layer_norm(y_hidden, (self.d_head,)) * gate).flatten(-2) @ project_out.mT
            moved = {"memory.weights": memory_weights, "memory.bias": memory_bias}
            held = {f"{name}.held_16": torch.where(due, new, state[f"{name}.held_16"]) for name, new in moved.items()}
            last = {"recent.project_q": recent_project_q[..., 1:, :], "position": position}
            return y.to(dtype), moved | held | last

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


def optimizers(module: TTT) -> LevelOptimizers:
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


def _convolved(x: Tensor, kernel: Tensor) -> Tensor:
    """(batch, width - 1 + time, *axes, size) -> (batch, time, *axes, size): row j of the kernel times the value j tokens before."""
    width = kernel.shape[0]
    total = kernel[0] * x[:, width - 1 :]
    for tokens in range(1, width):
        total = total + kernel[tokens] * x[:, width - 1 - tokens : -tokens]
    return total


def _block_lengths(before: int, tokens: int, time: int) -> list[int]:
    """The lengths of blocks that end at every multiple of `tokens`, counted from the start of the stream, and with the sequence."""
    ends = [*range(tokens - before % tokens, time, tokens), time]
    return [end - start for start, end in zip([0, *ends], ends, strict=False)] if time else []


def _kept(decay: Tensor) -> Tensor:
    """(copies, n) -> (copies, n + 1, n + 1): entry [t, s] is decay_{s+1} ... decay_t, row and column 0 the start.

    It solves x_t = decay_t x_{t-1} + e_t, a bidiagonal system, by products alone: a decay of 0 is exact, in values and gradients.
    """
    identity = torch.eye(decay.shape[1] + 1, dtype=decay.dtype, device=decay.device)
    below = nn.functional.pad(-decay[..., None] * identity[:-1], (0, 0, 1, 0))
    kept: Tensor = torch.linalg.solve_triangular(below, identity, upper=False, unitriangular=True)
    return kept


def _read_matrix(query: Tensor, start: tuple[Tensor, Tensor], writes: list[tuple[Tensor, Tensor, Tensor]]) -> Tensor:
    """A matrix at every token, times the query there: what is left of a start and of writes value along^T, each (left, ...).

    Streams are (copies, tokens, size).
    """
    left, initial = start
    read = left[:, 1:, :1] * (query @ initial.mT)
    for left, along, value in writes:
        read = torch.baddbmm(read, left[:, 1:, 1:] * (query @ along.mT), value)
    return read


def _moved_matrix(start: tuple[Tensor, Tensor], writes: list[tuple[Tensor, Tensor, Tensor]]) -> Tensor:
    """A matrix after the last token of the block."""
    left, initial = start
    moved = left[:, -1:, :1] * initial
    for left, along, value in writes:
        moved = torch.baddbmm(moved, (left[:, -1, 1:, None] * value).mT, along)
    return moved


def _moved_vector(start: tuple[Tensor, Tensor], writes: list[tuple[Tensor, Tensor]]) -> Tensor:
    """A vector at every token, (copies, tokens, size): what is left of a start and of writes, each (left, ...)."""
    left, initial = start
    moved = left[:, 1:, :1] * initial[:, None, :]
    for left, value in writes:
        moved = torch.baddbmm(moved, left[:, 1:, 1:], value)
    return moved


# sealed by nlc, sha256 of everything above: 973e4d44031012b71aed42e840a4fe94e3c0978b63729e8d64cc0dd557ea5e42
