"""HopeInContext, compiled from its description.

Self-modifying Titans followed by a continuum memory system of which two networks learn inside the context, from the loss of the tokens
since they last moved, and one from step to step: levels at every frequency from the token on.

Compiled by nlc from specs/models/hope_in_context.yaml. Edit the spec, not this file.
sha256 of the spec: 26dc438b7b1389f632e487c5a4ceed9cce1b0ff22f0c66e2fef9c06c14cbdd6b

Levels, fastest first (Nested Learning, Definition 2)
    rank  components                                                         every      paper's number (slowest highest / slowest first)
    0     self_modifying_titans.keep_map, self_modifying_titans.key_map,     token      1 / 7
          self_modifying_titans.memory, self_modifying_titans.rate_map,
          self_modifying_titans.value_map
    1     cms_across_contexts.fast                                           8 tokens   2 / 6
    2     cms_across_contexts.medium                                         64 tokens  3 / 5
    3     cms_across_contexts.fast.start.first_moment,                       step       4 / 4
          cms_across_contexts.fast.start.second_moment,
          cms_across_contexts.medium.start.first_moment,
          cms_across_contexts.medium.start.second_moment,
          embedding.first_moment, embedding.second_moment,
          head_norm.first_moment, head_norm.second_moment,
          self_modifying_titans.keep_map.start.first_moment,
          self_modifying_titans.keep_map.start.second_moment,
          self_modifying_titans.kernel_in.first_moment,
          self_modifying_titans.kernel_in.second_moment,
          self_modifying_titans.kernel_q.first_moment,
          self_modifying_titans.kernel_q.second_moment,
          self_modifying_titans.key_map.start.first_moment,
          self_modifying_titans.key_map.start.second_moment,
          self_modifying_titans.memory.start.first_moment,
          self_modifying_titans.memory.start.second_moment,
          self_modifying_titans.project_in.first_moment,
          self_modifying_titans.project_in.second_moment,
          self_modifying_titans.project_out.first_moment,
          self_modifying_titans.project_out.second_moment,
          self_modifying_titans.project_q.first_moment,
          self_modifying_titans.project_q.second_moment,
          self_modifying_titans.rate_map.start.first_moment,
          self_modifying_titans.rate_map.start.second_moment,
          self_modifying_titans.value_map.start.first_moment,
          self_modifying_titans.value_map.start.second_moment,
          self_modifying_titans_norm.first_moment,
          self_modifying_titans_norm.second_moment
    4     cms_across_contexts.fast.start, cms_across_contexts.medium.start,  step       5 / 3
          embedding, head_norm, self_modifying_titans.keep_map.start,
          self_modifying_titans.kernel_in, self_modifying_titans.kernel_q,
          self_modifying_titans.key_map.start,
          self_modifying_titans.memory.start,
          self_modifying_titans.project_in,
          self_modifying_titans.project_out,
          self_modifying_titans.project_q,
          self_modifying_titans.rate_map.start,
          self_modifying_titans.value_map.start, self_modifying_titans_norm
    5     cms_across_contexts.slow.first_moment,                             4 steps    6 / 2
          cms_across_contexts.slow.second_moment
    6     cms_across_contexts.slow                                           4 steps    7 / 1

Network
    embedding: vocabulary -> d_model
    blocks, layers times over:
        + self_modifying_titans_norm: rms_norm
          self_modifying_titans: SelfModifyingTitans(d_model = d_model, heads = heads)
        + cms_across_contexts: ContinuumMemorySystemAcrossContexts(d_model = d_model, d_hidden = d_hidden, rate = rate)
    head_norm: rms_norm
    head: d_model -> vocabulary, tied to embedding

SelfModifyingTitans, from specs/architectures/self_modifying_titans.yaml

    Laws, per token; prev is the state before
        source             = split(convolve(project_in @ x, kernel_in), heads)              abbreviation
        q                  = l2_normalise(split(convolve(project_q @ x, kernel_q), heads))  abbreviation
        k                  = l2_normalise(prev(key_map.held_16) @ source)                   abbreviation
        prediction         = prev(keep_map) @ k                                             read at the key
        v                  = prev(value_map.held_16) @ source                               abbreviation
        surprise           = prev(keep_map.held_16) @ (k - v) + erase * prediction
                             objective dot(keep_map @ k, stop_gradient(hold(keep_map, 16 tokens) @ (k - v))) + 0.5 * (erase *
                             norm2(keep_map @ k)), by the prediction; calculus
        gradient           = outer(surprise, k)                                             adjoint of apply; calculus
        rate               = largest_rate * sigmoid(sum(prev(rate_map.held_16) @ source))   abbreviation
        retention          = sigmoid(retained + sum(prev(keep_map.held_16) @ source))       abbreviation
        keep_map           = retention * prev(keep_map) - rate * gradient
                             explicit gradient step; nl:eq-83; nl:eq-88; nl:eq-93
        y                  = project_out @ join(prev(memory) @ q / sqrt(norm2(prev(memory) @ q) / (d_model / heads) + 0.000001), heads)
                             read before the write
        key_map.held_16    = where(due(16 tokens), key_map, prev(key_map.held_16))          kept: read by hold(key_map, 16 tokens)
        recent.project_in  = recent(project_in @ x) and project_in @ x
                             kept: the last values of project_in @ x, for delays and convolutions
        recent.project_q   = recent(project_q @ x) and project_q @ x
                             kept: the last values of project_q @ x, for delays and convolutions
        position           = prev(position) + 1                                             kept: the tokens so far
        as keep_map, each with its own state: key_map, memory, rate_map, value_map
        as key_map.held_16, each with its own state: value_map.held_16, rate_map.held_16, keep_map.held_16, memory.held_16

    Forms
        keep_map, key_map, memory, rate_map, value_map: triangular chunks (deltanet, gated-deltanet)
            The old state is kept times sigmoid(retained + sum(prev(keep_map.held_16) @ split(convolve(project_in @ x, kernel_in),
            heads))), and the writes read it at l2_normalise(prev(key_map.held_16) @ split(convolve(project_in @ x, kernel_in), heads))
            alone (ScalarMinusLowRank).
            Writes read the old state through vectors alone, so those of a chunk solve one triangular system; the rest is matrix products.

ContinuumMemorySystemAcrossContexts, from specs/architectures/cms_across_contexts.yaml

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
                              the data since the last update, of 64 tokens
        gathered_W2         = prev(medium.W2.gradient) + gradient_W2
                              the data since the last update, of 64 tokens
        mean_gradient_W1    = 0.015625 * gathered_W1                                                        the mean over 64 tokens
        mean_gradient_W2    = 0.015625 * gathered_W2                                                        the mean over 64 tokens
        medium.W1           = where(due(64 tokens), prev(medium.W1) - rate * mean_gradient_W1, prev(medium.W1))
                              explicit gradient step; nl:eq-70; nl:eq-71
        medium.W2           = where(due(64 tokens), prev(medium.W2) - rate * mean_gradient_W2, prev(medium.W2))
                              explicit gradient step; nl:eq-70; nl:eq-71
        near                = prev(fast.W2) @ gelu(prev(fast.W1) @ (x / sqrt(norm2(x) / d_model + 0.000001)))
                              abbreviation
        middle              = prev(medium.W2) @ gelu(prev(medium.W1) @ ((x + near) / sqrt(norm2(x + near) / d_model + 0.000001)))
                              abbreviation
        y                   = near + middle + slow.W2 @ gelu(slow.W1 @ ((x + near + middle) / sqrt(norm2(x + near + middle) / d_model +
                              0.000001)))
                              read before the write
        fast.W1.gradient    = where(due(8 tokens), 0, fast.W1.gradient)
                              kept: gathered since the last update
        fast.W2.gradient    = where(due(8 tokens), 0, fast.W2.gradient)
                              kept: gathered since the last update
        medium.W1.gradient  = where(due(64 tokens), 0, medium.W1.gradient)
                              kept: gathered since the last update
        medium.W2.gradient  = where(due(64 tokens), 0, medium.W2.gradient)
                              kept: gathered since the last update
        position            = prev(position) + 1                                                            kept: the tokens so far

    Forms
        fast, medium: sums over blocks (nl:eq-71)
            The states W1 and W2 move as one, but have not the same shape: they have no common normal form (Dense).
            It stays as it is until a period ends, so the tokens of a block read it, and add up their gradients, in products of matrices.

Laws of AdamW, every step, for embedding, self_modifying_titans_norm, head_norm, self_modifying_titans.project_q,
self_modifying_titans.project_in, self_modifying_titans.project_out, self_modifying_titans.kernel_q, self_modifying_titans.kernel_in,
self_modifying_titans.key_map.start, self_modifying_titans.value_map.start, self_modifying_titans.rate_map.start,
self_modifying_titans.keep_map.start, self_modifying_titans.memory.start, cms_across_contexts.fast.start,
cms_across_contexts.medium.start
Laws of AdamW, every 4 steps, on the sum of the gradients since the last update, for cms_across_contexts.slow
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

__all__ = ["HopeInContext", "optimizers"]


class HopeInContext(nn.Module):
    """HopeInContext, a model of sequences of tokens.

    Self-modifying Titans followed by a continuum memory system of which two networks learn inside the context, from the loss of the
    tokens since they last moved, and one from step to step: levels at every frequency from the token on.

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
            HopeInContextBlock(d_model=d_model, heads=heads, d_hidden=d_hidden, rate=rate) for _ in range(layers)
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


class HopeInContextBlock(nn.Module):
    """What HopeInContext repeats: (batch, time, size) in and out."""

    def __init__(self, d_model: int, heads: int, d_hidden: int, rate: float) -> None:
        super().__init__()
        self.self_modifying_titans_norm = nn.Parameter(torch.empty(d_model))
        self.self_modifying_titans = SelfModifyingTitans(d_model=d_model, heads=heads)
        self.cms_across_contexts = ContinuumMemorySystemAcrossContexts(d_model=d_model, d_hidden=d_hidden, rate=rate)
        self.reset_parameters()

    def reset_parameters(self) -> None:
        """The block's own slow levels as training finds them."""
        nn.init.constant_(self.self_modifying_titans_norm, 1)

    def initial_state(self, batch: int, *, like: Tensor) -> dict[str, Any]:
        """What is carried before the first token."""
        return {
            "self_modifying_titans": self.self_modifying_titans.initial_state(batch, self.self_modifying_titans.heads, like=like),
            "cms_across_contexts": self.cms_across_contexts.initial_state(batch, like=like),
        }

    def forward(self, x: Tensor, state: dict[str, Any]) -> tuple[Tensor, dict[str, Any]]:
        """All tokens at once."""
        y = nn.functional.rms_norm(x, x.shape[-1:], self.self_modifying_titans_norm, eps=1e-6)
        y, self_modifying_titans = self.self_modifying_titans(x=y, state=state["self_modifying_titans"])
        x = x + y
        y, cms_across_contexts = self.cms_across_contexts(x=x, state=state["cms_across_contexts"])
        x = x + y
        return x, {"self_modifying_titans": self_modifying_titans, "cms_across_contexts": cms_across_contexts}

    def levels(self, read: dict[str, Any]) -> list[Tensor]:
        """The levels that learn, as a block of tokens has read them."""
        return [
            *read["cms_across_contexts"]["levels"],
        ]

    def learned(self, read: dict[str, Any], slopes: Iterator[Tensor] | None) -> dict[str, Any]:
        """What is carried after a block of tokens: the slopes by these levels come next."""
        return read | {
            "cms_across_contexts": self.cms_across_contexts.learned(read["cms_across_contexts"], slopes),
        }


class SelfModifyingTitans(nn.Module):
    """SelfModifyingTitans, a memory over a sequence.

    Self-modifying Titans with matrices: memories give the keys, the values, the rate and the retention by which all of them learn,
    each from a trained start, and each is fitted to a value that it generates itself.

    Inputs, by keyword, in any float dtype:
        x  (batch, time, d_model)
    State, kept in float32 or wider (a dict by name; None starts from the initial state):
        key_map, value_map, memory, key_map.held_16, value_map.held_16, memory.held_16  (batch, heads, d_model / heads, d_model / heads)
        rate_map, keep_map, rate_map.held_16, keep_map.held_16  (batch, heads, 1, d_model / heads)
        recent.project_in, recent.project_q  (batch, width - 1, d_model)
        position  (), int64: how many tokens came before
    Returns the outputs (the tensor itself) and the state after the last token:
        y  (batch, time, d_model)
    `chunk`, in tokens, is about speed alone; under torch.compile every new length compiles anew.
    The sequence runs in blocks of 16 tokens, counted from the position of the state that is handed in.
    """

    def __init__(
        self,
        d_model: int = 256,
        heads: int = 4,
        width: int = 4,
        largest_rate: float = 0.5,
        retained: float = 4.0,
        erase: float = 1.0,
        chunk: int = 16,
    ) -> None:
        super().__init__()
        if chunk < 1:
            raise ValueError(f"chunk must be 1 or more, not {chunk}")
        self.chunk = chunk
        self.d_model = d_model
        self.heads = heads
        self.width = width
        self.largest_rate = largest_rate
        self.retained = retained
        self.erase = erase
        if d_model % heads:
            raise ValueError(f"d_head = d_model / heads must be a whole number, not {d_model} / {heads}")
        self.d_head = d_model // heads
        self.project_q = nn.Parameter(torch.empty(self.d_model, self.d_model))
        self.project_in = nn.Parameter(torch.empty(self.d_model, self.d_model))
        self.project_out = nn.Parameter(torch.empty(self.d_model, self.d_model))
        self.kernel_q = nn.Parameter(torch.empty(self.width, self.d_model))
        self.kernel_in = nn.Parameter(torch.empty(self.width, self.d_model))
        self.key_map_start = nn.Parameter(torch.empty(self.d_head, self.d_head))
        self.value_map_start = nn.Parameter(torch.empty(self.d_head, self.d_head))
        self.rate_map_start = nn.Parameter(torch.empty(1, self.d_head))
        self.keep_map_start = nn.Parameter(torch.empty(1, self.d_head))
        self.memory_start = nn.Parameter(torch.empty(self.d_head, self.d_head))
        self.reset_parameters()

    def reset_parameters(self) -> None:
        """The slow levels as training finds them."""
        for weight in (self.project_q, self.project_in, self.project_out):
            nn.init.uniform_(weight, -(self.d_model**-0.5), self.d_model**-0.5)
        nn.init.uniform_(self.kernel_q, -(self.width**-0.5), self.width**-0.5)
        nn.init.uniform_(self.kernel_in, -(self.width**-0.5), self.width**-0.5)
        for weight in (self.key_map_start, self.value_map_start, self.rate_map_start, self.keep_map_start, self.memory_start):
            nn.init.uniform_(weight, -(self.d_head**-0.5), self.d_head**-0.5)

    def initial_state(self, batch: int, heads: int, *, like: Tensor) -> dict[str, Tensor]:
        """The start on the device of `like`, in its dtype or float32, whichever is wider."""
        dtype = torch.promote_types(like.dtype, torch.float32)
        starts = {
            "key_map": self.key_map_start.to(dtype).expand(batch, heads, self.d_head, self.d_head),
            "value_map": self.value_map_start.to(dtype).expand(batch, heads, self.d_head, self.d_head),
            "rate_map": self.rate_map_start.to(dtype).expand(batch, heads, 1, self.d_head),
            "keep_map": self.keep_map_start.to(dtype).expand(batch, heads, 1, self.d_head),
            "memory": self.memory_start.to(dtype).expand(batch, heads, self.d_head, self.d_head),
        }
        held = {f"{name}.held_16": start for name, start in starts.items()}
        others = {
            "recent.project_in": like.new_zeros(batch, self.width - 1, self.d_model, dtype=dtype),
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
            x = x.to(state["key_map"].dtype)
            wide = state["key_map"].dtype
            project_q, project_in, project_out = (weight.to(wide) for weight in (self.project_q, self.project_in, self.project_out))
            kernel_q, kernel_in = (weight.to(wide) for weight in (self.kernel_q, self.kernel_in))
            recent_project_in = torch.cat((state["recent.project_in"], x @ project_in.mT), 1)
            recent_project_q = torch.cat((state["recent.project_q"], x @ project_q.mT), 1)
            source = torch.unflatten(_convolved(recent_project_in, kernel_in), -1, (self.heads, -1))
            q = torch.nn.functional.normalize(torch.unflatten(_convolved(recent_project_q, kernel_q), -1, (self.heads, -1)), dim=-1)
            streams = (source, q)
            lengths = _block_lengths(before, 16, x.shape[1])
            blocks = zip(*(torch.split(x.movedim(1, 2).flatten(0, 1), lengths, 1) for x in streams), strict=True)
            moved = {
                name: x.flatten(0, 1) for name, x in state.items() if name not in {"recent.project_in", "recent.project_q", "position"}
            }
            y_inside_in_blocks = [x.new_empty(batch * heads, 0, self.d_head)]
            for given in blocks:
                y_inside, moved = self._block(*given, state=moved, before=before)
                before = before + given[0].shape[1]
                y_inside_in_blocks.append(y_inside)
            y_inside = torch.unflatten(torch.cat(y_inside_in_blocks, 1), 0, (batch, heads)).movedim(2, 1)
            y = y_inside.flatten(-2) @ project_out.mT
            last = {
                "position": state["position"] + x.shape[1],
                "recent.project_in": recent_project_in[:, x.shape[1] :],
                "recent.project_q": recent_project_q[:, x.shape[1] :],
            }
            state = {name: torch.unflatten(x, 0, (batch, heads)) for name, x in moved.items()} | last
            return y.to(dtype), state

    def _block(self, source: Tensor, q: Tensor, *, state: dict[str, Tensor], before: int) -> tuple[Tensor, dict[str, Tensor]]:
        """The tokens up to where a period may end: what moves every so many tokens moves after them, if it does."""
        position = before + source.shape[1]
        due = position % 16 == 0
        v = source @ state["value_map.held_16"].mT
        rate = self.largest_rate * (source @ state["rate_map.held_16"].mT).sum(-1).sigmoid()
        retention = (self.retained + (source @ state["keep_map.held_16"].mT).sum(-1)).sigmoid()
        k = torch.nn.functional.normalize(source @ state["key_map.held_16"].mT, dim=-1)
        keep_map_value = -rate[..., None] * ((k - v) @ state["keep_map.held_16"].mT)
        key_map_value = -rate[..., None] * ((k - v) @ state["key_map.held_16"].mT)
        rate_map_value = -rate[..., None] * ((k - v) @ state["rate_map.held_16"].mT)
        value_map_value = -rate[..., None] * ((k - v) @ state["value_map.held_16"].mT)
        value = -rate[..., None] * ((k - v) @ state["memory.held_16"].mT)
        memory_read, rows = self._memory_in_chunks(
            decay=retention[..., None],
            key=k,
            value=torch.cat((keep_map_value, key_map_value, rate_map_value, value_map_value, value), -1),
            erase=(rate * self.erase)[..., None] * k,
            query=q,
            memory=torch.cat((state["keep_map"], state["key_map"], state["rate_map"], state["value_map"], state["memory"]), 1),
        )
        keep_map, key_map, rate_map, value_map, memory = torch.split(rows, [1, self.d_head, 1, self.d_head, self.d_head], 1)
        y_inside = torch.nn.functional.rms_norm(memory_read, (self.d_head,), eps=1e-06)
        moved = {"key_map": key_map, "value_map": value_map, "rate_map": rate_map, "keep_map": keep_map, "memory": memory}
        held = {f"{name}.held_16": new if due else state[f"{name}.held_16"] for name, new in moved.items()}
        return y_inside, moved | held

    def _memory_in_chunks(
        self, decay: Tensor, key: Tensor, value: Tensor, erase: Tensor, query: Tensor, memory: Tensor
    ) -> tuple[Tensor, Tensor]:
        """memory_t = decay_t memory_{t-1} + write_t key_t^T with write_t = value_t - memory_{t-1} erase_t, chunk by chunk.

        Streams are (copies, tokens, size), a scalar one with size 1.
        The last rows of memory and value are those of memory, above them are those of keep_map, key_map, rate_map, value_map.
        Inside a chunk the writes read one another:
            write_t + sum over s < t of decays (erase_t . key_s) write_s = value_t - decays memory erase_t
        """
        chunks = zip(*(_pieces(x, self.chunk) for x in (decay, key, value, erase, query)), strict=True)
        reads = []
        for decay, key, value, erase, query in chunks:
            products = _decay_products(decay)
            kept_before, before = products[:, :-1, :1], products[:, :-1, 1:]
            overlap = before * (erase @ key.mT)
            write = _solve(overlap, torch.baddbmm(value, kept_before * erase, memory.mT, alpha=-1))
            read = (kept_before * query) @ memory[:, -self.d_head :].mT
            attention = before * (query @ key.mT).tril(-1)
            read = torch.baddbmm(read, attention, write[..., -self.d_head :])
            reads.append(read)
            memory = products[:, -1:, :1] * memory
            memory = torch.baddbmm(memory, write.mT, products[:, -1, 1:, None] * key)
        return _joined(reads), memory

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
            x = x.to(state["key_map"].dtype)
            wide = state["key_map"].dtype
            project_q, project_in, project_out = (weight.to(wide) for weight in (self.project_q, self.project_in, self.project_out))
            kernel_q, kernel_in = (weight.to(wide) for weight in (self.kernel_q, self.kernel_in))
            position = state["position"] + 1
            due = position % 16 == 0
            recent_project_in = torch.cat((state["recent.project_in"], (x @ project_in.mT).unsqueeze(-2)), -2)
            recent_project_q = torch.cat((state["recent.project_q"], (x @ project_q.mT).unsqueeze(-2)), -2)
            source = torch.unflatten((recent_project_in * kernel_in.flip(0)).sum(-2), -1, (self.heads, -1))
            q = torch.nn.functional.normalize(torch.unflatten((recent_project_q * kernel_q.flip(0)).sum(-2), -1, (self.heads, -1)), dim=-1)
            k = torch.nn.functional.normalize((state["key_map.held_16"] @ source[..., None]).squeeze(-1), dim=-1)
            prediction = (state["keep_map"] @ k[..., None]).squeeze(-1)
            v = (state["value_map.held_16"] @ source[..., None]).squeeze(-1)
            surprise = (state["keep_map.held_16"] @ (k - v)[..., None]).squeeze(-1) + self.erase * prediction
            gradient = surprise[..., None] * k[..., None, :]
            rate = self.largest_rate * (state["rate_map.held_16"] @ source[..., None]).squeeze(-1).sum(-1).sigmoid()
            retention = (self.retained + (state["keep_map.held_16"] @ source[..., None]).squeeze(-1).sum(-1)).sigmoid()
            keep_map = retention[..., None, None] * state["keep_map"] - rate[..., None, None] * gradient
            key_map_prediction = (state["key_map"] @ k[..., None]).squeeze(-1)
            key_map_surprise = (state["key_map.held_16"] @ (k - v)[..., None]).squeeze(-1) + self.erase * key_map_prediction
            key_map_gradient = key_map_surprise[..., None] * k[..., None, :]
            key_map = retention[..., None, None] * state["key_map"] - rate[..., None, None] * key_map_gradient
            memory_prediction = (state["memory"] @ k[..., None]).squeeze(-1)
            memory_surprise = (state["memory.held_16"] @ (k - v)[..., None]).squeeze(-1) + self.erase * memory_prediction
            memory_gradient = memory_surprise[..., None] * k[..., None, :]
            memory = retention[..., None, None] * state["memory"] - rate[..., None, None] * memory_gradient
            rate_map_prediction = (state["rate_map"] @ k[..., None]).squeeze(-1)
            rate_map_surprise = (state["rate_map.held_16"] @ (k - v)[..., None]).squeeze(-1) + self.erase * rate_map_prediction
            rate_map_gradient = rate_map_surprise[..., None] * k[..., None, :]
            rate_map = retention[..., None, None] * state["rate_map"] - rate[..., None, None] * rate_map_gradient
            value_map_prediction = (state["value_map"] @ k[..., None]).squeeze(-1)
            value_map_surprise = (state["value_map.held_16"] @ (k - v)[..., None]).squeeze(-1) + self.erase * value_map_prediction
            value_map_gradient = value_map_surprise[..., None] * k[..., None, :]
            value_map = retention[..., None, None] * state["value_map"] - rate[..., None, None] * value_map_gradient
            memory_read = (state["memory"] @ q[..., None]).squeeze(-1)
            y = torch.nn.functional.rms_norm(memory_read, (self.d_head,), eps=1e-06).flatten(-2) @ project_out.mT
            moved = {"key_map": key_map, "value_map": value_map, "rate_map": rate_map, "keep_map": keep_map, "memory": memory}
            held = {f"{name}.held_16": torch.where(due, new, state[f"{name}.held_16"]) for name, new in moved.items()}
            last = {
                "recent.project_in": recent_project_in[..., 1:, :],
                "recent.project_q": recent_project_q[..., 1:, :],
                "position": position,
            }
            return y.to(dtype), moved | held | last

    def _start(self, state: dict[str, Tensor] | None, batch: int, heads: int, like: Tensor) -> dict[str, Tensor]:
        """The state to start from, never narrower than zeros would be."""
        zeros = self.initial_state(batch, heads, like=like)
        if state is None:
            return zeros
        return {name: state[name].to(torch.promote_types(state[name].dtype, zero.dtype)) for name, zero in zeros.items()}


class ContinuumMemorySystemAcrossContexts(nn.Module):
    """ContinuumMemorySystemAcrossContexts, levels that learn from the loss of the model.

    A continuum memory system whose fast networks learn inside the context, from the task loss of the tokens since they last moved,
    and whose slow one learns from one context to the next.

    Inputs, by keyword, in any float dtype:
        x  (batch, time, d_model)
    State, kept in float32 or wider (a dict by name):
        fast.W1, medium.W1, fast.W1.gradient, medium.W1.gradient  (batch, d_hidden, d_model)
        fast.W2, medium.W2, fast.W2.gradient, medium.W2.gradient  (batch, d_model, d_hidden)
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
        self.slow_W1 = nn.Parameter(torch.empty(self.d_hidden, self.d_model))
        self.slow_W2 = nn.Parameter(torch.empty(self.d_model, self.d_hidden))
        self.reset_parameters()

    def reset_parameters(self) -> None:
        """The slow levels as training finds them."""
        nn.init.uniform_(self.fast_start_W1, -(self.d_model**-0.5), self.d_model**-0.5)
        nn.init.uniform_(self.fast_start_W2, -(self.d_hidden**-0.5), self.d_hidden**-0.5)
        nn.init.uniform_(self.medium_start_W1, -(self.d_model**-0.5), self.d_model**-0.5)
        nn.init.uniform_(self.medium_start_W2, -(self.d_hidden**-0.5), self.d_hidden**-0.5)
        nn.init.uniform_(self.slow_W1, -(self.d_model**-0.5), self.d_model**-0.5)
        nn.init.uniform_(self.slow_W2, -(self.d_hidden**-0.5), self.d_hidden**-0.5)

    def initial_state(self, batch: int, *, like: Tensor) -> dict[str, Tensor]:
        """The start on the device of `like`, in its dtype or float32, whichever is wider."""
        dtype = torch.promote_types(like.dtype, torch.float32)
        return {
            "fast.W1": self.fast_start_W1.to(dtype).expand(batch, self.d_hidden, self.d_model),
            "fast.W2": self.fast_start_W2.to(dtype).expand(batch, self.d_model, self.d_hidden),
            "medium.W1": self.medium_start_W1.to(dtype).expand(batch, self.d_hidden, self.d_model),
            "medium.W2": self.medium_start_W2.to(dtype).expand(batch, self.d_model, self.d_hidden),
            "fast.W1.gradient": like.new_zeros(batch, self.d_hidden, self.d_model, dtype=dtype),
            "fast.W2.gradient": like.new_zeros(batch, self.d_model, self.d_hidden, dtype=dtype),
            "medium.W1.gradient": like.new_zeros(batch, self.d_hidden, self.d_model, dtype=dtype),
            "medium.W2.gradient": like.new_zeros(batch, self.d_model, self.d_hidden, dtype=dtype),
            "position": like.new_zeros((), dtype=torch.int64),
        }

    def forward(self, *, x: Tensor, state: dict[str, Tensor]) -> tuple[Tensor, dict[str, Any]]:
        """A block of tokens, read with the levels as they stand, and what `learned` goes on from."""
        names = ("fast.W1", "fast.W2", "medium.W1", "medium.W2")
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
        slow_W1, slow_W2 = (weight.to(state["fast.W1"].dtype) for weight in (self.slow_W1, self.slow_W2))
        fast_read = torch.nn.functional.rms_norm(x, (self.d_model,), eps=1e-06) @ state["fast.W1"].mT
        near_hidden = torch.nn.functional.gelu(fast_read)
        near = near_hidden @ state["fast.W2"].mT
        middle_hidden = torch.nn.functional.gelu(torch.nn.functional.rms_norm(x + near, (self.d_model,), eps=1e-06) @ state["medium.W1"].mT)
        middle = middle_hidden @ state["medium.W2"].mT
        far = (
            torch.nn.functional.gelu(torch.nn.functional.rms_norm(x + near + middle, (self.d_model,), eps=1e-06) @ slow_W1.mT) @ slow_W2.mT
        )
        y = near + middle + far
        return y

    def _learned(
        self,
        x: Tensor,
        slope_fast_W1: Tensor,
        slope_fast_W2: Tensor,
        slope_medium_W1: Tensor,
        slope_medium_W2: Tensor,
        *,
        state: dict[str, Tensor],
        before: int,
    ) -> dict[str, Tensor]:
        """The state after a block: what has been gathered, and the levels whose periods end there, moved."""
        position = before + x.shape[1]
        due_8 = position % 8 == 0
        due_64 = position % 64 == 0
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
        medium_mean_gradient_W1 = 0.015625 * medium_gathered_W1
        medium_mean_gradient_W2 = 0.015625 * medium_gathered_W2
        medium_W1 = state["medium.W1"].add(medium_mean_gradient_W1, alpha=-self.rate) if due_64 else state["medium.W1"]
        medium_W2 = state["medium.W2"].add(medium_mean_gradient_W2, alpha=-self.rate) if due_64 else state["medium.W2"]
        state = {
            "fast.W1": fast_W1,
            "fast.W2": fast_W2,
            "medium.W1": medium_W1,
            "medium.W2": medium_W2,
            "fast.W1.gradient": torch.zeros_like(gathered_W1) if due_8 else gathered_W1,
            "fast.W2.gradient": torch.zeros_like(gathered_W2) if due_8 else gathered_W2,
            "medium.W1.gradient": torch.zeros_like(medium_gathered_W1) if due_64 else medium_gathered_W1,
            "medium.W2.gradient": torch.zeros_like(medium_gathered_W2) if due_64 else medium_gathered_W2,
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


def optimizers(module: HopeInContext) -> LevelOptimizers:
    """The optimizers of the slow levels, for any training loop: `zero_grad()`, a backward pass of the task loss, `step()`."""
    return LevelOptimizers(
        [
            (
                AdamW(
                    [
                        module.embedding,
                        *(block.self_modifying_titans_norm for block in module.blocks),
                        *(block.self_modifying_titans.project_q for block in module.blocks),
                        *(block.self_modifying_titans.project_in for block in module.blocks),
                        *(block.self_modifying_titans.project_out for block in module.blocks),
                        *(block.self_modifying_titans.kernel_q for block in module.blocks),
                        *(block.self_modifying_titans.kernel_in for block in module.blocks),
                        *(block.self_modifying_titans.key_map_start for block in module.blocks),
                        *(block.self_modifying_titans.value_map_start for block in module.blocks),
                        *(block.self_modifying_titans.rate_map_start for block in module.blocks),
                        *(block.self_modifying_titans.keep_map_start for block in module.blocks),
                        *(block.self_modifying_titans.memory_start for block in module.blocks),
                        *(block.cms_across_contexts.fast_start_W1 for block in module.blocks),
                        *(block.cms_across_contexts.fast_start_W2 for block in module.blocks),
                        *(block.cms_across_contexts.medium_start_W1 for block in module.blocks),
                        *(block.cms_across_contexts.medium_start_W2 for block in module.blocks),
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
                        *(block.cms_across_contexts.slow_W1 for block in module.blocks),
                        *(block.cms_across_contexts.slow_W2 for block in module.blocks),
                    ],
                    learning_rate=module.learning_rate,
                    weight_decay=module.weight_decay,
                ),
                4,
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


def _pieces(x: Tensor, chunk: int) -> tuple[Tensor, ...]:
    """(copies, tokens, size) -> chunks of tokens, the last one short: nothing is padded, and what is short is one chunk."""
    return torch.split(x, chunk, 1) if x.shape[1] > chunk else (x,)


def _joined(pieces: list[Tensor]) -> Tensor:
    """Chunks of (copies, tokens, size) -> all tokens."""
    return torch.cat(pieces, 1) if len(pieces) > 1 else pieces[0]


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


def _block_lengths(before: int, tokens: int, time: int) -> list[int]:
    """The lengths of blocks that end at every multiple of `tokens`, counted from the start of the stream, and with the sequence."""
    ends = [*range(tokens - before % tokens, time, tokens), time]
    return [end - start for start, end in zip([0, *ends], ends, strict=False)] if time else []


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


# sealed by nlc, sha256 of everything above: 18405d5ef104e4e5df142bc95d3ab8919d137c49098aa62bb91804382b1b031b
