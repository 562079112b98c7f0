"""MemoryAsContextLayer, compiled from its description.

Titans with memory as a context: in segments of a period, attention sees learned persistent pairs, and for each token of the segment so far
two pairs, the token's own and what the memory recalls for it as it stood when the segment began. What attention finds is written to the
memory, and gated by what the memory then says to it. From the first projections to the last one every head is alone, and persistent pairs
are the same for all heads. What attention finds is much alike from token to token, so that its gradients add up, and the largest rate is
low.

Compiled by nlc from specs/architectures/memory_as_context_layer.yaml. Edit the spec, not this file.
sha256 of the spec: a652bbbc90dfd06892716d8a212c37299f131f910f5ac9117fe7983adb49adc1

Levels, fastest first (Nested Learning, Definition 2)
    rank  components                                                         every   paper's number (slowest highest / slowest first)
    0     attention                                                          always  1 / 4
    1     memory.momentum                                                    token   2 / 3
    2     memory                                                             token   3 / 2
    3     memory.start, near_k, near_q, near_v, persistent_k, persistent_v,  step    4 / 1
          project_decay, project_out, project_q, project_rate,
          project_retention, recall_k, recall_v, write_k, write_v

Timetable
    every always  attention
    every token   memory.momentum, memory
    every step    memory.start, near_k, near_q, near_v, persistent_k, persistent_v,
                  project_decay, project_out, project_q, project_rate,
                  project_retention, recall_k, recall_v, write_k, write_v

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
    attention.far_keys    = recall_k @ (prev(memory.W2.held_64) @ gelu(prev(memory.W1.held_64) @ q) / sqrt(norm2(prev(memory.W2.held_64) @
                            gelu(prev(memory.W1.held_64) @ q)) / (d_model / heads) + 0.000001))
                            kept: a window of the tokens since the last 64 were full
    attention.far_values  = recall_v @ (prev(memory.W2.held_64) @ gelu(prev(memory.W1.held_64) @ q) / sqrt(norm2(prev(memory.W2.held_64) @
                            gelu(prev(memory.W1.held_64) @ q)) / (d_model / heads) + 0.000001))
                            kept: a window of the tokens since the last 64 were full
    position              = prev(position) + 1                                                    kept: the tokens so far

Forms
    attention: scaled dot-product attention (nl:eq-63)
        It is solved anew for every query, from the data of the tokens since the last 64 were full (Solved).
        Its weights are a softmax of scaled dot products, for which torch has a kernel.
    memory.momentum and memory: dual form (ttt, titans)
        The states of memory.momentum and memory move as one, by gradients at a held state, which are told layer by layer (Dense).
        The gradients of a block are taken at one state, so its weights are sums of them, and reads are products of matrices.
"""

import copy
import math
from typing import Any

import torch
from torch import Tensor, nn
from torch.utils.checkpoint import checkpoint

__all__ = ["MemoryAsContextLayer"]


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
    `nonfinite` says what to do at a token with numbers that are not finite: "raise" or "propagate" (no "skip": tokens are counted or kept).
    `checkpoint`, in tokens: the backward keeps the states between pieces of so many tokens, and computes the rest anew.
    """

    def __init__(
        self,
        d_model: int = 256,
        heads: int = 4,
        persistent: int = 4,
        largest_rate: float = 0.01,
        retained: float = 4.0,
        nonfinite: str = "propagate",
        checkpoint: int | None = None,
    ) -> None:
        super().__init__()
        if nonfinite not in ("raise", "propagate"):
            raise ValueError(f'nonfinite must be "raise" or "propagate", not {nonfinite!r}')
        if checkpoint is not None and checkpoint < 1:
            raise ValueError(f"checkpoint must be None, or 1 token or more, not {checkpoint}")
        self.nonfinite = nonfinite
        self.checkpoint = checkpoint
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
        if self.checkpoint is not None or self.nonfinite != "propagate":
            return _managed(self, {"x": x}, state)
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


def _managed(module: Any, streams: dict[str, Tensor], state: dict[str, Tensor] | None) -> tuple[Tensor, dict[str, Tensor]]:
    """`forward` in pieces that the backward computes anew, and watched for what is not finite, as the module was made."""
    plain = copy.copy(module)
    plain.nonfinite, plain.checkpoint = "propagate", None
    outputs, last = _in_pieces(plain, streams, state, module.checkpoint) if module.checkpoint else plain.forward(**streams, state=state)
    if module.nonfinite == "propagate" or all(bool(x.isfinite().all()) for x in (*streams.values(), outputs, *last.values())):
        return outputs, last
    return _watched(plain, streams, state, module.nonfinite)


def _in_pieces(module: Any, streams: dict[str, Tensor], state: dict[str, Tensor] | None, tokens: int) -> tuple[Tensor, dict[str, Tensor]]:
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


def _watched(module: Any, streams: dict[str, Tensor], state: dict[str, Tensor] | None, policy: str) -> tuple[Tensor, dict[str, Tensor]]:
    """Token by token: one by which something is not finite stops the sequence."""
    pieces, (_, last) = [], module.forward(**{name: x[:, :0] for name, x in streams.items()}, state=state)
    for t in range(streams["x"].shape[1]):
        token = {name: x[:, t : t + 1] for name, x in streams.items()}
        with torch.no_grad():
            outputs, after = module.forward(**token, state=last)
        seen = {**token, "y": outputs, **after}
        rows = {name: ~x.reshape(len(x), -1).isfinite().all(1) for name, x in seen.items() if x.dim()}
        lost = torch.stack(list(rows.values())).any(0)
        if policy == "raise" and bool(lost.any()):
            names = ", ".join(name for name, row in rows.items() if bool(row.any()))
            raise FloatingPointError(f"not finite at token {t}, row {int(lost.nonzero()[0])} of the batch: {names}")
        outputs, last = module.forward(**token, state=last)
        pieces.append(outputs)
    return torch.cat(pieces, 1), last


# sealed by nlc, sha256 of everything above: 8ae11b8db1ed4f1f33e3a6c0d2b01abdc8f0fbbc1f094bbc31d9de3fa6bfa055
