"""Rwkv7: A memory with a gate for each key channel that takes out, at a rate for each channel too, what it says at a key of its own.

Compiled by nlc from specs/architectures/rwkv7.yaml. Edit the spec, not this file.
sha256 of the spec: ddb6707de1515ba3ef291ffb3f504b15c584b3cd8572b436c8276a13dd596eb5

Levels, fastest first (Nested Learning, Definition 2)
    rank  components  every  paper's number (slowest highest / slowest first)
    0     memory      token  1 / 1

Timetable
    every token  memory

Laws, per token; prev is the state before
    gradient  = outer(prev(memory) @ removal, rate * removal) - outer(v, k)
                objective dot(memory @ (rate * removal), stop_gradient(prev(memory) @ removal)) - dot(memory @ k, v); calculus
    memory    = alpha * prev(memory) - gradient                              explicit gradient step; rwkv7
    y         = memory @ q                                                   read after the write

Form
    memory: triangular chunks by halves (kda, gla)
        The old state is kept times alpha, and the writes read it at removal alone (DiagonalMinusLowRank).
        The writes of a chunk solve one triangular system, whose decays between the halves of a stretch go through its middle.
"""

import copy
from typing import Any

import torch
from torch import Tensor, nn
from torch.utils.checkpoint import checkpoint

__all__ = ["Rwkv7"]


class Rwkv7(nn.Module):
    """A memory with a gate for each key channel that takes out, at a rate for each channel too, what it says at a key of its own.

    Inputs, by keyword, in any float dtype:
        q        (batch, time, heads, d_k)
        k        (batch, time, heads, d_k)
        removal  (batch, time, heads, d_k)
        v        (batch, time, heads, d_v)
        rate     (batch, time, heads, d_k)
        alpha    (batch, time, heads, d_k)
    State, kept in float32 or wider (the tensor itself; None starts from zeros):
        memory  (batch, heads, d_v, d_k)
    Returns the outputs (the tensor itself) and the state after the last token:
        y  (batch, time, heads, d_v)
    `chunk`, in tokens, is about speed alone; under torch.compile every new length compiles anew.
    `nonfinite` says what to do at a token with numbers that are not finite: "raise", "skip" (its row of the batch) or "propagate".
    `checkpoint`, in tokens: the backward keeps the states between pieces of so many tokens, and computes the rest anew.
    """

    def __init__(self, d_k: int = 64, d_v: int = 64, chunk: int = 32, nonfinite: str = "propagate", checkpoint: int | None = None) -> None:
        super().__init__()
        if chunk < 1:
            raise ValueError(f"chunk must be 1 or more, not {chunk}")
        self.chunk = chunk
        if nonfinite not in ("raise", "skip", "propagate"):
            raise ValueError(f'nonfinite must be "raise", "skip" or "propagate", not {nonfinite!r}')
        if checkpoint is not None and checkpoint < 1:
            raise ValueError(f"checkpoint must be None, or 1 token or more, not {checkpoint}")
        self.nonfinite = nonfinite
        self.checkpoint = checkpoint
        self.d_k = d_k
        self.d_v = d_v

    def initial_state(self, batch: int, heads: int, *, like: Tensor) -> Tensor:
        """Zeros on the device of `like`, in its dtype or float32, whichever is wider."""
        return like.new_zeros(batch, heads, self.d_v, self.d_k, dtype=torch.promote_types(like.dtype, torch.float32))

    def forward(
        self, *, q: Tensor, k: Tensor, removal: Tensor, v: Tensor, rate: Tensor, alpha: Tensor, state: Tensor | None = None
    ) -> tuple[Tensor, Tensor]:
        """The whole sequence in chunks: equal to `forward_by_token`."""
        if self.checkpoint is not None or self.nonfinite != "propagate":
            return _managed(self, {"q": q, "k": k, "removal": removal, "v": v, "rate": rate, "alpha": alpha}, state)
        batch, _, heads = q.shape[:3]
        with _full_precision(q):
            dtype = q.dtype
            memory = self._start(state, batch, heads, q)
            q, k, removal, v, rate, alpha = (x.to(memory.dtype) for x in (q, k, removal, v, rate, alpha))
            y, memory = self._memory_in_chunks(
                decay=alpha,
                key_1=rate * removal,
                value_1=q.new_full((self.d_v,), 0).expand(batch, q.shape[1], heads, -1),
                erase_1=removal,
                key_2=k,
                value_2=v,
                query=q,
                memory=memory,
            )
            return y.to(dtype), memory

    def _memory_in_chunks(
        self, decay: Tensor, key_1: Tensor, value_1: Tensor, erase_1: Tensor, key_2: Tensor, value_2: Tensor, query: Tensor, memory: Tensor
    ) -> tuple[Tensor, Tensor]:
        """memory_t = decay_t memory_{t-1} + write_1_t key_1_t^T + write_2_t key_2_t^T, chunk by chunk.

        Streams are (batch, time, *axes, size), a scalar one with size 1.
        Each write_t = value_t - memory_{t-1} erase_t; the writes read those of earlier tokens:
            write_t + sum over s < t of decays (erase_t . key_s) write_s = value_t - decays memory erase_t
        """
        leading, memory = memory.shape[:-2], memory.flatten(0, -3)
        time = decay.shape[1]
        decay = _stretches(decay, self.chunk, 1.0)
        streams = key_1, value_1, erase_1, key_2, value_2, query
        key_1, value_1, erase_1, key_2, value_2, query = (_stretches(x, self.chunk, 0.0) for x in streams)
        overlap, erase_1_from_start, key_1_to_end, kept = _overlaps(erase_1, key_1, decay)
        attention_1, query_from_start, _, _ = _overlaps(decay * query, key_1, decay)
        attention_1 = attention_1 + torch.diag_embed((query * key_1).sum(-1))  # what a token writes, it reads whole
        found, _, key_2_to_end, _ = _overlaps(erase_1, key_2, decay)
        value_1 = value_1 - found @ value_2  # what is known of what is erased
        attention_2, *_ = _overlaps(decay * query, key_2, decay)
        attention_2 = attention_2 + torch.diag_embed((query * key_2).sum(-1))  # what a token writes, it reads whole
        known = attention_2 @ value_2
        added = value_2.mT @ key_2_to_end
        made = overlap, erase_1_from_start, key_1_to_end, kept, attention_1, query_from_start, value_1, known, added
        chunks = zip(*(x.unbind(1) for x in made), strict=True)
        reads = []
        for overlap, erase_1_from_start, key_1_to_end, kept, attention_1, query_from_start, value_1, known, added in chunks:
            write = _solve(overlap, torch.baddbmm(value_1, erase_1_from_start, memory.mT, alpha=-1))
            read = torch.baddbmm(known, query_from_start, memory.mT)
            read = torch.baddbmm(read, attention_1, write)
            reads.append(read)
            memory = torch.addcmul(added, kept, memory)
            memory = torch.baddbmm(memory, write.mT, key_1_to_end)
        return _joined(reads, leading)[:, :time], memory.view(*leading, *memory.shape[1:])

    def forward_by_token(
        self, *, q: Tensor, k: Tensor, removal: Tensor, v: Tensor, rate: Tensor, alpha: Tensor, state: Tensor | None = None
    ) -> tuple[Tensor, Tensor]:
        """The laws, one token at a time: slow, and what `forward` must equal."""
        batch, _, heads = q.shape[:3]
        state = self._start(state, batch, heads, q)
        outputs = [q.new_empty(batch, 0, heads, self.d_v)]
        for t in range(q.shape[1]):
            y, state = self.step(q=q[:, t], k=k[:, t], removal=removal[:, t], v=v[:, t], rate=rate[:, t], alpha=alpha[:, t], state=state)
            outputs.append(y.unsqueeze(1))
        return torch.cat(outputs, 1), state

    def step(
        self, *, q: Tensor, k: Tensor, removal: Tensor, v: Tensor, rate: Tensor, alpha: Tensor, state: Tensor
    ) -> tuple[Tensor, Tensor]:
        """One token, for decoding: the laws as they stand; inputs without their time dim."""
        with _full_precision(q):
            dtype = q.dtype
            q, k, removal, v, rate, alpha = (x.to(state.dtype) for x in (q, k, removal, v, rate, alpha))
            gradient = (state @ removal[..., None]).squeeze(-1)[..., None] * (rate * removal)[..., None, :] - v[..., None] * k[..., None, :]
            memory = alpha[..., None, :] * state - gradient
            y = (memory @ q[..., None]).squeeze(-1)
            return y.to(dtype), memory

    def _start(self, state: Tensor | None, batch: int, heads: int, like: Tensor) -> Tensor:
        """The state to start from, never narrower than zeros would be."""
        zeros = self.initial_state(batch, heads, like=like)
        return zeros if state is None else state.to(torch.promote_types(state.dtype, zeros.dtype))


def _full_precision(x: Tensor) -> torch.autocast:
    """No autocast inside: the state keeps its precision."""
    return torch.autocast("cpu" if x.is_meta else x.device.type, enabled=False)


def _joined(pieces: list[Tensor], leading: torch.Size) -> Tensor:
    """Chunks of (batch * axes, tokens, size) -> (batch, time, *axes, size)."""
    whole = torch.cat(pieces, 1)
    return whole.view(*leading, *whole.shape[1:]).movedim(-2, 1)


def _solve(below_diagonal: Tensor, right: Tensor) -> Tensor:
    """x with x_t = right_t - sum of below_diagonal[t, s] x_s over s < t; nothing else of the matrix is read."""
    solution: Tensor = torch.linalg.solve_triangular(below_diagonal, right, upper=False, unitriangular=True)
    return solution


def _stretches(x: Tensor, chunk: int, filling: float) -> Tensor:
    """(batch, time, *axes, size) -> (batch * axes, chunks, tokens, size): tokens a power of two, the last chunk filled up."""
    tokens = _power_of_two(min(chunk, x.shape[1]))
    x = x.movedim(1, -2).flatten(0, -3)
    missing = max(tokens, -(-x.shape[1] // tokens) * tokens) - x.shape[1]
    return torch.unflatten(nn.functional.pad(x, (0, 0, 0, missing), value=filling) if missing else x, 1, (-1, tokens))


def _power_of_two(tokens: int) -> int:
    """The first one that is not below `tokens`."""
    return 1 if tokens <= 1 else 2 * _power_of_two((tokens + 1) // 2)


def _overlaps(query: Tensor, key: Tensor, decay: Tensor) -> tuple[Tensor, Tensor, Tensor, Tensor]:
    """How queries see keys through the decays between them, channel by channel: all (..., tokens, size), tokens a power of two.

    Gives the matrix query_t decay_{t-1} ... decay_{s+1} key_s for s < t, else 0; the queries as they see the start of the stretch,
    query_t decay_{t-1} ... decay_1; the keys as they are seen from its end; all decays, multiplied. Two halves see each other through
    the border between them, in one product of matrices. Decays are only ever multiplied: 0 is exact, in values and gradients.
    """
    overlap = torch.zeros_like(query[..., :1]).unsqueeze(-2)
    query, key, decay = (x.unsqueeze(-2) for x in (query, key, decay))  # stretches of one token, joined by twos to one of all
    for _ in range((query.shape[-3] - 1).bit_length()):
        halves = (torch.unflatten(x, -3, (-1, 2)).unbind(-3) for x in (overlap, query, key, decay))
        (above, below), (first, late), (early, last), (left, right) = halves
        rows = nn.functional.pad(above, (0, above.shape[-1])), torch.cat((late @ early.mT, below), -1)
        overlap = torch.cat(rows, -2)
        query, key, decay = torch.cat((first, left * late), -2), torch.cat((right * early, last), -2), left * right
    return overlap.squeeze(-3), query.squeeze(-3), key.squeeze(-3), decay.squeeze(-3)


def _managed(module: Any, streams: dict[str, Tensor], state: Tensor | None) -> tuple[Tensor, Tensor]:
    """`forward` in pieces that the backward computes anew, and watched for what is not finite, as the module was made."""
    plain = copy.copy(module)
    plain.nonfinite, plain.checkpoint = "propagate", None
    outputs, last = _in_pieces(plain, streams, state, module.checkpoint) if module.checkpoint else plain.forward(**streams, state=state)
    if module.nonfinite == "propagate" or all(bool(x.isfinite().all()) for x in (*streams.values(), outputs, last)):
        return outputs, last
    return _watched(plain, streams, state, module.nonfinite)


def _in_pieces(module: Any, streams: dict[str, Tensor], state: Tensor | None, tokens: int) -> tuple[Tensor, Tensor]:
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


def _watched(module: Any, streams: dict[str, Tensor], state: Tensor | None, policy: str) -> tuple[Tensor, Tensor]:
    """Token by token: one by which something is not finite stops the sequence, or is passed over in its rows of the batch."""
    pieces, (_, last) = [], module.forward(**{name: x[:, :0] for name, x in streams.items()}, state=state)
    for t in range(streams["q"].shape[1]):
        token = {name: x[:, t : t + 1] for name, x in streams.items()}
        with torch.no_grad():
            outputs, after = module.forward(**token, state=last)
        seen = {**token, "y": outputs, "memory": after}
        rows = {name: ~x.reshape(len(x), -1).isfinite().all(1) for name, x in seen.items() if x.dim()}
        lost = torch.stack(list(rows.values())).any(0)
        if policy == "raise" and bool(lost.any()):
            names = ", ".join(name for name, row in rows.items() if bool(row.any()))
            raise FloatingPointError(f"not finite at token {t}, row {int(lost.nonzero()[0])} of the batch: {names}")
        outputs, after = module.forward(**{name: _chosen(lost, x) for name, x in token.items()}, state=last)
        pieces.append(_chosen(lost, outputs))
        last = _chosen(lost, after, last)
    return torch.cat(pieces, 1), last


def _chosen(lost: Tensor, x: Tensor, instead: Tensor | float = 0.0) -> Tensor:
    """x, (batch, ...), but for the rows that are lost."""
    return torch.where(lost.reshape(-1, *[1] * (x.dim() - 1)), instead, x)


# sealed by nlc, sha256 of everything above: 473b627606952101e6ae33eb03fef447a67590fbc6266ecbad7c256c0c7c6bc3
