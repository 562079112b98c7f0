"""TitansNetwork, compiled from its description.

The transformer with a neural memory, a network that learns by surprise with momentum and forgetting, in the place of attention: Titans, the
memory alone.

Compiled by nlc from specs/models/titans.yaml. Edit the spec, not this file.
sha256 of the spec: 8833c80d315f9f919ef391ce4d8c70a2bd3f5ea4c9ac991be53ddf82760e1df3

Levels, fastest first (Nested Learning, Definition 2)
    rank  components                                                          every  paper's number (slowest highest / slowest first)
    0     titans.memory.momentum                                              token  1 / 4
    1     titans.memory                                                       token  2 / 3
    2     embedding.first_moment, embedding.second_moment,                    step   3 / 2
          head_norm.first_moment, head_norm.second_moment,
          swiglu.contract.first_moment, swiglu.contract.second_moment,
          swiglu.expand.first_moment, swiglu.expand.second_moment,
          swiglu.gate.first_moment, swiglu.gate.second_moment,
          swiglu_norm.first_moment, swiglu_norm.second_moment,
          titans.memory.start.first_moment,
          titans.memory.start.second_moment,
          titans.project_decay.first_moment,
          titans.project_decay.second_moment,
          titans.project_gate.first_moment,
          titans.project_gate.second_moment, titans.project_k.first_moment,
          titans.project_k.second_moment, titans.project_out.first_moment,
          titans.project_out.second_moment, titans.project_q.first_moment,
          titans.project_q.second_moment, titans.project_rate.first_moment,
          titans.project_rate.second_moment,
          titans.project_retention.first_moment,
          titans.project_retention.second_moment,
          titans.project_v.first_moment, titans.project_v.second_moment,
          titans_norm.first_moment, titans_norm.second_moment
    3     embedding, head_norm, swiglu.contract, swiglu.expand, swiglu.gate,  step   4 / 1
          swiglu_norm, titans.memory.start, titans.project_decay,
          titans.project_gate, titans.project_k, titans.project_out,
          titans.project_q, titans.project_rate, titans.project_retention,
          titans.project_v, titans_norm

Network
    embedding: vocabulary -> d_model
    blocks, layers times over:
        + titans_norm: rms_norm
          titans: TitansLayer(d_model = d_model, heads = heads)
        + swiglu_norm: rms_norm
          swiglu: SwigluLayer(d_model = d_model, d_hidden = d_hidden)
    head_norm: rms_norm
    head: d_model -> vocabulary, tied to embedding

TitansLayer, from specs/architectures/titans_layer.yaml

    Laws, per token; prev is the state before
        v                  = silu(split(project_v @ x, heads))                                     abbreviation
        gate               = sigmoid(split(project_gate @ x, heads))                               abbreviation
        inner_decay        = sigmoid(split(project_decay @ x, heads))                              abbreviation
        rate               = largest_rate * sigmoid(split(project_rate @ x, heads))                abbreviation
        retention          = sigmoid(retained + split(project_retention @ x, heads))               abbreviation
        q                  = l2_normalise(silu(split(project_q @ x, heads)))                       abbreviation
        k                  = l2_normalise(silu(split(project_k @ x, heads)))                       abbreviation
        layer              = prev(memory.W1.held_64) @ k                                           into gelu
        activation         = gelu(layer)                                                           out of gelu
        prediction         = prev(memory.W2.held_64) @ activation                                  read at the key
        error              = prediction - v
                             objective 0.5 * norm2(memory.W2 @ gelu(memory.W1 @ k) - v)
        slope              = normal_cdf(layer) + layer * normal_density(layer)                     derivative of gelu
        local_surprise     = transpose(prev(memory.W2.held_64)) @ error * slope                    gradient by layer; calculus
        gradient_W1        = outer(local_surprise, k)                                              adjoint of apply; calculus
        gradient_W2        = outer(error, activation)                                              adjoint of apply; calculus
        momentum_rate      = rate                                                                  learning rate
        momentum.W1        = inner_decay * prev(memory.momentum.W1) - momentum_rate * gradient_W1  explicit gradient step; titans
        momentum.W2        = inner_decay * prev(memory.momentum.W2) - momentum_rate * gradient_W2  explicit gradient step; titans
        memory.W1          = retention * prev(memory.W1) + memory.momentum.W1
                             explicit gradient step on -dot(memory.W1, memory.momentum.W1) - dot(memory.W2, memory.momentum.W2); titans
        memory.W2          = retention * prev(memory.W2) + memory.momentum.W2
                             explicit gradient step on -dot(memory.W1, memory.momentum.W1) - dot(memory.W2, memory.momentum.W2); titans
        y                  = project_out @ join(memory.W2 @ gelu(memory.W1 @ q) / sqrt(norm2(memory.W2 @ gelu(memory.W1 @ q)) / (d_model /
                             heads) + 0.000001) * gate, heads)
                             read after the write
        memory.W1.held_64  = where(due(64 tokens), memory.W1, prev(memory.W1.held_64))             kept: read by hold(memory, 64 tokens)
        memory.W2.held_64  = where(due(64 tokens), memory.W2, prev(memory.W2.held_64))             kept: read by hold(memory, 64 tokens)
        position           = prev(position) + 1                                                    kept: the tokens so far

    Form
        memory.momentum and memory: dual form (ttt, titans)
            The states of memory.momentum and memory move as one, by gradients at a held state, which are told layer by layer (Dense).
            The gradients of a block are taken at one state, so its weights are sums of them, and reads are products of matrices.

SwigluLayer, from specs/architectures/swiglu_layer.yaml

    Laws, per token; prev is the state before
        y  = contract @ (silu(gate @ x) * (expand @ x))  no state is read

Laws of AdamW, every step, for embedding, titans_norm, swiglu_norm, head_norm, titans.project_q, titans.project_k, titans.project_v,
titans.project_gate, titans.project_out, titans.project_rate, titans.project_decay, titans.project_retention, titans.memory.start,
swiglu.expand, swiglu.gate, swiglu.contract
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

__all__ = ["TitansNetwork", "optimizers"]


class TitansNetwork(nn.Module):
    """TitansNetwork, a model of sequences of tokens.

    The transformer with a neural memory, a network that learns by surprise with momentum and forgetting, in the place of attention:
    Titans, the memory alone.

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
        self.blocks: Any = nn.ModuleList(TitansNetworkBlock(d_model=d_model, heads=heads, d_hidden=d_hidden) for _ in range(layers))
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


class TitansNetworkBlock(nn.Module):
    """What TitansNetwork repeats: (batch, time, size) in and out, `step` without the time."""

    def __init__(self, d_model: int, heads: int, d_hidden: int) -> None:
        super().__init__()
        self.titans_norm = nn.Parameter(torch.empty(d_model))
        self.titans = TitansLayer(d_model=d_model, heads=heads)
        self.swiglu_norm = nn.Parameter(torch.empty(d_model))
        self.swiglu = SwigluLayer(d_model=d_model, d_hidden=d_hidden)
        self.reset_parameters()

    def reset_parameters(self) -> None:
        """The block's own slow levels as training finds them."""
        nn.init.constant_(self.titans_norm, 1)
        nn.init.constant_(self.swiglu_norm, 1)

    def initial_state(self, batch: int, *, like: Tensor) -> dict[str, Any]:
        """What is carried before the first token."""
        return {
            "titans": self.titans.initial_state(batch, self.titans.heads, like=like),
        }

    def forward(self, x: Tensor, state: dict[str, Any]) -> tuple[Tensor, dict[str, Any]]:
        """All tokens at once."""
        y = nn.functional.rms_norm(x, x.shape[-1:], self.titans_norm, eps=1e-6)
        y, titans = self.titans(x=y, state=state["titans"])
        x = x + y
        y = nn.functional.rms_norm(x, x.shape[-1:], self.swiglu_norm, eps=1e-6)
        y, _ = self.swiglu(x=y)
        x = x + y
        return x, {"titans": titans}

    def step(self, x: Tensor, state: dict[str, Any]) -> tuple[Tensor, dict[str, Any]]:
        """One token."""
        y = nn.functional.rms_norm(x, x.shape[-1:], self.titans_norm, eps=1e-6)
        y, titans = self.titans.step(x=y, state=state["titans"])
        x = x + y
        y = nn.functional.rms_norm(x, x.shape[-1:], self.swiglu_norm, eps=1e-6)
        y, _ = self.swiglu.step(x=y, state={})
        x = x + y
        return x, {"titans": titans}


class TitansLayer(nn.Module):
    """TitansLayer, a memory over a sequence.

    A network as memory between trained projections, from a trained start, fitted at test time with momentum and forgetting; the
    token decides on all three rates, of which retention begins near one, and the gradients are taken at the start of each period.

    Inputs, by keyword, in any float dtype:
        x  (batch, time, d_model)
    State, kept in float32 or wider (a dict by name; None starts from the initial state):
        memory.momentum.W1, memory.W1, memory.W1.held_64  (batch, heads, 4 * d_model / heads, d_model / heads)
        memory.momentum.W2, memory.W2, memory.W2.held_64  (batch, heads, d_model / heads, 4 * d_model / heads)
        position  (), int64: how many tokens came before
    Returns the outputs (the tensor itself) and the state after the last token:
        y  (batch, time, d_model)
    Under torch.compile every new length compiles anew.
    The sequence runs in blocks of 64 tokens, counted from the position of the state that is handed in.
    """

    def __init__(self, d_model: int = 256, heads: int = 4, largest_rate: float = 0.1, retained: float = 4.0) -> None:
        super().__init__()
        self.d_model = d_model
        self.heads = heads
        self.largest_rate = largest_rate
        self.retained = retained
        if d_model % heads:
            raise ValueError(f"d_head = d_model / heads must be a whole number, not {d_model} / {heads}")
        self.d_head = d_model // heads
        self.project_q = nn.Parameter(torch.empty(self.d_model, self.d_model))
        self.project_k = nn.Parameter(torch.empty(self.d_model, self.d_model))
        self.project_v = nn.Parameter(torch.empty(self.d_model, self.d_model))
        self.project_gate = nn.Parameter(torch.empty(self.d_model, self.d_model))
        self.project_out = nn.Parameter(torch.empty(self.d_model, self.d_model))
        self.project_rate = nn.Parameter(torch.empty(self.heads, self.d_model))
        self.project_decay = nn.Parameter(torch.empty(self.heads, self.d_model))
        self.project_retention = nn.Parameter(torch.empty(self.heads, self.d_model))
        self.memory_start_W1 = nn.Parameter(torch.empty(4 * self.d_head, self.d_head))
        self.memory_start_W2 = nn.Parameter(torch.empty(self.d_head, 4 * self.d_head))
        self.reset_parameters()

    def reset_parameters(self) -> None:
        """The slow levels as training finds them."""
        for weight in (
            self.project_q,
            self.project_k,
            self.project_v,
            self.project_gate,
            self.project_out,
            self.project_rate,
            self.project_decay,
            self.project_retention,
        ):
            nn.init.uniform_(weight, -(self.d_model**-0.5), self.d_model**-0.5)
        nn.init.uniform_(self.memory_start_W1, -(self.d_head**-0.5), self.d_head**-0.5)
        nn.init.uniform_(self.memory_start_W2, -((4 * self.d_head) ** -0.5), (4 * self.d_head) ** -0.5)

    def initial_state(self, batch: int, heads: int, *, like: Tensor) -> dict[str, Tensor]:
        """The start on the device of `like`, in its dtype or float32, whichever is wider."""
        dtype = torch.promote_types(like.dtype, torch.float32)
        return {
            "memory.momentum.W1": like.new_zeros(batch, heads, 4 * self.d_head, self.d_head, dtype=dtype),
            "memory.momentum.W2": like.new_zeros(batch, heads, self.d_head, 4 * self.d_head, dtype=dtype),
            "memory.W1": self.memory_start_W1.to(dtype).expand(batch, heads, 4 * self.d_head, self.d_head),
            "memory.W2": self.memory_start_W2.to(dtype).expand(batch, heads, self.d_head, 4 * self.d_head),
            "memory.W1.held_64": self.memory_start_W1.to(dtype).expand(batch, heads, 4 * self.d_head, self.d_head),
            "memory.W2.held_64": self.memory_start_W2.to(dtype).expand(batch, heads, self.d_head, 4 * self.d_head),
            "position": like.new_zeros((), dtype=torch.int64),
        }

    def forward(self, *, x: Tensor, state: dict[str, Tensor] | None = None) -> tuple[Tensor, dict[str, Tensor]]:
        """The whole sequence in blocks, which end where a period may: equal to `forward_by_token`."""
        batch = x.shape[0]
        heads = self.heads
        with _full_precision(x):
            dtype = x.dtype
            before = 0 if state is None or state["position"].is_meta else int(state["position"])
            state = self._start(state, batch, heads, x)
            x = x.to(state["memory.momentum.W1"].dtype)
            wide = state["memory.momentum.W1"].dtype
            project_q, project_k, project_v = (weight.to(wide) for weight in (self.project_q, self.project_k, self.project_v))
            project_gate, project_out = (weight.to(wide) for weight in (self.project_gate, self.project_out))
            project_rate, project_decay = (weight.to(wide) for weight in (self.project_rate, self.project_decay))
            project_retention = self.project_retention.to(wide)
            v = torch.nn.functional.silu(torch.unflatten(x @ project_v.mT, -1, (self.heads, -1)))
            gate = torch.unflatten(x @ project_gate.mT, -1, (self.heads, -1)).sigmoid()
            inner_decay = (x @ project_decay.mT).sigmoid()
            rate = self.largest_rate * (x @ project_rate.mT).sigmoid()
            retention = (self.retained + x @ project_retention.mT).sigmoid()
            q = torch.nn.functional.normalize(torch.nn.functional.silu(torch.unflatten(x @ project_q.mT, -1, (self.heads, -1))), dim=-1)
            k = torch.nn.functional.normalize(torch.nn.functional.silu(torch.unflatten(x @ project_k.mT, -1, (self.heads, -1))), dim=-1)
            streams = (q, inner_decay, retention, k, v, rate, gate)
            lengths = _block_lengths(before, 64, x.shape[1])
            blocks = zip(*(torch.split(x.movedim(1, 2).flatten(0, 1), lengths, 1) for x in streams), strict=True)
            moved = {name: x.flatten(0, 1) for name, x in state.items() if name != "position"}
            y_inside_in_blocks = [x.new_empty(batch * heads, 0, self.d_head)]
            for given in blocks:
                y_inside, moved = self._block(*given, state=moved, before=before)
                before = before + given[0].shape[1]
                y_inside_in_blocks.append(y_inside)
            y_inside = torch.unflatten(torch.cat(y_inside_in_blocks, 1), 0, (batch, heads)).movedim(2, 1)
            y = y_inside.flatten(-2) @ project_out.mT
            last = {"position": state["position"] + x.shape[1]}
            state = {name: torch.unflatten(x, 0, (batch, heads)) for name, x in moved.items()} | last
            return y.to(dtype), state

    def _block(
        self,
        q: Tensor,
        inner_decay: Tensor,
        retention: Tensor,
        k: Tensor,
        v: Tensor,
        rate: Tensor,
        gate: Tensor,
        *,
        state: dict[str, Tensor],
        before: int,
    ) -> tuple[Tensor, dict[str, Tensor]]:
        """The tokens up to where a period may end: what moves every so many tokens moves after them, if it does."""
        position = before + q.shape[1]
        due = position % 64 == 0
        layer = k @ state["memory.W1.held_64"].mT
        activation = torch.nn.functional.gelu(layer)
        prediction = activation @ state["memory.W2.held_64"].mT
        error = prediction - v
        slope = torch.special.ndtr(layer) + layer * (torch.exp(-layer.square() / 2) / math.sqrt(2 * math.pi))
        local_surprise = error @ state["memory.W2.held_64"] * slope
        momentum_kept = _kept(inner_decay)
        memory_kept = _kept(retention)
        memory_of_momentum = memory_kept[..., 1:] @ momentum_kept[..., 1:, :]
        W1_write = -rate[..., None] * local_surprise
        W2_write = -rate[..., None] * error
        memory_read = _read_matrix(
            q, [(memory_kept, state["memory.W1"]), (memory_of_momentum, state["memory.momentum.W1"])], [(memory_of_momentum, k, W1_write)]
        )
        memory_read_2 = _read_matrix(
            torch.nn.functional.gelu(memory_read),
            [(memory_kept, state["memory.W2"]), (memory_of_momentum, state["memory.momentum.W2"])],
            [(memory_of_momentum, activation, W2_write)],
        )
        momentum_W1 = _moved_matrix([(momentum_kept, state["memory.momentum.W1"])], [(momentum_kept, k, W1_write)])
        momentum_W2 = _moved_matrix([(momentum_kept, state["memory.momentum.W2"])], [(momentum_kept, activation, W2_write)])
        memory_W1 = _moved_matrix(
            [(memory_kept, state["memory.W1"]), (memory_of_momentum, state["memory.momentum.W1"])], [(memory_of_momentum, k, W1_write)]
        )
        memory_W2 = _moved_matrix(
            [(memory_kept, state["memory.W2"]), (memory_of_momentum, state["memory.momentum.W2"])],
            [(memory_of_momentum, activation, W2_write)],
        )
        y_inside = torch.nn.functional.rms_norm(memory_read_2, (self.d_head,), eps=1e-06) * gate
        state = {
            "memory.momentum.W1": momentum_W1,
            "memory.momentum.W2": momentum_W2,
            "memory.W1": memory_W1,
            "memory.W2": memory_W2,
            "memory.W1.held_64": memory_W1 if due else state["memory.W1.held_64"],
            "memory.W2.held_64": memory_W2 if due else state["memory.W2.held_64"],
        }
        return y_inside, state

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
            x = x.to(state["memory.momentum.W1"].dtype)
            wide = state["memory.momentum.W1"].dtype
            project_q, project_k, project_v = (weight.to(wide) for weight in (self.project_q, self.project_k, self.project_v))
            project_gate, project_out = (weight.to(wide) for weight in (self.project_gate, self.project_out))
            project_rate, project_decay = (weight.to(wide) for weight in (self.project_rate, self.project_decay))
            project_retention = self.project_retention.to(wide)
            position = state["position"] + 1
            due = position % 64 == 0
            v = torch.nn.functional.silu(torch.unflatten(x @ project_v.mT, -1, (self.heads, -1)))
            gate = torch.unflatten(x @ project_gate.mT, -1, (self.heads, -1)).sigmoid()
            inner_decay = (x @ project_decay.mT).sigmoid()
            rate = self.largest_rate * (x @ project_rate.mT).sigmoid()
            retention = (self.retained + x @ project_retention.mT).sigmoid()
            q = torch.nn.functional.normalize(torch.nn.functional.silu(torch.unflatten(x @ project_q.mT, -1, (self.heads, -1))), dim=-1)
            k = torch.nn.functional.normalize(torch.nn.functional.silu(torch.unflatten(x @ project_k.mT, -1, (self.heads, -1))), dim=-1)
            layer = (state["memory.W1.held_64"] @ k[..., None]).squeeze(-1)
            activation = torch.nn.functional.gelu(layer)
            prediction = (state["memory.W2.held_64"] @ activation[..., None]).squeeze(-1)
            error = prediction - v
            slope = torch.special.ndtr(layer) + layer * (torch.exp(-layer.square() / 2) / math.sqrt(2 * math.pi))
            local_surprise = (state["memory.W2.held_64"].mT @ error[..., None]).squeeze(-1) * slope
            gradient_W1 = local_surprise[..., None] * k[..., None, :]
            gradient_W2 = error[..., None] * activation[..., None, :]
            momentum_W1 = inner_decay[..., None, None] * state["memory.momentum.W1"] - rate[..., None, None] * gradient_W1
            momentum_W2 = inner_decay[..., None, None] * state["memory.momentum.W2"] - rate[..., None, None] * gradient_W2
            memory_W1 = retention[..., None, None] * state["memory.W1"] + momentum_W1
            memory_W2 = retention[..., None, None] * state["memory.W2"] + momentum_W2
            y_hidden = torch.nn.functional.gelu((memory_W1 @ q[..., None]).squeeze(-1))
            memory_read = (memory_W2 @ y_hidden[..., None]).squeeze(-1)
            y = (torch.nn.functional.rms_norm(memory_read, (self.d_head,), eps=1e-06) * gate).flatten(-2) @ project_out.mT
            state = {
                "memory.momentum.W1": momentum_W1,
                "memory.momentum.W2": momentum_W2,
                "memory.W1": memory_W1,
                "memory.W2": memory_W2,
                "memory.W1.held_64": torch.where(due, memory_W1, state["memory.W1.held_64"]),
                "memory.W2.held_64": torch.where(due, memory_W2, state["memory.W2.held_64"]),
                "position": position,
            }
            return y.to(dtype), state

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


def optimizers(module: TitansNetwork) -> LevelOptimizers:
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


def _read_matrix(query: Tensor, starts: list[tuple[Tensor, Tensor]], writes: list[tuple[Tensor, Tensor, Tensor]]) -> Tensor:
    """A matrix at every token, times the query there: what is left of starts and of writes value along^T, each (left, ...).

    Streams are (copies, tokens, size).
    """
    (left, start), *others = starts
    read = left[:, 1:, :1] * (query @ start.mT)
    for left, start in others:
        read = torch.addcmul(read, left[:, 1:, :1], query @ start.mT)
    for left, along, value in writes:
        read = torch.baddbmm(read, left[:, 1:, 1:] * (query @ along.mT), value)
    return read


def _moved_matrix(starts: list[tuple[Tensor, Tensor]], writes: list[tuple[Tensor, Tensor, Tensor]]) -> Tensor:
    """A matrix after the last token of the block."""
    (left, start), *others = starts
    moved = left[:, -1:, :1] * start
    for left, start in others:
        moved = torch.addcmul(moved, left[:, -1:, :1], start)
    for left, along, value in writes:
        moved = torch.baddbmm(moved, (left[:, -1, 1:, None] * value).mT, along)
    return moved


# sealed by nlc, sha256 of everything above: 3bca2b14500a2eefd8a2484c553ab75ef0fbaa6828f6c71e5d5b470139f583b6
