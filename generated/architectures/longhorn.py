"""Longhorn: The delta rule taken implicitly; each token's write is the minimiser of its error and of the way from the old memory.

Compiled by nlc from specs/architectures/longhorn.yaml. Edit the spec, not this file.
sha256 of the spec: 5818df8563466eef1e8801b2f5d85dfe6dde7e1ebe0c909cbce41366b7976bc6

Levels, fastest first (Nested Learning, Definition 2)
    rank  components  every  paper's number (slowest highest / slowest first)
    0     memory      token  1 / 1

Timetable
    every token  memory

Laws, per token; prev is the state before
    prediction     = prev(memory) @ k                         read at the key
    error          = prediction - v                           objective 0.5 * norm2(memory @ k - v)
    gradient       = outer(error, k)                          adjoint of apply; calculus
    implicit_rate  = beta / (1 + beta * norm2(k))             rate of the implicit step; sherman-morrison
    memory         = prev(memory) - implicit_rate * gradient  implicit gradient step; longhorn
    y              = memory @ q                               read after the write

Form
    memory: triangular chunks (deltanet, gated-deltanet)
        The old state is kept unchanged, and the writes read it at k alone (ScalarMinusLowRank).
        Writes read the old state through vectors alone, so those of a chunk solve one triangular system; the rest is matrix products.
"""

import copy
from typing import Any

import torch
from torch import Tensor, nn
from torch.utils.checkpoint import checkpoint

__all__ = ["Longhorn"]


class Longhorn(nn.Module):
    """The delta rule taken implicitly; each token's write is the minimiser of its error and of the way from the old memory.

    Inputs, by keyword, in any float dtype:
        q     (batch, time, heads, d_k)
        k     (batch, time, heads, d_k)
        v     (batch, time, heads, d_v)
        beta  (batch, time, heads)
    State, kept in float32 or wider (the tensor itself; None starts from zeros):
        memory  (batch, heads, d_v, d_k)
    Returns the outputs (the tensor itself) and the state after the last token:
        y  (batch, time, heads, d_v)
    `chunk`, in tokens, is about speed alone; under torch.compile every new length compiles anew.
    `nonfinite` says what to do at a token with numbers that are not finite: "raise", "skip" (its row of the batch) or "propagate".
    `checkpoint`, in tokens: the backward keeps the states between pieces of so many tokens, and computes the rest anew.
    """

    def __init__(self, d_k: int = 64, d_v: int = 64, chunk: int = 64, nonfinite: str = "propagate", checkpoint: int | None = None) -> None:
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

    def forward(self, *, q: Tensor, k: Tensor, v: Tensor, beta: Tensor, state: Tensor | None = None) -> tuple[Tensor, Tensor]:
        """The whole sequence in chunks: equal to `forward_by_token`."""
        if self.checkpoint is not None or self.nonfinite != "propagate":
            return _managed(self, {"q": q, "k": k, "v": v, "beta": beta}, state)
        batch, _, heads = q.shape[:3]
        with _full_precision(q):
            dtype = q.dtype
            memory = self._start(state, batch, heads, q)
            q, k, v, beta = (x.to(memory.dtype) for x in (q, k, v, beta))
            implicit_rate = beta / (1 + beta * k.square().sum(-1))
            y, memory = self._memory_in_chunks(rate=implicit_rate[..., None], key=k, value=v, query=q, memory=memory)
            return y.to(dtype), memory

    def _memory_in_chunks(self, rate: Tensor, key: Tensor, value: Tensor, query: Tensor, memory: Tensor) -> tuple[Tensor, Tensor]:
        """memory_t = memory_{t-1} + write_t key_t^T with write_t = rate_t (value_t - memory_{t-1} key_t), chunk by chunk.

        Streams are (batch, time, *axes, size), a scalar one with size 1.
        Inside a chunk the writes read one another:
            write_t + rate_t sum over s < t of (key_t . key_s) write_s = rate_t (value_t - memory key_t)
        """
        leading, memory = memory.shape[:-2], memory.flatten(0, -3)
        chunks = zip(*(_pieces(x, self.chunk) for x in (rate, key, value, query)), strict=True)
        reads = []
        for rate, key, value, query in chunks:
            erase = rate * key
            write = _solve(erase @ key.mT, torch.baddbmm(rate * value, erase, memory.mT, alpha=-1))
            read = query @ memory.mT
            attention = (query @ key.mT).tril()
            read = torch.baddbmm(read, attention, write)
            reads.append(read)
            memory = torch.baddbmm(memory, write.mT, key)
        return _joined(reads, leading), memory.view(*leading, *memory.shape[1:])

    def forward_by_token(self, *, q: Tensor, k: Tensor, v: Tensor, beta: Tensor, state: Tensor | None = None) -> tuple[Tensor, Tensor]:
        """The laws, one token at a time: slow, and what `forward` must equal."""
        batch, _, heads = q.shape[:3]
        state = self._start(state, batch, heads, q)
        outputs = [q.new_empty(batch, 0, heads, self.d_v)]
        for t in range(q.shape[1]):
            y, state = self.step(q=q[:, t], k=k[:, t], v=v[:, t], beta=beta[:, t], state=state)
            outputs.append(y.unsqueeze(1))
        return torch.cat(outputs, 1), state

    def step(self, *, q: Tensor, k: Tensor, v: Tensor, beta: Tensor, state: Tensor) -> tuple[Tensor, Tensor]:
        """One token, for decoding: the laws as they stand; inputs without their time dim."""
        with _full_precision(q):
            dtype = q.dtype
            q, k, v, beta = (x.to(state.dtype) for x in (q, k, v, beta))
            prediction = (state @ k[..., None]).squeeze(-1)
            error = prediction - v
            gradient = error[..., None] * k[..., None, :]
            implicit_rate = beta / (1 + beta * k.square().sum(-1))
            memory = state - implicit_rate[..., None, None] * gradient
            y = (memory @ q[..., None]).squeeze(-1)
            return y.to(dtype), memory

    def _start(self, state: Tensor | None, batch: int, heads: int, like: Tensor) -> Tensor:
        """The state to start from, never narrower than zeros would be."""
        zeros = self.initial_state(batch, heads, like=like)
        return zeros if state is None else state.to(torch.promote_types(state.dtype, zeros.dtype))


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


# sealed by nlc, sha256 of everything above: 5ed08da53dac9307cbc238fd1de0a2c85ea52deebaccf5140a06f7f5f4594507
