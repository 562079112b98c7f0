"""TTTLinearPlain, compiled from its description.

A matrix learned at test time by one gradient step a token, the gradients of a mini-batch taken at its start; no norm, no residual.

Compiled by nlc from specs/architectures/ttt_linear_plain.yaml. Edit the spec, not this file.
sha256 of the spec: a5b31b2024694124616e96a246c7fa0f8d022108feebd7fbed7725256b4f41f0

Levels, fastest first (Nested Learning, Definition 2)
    rank  components  every  paper's number (slowest highest / slowest first)
    0     memory      token  1 / 1

Timetable
    every token  memory

Laws, per token; prev is the state before
    prediction      = prev(memory.held_16) @ k                             read at the key
    error           = prediction - v                                       objective 0.5 * norm2(memory @ k - v)
    gradient        = outer(error, k)                                      adjoint of apply; calculus
    memory          = prev(memory) - learning_rate * gradient              explicit gradient step; ttt
    y               = memory @ q                                           read after the write
    memory.held_16  = where(due(16 tokens), memory, prev(memory.held_16))  kept: read by hold(memory, 16 tokens)
    position        = prev(position) + 1                                   kept: the tokens so far

Form
    memory: chunked prefix sum (linear-attention, gla, mamba2)
        The old state is kept unchanged, and no write reads it (Identity).
        All writes are known before the state is, so a chunk is a decayed sum of them: matrix products.
"""

import copy
from typing import Any

import torch
from torch import Tensor, nn
from torch.utils.checkpoint import checkpoint

__all__ = ["TTTLinearPlain"]


class TTTLinearPlain(nn.Module):
    """TTTLinearPlain, a memory over a sequence.

    A matrix learned at test time by one gradient step a token, the gradients of a mini-batch taken at its start; no norm, no
    residual.

    Inputs, by keyword, in any float dtype:
        q              (batch, time, heads, d_k)
        k              (batch, time, heads, d_k)
        v              (batch, time, heads, d_v)
        learning_rate  (batch, time, heads)
    State, kept in float32 or wider (a dict by name; None starts from zeros):
        memory, memory.held_16  (batch, heads, d_v, d_k)
        position  (), int64: how many tokens came before
    Returns the outputs (the tensor itself) and the state after the last token:
        y  (batch, time, heads, d_v)
    `chunk`, in tokens, is about speed alone; under torch.compile every new length compiles anew.
    The sequence runs in blocks of 16 tokens, counted from the position of the state that is handed in.
    `nonfinite` says what to do at a token with numbers that are not finite: "raise" or "propagate" (no "skip": tokens are counted or kept).
    `checkpoint`, in tokens: the backward keeps the states between pieces of so many tokens, and computes the rest anew.
    """

    def __init__(self, d_k: int = 64, d_v: int = 64, chunk: int = 16, nonfinite: str = "propagate", checkpoint: int | None = None) -> None:
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
        self.d_k = d_k
        self.d_v = d_v

    def initial_state(self, batch: int, heads: int, *, like: Tensor) -> dict[str, Tensor]:
        """Zeros on the device of `like`, in its dtype or float32, whichever is wider."""
        dtype = torch.promote_types(like.dtype, torch.float32)
        return {
            "memory": like.new_zeros(batch, heads, self.d_v, self.d_k, dtype=dtype),
            "memory.held_16": like.new_zeros(batch, heads, self.d_v, self.d_k, dtype=dtype),
            "position": like.new_zeros((), dtype=torch.int64),
        }

    def forward(
        self, *, q: Tensor, k: Tensor, v: Tensor, learning_rate: Tensor, state: dict[str, Tensor] | None = None
    ) -> tuple[Tensor, dict[str, Tensor]]:
        """The whole sequence in blocks, which end where a period may: equal to `forward_by_token`."""
        if self.checkpoint is not None or self.nonfinite != "propagate":
            return _managed(self, {"q": q, "k": k, "v": v, "learning_rate": learning_rate}, state)
        batch, _, heads = q.shape[:3]
        with _full_precision(q):
            dtype = q.dtype
            before = 0 if state is None or state["position"].is_meta else int(state["position"])
            state = self._start(state, batch, heads, q)
            q, k, v, learning_rate = (x.to(state["memory"].dtype) for x in (q, k, v, learning_rate))
            streams = (q, k, v, learning_rate)
            lengths = _block_lengths(before, 16, q.shape[1])
            blocks = zip(*(torch.split(x.movedim(1, 2).flatten(0, 1), lengths, 1) for x in streams), strict=True)
            moved = {name: x.flatten(0, 1) for name, x in state.items() if name != "position"}
            y_in_blocks = [q.new_empty(batch * heads, 0, self.d_v)]
            for given in blocks:
                y, moved = self._block(*given, state=moved, before=before)
                before = before + given[0].shape[1]
                y_in_blocks.append(y)
            y = torch.unflatten(torch.cat(y_in_blocks, 1), 0, (batch, heads)).movedim(2, 1)
            last = {"position": state["position"] + q.shape[1]}
            state = {name: torch.unflatten(x, 0, (batch, heads)) for name, x in moved.items()} | last
            return y.to(dtype), state

    def _block(
        self, q: Tensor, k: Tensor, v: Tensor, learning_rate: Tensor, *, state: dict[str, Tensor], before: int
    ) -> tuple[Tensor, dict[str, Tensor]]:
        """The tokens up to where a period may end: what moves every so many tokens moves after them, if it does."""
        position = before + q.shape[1]
        due = position % 16 == 0
        value = -learning_rate[..., None] * (k @ state["memory.held_16"].mT - v)
        y, memory = self._memory_in_chunks(key=k, value=value, query=q, memory=state["memory"])
        return y, {"memory": memory, "memory.held_16": memory if due else state["memory.held_16"]}

    def _memory_in_chunks(self, key: Tensor, value: Tensor, query: Tensor, memory: Tensor) -> tuple[Tensor, Tensor]:
        """memory_t = memory_{t-1} + value_t key_t^T, chunk by chunk.

        Streams are (copies, tokens, size), a scalar one with size 1.
        """
        chunks = zip(*(_pieces(x, self.chunk) for x in (key, value, query)), strict=True)
        reads = []
        for key, value, query in chunks:
            read = query @ memory.mT
            attention = (query @ key.mT).tril()
            read = torch.baddbmm(read, attention, value)
            reads.append(read)
            memory = torch.baddbmm(memory, value.mT, key)
        return _joined(reads), memory

    def forward_by_token(
        self, *, q: Tensor, k: Tensor, v: Tensor, learning_rate: Tensor, state: dict[str, Tensor] | None = None
    ) -> tuple[Tensor, dict[str, Tensor]]:
        """The laws, one token at a time: slow, and what `forward` must equal."""
        batch, _, heads = q.shape[:3]
        state = self._start(state, batch, heads, q)
        outputs = [q.new_empty(batch, 0, heads, self.d_v)]
        for t in range(q.shape[1]):
            y, state = self.step(q=q[:, t], k=k[:, t], v=v[:, t], learning_rate=learning_rate[:, t], state=state)
            outputs.append(y.unsqueeze(1))
        return torch.cat(outputs, 1), state

    def step(self, *, q: Tensor, k: Tensor, v: Tensor, learning_rate: Tensor, state: dict[str, Tensor]) -> tuple[Tensor, dict[str, Tensor]]:
        """One token, for decoding: the laws as they stand; inputs without their time dim."""
        with _full_precision(q):
            dtype = q.dtype
            q, k, v, learning_rate = (x.to(state["memory"].dtype) for x in (q, k, v, learning_rate))
            position = state["position"] + 1
            due = position % 16 == 0
            prediction = (state["memory.held_16"] @ k[..., None]).squeeze(-1)
            error = prediction - v
            gradient = error[..., None] * k[..., None, :]
            memory = state["memory"] - learning_rate[..., None, None] * gradient
            y = (memory @ q[..., None]).squeeze(-1)
            state = {
                "memory": memory,
                "memory.held_16": torch.where(due, memory, state["memory.held_16"]),
                "position": position,
            }
            return y.to(dtype), state

    def _start(self, state: dict[str, Tensor] | None, batch: int, heads: int, like: Tensor) -> dict[str, Tensor]:
        """The state to start from, never narrower than zeros would be."""
        zeros = self.initial_state(batch, heads, like=like)
        if state is None:
            return zeros
        return {name: state[name].to(torch.promote_types(state[name].dtype, zero.dtype)) for name, zero in zeros.items()}


def _full_precision(x: Tensor) -> torch.autocast:
    """No autocast inside: the state keeps its precision."""
    return torch.autocast("cpu" if x.is_meta else x.device.type, enabled=False)


def _pieces(x: Tensor, chunk: int) -> tuple[Tensor, ...]:
    """(copies, tokens, size) -> chunks of tokens, the last one short: nothing is padded, and what is short is one chunk."""
    return torch.split(x, chunk, 1) if x.shape[1] > chunk else (x,)


def _joined(pieces: list[Tensor]) -> Tensor:
    """Chunks of (copies, tokens, size) -> all tokens."""
    return torch.cat(pieces, 1) if len(pieces) > 1 else pieces[0]


def _block_lengths(before: int, tokens: int, time: int) -> list[int]:
    """The lengths of blocks that end at every multiple of `tokens`, counted from the start of the stream, and with the sequence."""
    ends = [*range(tokens - before % tokens, time, tokens), time]
    return [end - start for start, end in zip([0, *ends], ends, strict=False)] if time else []


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
    for t in range(streams["q"].shape[1]):
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


# sealed by nlc, sha256 of everything above: b8e7258c652a311d3efe997aba2df1b977d0bd335c9e4fed7dbc57d8e58316a8
