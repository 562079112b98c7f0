"""TitansMemoryAsContext, compiled from its description.

The transformer with attention in segments, which sees what a neural memory recalls beside each token and writes what it finds to it:
Titans, memory as a context.

Compiled by nlc from specs/models/titans_memory_as_context.yaml. Edit the spec, not this file.
sha256 of the spec: c679c8196ce1bf545a56f9b6090592b00f54087d0c31d6207656722fd3ede38a

Levels, fastest first (Nested Learning, Definition 2)
    rank  components                                                        every   paper's number (slowest highest / slowest first)
    0     memory_as_context.attention                                       always  1 / 5
    1     memory_as_context.memory.momentum                                 token   2 / 4
    2     memory_as_context.memory                                          token   3 / 3
    3     embedding.first_moment, embedding.second_moment,                  step    4 / 2
          head_norm.first_moment, head_norm.second_moment,
          memory_as_context.memory.start.first_moment,
          memory_as_context.memory.start.second_moment,
          memory_as_context.near_k.first_moment,
          memory_as_context.near_k.second_moment,
          memory_as_context.near_q.first_moment,
          memory_as_context.near_q.second_moment,
          memory_as_context.near_v.first_moment,
          memory_as_context.near_v.second_moment,
          memory_as_context.persistent_k.first_moment,
          memory_as_context.persistent_k.second_moment,
          memory_as_context.persistent_v.first_moment,
          memory_as_context.persistent_v.second_moment,
          memory_as_context.project_decay.first_moment,
          memory_as_context.project_decay.second_moment,
          memory_as_context.project_out.first_moment,
          memory_as_context.project_out.second_moment,
          memory_as_context.project_q.first_moment,
          memory_as_context.project_q.second_moment,
          memory_as_context.project_rate.first_moment,
          memory_as_context.project_rate.second_moment,
          memory_as_context.project_retention.first_moment,
          memory_as_context.project_retention.second_moment,
          memory_as_context.recall_k.first_moment,
          memory_as_context.recall_k.second_moment,
          memory_as_context.recall_v.first_moment,
          memory_as_context.recall_v.second_moment,
          memory_as_context.write_k.first_moment,
          memory_as_context.write_k.second_moment,
          memory_as_context.write_v.first_moment,
          memory_as_context.write_v.second_moment,
          memory_as_context_norm.first_moment,
          memory_as_context_norm.second_moment,
          swiglu.contract.first_moment, swiglu.contract.second_moment,
          swiglu.expand.first_moment, swiglu.expand.second_moment,
          swiglu.gate.first_moment, swiglu.gate.second_moment,
          swiglu_norm.first_moment, swiglu_norm.second_moment
    4     embedding, head_norm, memory_as_context.memory.start,             step    5 / 1
          memory_as_context.near_k, memory_as_context.near_q,
          memory_as_context.near_v, memory_as_context.persistent_k,
          memory_as_context.persistent_v, memory_as_context.project_decay,
          memory_as_context.project_out, memory_as_context.project_q,
          memory_as_context.project_rate,
          memory_as_context.project_retention, memory_as_context.recall_k,
          memory_as_context.recall_v, memory_as_context.write_k,
          memory_as_context.write_v, memory_as_context_norm,
          swiglu.contract, swiglu.expand, swiglu.gate, swiglu_norm

Network
    embedding: vocabulary -> d_model
    blocks, layers times over:
        + memory_as_context_norm: rms_norm
          memory_as_context: MemoryAsContextLayer(d_model = d_model, heads = heads, persistent = persistent)
        + swiglu_norm: rms_norm
          swiglu: SwigluLayer(d_model = d_model, d_hidden = d_hidden)
    head_norm: rms_norm
    head: d_model -> vocabulary, tied to embedding

MemoryAsContextLayer, from specs/architectures/memory_as_context_layer.yaml

    Laws, per token; prev is the state before
        query                 = split(near_q @ x, heads)                                              abbreviation
        keys                  = split(near_k @ x, heads)                                              abbreviation
        values                = split(near_v @ x, heads)                                              abbreviation
        inner_decay           = sigmoid(split(project_decay @ x, heads))                              abbreviation
        rate                  = largest_rate * sigmoid(split(project_rate @ x, heads))                abbreviation
        retention             = sigmoid(retained + split(project_retention @ x, heads))               abbreviation
        q                     = l2_normalise(silu(split(project_q @ x, heads)))                       abbreviation
        recalled              = prev(memory.W2.held_64) @ gelu(prev(memory.W1.held_64) @ q) / sqrt(norm2(prev(memory.W2.held_64) @
                                gelu(prev(memory.W1.held_64) @ q)) / (d_model / heads) + 0.000001)
                                abbreviation
        score_values          = dot(keys, now(query)) / sqrt(d_model / heads)
                                the objective's exp of it weighs the distance to values; nl:eq-62
        score_far_values      = dot(far_keys, now(query)) / sqrt(d_model / heads)
                                the objective's exp of it weighs the distance to far_values; nl:eq-62
        score_persistent_v    = persistent_k @ now(query) / sqrt(d_model / heads)
                                the objective's exp of it weighs the distance to persistent_v; nl:eq-62
        attention             = sum(softmax(score_values, score_far_values, score_persistent_v) * (values, far_values, persistent_v), over =
                                window)
                                the minimiser, where the derivative by it is zero; nl:eq-63; titans
        k                     = l2_normalise(silu(write_k @ attention))                               abbreviation
        layer                 = prev(memory.W1.held_64) @ k                                           into gelu
        activation            = gelu(layer)                                                           out of gelu
        prediction            = prev(memory.W2.held_64) @ activation                                  read at the key
        v                     = silu(write_v @ attention)                                             abbreviation
        error                 = prediction - v
                                objective 0.5 * norm2(memory.W2 @ gelu(memory.W1 @ k) - v)
        slope                 = normal_cdf(layer) + layer * normal_density(layer)                     derivative of gelu
        local_surprise        = transpose(prev(memory.W2.held_64)) @ error * slope                    gradient by layer; calculus
        gradient_W1           = outer(local_surprise, k)                                              adjoint of apply; calculus
        gradient_W2           = outer(error, activation)                                              adjoint of apply; calculus
        momentum_rate         = rate                                                                  learning rate
        momentum.W1           = inner_decay * prev(memory.momentum.W1) - momentum_rate * gradient_W1  explicit gradient step; titans
        momentum.W2           = inner_decay * prev(memory.momentum.W2) - momentum_rate * gradient_W2  explicit gradient step; titans
        memory.W1             = retention * prev(memory.W1) + memory.momentum.W1
                                explicit gradient step on -dot(memory.W1, memory.momentum.W1) - dot(memory.W2, memory.momentum.W2); titans
        memory.W2             = retention * prev(memory.W2) + memory.momentum.W2
                                explicit gradient step on -dot(memory.W1, memory.momentum.W1) - dot(memory.W2, memory.momentum.W2); titans
        asked                 = l2_normalise(attention)                                               abbreviation
        y                     = project_out @ join(attention * sigmoid(memory.W2 @ gelu(memory.W1 @ asked) / sqrt(norm2(memory.W2 @
                                gelu(memory.W1 @ asked)) / (d_model / heads) + 0.000001)), heads)
                                read after the write
        memory.W1.held_64     = where(due(64 tokens), memory.W1, prev(memory.W1.held_64))             kept: read by hold(memory, 64 tokens)
        memory.W2.held_64     = where(due(64 tokens), memory.W2, prev(memory.W2.held_64))             kept: read by hold(memory, 64 tokens)
        attention.keys        = keys
                                kept: a window of the tokens since the last 64 were full
        attention.values      = values
                                kept: a window of the tokens since the last 64 were full
        attention.far_keys    = recall_k @ (prev(memory.W2.held_64) @ gelu(prev(memory.W1.held_64) @ q) / sqrt(norm2(prev(memory.W2.held_64)
                                @ gelu(prev(memory.W1.held_64) @ q)) / (d_model / heads) + 0.000001))
                                kept: a window of the tokens since the last 64 were full
        attention.far_values  = recall_v @ (prev(memory.W2.held_64) @ gelu(prev(memory.W1.held_64) @ q) / sqrt(norm2(prev(memory.W2.held_64)
                                @ gelu(prev(memory.W1.held_64) @ q)) / (d_model / heads) + 0.000001))
                                kept: a window of the tokens since the last 64 were full
        position              = prev(position) + 1                                                    kept: the tokens so far

    Forms
        attention: scaled dot-product attention (nl:eq-63)
            It is solved anew for every query, from the data of the tokens since the last 64 were full (Solved).
            Its weights are a softmax of scaled dot products, for which torch has a kernel.
        memory.momentum and memory: dual form (ttt, titans)
            The states of memory.momentum and memory move as one, by gradients at a held state, which are told layer by layer (Dense).
            The gradients of a block are taken at one state, so its weights are sums of them, and reads are products of matrices.

SwigluLayer, from specs/architectures/swiglu_layer.yaml

    Laws, per token; prev is the state before
        y  = contract @ (silu(gate @ x) * (expand @ x))  no state is read

Laws of AdamW, every step, for embedding, memory_as_context_norm, swiglu_norm, head_norm, memory_as_context.project_q,
memory_as_context.project_out, memory_as_context.project_rate, memory_as_context.project_decay, memory_as_context.project_retention,
memory_as_context.memory.start, memory_as_context.near_q, memory_as_context.near_k, memory_as_context.near_v,
memory_as_context.recall_k, memory_as_context.recall_v, memory_as_context.write_k, memory_as_context.write_v,
memory_as_context.persistent_k, memory_as_context.persistent_v, swiglu.expand, swiglu.gate, swiglu.contract
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

__all__ = ["TitansMemoryAsContext", "optimizers"]


class TitansMemoryAsContext(nn.Module):
    """TitansMemoryAsContext, a model of sequences of tokens.

    The transformer with attention in segments, which sees what a neural memory recalls beside each token and writes what it finds
    to it: Titans, memory as a context.

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
        persistent: int = 4,
        learning_rate: float = 0.001,
        weight_decay: float = 0.1,
    ) -> None:
        super().__init__()
        self.vocabulary = vocabulary
        self.d_model = d_model
        self.layers = layers
        self.heads = heads
        self.d_hidden = d_hidden
        self.persistent = persistent
        self.learning_rate = learning_rate
        self.weight_decay = weight_decay
        self.embedding = nn.Parameter(torch.empty(vocabulary, d_model))
        self.blocks: Any = nn.ModuleList(
            TitansMemoryAsContextBlock(d_model=d_model, heads=heads, d_hidden=d_hidden, persistent=persistent) for _ in range(layers)
        )
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


class TitansMemoryAsContextBlock(nn.Module):
    """What TitansMemoryAsContext repeats: (batch, time, size) in and out, `step` without the time."""

    def __init__(self, d_model: int, heads: int, d_hidden: int, persistent: int) -> None:
        super().__init__()
        self.memory_as_context_norm = nn.Parameter(torch.empty(d_model))
        self.memory_as_context = MemoryAsContextLayer(d_model=d_model, heads=heads, persistent=persistent)
        self.swiglu_norm = nn.Parameter(torch.empty(d_model))
        self.swiglu = SwigluLayer(d_model=d_model, d_hidden=d_hidden)
        self.reset_parameters()

    def reset_parameters(self) -> None:
        """The block's own slow levels as training finds them."""
        nn.init.constant_(self.memory_as_context_norm, 1)
        nn.init.constant_(self.swiglu_norm, 1)

    def initial_state(self, batch: int, *, like: Tensor) -> dict[str, Any]:
        """What is carried before the first token."""
        return {
            "memory_as_context": self.memory_as_context.initial_state(batch, self.memory_as_context.heads, like=like),
        }

    def forward(self, x: Tensor, state: dict[str, Any]) -> tuple[Tensor, dict[str, Any]]:
        """All tokens at once."""
        y = nn.functional.rms_norm(x, x.shape[-1:], self.memory_as_context_norm, eps=1e-6)
        y, memory_as_context = self.memory_as_context(x=y, state=state["memory_as_context"])
        x = x + y
        y = nn.functional.rms_norm(x, x.shape[-1:], self.swiglu_norm, eps=1e-6)
        y, _ = self.swiglu(x=y)
        x = x + y
        return x, {"memory_as_context": memory_as_context}

    def step(self, x: Tensor, state: dict[str, Any]) -> tuple[Tensor, dict[str, Any]]:
        """One token."""
        y = nn.functional.rms_norm(x, x.shape[-1:], self.memory_as_context_norm, eps=1e-6)
        y, memory_as_context = self.memory_as_context.step(x=y, state=state["memory_as_context"])
        x = x + y
        y = nn.functional.rms_norm(x, x.shape[-1:], self.swiglu_norm, eps=1e-6)
        y, _ = self.swiglu.step(x=y, state={})
        x = x + y
        return x, {"memory_as_context": memory_as_context}


class MemoryAsContextLayer(nn.Module):
    """MemoryAsContextLayer, a memory over a sequence.

    Titans with memory as a context: in segments of a period, attention sees learned persistent pairs, and for each token of the
    segment so far two pairs, the token's own and what the memory recalls for it as it stood when the segment began. What attention
    finds is written to the memory, and gated by what the memory then says to it. From the first projections to the last one every
    head is alone, and persistent pairs are the same for all heads. What attention finds is much alike from token to token, so that
    its gradients add up, and the largest rate is low.

    Inputs, by keyword, in any float dtype:
        x  (batch, time, d_model)
    State, kept in float32 or wider (a dict by name; None starts from the initial state):
        memory.momentum.W1, memory.W1, memory.W1.held_64  (batch, heads, 4 * d_model / heads, d_model / heads)
        memory.momentum.W2, memory.W2, memory.W2.held_64  (batch, heads, d_model / heads, 4 * d_model / heads)
        attention.keys, attention.values, attention.far_keys, attention.far_values
            (batch, 63, heads, d_model / heads), of the last 63, those that there were
        position  (), int64: how many tokens came before
    Returns the outputs (the tensor itself) and the state after the last token:
        y  (batch, time, d_model)
    Under torch.compile every new length compiles anew.
    The sequence runs in blocks of 64 tokens, counted from the position of the state that is handed in.
    """

    def __init__(self, d_model: int = 256, heads: int = 4, persistent: int = 4, largest_rate: float = 0.01, retained: float = 4.0) -> None:
        super().__init__()
        self.d_model = d_model
        self.heads = heads
        self.persistent = persistent
        self.largest_rate = largest_rate
        self.retained = retained
        if d_model % heads:
            raise ValueError(f"d_head = d_model / heads must be a whole number, not {d_model} / {heads}")
        self.d_head = d_model // heads
        self.project_q = nn.Parameter(torch.empty(self.d_model, self.d_model))
        self.project_out = nn.Parameter(torch.empty(self.d_model, self.d_model))
        self.project_rate = nn.Parameter(torch.empty(self.heads, self.d_model))
        self.project_decay = nn.Parameter(torch.empty(self.heads, self.d_model))
        self.project_retention = nn.Parameter(torch.empty(self.heads, self.d_model))
        self.memory_start_W1 = nn.Parameter(torch.empty(4 * self.d_head, self.d_head))
        self.memory_start_W2 = nn.Parameter(torch.empty(self.d_head, 4 * self.d_head))
        self.near_q = nn.Parameter(torch.empty(self.d_model, self.d_model))
        self.near_k = nn.Parameter(torch.empty(self.d_model, self.d_model))
        self.near_v = nn.Parameter(torch.empty(self.d_model, self.d_model))
        self.recall_k = nn.Parameter(torch.empty(self.d_head, self.d_head))
        self.recall_v = nn.Parameter(torch.empty(self.d_head, self.d_head))
        self.write_k = nn.Parameter(torch.empty(self.d_head, self.d_head))
        self.write_v = nn.Parameter(torch.empty(self.d_head, self.d_head))
        self.persistent_k = nn.Parameter(torch.empty(self.persistent, self.d_head))
        self.persistent_v = nn.Parameter(torch.empty(self.persistent, self.d_head))
        self.reset_parameters()

    def reset_parameters(self) -> None:
        """The slow levels as training finds them."""
        for weight in (self.project_q, self.project_out, self.project_rate, self.project_decay, self.project_retention):
            nn.init.uniform_(weight, -(self.d_model**-0.5), self.d_model**-0.5)
        nn.init.uniform_(self.memory_start_W1, -(self.d_head**-0.5), self.d_head**-0.5)
        nn.init.uniform_(self.memory_start_W2, -((4 * self.d_head) ** -0.5), (4 * self.d_head) ** -0.5)
        for weight in (self.near_q, self.near_k, self.near_v):
            nn.init.uniform_(weight, -(self.d_model**-0.5), self.d_model**-0.5)
        for weight in (self.recall_k, self.recall_v, self.write_k, self.write_v, self.persistent_k, self.persistent_v):
            nn.init.uniform_(weight, -(self.d_head**-0.5), self.d_head**-0.5)

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
            "attention.keys": like.new_zeros(batch, 63, heads, self.d_head, dtype=dtype),
            "attention.values": like.new_zeros(batch, 63, heads, self.d_head, dtype=dtype),
            "attention.far_keys": like.new_zeros(batch, 63, heads, self.d_head, dtype=dtype),
            "attention.far_values": like.new_zeros(batch, 63, heads, self.d_head, dtype=dtype),
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
            project_q, project_out, project_rate = (weight.to(wide) for weight in (self.project_q, self.project_out, self.project_rate))
            project_decay, project_retention = (weight.to(wide) for weight in (self.project_decay, self.project_retention))
            near_q, near_k, near_v = (weight.to(wide) for weight in (self.near_q, self.near_k, self.near_v))
            query = torch.unflatten(x @ near_q.mT, -1, (self.heads, -1))
            keys = torch.unflatten(x @ near_k.mT, -1, (self.heads, -1))
            values = torch.unflatten(x @ near_v.mT, -1, (self.heads, -1))
            inner_decay = (x @ project_decay.mT).sigmoid()
            rate = self.largest_rate * (x @ project_rate.mT).sigmoid()
            retention = (self.retained + x @ project_retention.mT).sigmoid()
            q = torch.nn.functional.normalize(torch.nn.functional.silu(torch.unflatten(x @ project_q.mT, -1, (self.heads, -1))), dim=-1)
            streams = (inner_decay, retention, rate, keys, values, q, query)
            lengths = _block_lengths(before, 64, x.shape[1])
            blocks = zip(*(torch.split(x.movedim(1, 2).flatten(0, 1), lengths, 1) for x in streams), strict=True)
            windows = "attention.keys", "attention.values", "attention.far_keys", "attention.far_values"
            moved = state | {name: state[name].movedim(1, 2) for name in windows}
            moved = {name: x.flatten(0, 1) for name, x in moved.items() if name != "position"}
            y_inside_in_blocks = [x.new_empty(batch * heads, 0, self.d_head)]
            for given in blocks:
                y_inside, moved = self._block(*given, state=moved, before=before)
                before = before + given[0].shape[1]
                y_inside_in_blocks.append(y_inside)
            y_inside = torch.unflatten(torch.cat(y_inside_in_blocks, 1), 0, (batch, heads)).movedim(2, 1)
            y = y_inside.flatten(-2) @ project_out.mT
            last = {"position": state["position"] + x.shape[1]}
            state = {name: torch.unflatten(x, 0, (batch, heads)) for name, x in moved.items()}
            state = state | {name: state[name].movedim(2, 1) for name in windows} | last
            return y.to(dtype), state

    def _block(
        self,
        inner_decay: Tensor,
        retention: Tensor,
        rate: Tensor,
        keys: Tensor,
        values: Tensor,
        q: Tensor,
        query: Tensor,
        *,
        state: dict[str, Tensor],
        before: int,
    ) -> tuple[Tensor, dict[str, Tensor]]:
        """The tokens up to where a period may end: what moves every so many tokens moves after them, if it does."""
        wide = state["memory.momentum.W1"].dtype
        recall_k, recall_v, write_k = (weight.to(wide) for weight in (self.recall_k, self.recall_v, self.write_k))
        write_v, persistent_k, persistent_v = (weight.to(wide) for weight in (self.write_v, self.persistent_k, self.persistent_v))
        position = before + inner_decay.shape[1]
        due = position % 64 == 0
        recalled = torch.nn.functional.rms_norm(
            torch.nn.functional.gelu(q @ state["memory.W1.held_64"].mT) @ state["memory.W2.held_64"].mT, (self.d_head,), eps=1e-06
        )
        attention_read, windows = self._attention_in_a_block(
            keys, state, values, recalled, recall_k, recall_v, before, query, persistent_k, persistent_v
        )
        memory_read_2, moved = self._memory_in_a_block(attention_read, write_k, state, write_v, inner_decay, retention, rate)
        y_inside = attention_read * torch.nn.functional.rms_norm(memory_read_2, (self.d_head,), eps=1e-06).sigmoid()
        state = {
            "memory.W1.held_64": moved["memory.W1"] if due else state["memory.W1.held_64"],
            "memory.W2.held_64": moved["memory.W2"] if due else state["memory.W2.held_64"],
        }
        return y_inside, state | windows | moved

    def _attention_in_a_block(
        self,
        keys: Tensor,
        state: dict[str, Tensor],
        values: Tensor,
        recalled: Tensor,
        recall_k: Tensor,
        recall_v: Tensor,
        before: int,
        query: Tensor,
        persistent_k: Tensor,
        persistent_v: Tensor,
    ) -> tuple[Tensor, dict[str, Tensor]]:
        """What attention finds at every token of a block, and what it keeps."""
        keys_window = torch.cat((state["attention.keys"], keys), 1)
        values_window = torch.cat((state["attention.values"], values), 1)
        far_keys_window = torch.cat((state["attention.far_keys"], recalled @ recall_k.mT), 1)
        far_values_window = torch.cat((state["attention.far_values"], recalled @ recall_v.mT), 1)
        here = slice(63 - before % 64, None)
        attention_read = _joint_attention(
            query,
            [keys_window[:, here], far_keys_window[:, here]],
            [values_window[:, here], far_values_window[:, here]],
            [persistent_k],
            [persistent_v],
            scale=1 / math.sqrt(self.d_head),
        )
        return attention_read, {
            "attention.keys": keys_window[:, query.shape[1] :],
            "attention.values": values_window[:, query.shape[1] :],
            "attention.far_keys": far_keys_window[:, query.shape[1] :],
            "attention.far_values": far_values_window[:, query.shape[1] :],
        }

    def _memory_in_a_block(
        self,
        attention_read: Tensor,
        write_k: Tensor,
        state: dict[str, Tensor],
        write_v: Tensor,
        inner_decay: Tensor,
        retention: Tensor,
        rate: Tensor,
    ) -> tuple[Tensor, dict[str, Tensor]]:
        """What is read of memory at every token of a block, and what it becomes."""
        k = torch.nn.functional.normalize(torch.nn.functional.silu(attention_read @ write_k.mT), dim=-1)
        layer = k @ state["memory.W1.held_64"].mT
        activation = torch.nn.functional.gelu(layer)
        prediction = activation @ state["memory.W2.held_64"].mT
        v = torch.nn.functional.silu(attention_read @ write_v.mT)
        error = prediction - v
        slope = torch.special.ndtr(layer) + layer * (torch.exp(-layer.square() / 2) / math.sqrt(2 * math.pi))
        local_surprise = error @ state["memory.W2.held_64"] * slope
        momentum_kept = _kept(inner_decay)
        memory_kept = _kept(retention)
        memory_of_momentum = memory_kept[..., 1:] @ momentum_kept[..., 1:, :]
        W1_write = -rate[..., None] * local_surprise
        W2_write = -rate[..., None] * error
        memory_read = _read_matrix(
            torch.nn.functional.normalize(attention_read, dim=-1),
            [(memory_kept, state["memory.W1"]), (memory_of_momentum, state["memory.momentum.W1"])],
            [(memory_of_momentum, k, W1_write)],
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
        return memory_read_2, {
            "memory.momentum.W1": momentum_W1,
            "memory.momentum.W2": momentum_W2,
            "memory.W1": memory_W1,
            "memory.W2": memory_W2,
        }

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
        _check_windows(state)
        with _full_precision(x):
            dtype = x.dtype
            x = x.to(state["memory.momentum.W1"].dtype)
            wide = state["memory.momentum.W1"].dtype
            project_q, project_out, project_rate = (weight.to(wide) for weight in (self.project_q, self.project_out, self.project_rate))
            project_decay, project_retention = (weight.to(wide) for weight in (self.project_decay, self.project_retention))
            near_q, near_k, near_v, recall_k = (weight.to(wide) for weight in (self.near_q, self.near_k, self.near_v, self.recall_k))
            recall_v, write_k, write_v = (weight.to(wide) for weight in (self.recall_v, self.write_k, self.write_v))
            persistent_k, persistent_v = (weight.to(wide) for weight in (self.persistent_k, self.persistent_v))
            position = state["position"] + 1
            due = position % 64 == 0
            query = torch.unflatten(x @ near_q.mT, -1, (self.heads, -1))
            keys = torch.unflatten(x @ near_k.mT, -1, (self.heads, -1))
            values = torch.unflatten(x @ near_v.mT, -1, (self.heads, -1))
            inner_decay = (x @ project_decay.mT).sigmoid()
            rate = self.largest_rate * (x @ project_rate.mT).sigmoid()
            retention = (self.retained + x @ project_retention.mT).sigmoid()
            q = torch.nn.functional.normalize(torch.nn.functional.silu(torch.unflatten(x @ project_q.mT, -1, (self.heads, -1))), dim=-1)
            attention, windows = self._attention_at_a_token(
                state, q, keys, values, recall_k, recall_v, position, query, persistent_k, persistent_v
            )
            k = torch.nn.functional.normalize(torch.nn.functional.silu(attention @ write_k.mT), dim=-1)
            layer = (state["memory.W1.held_64"] @ k[..., None]).squeeze(-1)
            activation = torch.nn.functional.gelu(layer)
            prediction = (state["memory.W2.held_64"] @ activation[..., None]).squeeze(-1)
            v = torch.nn.functional.silu(attention @ write_v.mT)
            error = prediction - v
            slope = torch.special.ndtr(layer) + layer * (torch.exp(-layer.square() / 2) / math.sqrt(2 * math.pi))
            local_surprise = (state["memory.W2.held_64"].mT @ error[..., None]).squeeze(-1) * slope
            gradient_W1 = local_surprise[..., None] * k[..., None, :]
            gradient_W2 = error[..., None] * activation[..., None, :]
            momentum_W1 = inner_decay[..., None, None] * state["memory.momentum.W1"] - rate[..., None, None] * gradient_W1
            momentum_W2 = inner_decay[..., None, None] * state["memory.momentum.W2"] - rate[..., None, None] * gradient_W2
            memory_W1 = retention[..., None, None] * state["memory.W1"] + momentum_W1
            memory_W2 = retention[..., None, None] * state["memory.W2"] + momentum_W2
            y_hidden = torch.nn.functional.gelu((memory_W1 @ torch.nn.functional.normalize(attention, dim=-1)[..., None]).squeeze(-1))
            memory_read_ = (memory_W2 @ y_hidden[..., None]).squeeze(-1)
            y = (attention * torch.nn.functional.rms_norm(memory_read_, (self.d_head,), eps=1e-06).sigmoid()).flatten(-2) @ project_out.mT
            state = {
                "memory.momentum.W1": momentum_W1,
                "memory.momentum.W2": momentum_W2,
                "memory.W1": memory_W1,
                "memory.W2": memory_W2,
                "memory.W1.held_64": torch.where(due, memory_W1, state["memory.W1.held_64"]),
                "memory.W2.held_64": torch.where(due, memory_W2, state["memory.W2.held_64"]),
                "position": position,
            }
            return y.to(dtype), state | windows

    def _attention_at_a_token(
        self,
        state: dict[str, Tensor],
        q: Tensor,
        keys: Tensor,
        values: Tensor,
        recall_k: Tensor,
        recall_v: Tensor,
        position: Tensor,
        query: Tensor,
        persistent_k: Tensor,
        persistent_v: Tensor,
    ) -> tuple[Tensor, dict[str, Tensor]]:
        """What attention finds at one token, and what it keeps."""
        recalled_hidden = torch.nn.functional.gelu((state["memory.W1.held_64"] @ q[..., None]).squeeze(-1))
        memory_read = (state["memory.W2.held_64"] @ recalled_hidden[..., None]).squeeze(-1)
        recalled = torch.nn.functional.rms_norm(memory_read, (self.d_head,), eps=1e-06)
        keys_window = torch.cat((state["attention.keys"], keys.unsqueeze(1)), 1)
        values_window = torch.cat((state["attention.values"], values.unsqueeze(1)), 1)
        far_keys_window = torch.cat((state["attention.far_keys"], (recalled @ recall_k.mT).unsqueeze(1)), 1)
        far_values_window = torch.cat((state["attention.far_values"], (recalled @ recall_v.mT).unsqueeze(1)), 1)
        age = torch.arange(keys_window.shape[1] - 1, -1, -1, dtype=keys_window.dtype, device=keys_window.device)[None, :, None]
        there = age < (position - 1) % 64 + 1
        score_values = (keys_window * query.unsqueeze(1)).sum(-1) / math.sqrt(self.d_head)
        score_far_values = (far_keys_window * query.unsqueeze(1)).sum(-1) / math.sqrt(self.d_head)
        score_persistent_v = query.unsqueeze(1) @ persistent_k.mT / math.sqrt(self.d_head)
        scores = (
            score_values.masked_fill(~there, -torch.inf),
            score_far_values.masked_fill(~there, -torch.inf),
            score_persistent_v.transpose(1, -1).squeeze(-1),
        )
        weight_values, weight_far_values, weight_persistent_v = torch.split(
            torch.cat(scores, 1).softmax(1), [x.shape[1] for x in scores], 1
        )
        attention = (
            (weight_values[..., None] * values_window).sum(1)
            + (weight_far_values[..., None] * far_values_window).sum(1)
            + weight_persistent_v.movedim(1, -1) @ persistent_v
        )
        return attention, {
            "attention.keys": keys_window[:, 1:],
            "attention.values": values_window[:, 1:],
            "attention.far_keys": far_keys_window[:, 1:],
            "attention.far_values": far_values_window[:, 1:],
        }

    def _start(self, state: dict[str, Tensor] | None, batch: int, heads: int, like: Tensor) -> dict[str, Tensor]:
        """The state to start from, never narrower than zeros would be."""
        zeros = self.initial_state(batch, heads, like=like)
        if state is None:
            return zeros
        _check_windows(state)
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


def optimizers(module: TitansMemoryAsContext) -> LevelOptimizers:
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


def _joint_attention(
    query: Tensor, keys: list[Tensor], values: list[Tensor], lasting_keys: list[Tensor], lasting_values: list[Tensor], scale: float
) -> Tensor:
    """As attention, over all pairs together: several a token, each (batch, time, *axes, size), and lasting ones, (count, size)."""
    seen = _ages(query.shape[1], keys[0].shape[1], query) >= 0
    seen = torch.cat((*(seen.new_ones(len(seen), len(key)) for key in lasting_keys), *(seen for _ in keys)), 1)
    query, *pairs = (x.unsqueeze(1) for x in (query, *keys, *values))
    key, value = (
        torch.cat((*(x.expand(*query.shape[:2], -1, -1) for x in lasting), *inside), 2)
        for lasting, inside in ((lasting_keys, pairs[: len(keys)]), (lasting_values, pairs[len(keys) :]))
    )
    read = nn.functional.scaled_dot_product_attention(query, key, value, seen, scale=scale)
    return read.squeeze(1)


def _ages(queries: int, data: int, like: Tensor) -> Tensor:
    """How many tokens older each datum is than each query, (queries, data): the last datum is the last query's own, age 0."""
    places = torch.arange(data, dtype=like.dtype, device=like.device)
    return places[data - queries :, None] - places


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


def _check_windows(state: dict[str, Tensor]) -> None:
    """Raises ValueError where the state does not carry the tokens that the windows of this module look back to."""
    for level, name, dim, tokens in (
        ("attention", "attention.keys", 1, 63),
        ("attention", "attention.values", 1, 63),
        ("attention", "attention.far_keys", 1, 63),
        ("attention", "attention.far_values", 1, 63),
    ):
        carried = state[name].shape[dim] if name in state else 0
        if carried != tokens:
            here = f"{level} looks back {tokens} tokens from the first one here"
            raise ValueError(f"{here}, but the state carries {carried} in {name}")


# sealed by nlc, sha256 of everything above: 8ddc4fed59219d7c8f823de7e4c1a084dce960940dec8043c00b7ba048f9a36f
