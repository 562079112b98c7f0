"""Mesa, compiled from its description.

Two linear memories add up what a ridge regression needs of all keys and values so far, each forgotten by gates; every query is answered by
the regression's own solution, found anew at every token.

Compiled by nlc from specs/architectures/mesa.yaml. Edit the spec, not this file.
sha256 of the spec: 8a66dde0d1b66c11e3b267881f0b370062b4560596561005c3e106a9813e23be

Levels, fastest first (Nested Learning, Definition 2)
    rank  components          every  paper's number (slowest highest / slowest first)
    0     associations, gram  token  1 / 1

Timetable
    every token  associations, gram

Laws, per token; prev is the state before
    associations  = alpha * prev(associations) + beta * outer(v, k)  explicit gradient step on -beta * dot(associations @ k, v); mesanet
    gram          = alpha * prev(gram) + beta * outer(k, k)          explicit gradient step on -beta * dot(gram @ k, k); mesanet
    solution      = solve(gram + ridge * eye, q)                     abbreviation
    y             = associations @ solution                          read after the write

Forms
    gram, associations: chunked prefix sum (linear-attention, gla, mamba2)
        The old state is kept times alpha, and no write reads it (Scalar).
        All writes are known before the state is, so a chunk is a decayed sum of them: matrix products.
"""

import copy
from typing import Any

import torch
from torch import Tensor, nn
from torch.utils.checkpoint import checkpoint

__all__ = ["Mesa"]


class Mesa(nn.Module):
    """Mesa, a memory over a sequence.

    Two linear memories add up what a ridge regression needs of all keys and values so far, each forgotten by gates; every query is
    answered by the regression's own solution, found anew at every token.

    Inputs, by keyword, in any float dtype:
        q      (batch, time, heads, d_k)
        k      (batch, time, heads, d_k)
        v      (batch, time, heads, d_v)
        alpha  (batch, time, heads)
        beta   (batch, time, heads)
    State, kept in float32 or wider (a dict by name; None starts from zeros):
        gram  (batch, heads, d_k, d_k)
        associations  (batch, heads, d_v, d_k)
    Returns the outputs (the tensor itself) and the state after the last token:
        y  (batch, time, heads, d_v)
    `chunk`, in tokens, is about speed alone; under torch.compile every new length compiles anew.
    `nonfinite` says what to do at a token with numbers that are not finite: "raise", "skip" (its row of the batch) or "propagate".
    `checkpoint`, in tokens: the backward keeps the states between pieces of so many tokens, and computes the rest anew.
    """

    def __init__(
        self, d_k: int = 64, d_v: int = 64, ridge: float = 1.0, chunk: int = 64, nonfinite: str = "propagate", checkpoint: int | None = None
    ) -> None:
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
        self.ridge = ridge

    def initial_state(self, batch: int, heads: int, *, like: Tensor) -> dict[str, Tensor]:
        """Zeros on the device of `like`, in its dtype or float32, whichever is wider."""
        dtype = torch.promote_types(like.dtype, torch.float32)
        return {
            "gram": like.new_zeros(batch, heads, self.d_k, self.d_k, dtype=dtype),
            "associations": like.new_zeros(batch, heads, self.d_v, self.d_k, dtype=dtype),
        }

    def forward(
        self, *, q: Tensor, k: Tensor, v: Tensor, alpha: Tensor, beta: Tensor, state: dict[str, Tensor] | None = None
    ) -> tuple[Tensor, dict[str, Tensor]]:
        """The whole sequence in chunks: equal to `forward_by_token`."""
        if self.checkpoint is not None or self.nonfinite != "propagate":
            return _managed(self, {"q": q, "k": k, "v": v, "alpha": alpha, "beta": beta}, state)
        batch, _, heads = q.shape[:3]
        with _full_precision(q):
            dtype = q.dtype
            start = self._start(state, batch, heads, q)
            q, k, v, alpha, beta = (x.to(start["gram"].dtype) for x in (q, k, v, alpha, beta))
            gram_read, gram = self._gram_in_chunks(decay=alpha[..., None], key=k, value=beta[..., None] * k, memory=start["gram"])
            query = _solution(gram_read + self.ridge * torch.eye(self.d_k, dtype=q.dtype, device=q.device), q[..., None]).squeeze(-1)
            y, associations = self._associations_in_chunks(
                decay=alpha[..., None], key=k, value=beta[..., None] * v, query=query, memory=start["associations"]
            )
            return y.to(dtype), {"gram": gram, "associations": associations}

    def _gram_in_chunks(self, decay: Tensor, key: Tensor, value: Tensor, memory: Tensor) -> tuple[Tensor, Tensor]:
        """memory_t = decay_t memory_{t-1} + value_t key_t^T, chunk by chunk.

        Streams are (batch, time, *axes, size), a scalar one with size 1.
        """
        leading, memory = memory.shape[:-2], memory.flatten(0, -3)
        chunks = zip(*(_pieces(x, self.chunk) for x in (decay, key, value)), strict=True)
        reads = []
        for decay, key, value in chunks:
            products = _decay_products(decay)
            kept_after, after = products[:, 1:, :1], products[:, 1:, 1:]
            read = kept_after * memory.flatten(1).unsqueeze(1)
            written = (value[..., None] * key[..., None, :]).flatten(2)
            read = torch.baddbmm(read, after.tril(0), written)
            reads.append(read)
            memory = products[:, -1:, :1] * memory
            memory = torch.baddbmm(memory, value.mT, products[:, -1, 1:, None] * key)
        return torch.unflatten(_joined(reads, leading), -1, memory.shape[1:]), memory.view(*leading, *memory.shape[1:])

    def _associations_in_chunks(self, decay: Tensor, key: Tensor, value: Tensor, query: Tensor, memory: Tensor) -> tuple[Tensor, Tensor]:
        """memory_t = decay_t memory_{t-1} + value_t key_t^T, chunk by chunk.

        Streams are (batch, time, *axes, size), a scalar one with size 1.
        """
        leading, memory = memory.shape[:-2], memory.flatten(0, -3)
        chunks = zip(*(_pieces(x, self.chunk) for x in (decay, key, value, query)), strict=True)
        reads = []
        for decay, key, value, query in chunks:
            products = _decay_products(decay)
            kept_after, after = products[:, 1:, :1], products[:, 1:, 1:]
            read = (kept_after * query) @ memory.mT
            attention = after * (query @ key.mT).tril()
            read = torch.baddbmm(read, attention, value)
            reads.append(read)
            memory = products[:, -1:, :1] * memory
            memory = torch.baddbmm(memory, value.mT, products[:, -1, 1:, None] * key)
        return _joined(reads, leading), memory.view(*leading, *memory.shape[1:])

    def forward_by_token(
        self, *, q: Tensor, k: Tensor, v: Tensor, alpha: Tensor, beta: Tensor, state: dict[str, Tensor] | None = None
    ) -> tuple[Tensor, dict[str, Tensor]]:
        """The laws, one token at a time: slow, and what `forward` must equal."""
        batch, _, heads = q.shape[:3]
        state = self._start(state, batch, heads, q)
        outputs = [q.new_empty(batch, 0, heads, self.d_v)]
        for t in range(q.shape[1]):
            y, state = self.step(q=q[:, t], k=k[:, t], v=v[:, t], alpha=alpha[:, t], beta=beta[:, t], state=state)
            outputs.append(y.unsqueeze(1))
        return torch.cat(outputs, 1), state

    def step(
        self, *, q: Tensor, k: Tensor, v: Tensor, alpha: Tensor, beta: Tensor, state: dict[str, Tensor]
    ) -> tuple[Tensor, dict[str, Tensor]]:
        """One token, for decoding: the laws as they stand; inputs without their time dim."""
        with _full_precision(q):
            dtype = q.dtype
            q, k, v, alpha, beta = (x.to(state["gram"].dtype) for x in (q, k, v, alpha, beta))
            associations = alpha[..., None, None] * state["associations"] + beta[..., None, None] * (v[..., None] * k[..., None, :])
            gram = alpha[..., None, None] * state["gram"] + beta[..., None, None] * (k[..., None] * k[..., None, :])
            y_hidden = _solution(gram + self.ridge * torch.eye(self.d_k, dtype=q.dtype, device=q.device), q[..., None]).squeeze(-1)
            y = (associations @ y_hidden[..., None]).squeeze(-1)
            return y.to(dtype), {"gram": gram, "associations": associations}

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
    """(batch, time, *axes, size) -> chunks of (batch * axes, tokens, size), the last one short: nothing is padded."""
    return torch.split(x.movedim(1, -2).flatten(0, -3), chunk, 1)


def _joined(pieces: list[Tensor], leading: torch.Size) -> Tensor:
    """Chunks of (batch * axes, tokens, size) -> (batch, time, *axes, size)."""
    whole = torch.cat(pieces, 1)
    return whole.view(*leading, *whole.shape[1:]).movedim(-2, 1)


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
    """Token by token: one by which something is not finite stops the sequence, or is passed over in its rows of the batch."""
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
        outputs, after = module.forward(**{name: _chosen(lost, x) for name, x in token.items()}, state=last)
        pieces.append(_chosen(lost, outputs))
        last = {name: _chosen(lost, x, last[name]) for name, x in after.items()}
    return torch.cat(pieces, 1), last


def _chosen(lost: Tensor, x: Tensor, instead: Tensor | float = 0.0) -> Tensor:
    """x, (batch, ...), but for the rows that are lost."""
    return torch.where(lost.reshape(-1, *[1] * (x.dim() - 1)), instead, x)


def _solution(matrix: Tensor, right: Tensor) -> Tensor:
    """x with matrix @ x = right, (..., n, columns), in float32 or wider: torch solves in nothing narrower."""
    wide = torch.promote_types(matrix.dtype, torch.float32)
    solution: Tensor = torch.linalg.solve(matrix.to(wide), right.to(wide))
    return solution.to(matrix.dtype)


# sealed by nlc, sha256 of everything above: 6dbb9dee7107a0cbb29987f792929d1a55d97c5c92e2a60c20c2fe29bf40fb0a
