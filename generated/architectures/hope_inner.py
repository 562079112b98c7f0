"""HopeInner, compiled from its description.

The self-modifying rule of Hope with matrices as memories; keys, and the values that every memory is fitted to, come from memories as they
were when the period began, and each memory erases along the key from what it is now.

Compiled by nlc from specs/architectures/hope_inner.yaml. Edit the spec, not this file.
sha256 of the spec: f7da08b9804f312dfdd84a1c9b2f3491ca320297fc6a66f2b37e9d2f560531d2

Levels, fastest first (Nested Learning, Definition 2)
    rank  components               every  paper's number (slowest highest / slowest first)
    0     answer, key_map, memory  token  1 / 1

Timetable
    every token  answer, key_map, memory

Laws, per token; prev is the state before
    k                = l2_normalise(prev(key_map.held_16) @ x)                abbreviation
    prediction       = prev(answer) @ k                                       read at the key
    v                = prev(answer.held_16) @ x                               abbreviation
    surprise         = prev(answer.held_16) @ (k - v) + prediction
                       objective dot(answer @ k, stop_gradient(hold(answer, 16 tokens) @ (k - v))) + 0.5 * norm2(answer @ k), by the
                       prediction; calculus
    gradient         = outer(surprise, k)                                     adjoint of apply; calculus
    answer           = retention * prev(answer) - rate * gradient             explicit gradient step; nl:eq-88; nl:eq-93
    y                = prev(memory) @ q                                       read before the write
    key_map.held_16  = where(due(16 tokens), key_map, prev(key_map.held_16))  kept: read by hold(key_map, 16 tokens)
    position         = prev(position) + 1                                     kept: the tokens so far
    as answer, each with its own state: key_map, memory
    as key_map.held_16, each with its own state: answer.held_16, memory.held_16

Forms
    answer, key_map, memory: triangular chunks (deltanet, gated-deltanet)
        The old state is kept times retention, and the writes read it at l2_normalise(prev(key_map.held_16) @ x) alone
        (ScalarMinusLowRank).
        Writes read the old state through vectors alone, so those of a chunk solve one triangular system; the rest is matrix products.
"""

import copy
from typing import Any

import torch
from torch import Tensor, nn
from torch.utils.checkpoint import checkpoint

__all__ = ["HopeInner"]


class HopeInner(nn.Module):
    """HopeInner, a memory over a sequence.

    The self-modifying rule of Hope with matrices as memories; keys, and the values that every memory is fitted to, come from
    memories as they were when the period began, and each memory erases along the key from what it is now.

    Inputs, by keyword, in any float dtype:
        q          (batch, time, heads, d)
        x          (batch, time, heads, d)
        rate       (batch, time, heads)
        retention  (batch, time, heads)
    State, kept in float32 or wider (a dict by name; None starts from zeros):
        key_map, answer, memory, key_map.held_16, answer.held_16, memory.held_16  (batch, heads, d, d)
        position  (), int64: how many tokens came before
    Returns the outputs (the tensor itself) and the state after the last token:
        y  (batch, time, heads, d)
    `chunk`, in tokens, is about speed alone; under torch.compile every new length compiles anew.
    The sequence runs in blocks of 16 tokens, counted from the position of the state that is handed in.
    `nonfinite` says what to do at a token with numbers that are not finite: "raise" or "propagate" (no "skip": tokens are counted or kept).
    `checkpoint`, in tokens: the backward keeps the states between pieces of so many tokens, and computes the rest anew.
    """

    def __init__(self, d: int = 64, chunk: int = 16, nonfinite: str = "propagate", checkpoint: int | None = None) -> None:
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
        self.d = d

    def initial_state(self, batch: int, heads: int, *, like: Tensor) -> dict[str, Tensor]:
        """Zeros on the device of `like`, in its dtype or float32, whichever is wider."""
        dtype = torch.promote_types(like.dtype, torch.float32)
        starts = {
            "key_map": like.new_zeros(batch, heads, self.d, self.d, dtype=dtype),
            "answer": like.new_zeros(batch, heads, self.d, self.d, dtype=dtype),
            "memory": like.new_zeros(batch, heads, self.d, self.d, dtype=dtype),
        }
        held = {f"{name}.held_16": start for name, start in starts.items()}
        others = {"position": like.new_zeros((), dtype=torch.int64)}
        return starts | held | others

    def forward(
        self, *, q: Tensor, x: Tensor, rate: Tensor, retention: Tensor, state: dict[str, Tensor] | None = None
    ) -> tuple[Tensor, dict[str, Tensor]]:
        """The whole sequence in blocks, which end where a period may: equal to `forward_by_token`."""
        if self.checkpoint is not None or self.nonfinite != "propagate":
            return _managed(self, {"q": q, "x": x, "rate": rate, "retention": retention}, state)
        batch, _, heads = q.shape[:3]
        with _full_precision(q):
            dtype = q.dtype
            before = 0 if state is None or state["position"].is_meta else int(state["position"])
            state = self._start(state, batch, heads, q)
            q, x, rate, retention = (x.to(state["key_map"].dtype) for x in (q, x, rate, retention))
            streams = (q, x, rate, retention)
            lengths = _block_lengths(before, 16, q.shape[1])
            blocks = zip(*(torch.split(x.movedim(1, 2).flatten(0, 1), lengths, 1) for x in streams), strict=True)
            moved = {name: x.flatten(0, 1) for name, x in state.items() if name != "position"}
            y_in_blocks = [q.new_empty(batch * heads, 0, self.d)]
            for given in blocks:
                y, moved = self._block(*given, state=moved, before=before)
                before = before + given[0].shape[1]
                y_in_blocks.append(y)
            y = torch.unflatten(torch.cat(y_in_blocks, 1), 0, (batch, heads)).movedim(2, 1)
            last = {"position": state["position"] + q.shape[1]}
            state = {name: torch.unflatten(x, 0, (batch, heads)) for name, x in moved.items()} | last
            return y.to(dtype), state

    def _block(
        self, q: Tensor, x: Tensor, rate: Tensor, retention: Tensor, *, state: dict[str, Tensor], before: int
    ) -> tuple[Tensor, dict[str, Tensor]]:
        """The tokens up to where a period may end: what moves every so many tokens moves after them, if it does."""
        position = before + q.shape[1]
        due = position % 16 == 0
        v = x @ state["answer.held_16"].mT
        k = torch.nn.functional.normalize(x @ state["key_map.held_16"].mT, dim=-1)
        answer_value = -rate[..., None] * ((k - v) @ state["answer.held_16"].mT)
        key_map_value = -rate[..., None] * ((k - v) @ state["key_map.held_16"].mT)
        value = -rate[..., None] * ((k - v) @ state["memory.held_16"].mT)
        y, rows = self._memory_in_chunks(
            decay=retention[..., None],
            key=k,
            value=torch.cat((answer_value, key_map_value, value), -1),
            erase=rate[..., None] * k,
            query=q,
            memory=torch.cat((state["answer"], state["key_map"], state["memory"]), 1),
        )
        answer, key_map, memory = torch.split(rows, [self.d, self.d, self.d], 1)
        moved = {"key_map": key_map, "answer": answer, "memory": memory}
        held = {f"{name}.held_16": new if due else state[f"{name}.held_16"] for name, new in moved.items()}
        return y, moved | held

    def _memory_in_chunks(
        self, decay: Tensor, key: Tensor, value: Tensor, erase: Tensor, query: Tensor, memory: Tensor
    ) -> tuple[Tensor, Tensor]:
        """memory_t = decay_t memory_{t-1} + write_t key_t^T with write_t = value_t - memory_{t-1} erase_t, chunk by chunk.

        Streams are (copies, tokens, size), a scalar one with size 1.
        The last rows of memory and value are those of memory, above them are those of answer, key_map.
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
            read = (kept_before * query) @ memory[:, -self.d :].mT
            attention = before * (query @ key.mT).tril(-1)
            read = torch.baddbmm(read, attention, write[..., -self.d :])
            reads.append(read)
            memory = products[:, -1:, :1] * memory
            memory = torch.baddbmm(memory, write.mT, products[:, -1, 1:, None] * key)
        return _joined(reads), memory

    def forward_by_token(
        self, *, q: Tensor, x: Tensor, rate: Tensor, retention: Tensor, state: dict[str, Tensor] | None = None
    ) -> tuple[Tensor, dict[str, Tensor]]:
        """The laws, one token at a time: slow, and what `forward` must equal."""
        batch, _, heads = q.shape[:3]
        state = self._start(state, batch, heads, q)
        outputs = [q.new_empty(batch, 0, heads, self.d)]
        for t in range(q.shape[1]):
            y, state = self.step(q=q[:, t], x=x[:, t], rate=rate[:, t], retention=retention[:, t], state=state)
            outputs.append(y.unsqueeze(1))
        return torch.cat(outputs, 1), state

    def step(self, *, q: Tensor, x: Tensor, rate: Tensor, retention: Tensor, state: dict[str, Tensor]) -> tuple[Tensor, dict[str, Tensor]]:
        """One token, for decoding: the laws as they stand; inputs without their time dim."""
        with _full_precision(q):
            dtype = q.dtype
            q, x, rate, retention = (x.to(state["key_map"].dtype) for x in (q, x, rate, retention))
            position = state["position"] + 1
            due = position % 16 == 0
            k = torch.nn.functional.normalize((state["key_map.held_16"] @ x[..., None]).squeeze(-1), dim=-1)
            prediction = (state["answer"] @ k[..., None]).squeeze(-1)
            v = (state["answer.held_16"] @ x[..., None]).squeeze(-1)
            surprise = (state["answer.held_16"] @ (k - v)[..., None]).squeeze(-1) + prediction
            gradient = surprise[..., None] * k[..., None, :]
            answer = retention[..., None, None] * state["answer"] - rate[..., None, None] * gradient
            key_map_prediction = (state["key_map"] @ k[..., None]).squeeze(-1)
            key_map_surprise = (state["key_map.held_16"] @ (k - v)[..., None]).squeeze(-1) + key_map_prediction
            key_map_gradient = key_map_surprise[..., None] * k[..., None, :]
            key_map = retention[..., None, None] * state["key_map"] - rate[..., None, None] * key_map_gradient
            memory_prediction = (state["memory"] @ k[..., None]).squeeze(-1)
            memory_surprise = (state["memory.held_16"] @ (k - v)[..., None]).squeeze(-1) + memory_prediction
            memory_gradient = memory_surprise[..., None] * k[..., None, :]
            memory = retention[..., None, None] * state["memory"] - rate[..., None, None] * memory_gradient
            y = (state["memory"] @ q[..., None]).squeeze(-1)
            moved = {"key_map": key_map, "answer": answer, "memory": memory}
            held = {f"{name}.held_16": torch.where(due, new, state[f"{name}.held_16"]) for name, new in moved.items()}
            last = {"position": position}
            return y.to(dtype), moved | held | last

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


# sealed by nlc, sha256 of everything above: d68bf0a3643d5e658a0e8fafef7ba618dc72a6f40c4a533a51dd90552eab7753
