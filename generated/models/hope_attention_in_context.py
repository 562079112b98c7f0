"""HopeAttentionInContext, compiled from its description.

Attention followed by a continuum memory system that learns inside the context: networks that move at periods of tokens, each from the loss
of the tokens since it last moved. Training finds where they start.

Compiled by nlc from specs/models/hope_attention_in_context.yaml. Edit the spec, not this file.
sha256 of the spec: 6fc16c84b3b8725986d36c63b5fc5dbaf37e08cff3bebb8f467abcd14321c7fc

Levels, fastest first (Nested Learning, Definition 2)
    rank  components                                                          every       paper's number (slowest highest / slowest first)
    0     softmax_attention.attention                                         always      1 / 6
    1     cms_in_context.fast                                                 8 tokens    2 / 5
    2     cms_in_context.medium                                               32 tokens   3 / 4
    3     cms_in_context.slow                                                 128 tokens  4 / 3
    4     cms_in_context.fast.start.first_moment,                             step        5 / 2
          cms_in_context.fast.start.second_moment,
          cms_in_context.medium.start.first_moment,
          cms_in_context.medium.start.second_moment,
          cms_in_context.slow.start.first_moment,
          cms_in_context.slow.start.second_moment, embedding.first_moment,
          embedding.second_moment, head_norm.first_moment,
          head_norm.second_moment, softmax_attention.project_k.first_moment,
          softmax_attention.project_k.second_moment,
          softmax_attention.project_out.first_moment,
          softmax_attention.project_out.second_moment,
          softmax_attention.project_q.first_moment,
          softmax_attention.project_q.second_moment,
          softmax_attention.project_v.first_moment,
          softmax_attention.project_v.second_moment,
          softmax_attention_norm.first_moment,
          softmax_attention_norm.second_moment
    5     cms_in_context.fast.start, cms_in_context.medium.start,             step        6 / 1
          cms_in_context.slow.start, embedding, head_norm,
          softmax_attention.project_k, softmax_attention.project_out,
          softmax_attention.project_q, softmax_attention.project_v,
          softmax_attention_norm

Network
    embedding: vocabulary -> d_model
    blocks, layers times over:
        + softmax_attention_norm: rms_norm
          softmax_attention: SoftmaxAttentionLayer(d_model = d_model, heads = heads)
        + cms_in_context: ContinuumMemorySystemInContext(d_model = d_model, d_hidden = d_hidden, rate = rate)
    head_norm: rms_norm
    head: d_model -> vocabulary, tied to embedding

SoftmaxAttentionLayer, from specs/architectures/softmax_attention_layer.yaml

    Laws, per token; prev is the state before
        v            = split(project_v @ x, heads)             abbreviation
        q            = rotary(split(project_q @ x, heads))     abbreviation
        k            = rotary(split(project_k @ x, heads))     abbreviation
        score        = dot(k, now(q)) / sqrt(d_model / heads)
                       objective exp(dot(k, now(q)) / sqrt(d_model / heads)) * norm2(v - attention), what exp is taken of; nl:eq-62
        weight       = softmax(score, over = window)           exp of the scores over their sum; nl:eq-62
        attention    = sum(weight * v, over = window)          the minimiser, where the derivative by it is zero; nl:eq-63
        y            = project_out @ join(attention, heads)    read after the write
        attention.k  = k                                       kept: a window of all tokens
        attention.v  = v                                       kept: a window of all tokens
        position     = prev(position) + 1                      kept: the tokens so far

    Form
        attention: scaled dot-product attention (nl:eq-63)
            It is solved anew for every query, from the data of all tokens so far (Solved).
            Its weights are a softmax of scaled dot products, for which torch has a kernel.

ContinuumMemorySystemInContext, from specs/architectures/cms_in_context.yaml

    Laws, per token; prev is the state before
        gradient_W1         = slope_fast_W1
                              objective dot(fast.W1, slope_fast_W1) + dot(fast.W2, slope_fast_W2); calculus
        gradient_W2         = slope_fast_W2
                              objective dot(fast.W1, slope_fast_W1) + dot(fast.W2, slope_fast_W2); calculus
        gathered_W1         = prev(fast.W1.gradient) + gradient_W1
                              the data since the last update, of 8 tokens
        gathered_W2         = prev(fast.W2.gradient) + gradient_W2
                              the data since the last update, of 8 tokens
        mean_gradient_W1    = 0.125 * gathered_W1                                                           the mean over 8 tokens
        mean_gradient_W2    = 0.125 * gathered_W2                                                           the mean over 8 tokens
        fast.W1             = where(due(8 tokens), prev(fast.W1) - rate * mean_gradient_W1, prev(fast.W1))
                              explicit gradient step; nl:eq-70; nl:eq-71
        fast.W2             = where(due(8 tokens), prev(fast.W2) - rate * mean_gradient_W2, prev(fast.W2))
                              explicit gradient step; nl:eq-70; nl:eq-71
        gradient_W1         = slope_medium_W1
                              objective dot(medium.W1, slope_medium_W1) + dot(medium.W2, slope_medium_W2); calculus
        gradient_W2         = slope_medium_W2
                              objective dot(medium.W1, slope_medium_W1) + dot(medium.W2, slope_medium_W2); calculus
        gathered_W1         = prev(medium.W1.gradient) + gradient_W1
                              the data since the last update, of 32 tokens
        gathered_W2         = prev(medium.W2.gradient) + gradient_W2
                              the data since the last update, of 32 tokens
        mean_gradient_W1    = 0.03125 * gathered_W1                                                         the mean over 32 tokens
        mean_gradient_W2    = 0.03125 * gathered_W2                                                         the mean over 32 tokens
        medium.W1           = where(due(32 tokens), prev(medium.W1) - rate * mean_gradient_W1, prev(medium.W1))
                              explicit gradient step; nl:eq-70; nl:eq-71
        medium.W2           = where(due(32 tokens), prev(medium.W2) - rate * mean_gradient_W2, prev(medium.W2))
                              explicit gradient step; nl:eq-70; nl:eq-71
        gradient_W1         = slope_slow_W1
                              objective dot(slow.W1, slope_slow_W1) + dot(slow.W2, slope_slow_W2); calculus
        gradient_W2         = slope_slow_W2
                              objective dot(slow.W1, slope_slow_W1) + dot(slow.W2, slope_slow_W2); calculus
        gathered_W1         = prev(slow.W1.gradient) + gradient_W1
                              the data since the last update, of 128 tokens
        gathered_W2         = prev(slow.W2.gradient) + gradient_W2
                              the data since the last update, of 128 tokens
        mean_gradient_W1    = 0.0078125 * gathered_W1                                                       the mean over 128 tokens
        mean_gradient_W2    = 0.0078125 * gathered_W2                                                       the mean over 128 tokens
        slow.W1             = where(due(128 tokens), prev(slow.W1) - rate * mean_gradient_W1, prev(slow.W1))
                              explicit gradient step; nl:eq-70; nl:eq-71
        slow.W2             = where(due(128 tokens), prev(slow.W2) - rate * mean_gradient_W2, prev(slow.W2))
                              explicit gradient step; nl:eq-70; nl:eq-71
        near                = prev(fast.W2) @ gelu(prev(fast.W1) @ (x / sqrt(norm2(x) / d_model + 0.000001)))
                              abbreviation
        middle              = prev(medium.W2) @ gelu(prev(medium.W1) @ ((x + near) / sqrt(norm2(x + near) / d_model + 0.000001)))
                              abbreviation
        y                   = near + middle + prev(slow.W2) @ gelu(prev(slow.W1) @ ((x + near + middle) / sqrt(norm2(x + near + middle) /
                              d_model + 0.000001)))
                              read before the write
        fast.W1.gradient    = where(due(8 tokens), 0, fast.W1.gradient)
                              kept: gathered since the last update
        fast.W2.gradient    = where(due(8 tokens), 0, fast.W2.gradient)
                              kept: gathered since the last update
        medium.W1.gradient  = where(due(32 tokens), 0, medium.W1.gradient)
                              kept: gathered since the last update
        medium.W2.gradient  = where(due(32 tokens), 0, medium.W2.gradient)
                              kept: gathered since the last update
        slow.W1.gradient    = where(due(128 tokens), 0, slow.W1.gradient)
                              kept: gathered since the last update
        slow.W2.gradient    = where(due(128 tokens), 0, slow.W2.gradient)
                              kept: gathered since the last update
        position            = prev(position) + 1                                                            kept: the tokens so far

    Forms
        fast, medium, slow: sums over blocks (nl:eq-71)
            The states W1 and W2 move as one, but have not the same shape: they have no common normal form (Dense).
            It stays as it is until a period ends, so the tokens of a block read it, and add up their gradients, in products of matrices.

Laws of AdamW, every step, for embedding, softmax_attention_norm, head_norm, softmax_attention.project_q, softmax_attention.project_k,
softmax_attention.project_v, softmax_attention.project_out, cms_in_context.fast.start, cms_in_context.medium.start,
cms_in_context.slow.start
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
from collections.abc import Callable, Iterator
from typing import Any, overload

import torch
from torch import Tensor, nn
from torch.optim import Optimizer
from torch.optim.optimizer import ParamsT

__all__ = ["HopeAttentionInContext", "optimizers"]


class HopeAttentionInContext(nn.Module):
    """HopeAttentionInContext, a model of sequences of tokens.

    Attention followed by a continuum memory system that learns inside the context: networks that move at periods of tokens, each
    from the loss of the tokens since it last moved. Training finds where they start.

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
        d_hidden: int = 224,
        learning_rate: float = 0.001,
        weight_decay: float = 0.1,
        rate: float = 0.1,
    ) -> None:
        super().__init__()
        self.vocabulary = vocabulary
        self.d_model = d_model
        self.layers = layers
        self.heads = heads
        self.d_hidden = d_hidden
        self.learning_rate = learning_rate
        self.weight_decay = weight_decay
        self.rate = rate
        self.embedding = nn.Parameter(torch.empty(vocabulary, d_model))
        self.blocks: Any = nn.ModuleList(
            HopeAttentionInContextBlock(d_model=d_model, heads=heads, d_hidden=d_hidden, rate=rate) for _ in range(layers)
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
            "open block": {
                "tokens": torch.empty(batch, 0, dtype=torch.int64, device=self.embedding.device),
                "targets": torch.empty(batch, 0, dtype=torch.int64, device=self.embedding.device),
            },
        }

    def forward(self, *, tokens: Tensor, state: dict[str, Any] | None = None) -> tuple[Tensor, dict[str, Any]]:
        """The sequence in blocks of 8 tokens, from which nothing learns: equal to `forward_by_token`."""
        return self._in_blocks(tokens, torch.full_like(tokens, -100), state)

    def loss(self, *, tokens: Tensor, targets: Tensor, state: dict[str, Any] | None = None) -> tuple[Tensor, dict[str, Any]]:
        """The mean cross entropy with the targets, (batch, time), in nats, and the state after the last token: levels learn on the way."""
        logits, state = self._in_blocks(tokens, targets, state)
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
        logits, state = self(tokens=tokens.unsqueeze(1), state=state)
        return logits.squeeze(1), state

    def _in_blocks(self, tokens: Tensor, targets: Tensor, state: dict[str, Any] | None) -> tuple[Tensor, dict[str, Any]]:
        """The logits, block after block, and what is carried: of a block that has not ended, its tokens and the state at its start."""
        state = self.initial_state(tokens.shape[0]) if state is None else state
        before = state["open block"]["tokens"].shape[1]
        tokens = torch.cat((state["open block"]["tokens"], tokens), 1)
        targets = torch.cat((state["open block"]["targets"], targets), 1)
        outputs = [self.embedding.new_empty(tokens.shape[0], 0, len(self.embedding))]
        end = tokens.shape[1] - tokens.shape[1] % 8
        for start in range(0, end, 8):
            logits, state = self._taught(tokens[:, start : start + 8], targets[:, start : start + 8], state)
            outputs.append(logits)
        if tokens.shape[1] > end:
            outputs.append(self._read(tokens[:, end:], state)[0])
        state = state | {"open block": {"tokens": tokens[:, end:], "targets": targets[:, end:]}}
        return torch.cat(outputs, 1)[:, before:], state

    def _taught(self, tokens: Tensor, targets: Tensor, state: dict[str, Any]) -> tuple[Tensor, dict[str, Any]]:
        """The logits of a block, and the state after it: its levels have learned from the loss of those tokens that have targets."""
        if not targets.is_meta and bool((targets == -100).all()):
            logits, read = self._read(tokens, state)
            return logits, self._learned(read, None)
        learns = torch.is_grad_enabled()
        with torch.enable_grad():
            logits, read = self._read(tokens, state)
            wide = logits.to(torch.promote_types(logits.dtype, torch.float32))
            loss = nn.functional.cross_entropy(wide.flatten(0, 1), targets.flatten(), ignore_index=-100, reduction="sum")
            slopes = torch.autograd.grad(loss, self._levels(read), retain_graph=learns)
        logits, read = (logits, read) if learns else _detached((logits, read))
        return logits, self._learned(read, iter(slopes))

    def _read(self, tokens: Tensor, state: dict[str, Any]) -> tuple[Tensor, dict[str, Any]]:
        """The logits of the tokens of a block, with the levels as they stand, and what `_learned` goes on from."""
        x = self.embedding[tokens]
        blocks = []
        for block, carried in zip(self.blocks, state["blocks"], strict=True):
            x, carried = block(x, carried)
            blocks.append(carried)
        x = nn.functional.rms_norm(x, x.shape[-1:], self.head_norm, eps=1e-6)
        logits = x @ self.embedding.mT
        return logits, {"blocks": blocks}

    def _levels(self, read: dict[str, Any]) -> list[Tensor]:
        """The levels that learn, as a block has read them."""
        return [
            *(level for block, own in zip(self.blocks, read["blocks"], strict=True) for level in block.levels(own)),
        ]

    def _learned(self, read: dict[str, Any], slopes: Iterator[Tensor] | None) -> dict[str, Any]:
        """What is carried after a block, of whose loss these are the slopes by the levels, in order."""
        return read | {
            "blocks": [block.learned(own, slopes) for block, own in zip(self.blocks, read["blocks"], strict=True)],
        }


class HopeAttentionInContextBlock(nn.Module):
    """What HopeAttentionInContext repeats: (batch, time, size) in and out."""

    def __init__(self, d_model: int, heads: int, d_hidden: int, rate: float) -> None:
        super().__init__()
        self.softmax_attention_norm = nn.Parameter(torch.empty(d_model))
        self.softmax_attention = SoftmaxAttentionLayer(d_model=d_model, heads=heads)
        self.cms_in_context = ContinuumMemorySystemInContext(d_model=d_model, d_hidden=d_hidden, rate=rate)
        self.reset_parameters()

    def reset_parameters(self) -> None:
        """The block's own slow levels as training finds them."""
        nn.init.constant_(self.softmax_attention_norm, 1)

    def initial_state(self, batch: int, *, like: Tensor) -> dict[str, Any]:
        """What is carried before the first token."""
        return {
            "softmax_attention": self.softmax_attention.initial_state(batch, self.softmax_attention.heads, like=like),
            "cms_in_context": self.cms_in_context.initial_state(batch, like=like),
        }

    def forward(self, x: Tensor, state: dict[str, Any]) -> tuple[Tensor, dict[str, Any]]:
        """All tokens at once."""
        y = nn.functional.rms_norm(x, x.shape[-1:], self.softmax_attention_norm, eps=1e-6)
        y, softmax_attention = self.softmax_attention(x=y, state=state["softmax_attention"])
        x = x + y
        y, cms_in_context = self.cms_in_context(x=x, state=state["cms_in_context"])
        x = x + y
        return x, {"softmax_attention": softmax_attention, "cms_in_context": cms_in_context}

    def levels(self, read: dict[str, Any]) -> list[Tensor]:
        """The levels that learn, as a block of tokens has read them."""
        return [
            *read["cms_in_context"]["levels"],
        ]

    def learned(self, read: dict[str, Any], slopes: Iterator[Tensor] | None) -> dict[str, Any]:
        """What is carried after a block of tokens: the slopes by these levels come next."""
        return read | {
            "cms_in_context": self.cms_in_context.learned(read["cms_in_context"], slopes),
        }


class SoftmaxAttentionLayer(nn.Module):
    """SoftmaxAttentionLayer, a memory over a sequence.

    Softmax attention between projections that a training loop moves, with rotary positions: a level of infinite frequency above
    slow ones.

    Inputs, by keyword, in any float dtype:
        x  (batch, time, d_model)
    State, kept in float32 or wider (a dict by name; None starts from zeros):
        attention.k, attention.v  (batch, tokens, heads, d_model / heads), of all tokens so far
        position  (), int64: how many tokens came before
    Returns the outputs (the tensor itself) and the state after the last token:
        y  (batch, time, d_model)
    Under torch.compile every new length compiles anew.
    """

    def __init__(self, d_model: int = 256, heads: int = 4) -> None:
        super().__init__()
        self.d_model = d_model
        self.heads = heads
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

    def initial_state(self, batch: int, heads: int, *, like: Tensor) -> dict[str, Tensor]:
        """Zeros on the device of `like`, in its dtype or float32, whichever is wider."""
        dtype = torch.promote_types(like.dtype, torch.float32)
        return {
            "attention.k": like.new_zeros(batch, 0, heads, self.d_head, dtype=dtype),
            "attention.v": like.new_zeros(batch, 0, heads, self.d_head, dtype=dtype),
            "position": like.new_zeros((), dtype=torch.int64),
        }

    def forward(self, *, x: Tensor, state: dict[str, Tensor] | None = None) -> tuple[Tensor, dict[str, Tensor]]:
        """The whole sequence at once: equal to `forward_by_token`."""
        batch = x.shape[0]
        heads = self.heads
        with _full_precision(x):
            dtype = x.dtype
            start = self._start(state, batch, heads, x)
            x = x.to(start["attention.k"].dtype)
            wide = start["attention.k"].dtype
            project_q, project_k, project_v = (weight.to(wide) for weight in (self.project_q, self.project_k, self.project_v))
            project_out = self.project_out.to(wide)
            place = (start["position"] + torch.arange(x.shape[1], device=x.device)).to(x.dtype)[:, None]
            v = torch.unflatten(x @ project_v.mT, -1, (self.heads, -1))
            q = _rotary(torch.unflatten(x @ project_q.mT, -1, (self.heads, -1)), place, 10000)
            k = _rotary(torch.unflatten(x @ project_k.mT, -1, (self.heads, -1)), place, 10000)
            k_window = torch.cat((start["attention.k"], k), 1)
            v_window = torch.cat((start["attention.v"], v), 1)
            attention_read = _attention(q, k_window, v_window, scale=1 / math.sqrt(self.d_head))
            y = attention_read.flatten(-2) @ project_out.mT
            return y.to(dtype), {"attention.k": k_window, "attention.v": v_window, "position": start["position"] + x.shape[1]}

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
            x = x.to(state["attention.k"].dtype)
            wide = state["attention.k"].dtype
            project_q, project_k, project_v = (weight.to(wide) for weight in (self.project_q, self.project_k, self.project_v))
            project_out = self.project_out.to(wide)
            position = state["position"] + 1
            place = (position - 1).to(state["attention.k"].dtype)
            v = torch.unflatten(x @ project_v.mT, -1, (self.heads, -1))
            q = _rotary(torch.unflatten(x @ project_q.mT, -1, (self.heads, -1)), place, 10000)
            k = _rotary(torch.unflatten(x @ project_k.mT, -1, (self.heads, -1)), place, 10000)
            k_window = torch.cat((state["attention.k"], k.unsqueeze(1)), 1)
            v_window = torch.cat((state["attention.v"], v.unsqueeze(1)), 1)
            score = (k_window * q.unsqueeze(1)).sum(-1) / math.sqrt(self.d_head)
            weight = score.softmax(1)
            attention = (weight[..., None] * v_window).sum(1)
            y = attention.flatten(-2) @ project_out.mT
            return y.to(dtype), {"attention.k": k_window, "attention.v": v_window, "position": position}

    def _start(self, state: dict[str, Tensor] | None, batch: int, heads: int, like: Tensor) -> dict[str, Tensor]:
        """The state to start from, never narrower than zeros would be."""
        zeros = self.initial_state(batch, heads, like=like)
        if state is None:
            return zeros
        return {name: state[name].to(torch.promote_types(state[name].dtype, zero.dtype)) for name, zero in zeros.items()}


class ContinuumMemorySystemInContext(nn.Module):
    """ContinuumMemorySystemInContext, levels that learn from the loss of the model.

    A continuum memory system whose networks learn inside the context, each from the task loss of the tokens since it last moved:
    what later tokens see has learned from earlier ones. Training finds where they start.

    Inputs, by keyword, in any float dtype:
        x  (batch, time, d_model)
    State, kept in float32 or wider (a dict by name):
        fast.W1, medium.W1, slow.W1, fast.W1.gradient, medium.W1.gradient, slow.W1.gradient  (batch, d_hidden, d_model)
        fast.W2, medium.W2, slow.W2, fast.W2.gradient, medium.W2.gradient, slow.W2.gradient  (batch, d_model, d_hidden)
        position  (), int64: how many tokens came before
    Returns the outputs of a block of tokens, of which none ends a period but the last, and what it has read:
        y  (batch, time, d_model)
    `learned` gives the state after the block, from the slopes of the loss.
    """

    def __init__(self, d_model: int = 256, d_hidden: int = 224, rate: float = 0.1) -> None:
        super().__init__()
        self.d_model = d_model
        self.d_hidden = d_hidden
        self.rate = rate
        self.fast_start_W1 = nn.Parameter(torch.empty(self.d_hidden, self.d_model))
        self.fast_start_W2 = nn.Parameter(torch.empty(self.d_model, self.d_hidden))
        self.medium_start_W1 = nn.Parameter(torch.empty(self.d_hidden, self.d_model))
        self.medium_start_W2 = nn.Parameter(torch.empty(self.d_model, self.d_hidden))
        self.slow_start_W1 = nn.Parameter(torch.empty(self.d_hidden, self.d_model))
        self.slow_start_W2 = nn.Parameter(torch.empty(self.d_model, self.d_hidden))
        self.reset_parameters()

    def reset_parameters(self) -> None:
        """The slow levels as training finds them."""
        nn.init.uniform_(self.fast_start_W1, -(self.d_model**-0.5), self.d_model**-0.5)
        nn.init.uniform_(self.fast_start_W2, -(self.d_hidden**-0.5), self.d_hidden**-0.5)
        nn.init.uniform_(self.medium_start_W1, -(self.d_model**-0.5), self.d_model**-0.5)
        nn.init.uniform_(self.medium_start_W2, -(self.d_hidden**-0.5), self.d_hidden**-0.5)
        nn.init.uniform_(self.slow_start_W1, -(self.d_model**-0.5), self.d_model**-0.5)
        nn.init.uniform_(self.slow_start_W2, -(self.d_hidden**-0.5), self.d_hidden**-0.5)

    def initial_state(self, batch: int, *, like: Tensor) -> dict[str, Tensor]:
        """The start on the device of `like`, in its dtype or float32, whichever is wider."""
        dtype = torch.promote_types(like.dtype, torch.float32)
        return {
            "fast.W1": self.fast_start_W1.to(dtype).expand(batch, self.d_hidden, self.d_model),
            "fast.W2": self.fast_start_W2.to(dtype).expand(batch, self.d_model, self.d_hidden),
            "medium.W1": self.medium_start_W1.to(dtype).expand(batch, self.d_hidden, self.d_model),
            "medium.W2": self.medium_start_W2.to(dtype).expand(batch, self.d_model, self.d_hidden),
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

    def forward(self, *, x: Tensor, state: dict[str, Tensor]) -> tuple[Tensor, dict[str, Any]]:
        """A block of tokens, read with the levels as they stand, and what `learned` goes on from."""
        names = ("fast.W1", "fast.W2", "medium.W1", "medium.W2", "slow.W1", "slow.W2")
        with _full_precision(x):
            state = self._start(state, x.shape[0], x)
            given = x.to(state["fast.W1"].dtype)
            # Views, so that a level that starts as another is differentiated by itself.
            levels = [x.view_as(x) if x.requires_grad else x.detach().requires_grad_() for x in (state[name] for name in names)]
            read = self._read(given, state=state | dict(zip(names, levels, strict=True)))
        return read.to(x.dtype), {"state": state, "given": given, "levels": levels}

    def learned(self, read: dict[str, Any], slopes: Iterator[Tensor] | None) -> dict[str, Tensor]:
        """The state after a block: those of its loss by these levels come next among the `slopes`; without any nothing is told."""
        state, given = read["state"], read["given"]
        told = [torch.zeros_like(level) if slopes is None else next(slopes) for level in read["levels"]]
        told = [slope.detach() for slope in told]
        with _full_precision(given):
            after = self._learned(given, *told, state=state, before=_position(state))
        return after | {"position": state["position"] + given.shape[1]}

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
        due_8 = position % 8 == 0
        due_32 = position % 32 == 0
        due_128 = position % 128 == 0
        gradient_W1 = slope_fast_W1
        gradient_W2 = slope_fast_W2
        gathered_W1 = state["fast.W1.gradient"] + gradient_W1
        gathered_W2 = state["fast.W2.gradient"] + gradient_W2
        mean_gradient_W1 = 0.125 * gathered_W1
        mean_gradient_W2 = 0.125 * gathered_W2
        fast_W1 = state["fast.W1"].add(mean_gradient_W1, alpha=-self.rate) if due_8 else state["fast.W1"]
        fast_W2 = state["fast.W2"].add(mean_gradient_W2, alpha=-self.rate) if due_8 else state["fast.W2"]
        medium_gradient_W1 = slope_medium_W1
        medium_gradient_W2 = slope_medium_W2
        medium_gathered_W1 = state["medium.W1.gradient"] + medium_gradient_W1
        medium_gathered_W2 = state["medium.W2.gradient"] + medium_gradient_W2
        medium_mean_gradient_W1 = 0.03125 * medium_gathered_W1
        medium_mean_gradient_W2 = 0.03125 * medium_gathered_W2
        medium_W1 = state["medium.W1"].add(medium_mean_gradient_W1, alpha=-self.rate) if due_32 else state["medium.W1"]
        medium_W2 = state["medium.W2"].add(medium_mean_gradient_W2, alpha=-self.rate) if due_32 else state["medium.W2"]
        slow_gradient_W1 = slope_slow_W1
        slow_gradient_W2 = slope_slow_W2
        slow_gathered_W1 = state["slow.W1.gradient"] + slow_gradient_W1
        slow_gathered_W2 = state["slow.W2.gradient"] + slow_gradient_W2
        slow_mean_gradient_W1 = 0.0078125 * slow_gathered_W1
        slow_mean_gradient_W2 = 0.0078125 * slow_gathered_W2
        slow_W1 = state["slow.W1"].add(slow_mean_gradient_W1, alpha=-self.rate) if due_128 else state["slow.W1"]
        slow_W2 = state["slow.W2"].add(slow_mean_gradient_W2, alpha=-self.rate) if due_128 else state["slow.W2"]
        state = {
            "fast.W1": fast_W1,
            "fast.W2": fast_W2,
            "medium.W1": medium_W1,
            "medium.W2": medium_W2,
            "slow.W1": slow_W1,
            "slow.W2": slow_W2,
            "fast.W1.gradient": torch.zeros_like(gathered_W1) if due_8 else gathered_W1,
            "fast.W2.gradient": torch.zeros_like(gathered_W2) if due_8 else gathered_W2,
            "medium.W1.gradient": torch.zeros_like(medium_gathered_W1) if due_32 else medium_gathered_W1,
            "medium.W2.gradient": torch.zeros_like(medium_gathered_W2) if due_32 else medium_gathered_W2,
            "slow.W1.gradient": torch.zeros_like(slow_gathered_W1) if due_128 else slow_gathered_W1,
            "slow.W2.gradient": torch.zeros_like(slow_gathered_W2) if due_128 else slow_gathered_W2,
        }
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


def optimizers(module: HopeAttentionInContext) -> LevelOptimizers:
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


def _rotary(x: Tensor, place: Tensor, base: int) -> Tensor:
    """Entries j and j + half of x, (..., size), turned in pairs by place / base ** (j / half); the last of an odd number stays."""
    half = x.shape[-1] // 2
    angle = place[..., None] / base ** (torch.arange(half, dtype=x.dtype, device=x.device) / half)
    left, right, last = torch.split(x, [half, half, x.shape[-1] - 2 * half], -1)
    return torch.cat((left * angle.cos() - right * angle.sin(), left * angle.sin() + right * angle.cos(), last), -1)


def _attention(query: Tensor, key: Tensor, value: Tensor, scale: float) -> Tensor:
    """The mean of the values, weighed by a softmax of scale * (key . query), up to each query's own token: (batch, time, *axes, size).

    The last key belongs to the last query; keys may begin earlier.
    """
    seen = None if key.shape[1] == query.shape[1] else _ages(query.shape[1], key.shape[1], query) >= 0
    query, key, value = (x.transpose(1, 2) for x in (query, key, value))
    read = nn.functional.scaled_dot_product_attention(query, key, value, seen, is_causal=seen is None, scale=scale)
    return read.transpose(1, 2)


def _ages(queries: int, data: int, like: Tensor) -> Tensor:
    """How many tokens older each datum is than each query, (queries, data): the last datum is the last query's own, age 0."""
    places = torch.arange(data, dtype=like.dtype, device=like.device)
    return places[data - queries :, None] - places


def _position(state: dict[str, Tensor]) -> int:
    """How many tokens came before."""
    return 0 if state["position"].is_meta else int(state["position"])


def _detached(tree: Any) -> Any:
    """The same nested tensors without the graph that made them."""
    if isinstance(tree, Tensor):
        return tree.detach()
    if isinstance(tree, dict):
        return {name: _detached(item) for name, item in tree.items()}
    return type(tree)(_detached(item) for item in tree)


# sealed by nlc, sha256 of everything above: 7032532014d5d2563ffb20c9962df7766967799e9d9d2b8d39bcbd517c9d8c66
