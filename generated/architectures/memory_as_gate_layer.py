"""MemoryAsGateLayer, compiled from its description.

Titans with memory as a gate: attention over a window of the last tokens and a memory with momentum side by side, both normed with learned
scales, and what attention finds gated by what the memory says. The memory is a matrix, without convolutions before it, and no persistent
tokens stand before the sequence.

Compiled by nlc from specs/architectures/memory_as_gate_layer.yaml. Edit the spec, not this file.
sha256 of the spec: f58b9d27e2ad6f4b4509ca563de1d718416fdbaf4387ba2fe4be5d8efbda9188

Levels, fastest first (Nested Learning, Definition 2)
    rank  components                                                    every   paper's number (slowest highest / slowest first)
    0     attention                                                     always  1 / 4
    1     memory.momentum                                               token   2 / 3
    2     memory                                                        token   3 / 2
    3     far_scale, near_k, near_q, near_scale, near_v, project_beta,  step    4 / 1
          project_decay, project_k, project_out, project_q,
          project_retention, project_v

Timetable
    every always  attention
    every token   memory.momentum, memory
    every step    far_scale, near_k, near_q, near_scale, near_v, project_beta,
                  project_decay, project_k, project_out, project_q,
                  project_retention, project_v

Laws, per token; prev is the state before
    values            = split(near_v @ x, heads)                               abbreviation
    v                 = silu(split(project_v @ x, heads))                      abbreviation
    beta              = sigmoid(split(project_beta @ x, heads))                abbreviation
    retention         = sigmoid(split(project_retention @ x, heads))           abbreviation
    inner_decay       = sigmoid(split(project_decay @ x, heads))               abbreviation
    query             = rotary(split(near_q @ x, heads))                       abbreviation
    keys              = rotary(split(near_k @ x, heads))                       abbreviation
    q                 = l2_normalise(silu(split(project_q @ x, heads)))        abbreviation
    k                 = l2_normalise(silu(split(project_k @ x, heads)))        abbreviation
    score             = dot(keys, now(query)) / sqrt(d_model / heads)
                        objective exp(dot(keys, now(query)) / sqrt(d_model / heads)) * norm2(values - attention), what exp is taken of;
                        nl:eq-62
    weight            = softmax(score, over = window)                          exp of the scores over their sum; nl:eq-62
    attention         = sum(weight * values, over = window)
                        the minimiser, where the derivative by it is zero; nl:eq-63; titans
    prediction        = prev(memory) @ k                                       read at the key
    error             = prediction - v                                         objective 0.5 * norm2(memory @ k - v)
    gradient          = outer(error, k)                                        adjoint of apply; calculus
    momentum          = inner_decay * prev(memory.momentum) - beta * gradient  explicit gradient step; titans
    memory            = retention * prev(memory) + memory.momentum
                        explicit gradient step on -dot(memory, memory.momentum); titans
    near              = attention / sqrt(norm2(attention) / (d_model / heads) + 0.000001) * near_scale
                        abbreviation
    far               = memory @ q / sqrt(norm2(memory @ q) / (d_model / heads) + 0.000001) * far_scale
                        abbreviation
    y                 = project_out @ join(near * sigmoid(far), heads)         read after the write
    attention.keys    = keys                                                   kept: a window of the last 64 tokens
    attention.values  = values                                                 kept: a window of the last 64 tokens
    position          = prev(position) + 1                                     kept: the tokens so far

Forms
    attention: scaled dot-product attention (nl:eq-63)
        It is solved anew for every query, from the data of the last 64 tokens (Solved).
        Its weights are a softmax of scaled dot products, for which torch has a kernel.
    memory.momentum and memory: stacked triangular chunks (titans, deltanet)
        The states memory.momentum and memory move as one, and the writes read them at l2_normalise(silu(split(project_k @ x, heads)))
        alone (Companion).
        The writes of a chunk solve one triangular system, in which the states at its start are stacked; the rest is matrix products.
"""

import copy
import math
from typing import Any

import torch
from torch import Tensor, nn
from torch.utils.checkpoint import checkpoint

__all__ = ["MemoryAsGateLayer"]


class MemoryAsGateLayer(nn.Module):
    """MemoryAsGateLayer, a memory over a sequence.

    Titans with memory as a gate: attention over a window of the last tokens and a memory with momentum side by side, both normed
    with learned scales, and what attention finds gated by what the memory says. The memory is a matrix, without convolutions before
    it, and no persistent tokens stand before the sequence.

    Inputs, by keyword, in any float dtype:
        x  (batch, time, d_model)
    State, kept in float32 or wider (a dict by name; None starts from zeros):
        memory.momentum, memory  (batch, heads, d_model / heads, d_model / heads)
        attention.keys, attention.values  (batch, 63, heads, d_model / heads), of the last 63, those that there were
        position  (), int64: how many tokens came before
    Returns the outputs (the tensor itself) and the state after the last token:
        y  (batch, time, d_model)
    `chunk`, in tokens, is about speed alone; under torch.compile every new length compiles anew.
    `nonfinite` says what to do at a token with numbers that are not finite: "raise" or "propagate" (no "skip": tokens are counted or kept).
    `checkpoint`, in tokens: the backward keeps the states between pieces of so many tokens, and computes the rest anew.
    """

    def __init__(
        self,
        d_model: int = 256,
        heads: int = 4,
        width: int = 4,
        chunk: int = 64,
        nonfinite: str = "propagate",
        checkpoint: int | None = None,
    ) -> None:
        super().__init__()
        if chunk < 1:
            raise ValueError(f"chunk must be 1 or more, not {chunk}")
        self.chunk = chunk
        if nonfinite not in ("raise", "propagate"):
            raise ValueError(f'nonfinite must be "raise" or "propagate", not {nonfinite!r}')
        if checkpoint is not None and checkpoint < 1:
            raise ValueError(f"checkpoint must be None, or 1 token or more, not {checkpoint}")
        self.nonfinite = nonfinite
        self.checkpoint = checkpoint
        self.d_model = d_model
        self.heads = heads
        self.width = width
        if d_model % heads:
            raise ValueError(f"d_head = d_model / heads must be a whole number, not {d_model} / {heads}")
        self.d_head = d_model // heads
        self.project_q = nn.Parameter(torch.empty(self.d_model, self.d_model))
        self.project_k = nn.Parameter(torch.empty(self.d_model, self.d_model))
        self.project_v = nn.Parameter(torch.empty(self.d_model, self.d_model))
        self.project_out = nn.Parameter(torch.empty(self.d_model, self.d_model))
        self.project_beta = nn.Parameter(torch.empty(self.heads, self.d_model))
        self.project_retention = nn.Parameter(torch.empty(self.heads, self.d_model))
        self.project_decay = nn.Parameter(torch.empty(self.heads, self.d_model))
        self.near_q = nn.Parameter(torch.empty(self.d_model, self.d_model))
        self.near_k = nn.Parameter(torch.empty(self.d_model, self.d_model))
        self.near_v = nn.Parameter(torch.empty(self.d_model, self.d_model))
        self.near_scale = nn.Parameter(torch.empty(self.d_head))
        self.far_scale = nn.Parameter(torch.empty(self.d_head))
        self.reset_parameters()

    def reset_parameters(self) -> None:
        """The slow levels as training finds them."""
        for weight in (
            self.project_q,
            self.project_k,
            self.project_v,
            self.project_out,
            self.project_beta,
            self.project_retention,
            self.project_decay,
            self.near_q,
            self.near_k,
            self.near_v,
        ):
            nn.init.uniform_(weight, -(self.d_model**-0.5), self.d_model**-0.5)
        nn.init.constant_(self.near_scale, 1)
        nn.init.constant_(self.far_scale, 1)

    def initial_state(self, batch: int, heads: int, *, like: Tensor) -> dict[str, Tensor]:
        """Zeros on the device of `like`, in its dtype or float32, whichever is wider."""
        dtype = torch.promote_types(like.dtype, torch.float32)
        return {
            "memory.momentum": like.new_zeros(batch, heads, self.d_head, self.d_head, dtype=dtype),
            "memory": like.new_zeros(batch, heads, self.d_head, self.d_head, dtype=dtype),
            "attention.keys": like.new_zeros(batch, 63, heads, self.d_head, dtype=dtype),
            "attention.values": like.new_zeros(batch, 63, heads, self.d_head, dtype=dtype),
            "position": like.new_zeros((), dtype=torch.int64),
        }

    def forward(self, *, x: Tensor, state: dict[str, Tensor] | None = None) -> tuple[Tensor, dict[str, Tensor]]:
        """The whole sequence in chunks: equal to `forward_by_token`."""
        if self.checkpoint is not None or self.nonfinite != "propagate":
            return _managed(self, {"x": x}, state)
        batch = x.shape[0]
        heads = self.heads
        with _full_precision(x):
            dtype = x.dtype
            start = self._start(state, batch, heads, x)
            x = x.to(start["memory.momentum"].dtype)
            wide = start["memory.momentum"].dtype
            project_q, project_k, project_v = (weight.to(wide) for weight in (self.project_q, self.project_k, self.project_v))
            project_out, project_beta = (weight.to(wide) for weight in (self.project_out, self.project_beta))
            project_retention, project_decay = (weight.to(wide) for weight in (self.project_retention, self.project_decay))
            near_q, near_k, near_v, near_scale = (weight.to(wide) for weight in (self.near_q, self.near_k, self.near_v, self.near_scale))
            far_scale = self.far_scale.to(wide)
            place = (start["position"] + torch.arange(x.shape[1], device=x.device)).to(x.dtype)[:, None]
            values = torch.unflatten(x @ near_v.mT, -1, (self.heads, -1))
            v = torch.nn.functional.silu(torch.unflatten(x @ project_v.mT, -1, (self.heads, -1)))
            beta = (x @ project_beta.mT).sigmoid()
            retention = (x @ project_retention.mT).sigmoid()
            inner_decay = (x @ project_decay.mT).sigmoid()
            query = _rotary(torch.unflatten(x @ near_q.mT, -1, (self.heads, -1)), place, 10000)
            keys = _rotary(torch.unflatten(x @ near_k.mT, -1, (self.heads, -1)), place, 10000)
            q = torch.nn.functional.normalize(torch.nn.functional.silu(torch.unflatten(x @ project_q.mT, -1, (self.heads, -1))), dim=-1)
            k = torch.nn.functional.normalize(torch.nn.functional.silu(torch.unflatten(x @ project_k.mT, -1, (self.heads, -1))), dim=-1)
            keys_window = torch.cat((start["attention.keys"], keys), 1)
            values_window = torch.cat((start["attention.values"], values), 1)
            attention_read = _sliding_attention(
                query, keys_window, values_window, scale=1 / math.sqrt(self.d_head), window=64, chunk=self.chunk, position=start["position"]
            )
            memory_read, memory_momentum, memory = self._memory_in_chunks(
                factor_1=inner_decay[..., None],
                factor_2=retention[..., None],
                key=k,
                value=beta[..., None] * v,
                erase=beta[..., None] * k,
                query=q,
                memory_momentum=start["memory.momentum"],
                memory=start["memory"],
            )
            y_normed_1 = torch.nn.functional.rms_norm(attention_read, (self.d_head,), eps=1e-06)
            y_normed_2 = torch.nn.functional.rms_norm(memory_read, (self.d_head,), eps=1e-06)
            y = (y_normed_1 * near_scale * (y_normed_2 * far_scale).sigmoid()).flatten(-2) @ project_out.mT
            state = {
                "memory.momentum": memory_momentum,
                "memory": memory,
                "attention.keys": keys_window[:, x.shape[1] :],
                "attention.values": values_window[:, x.shape[1] :],
                "position": start["position"] + x.shape[1],
            }
            return y.to(dtype), state

    def _memory_in_chunks(
        self,
        factor_1: Tensor,
        factor_2: Tensor,
        key: Tensor,
        value: Tensor,
        erase: Tensor,
        query: Tensor,
        memory_momentum: Tensor,
        memory: Tensor,
    ) -> tuple[Tensor, Tensor, Tensor]:
        """Several states that move as one, chunk by chunk.

            memory_momentum_t = factor_1_t memory_momentum_{t-1} + write_t key_t^T
            memory_t = factor_1_t memory_momentum_{t-1} + factor_2_t memory_{t-1} + write_t key_t^T
            write_t = value_t - memory_{t-1} erase_t

        Streams are (batch, time, *axes, size), a scalar one with size 1. What each state is after a token is a sum of the states
        at the start of the chunk and of the writes since then, each times its share.
        """
        leading = memory_momentum.shape[:-2]
        states = torch.cat((memory_momentum, memory), -1).flatten(0, -3).mT
        one = torch.ones_like(key[..., :1])
        zero = torch.zeros_like(one)
        moves = torch.cat((factor_1, zero, one, factor_1, factor_2, one), -1)
        chunks = zip(_shares(moves, 2, [1], self.chunk), *(_pieces(x, self.chunk) for x in (key, value, erase, query)), strict=True)
        reads = []
        for (shares, last), key, value, erase, query in chunks:
            before = shares[:, :-1, 0]
            overlap = before[..., 2:] * (erase @ key.mT)
            value = torch.baddbmm(value, _scaled(erase, before[..., :2]), states, alpha=-1)
            write = _solve(overlap, value)
            scores = query @ key.mT
            after = shares[:, 1:, 0]
            read = _scaled(query, after[..., :2]) @ states
            read = torch.baddbmm(read, after[..., 2:] * scores.tril(), write)
            reads.append(read)
            kept = last[..., :2] @ torch.unflatten(states, 1, (2, -1)).flatten(2)
            states = torch.baddbmm(kept.view_as(states), _scaled(key, last[..., 2:].mT).mT, write)
        memory_momentum, memory = torch.unflatten(states.mT, 0, leading).chunk(2, -1)
        return _joined(reads, leading), memory_momentum, memory

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
            x = x.to(state["memory.momentum"].dtype)
            wide = state["memory.momentum"].dtype
            project_q, project_k, project_v = (weight.to(wide) for weight in (self.project_q, self.project_k, self.project_v))
            project_out, project_beta = (weight.to(wide) for weight in (self.project_out, self.project_beta))
            project_retention, project_decay = (weight.to(wide) for weight in (self.project_retention, self.project_decay))
            near_q, near_k, near_v, near_scale = (weight.to(wide) for weight in (self.near_q, self.near_k, self.near_v, self.near_scale))
            far_scale = self.far_scale.to(wide)
            position = state["position"] + 1
            place = (position - 1).to(state["memory.momentum"].dtype)
            values = torch.unflatten(x @ near_v.mT, -1, (self.heads, -1))
            v = torch.nn.functional.silu(torch.unflatten(x @ project_v.mT, -1, (self.heads, -1)))
            beta = (x @ project_beta.mT).sigmoid()
            retention = (x @ project_retention.mT).sigmoid()
            inner_decay = (x @ project_decay.mT).sigmoid()
            query = _rotary(torch.unflatten(x @ near_q.mT, -1, (self.heads, -1)), place, 10000)
            keys = _rotary(torch.unflatten(x @ near_k.mT, -1, (self.heads, -1)), place, 10000)
            q = torch.nn.functional.normalize(torch.nn.functional.silu(torch.unflatten(x @ project_q.mT, -1, (self.heads, -1))), dim=-1)
            k = torch.nn.functional.normalize(torch.nn.functional.silu(torch.unflatten(x @ project_k.mT, -1, (self.heads, -1))), dim=-1)
            keys_window = torch.cat((state["attention.keys"], keys.unsqueeze(1)), 1)
            values_window = torch.cat((state["attention.values"], values.unsqueeze(1)), 1)
            age = torch.arange(keys_window.shape[1] - 1, -1, -1, dtype=keys_window.dtype, device=keys_window.device)[None, :, None]
            there = age < position
            score = (keys_window * query.unsqueeze(1)).sum(-1) / math.sqrt(self.d_head)
            weight = score.masked_fill(~there, -torch.inf).softmax(1)
            attention = (weight[..., None] * values_window).sum(1)
            prediction = (state["memory"] @ k[..., None]).squeeze(-1)
            error = prediction - v
            gradient = error[..., None] * k[..., None, :]
            momentum = inner_decay[..., None, None] * state["memory.momentum"] - beta[..., None, None] * gradient
            memory = retention[..., None, None] * state["memory"] + momentum
            memory_read = (memory @ q[..., None]).squeeze(-1)
            y_normed_1 = torch.nn.functional.rms_norm(attention, (self.d_head,), eps=1e-06)
            y_normed_2 = torch.nn.functional.rms_norm(memory_read, (self.d_head,), eps=1e-06)
            y = (y_normed_1 * near_scale * (y_normed_2 * far_scale).sigmoid()).flatten(-2) @ project_out.mT
            state = {
                "memory.momentum": momentum,
                "memory": memory,
                "attention.keys": keys_window[:, 1:],
                "attention.values": values_window[:, 1:],
                "position": position,
            }
            return y.to(dtype), state

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


def _pieces(x: Tensor, chunk: int) -> tuple[Tensor, ...]:
    """(batch, time, *axes, size) -> chunks of (batch * axes, tokens, size), the last one short: nothing is padded."""
    return torch.split(x.movedim(1, -2).flatten(0, -3), chunk, 1)


def _joined(pieces: list[Tensor], leading: torch.Size) -> Tensor:
    """Chunks of (batch * axes, tokens, size) -> (batch, time, *axes, size)."""
    whole = torch.cat(pieces, 1)
    return whole.view(*leading, *whole.shape[1:]).movedim(-2, 1)


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


def _shares(moves: Tensor, states: int, seen: list[int], chunk: int) -> list[tuple[Tensor, Tensor]]:
    """What the states of `seen` are made of after every token, and what all are made of in the end, chunk by chunk.

    The first is (copies, tokens + 1, seen, states + tokens * writes): the shares of the states at the chunk's start, then of the writes;
    row 0 is the start itself. `moves`, (batch, time, *axes, states * (states + writes)), says the same of one token. Two halves of a
    stretch are joined at their border: the right one moves what the left one ends in. Decays are only ever multiplied: 0 is exact.
    """
    moves = torch.unflatten(moves.movedim(1, -2).flatten(0, -3), -1, (states, -1))
    time, writes = moves.shape[1], moves.shape[-1] - states
    tokens = max(1, min(chunk, time))
    count, levels = max(1, -(-time // tokens)), (tokens - 1).bit_length()
    still = torch.eye(states, states + writes, dtype=moves.dtype, device=moves.device)  # what fills up moves nothing
    ends = torch.unflatten(torch.cat((moves, still.expand(moves.shape[0], count * tokens - time, -1, -1)), 1), 1, (count, tokens))
    ends = torch.cat((ends, still.expand(*ends.shape[:2], 2**levels - tokens, -1, -1)), 2)
    shares = ends[..., seen, :]
    for _ in range(levels):
        left, right = torch.unflatten(ends, 2, (-1, 2)).unbind(3)
        early, late = torch.unflatten(shares, 2, (-1, 2)).unbind(3)
        upper = nn.functional.pad(early, (0, left.shape[-1] - states))
        shares = torch.cat((upper, torch.cat((late[..., :states] @ left, late[..., states:]), -1)), -2)
        ends = torch.cat((right[..., :states] @ left, right[..., states:]), -1)
    start = torch.eye(states, shares.shape[-1], dtype=moves.dtype, device=moves.device)[seen].expand(*shares.shape[:2], -1, -1)
    shares = torch.unflatten(torch.cat((start, shares.squeeze(2)), 2), 2, (-1, len(seen)))
    lengths = [min(tokens, time - place * tokens) for place in range(count)]
    pieces = zip(shares.unbind(1), ends.squeeze(2).unbind(1), lengths, strict=True)
    return [(x[:, : n + 1, :, : states + n * writes], end[..., : states + n * writes]) for x, end, n in pieces]


def _scaled(x: Tensor, shares: Tensor) -> Tensor:
    """(copies, n, size), (copies, n, states) -> (copies, n, states * size): each vector beside itself, times its share in each state."""
    return (shares.unsqueeze(-1) * x.unsqueeze(-2)).flatten(-2)


def _sliding_attention(query: Tensor, key: Tensor, value: Tensor, scale: float, window: int, chunk: int, position: Tensor) -> Tensor:
    """As attention, over the last `window` tokens alone, in chunks of queries with the keys near them: (batch, time, *axes, size).

    Keys begin with those of window - 1 earlier tokens, of which the last `position` are there.
    """
    there, reads = torch.arange(window - 1, -query.shape[1], -1, device=query.device) <= position, []
    query, key, value = (x.transpose(1, 2) for x in (query, key, value))
    for number, inside in enumerate(torch.split(query, chunk, 2)):
        near = slice(number * chunk, number * chunk + inside.shape[2] + window - 1)
        age = _ages(inside.shape[2], inside.shape[2] + window - 1, query)
        seen = (age >= 0) & (age < window) & there[near]
        reads.append(nn.functional.scaled_dot_product_attention(inside, key[:, :, near], value[:, :, near], seen, scale=scale))
    read = torch.cat(reads, 2)
    return read.transpose(1, 2)


def _ages(queries: int, data: int, like: Tensor) -> Tensor:
    """How many tokens older each datum is than each query, (queries, data): the last datum is the last query's own, age 0."""
    places = torch.arange(data, dtype=like.dtype, device=like.device)
    return places[data - queries :, None] - places


def _check_windows(state: dict[str, Tensor]) -> None:
    """Raises ValueError where the state does not carry the tokens that the windows of this module look back to."""
    for level, name, dim, tokens in (("attention", "attention.keys", 1, 63), ("attention", "attention.values", 1, 63)):
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


# sealed by nlc, sha256 of everything above: 923d575417da527e8c0c821d6116311f30ffd6f0e13898dbf0153490049e2a4b
