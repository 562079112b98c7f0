"""HopeAttention, compiled from its description.

Attention followed by a continuum memory system, networks that move at periods of their own, in the place of one feed-forward network.

Compiled by nlc from specs/models/hope_attention.yaml. Edit the spec, not this file.
sha256 of the spec: db8bed23079d4f4d4e9b81a0a4ab5af6132b3199f8da617d7b15cf64dc5a4350

Levels, fastest first (Nested Learning, Definition 2)
    rank  components                                                    every     paper's number (slowest highest / slowest first)
    0     softmax_attention.attention                                   always    1 / 7
    1     cms.fast.first_moment, cms.fast.second_moment,                step      2 / 6
          embedding.first_moment, embedding.second_moment,
          head_norm.first_moment, head_norm.second_moment,
          softmax_attention.project_k.first_moment,
          softmax_attention.project_k.second_moment,
          softmax_attention.project_out.first_moment,
          softmax_attention.project_out.second_moment,
          softmax_attention.project_q.first_moment,
          softmax_attention.project_q.second_moment,
          softmax_attention.project_v.first_moment,
          softmax_attention.project_v.second_moment,
          softmax_attention_norm.first_moment,
          softmax_attention_norm.second_moment
    2     cms.fast, embedding, head_norm, softmax_attention.project_k,  step      3 / 5
          softmax_attention.project_out, softmax_attention.project_q,
          softmax_attention.project_v, softmax_attention_norm
    3     cms.medium.first_moment, cms.medium.second_moment             4 steps   4 / 4
    4     cms.medium                                                    4 steps   5 / 3
    5     cms.slow.first_moment, cms.slow.second_moment                 16 steps  6 / 2
    6     cms.slow                                                      16 steps  7 / 1

Network
    embedding: vocabulary -> d_model
    blocks, layers times over:
        + softmax_attention_norm: rms_norm
          softmax_attention: SoftmaxAttentionLayer(d_model = d_model, heads = heads)
        + cms: ContinuumMemorySystem(d_model = d_model, d_hidden = d_hidden)
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

ContinuumMemorySystem, from specs/architectures/cms.yaml

    Laws, per token; prev is the state before
        near    = fast.W2 @ gelu(fast.W1 @ (x / sqrt(norm2(x) / d_model + 0.000001)))  abbreviation
        middle  = medium.W2 @ gelu(medium.W1 @ ((x + near) / sqrt(norm2(x + near) / d_model + 0.000001)))
                  abbreviation
        far     = slow.W2 @ gelu(slow.W1 @ ((x + near + middle) / sqrt(norm2(x + near + middle) / d_model + 0.000001)))
                  abbreviation
        y       = near + middle + far                                                  no state is read

Laws of AdamW, every step, for embedding, softmax_attention_norm, head_norm, softmax_attention.project_q, softmax_attention.project_k,
softmax_attention.project_v, softmax_attention.project_out, cms.fast
Laws of AdamW, every 4 steps, on the sum of the gradients since the last update, for cms.medium
Laws of AdamW, every 16 steps, on the sum of the gradients since the last update, for cms.slow
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

__all__ = ["HopeAttention", "optimizers"]


class HopeAttention(nn.Module):
    """HopeAttention, a model of sequences of tokens.

    Attention followed by a continuum memory system, networks that move at periods of their own, in the place of one feed-forward
    network.

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
        self.blocks: Any = nn.ModuleList(HopeAttentionBlock(d_model=d_model, heads=heads, d_hidden=d_hidden) for _ in range(layers))
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


class HopeAttentionBlock(nn.Module):
    """What HopeAttention repeats: (batch, time, size) in and out, `step` without the time."""

    def __init__(self, d_model: int, heads: int, d_hidden: int) -> None:
        super().__init__()
        self.softmax_attention_norm = nn.Parameter(torch.empty(d_model))
        self.softmax_attention = SoftmaxAttentionLayer(d_model=d_model, heads=heads)
        self.cms = ContinuumMemorySystem(d_model=d_model, d_hidden=d_hidden)
        self.reset_parameters()

    def reset_parameters(self) -> None:
        """The block's own slow levels as training finds them."""
        nn.init.constant_(self.softmax_attention_norm, 1)

    def initial_state(self, batch: int, *, like: Tensor) -> dict[str, Any]:
        """What is carried before the first token."""
        return {
            "softmax_attention": self.softmax_attention.initial_state(batch, self.softmax_attention.heads, like=like),
        }

    def forward(self, x: Tensor, state: dict[str, Any]) -> tuple[Tensor, dict[str, Any]]:
        """All tokens at once."""
        y = nn.functional.rms_norm(x, x.shape[-1:], self.softmax_attention_norm, eps=1e-6)
        y, softmax_attention = self.softmax_attention(x=y, state=state["softmax_attention"])
        x = x + y
        y, _ = self.cms(x=x)
        x = x + y
        return x, {"softmax_attention": softmax_attention}

    def step(self, x: Tensor, state: dict[str, Any]) -> tuple[Tensor, dict[str, Any]]:
        """One token."""
        y = nn.functional.rms_norm(x, x.shape[-1:], self.softmax_attention_norm, eps=1e-6)
        y, softmax_attention = self.softmax_attention.step(x=y, state=state["softmax_attention"])
        x = x + y
        y, _ = self.cms.step(x=x, state={})
        x = x + y
        return x, {"softmax_attention": softmax_attention}


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


class ContinuumMemorySystem(nn.Module):
    """ContinuumMemorySystem, a memory over a sequence.

    A chain of feed-forward networks, each a memory that moves at its own period of steps: what the fast one forgets, slower ones
    still know. Each is added to what goes into it; the output is all that the chain adds.

    Inputs, by keyword, in any float dtype:
        x  (batch, time, d_model)
    State, kept in float32 or wider (a dict by name; None starts from zeros):
        nothing: an empty dict
    Returns the outputs (the tensor itself) and the state after the last token:
        y  (batch, time, d_model)
    No token depends on another: all are computed at once.
    """

    def __init__(self, d_model: int = 256, d_hidden: int = 224) -> None:
        super().__init__()
        self.d_model = d_model
        self.d_hidden = d_hidden
        self.fast_W1 = nn.Parameter(torch.empty(self.d_hidden, self.d_model))
        self.fast_W2 = nn.Parameter(torch.empty(self.d_model, self.d_hidden))
        self.medium_W1 = nn.Parameter(torch.empty(self.d_hidden, self.d_model))
        self.medium_W2 = nn.Parameter(torch.empty(self.d_model, self.d_hidden))
        self.slow_W1 = nn.Parameter(torch.empty(self.d_hidden, self.d_model))
        self.slow_W2 = nn.Parameter(torch.empty(self.d_model, self.d_hidden))
        self.reset_parameters()

    def reset_parameters(self) -> None:
        """The slow levels as training finds them."""
        nn.init.uniform_(self.fast_W1, -(self.d_model**-0.5), self.d_model**-0.5)
        nn.init.uniform_(self.fast_W2, -(self.d_hidden**-0.5), self.d_hidden**-0.5)
        nn.init.uniform_(self.medium_W1, -(self.d_model**-0.5), self.d_model**-0.5)
        nn.init.uniform_(self.medium_W2, -(self.d_hidden**-0.5), self.d_hidden**-0.5)
        nn.init.uniform_(self.slow_W1, -(self.d_model**-0.5), self.d_model**-0.5)
        nn.init.uniform_(self.slow_W2, -(self.d_hidden**-0.5), self.d_hidden**-0.5)

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


def optimizers(module: HopeAttention) -> LevelOptimizers:
    """The optimizers of the slow levels, for any training loop: `zero_grad()`, a backward pass of the task loss, `step()`."""
    return LevelOptimizers(
        [
            (
                AdamW(
                    [
                        module.embedding,
                        *(block.softmax_attention_norm for block in module.blocks),
                        *(block.softmax_attention.project_q for block in module.blocks),
                        *(block.softmax_attention.project_k for block in module.blocks),
                        *(block.softmax_attention.project_v for block in module.blocks),
                        *(block.softmax_attention.project_out for block in module.blocks),
                        *(block.cms.fast_W1 for block in module.blocks),
                        *(block.cms.fast_W2 for block in module.blocks),
                        module.head_norm,
                    ],
                    learning_rate=module.learning_rate,
                    weight_decay=module.weight_decay,
                ),
                1,
                False,
            ),
            (
                AdamW(
                    [
                        *(block.cms.medium_W1 for block in module.blocks),
                        *(block.cms.medium_W2 for block in module.blocks),
                    ],
                    learning_rate=module.learning_rate,
                    weight_decay=module.weight_decay,
                ),
                4,
                False,
            ),
            (
                AdamW(
                    [*(block.cms.slow_W1 for block in module.blocks), *(block.cms.slow_W2 for block in module.blocks)],
                    learning_rate=module.learning_rate,
                    weight_decay=module.weight_decay,
                ),
                16,
                False,
            ),
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


# sealed by nlc, sha256 of everything above: f68741b006207ca8232c100c1599d995cf07b445fcde211287220fc5f196ed88
