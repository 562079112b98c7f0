"""Swla: Linear attention whose memory is written its last few tokens anew at every token, each with a weight of its own, and forgets.

Compiled by nlc from specs/architectures/swla.yaml. Edit the spec, not this file.
sha256 of the spec: a5e4022583c1108b75fa7594318a9dd3d3d6a06b26321e4c7879a72a72c682e6

Levels, fastest first (Nested Learning, Definition 2)
    rank  components  every  paper's number (slowest highest / slowest first)
    0     memory      token  1 / 1

Timetable
    every token  memory

Laws, per token; prev is the state before
    memory        = alpha * prev(memory) + gamma * outer(v, k) + delay(gamma, 1 token) * outer(delay(v, 1 token), delay(k, 1 token)) +
                    delay(gamma, 2 tokens) * outer(delay(v, 2 tokens), delay(k, 2 tokens)) + delay(gamma, 3 tokens) * outer(delay(v, 3
                    tokens), delay(k, 3 tokens))
                    explicit gradient step on -sum(gamma * dot(memory @ k, v), over = window); atlas
    y             = memory @ q               read after the write
    recent.gamma  = recent(gamma) and gamma  kept: the last values of gamma, for windows
    recent.k      = recent(k) and k          kept: the last values of k, for windows
    recent.v      = recent(v) and v          kept: the last values of v, for windows

Form
    memory: chunked prefix sum (linear-attention, gla, mamba2)
        The old state is kept times alpha, and no write reads it (Scalar).
        All writes are known before the state is, so a chunk is a decayed sum of them: matrix products.
"""

import copy
from typing import Any

import torch
from torch import Tensor, nn
from torch.utils.checkpoint import checkpoint

__all__ = ["Swla"]


class Swla(nn.Module):
    """Linear attention whose memory is written its last few tokens anew at every token, each with a weight of its own, and forgets.

    Inputs, by keyword, in any float dtype:
        q      (batch, time, heads, d_k)
        k      (batch, time, heads, d_k)
        v      (batch, time, heads, d_v)
        alpha  (batch, time, heads)
        gamma  (batch, time, heads)
    State, kept in float32 or wider (a dict by name; None starts from zeros):
        memory  (batch, heads, d_v, d_k)
        recent.gamma  (batch, heads, 3)
        recent.k  (batch, heads, 3, d_k)
        recent.v  (batch, heads, 3, d_v)
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

    def initial_state(self, batch: int, heads: int, *, like: Tensor) -> dict[str, Tensor]:
        """Zeros on the device of `like`, in its dtype or float32, whichever is wider."""
        dtype = torch.promote_types(like.dtype, torch.float32)
        return {
            "memory": like.new_zeros(batch, heads, self.d_v, self.d_k, dtype=dtype),
            "recent.gamma": like.new_zeros(batch, heads, 3, dtype=dtype),
            "recent.k": like.new_zeros(batch, heads, 3, self.d_k, dtype=dtype),
            "recent.v": like.new_zeros(batch, heads, 3, self.d_v, dtype=dtype),
        }

    def forward(
        self, *, q: Tensor, k: Tensor, v: Tensor, alpha: Tensor, gamma: Tensor, state: dict[str, Tensor] | None = None
    ) -> tuple[Tensor, dict[str, Tensor]]:
        """The whole sequence in chunks: equal to `forward_by_token`."""
        if self.checkpoint is not None or self.nonfinite != "propagate":
            return _managed(self, {"q": q, "k": k, "v": v, "alpha": alpha, "gamma": gamma}, state)
        batch, _, heads = q.shape[:3]
        with _full_precision(q):
            dtype = q.dtype
            start = self._start(state, batch, heads, q)
            q, k, v, alpha, gamma = (x.to(start["memory"].dtype) for x in (q, k, v, alpha, gamma))
            recent_gamma = torch.cat((start["recent.gamma"].movedim(2, 1), gamma), 1)
            recent_k = torch.cat((start["recent.k"].movedim(2, 1), k), 1)
            recent_v = torch.cat((start["recent.v"].movedim(2, 1), v), 1)
            y, memory = self._memory_in_chunks(
                decay=alpha[..., None],
                key_1=k,
                value_1=gamma[..., None] * v,
                key_2=recent_k[:, 2:-1],
                value_2=recent_gamma[:, 2:-1][..., None] * recent_v[:, 2:-1],
                key_3=recent_k[:, 1:-2],
                value_3=recent_gamma[:, 1:-2][..., None] * recent_v[:, 1:-2],
                key_4=recent_k[:, :-3],
                value_4=recent_gamma[:, :-3][..., None] * recent_v[:, :-3],
                query=q,
                memory=start["memory"],
            )
            state = {
                "memory": memory,
                "recent.gamma": recent_gamma[:, q.shape[1] :].movedim(1, 2),
                "recent.k": recent_k[:, q.shape[1] :].movedim(1, 2),
                "recent.v": recent_v[:, q.shape[1] :].movedim(1, 2),
            }
            return y.to(dtype), state

    def _memory_in_chunks(
        self,
        decay: Tensor,
        key_1: Tensor,
        value_1: Tensor,
        key_2: Tensor,
        value_2: Tensor,
        key_3: Tensor,
        value_3: Tensor,
        key_4: Tensor,
        value_4: Tensor,
        query: Tensor,
        memory: Tensor,
    ) -> tuple[Tensor, Tensor]:
        """Several writes a token, chunk by chunk.

            memory_t = decay_t memory_{t-1} + value_1_t key_1_t^T + value_2_t key_2_t^T + value_3_t key_3_t^T + value_4_t key_4_t^T

        Streams are (batch, time, *axes, size), a scalar one with size 1.
        """
        leading, memory = memory.shape[:-2], memory.flatten(0, -3)
        streams = decay, key_1, value_1, key_2, value_2, key_3, value_3, key_4, value_4, query
        chunks = zip(*(_pieces(x, self.chunk) for x in streams), strict=True)
        reads = []
        for decay, key_1, value_1, key_2, value_2, key_3, value_3, key_4, value_4, query in chunks:
            products = _decay_products(decay)
            kept_after, after = products[:, 1:, :1], products[:, 1:, 1:]
            read = (kept_after * query) @ memory.mT
            attention = after * (query @ key_1.mT).tril()
            read = torch.baddbmm(read, attention, value_1)
            attention = after * (query @ key_2.mT).tril()
            read = torch.baddbmm(read, attention, value_2)
            attention = after * (query @ key_3.mT).tril()
            read = torch.baddbmm(read, attention, value_3)
            attention = after * (query @ key_4.mT).tril()
            read = torch.baddbmm(read, attention, value_4)
            reads.append(read)
            memory = products[:, -1:, :1] * memory
            memory = torch.baddbmm(memory, value_1.mT, products[:, -1, 1:, None] * key_1)
            memory = torch.baddbmm(memory, value_2.mT, products[:, -1, 1:, None] * key_2)
            memory = torch.baddbmm(memory, value_3.mT, products[:, -1, 1:, None] * key_3)
            memory = torch.baddbmm(memory, value_4.mT, products[:, -1, 1:, None] * key_4)
        return _joined(reads, leading), memory.view(*leading, *memory.shape[1:])

    def forward_by_token(
        self, *, q: Tensor, k: Tensor, v: Tensor, alpha: Tensor, gamma: Tensor, state: dict[str, Tensor] | None = None
    ) -> tuple[Tensor, dict[str, Tensor]]:
        """The laws, one token at a time: slow, and what `forward` must equal."""
        batch, _, heads = q.shape[:3]
        state = self._start(state, batch, heads, q)
        outputs = [q.new_empty(batch, 0, heads, self.d_v)]
        for t in range(q.shape[1]):
            y, state = self.step(q=q[:, t], k=k[:, t], v=v[:, t], alpha=alpha[:, t], gamma=gamma[:, t], state=state)
            outputs.append(y.unsqueeze(1))
        return torch.cat(outputs, 1), state

    def step(
        self, *, q: Tensor, k: Tensor, v: Tensor, alpha: Tensor, gamma: Tensor, state: dict[str, Tensor]
    ) -> tuple[Tensor, dict[str, Tensor]]:
        """One token, for decoding: the laws as they stand; inputs without their time dim."""
        _check_windows(state)
        with _full_precision(q):
            dtype = q.dtype
            q, k, v, alpha, gamma = (x.to(state["memory"].dtype) for x in (q, k, v, alpha, gamma))
            recent_gamma = torch.cat((state["recent.gamma"], gamma.unsqueeze(-1)), -1)
            recent_k = torch.cat((state["recent.k"], k.unsqueeze(-2)), -2)
            recent_v = torch.cat((state["recent.v"], v.unsqueeze(-2)), -2)
            memory = (
                alpha[..., None, None] * state["memory"]
                + gamma[..., None, None] * (v[..., None] * k[..., None, :])
                + recent_gamma[..., -2][..., None, None] * (recent_v[..., -2, :][..., None] * recent_k[..., -2, :][..., None, :])
                + recent_gamma[..., -3][..., None, None] * (recent_v[..., -3, :][..., None] * recent_k[..., -3, :][..., None, :])
                + recent_gamma[..., -4][..., None, None] * (recent_v[..., -4, :][..., None] * recent_k[..., -4, :][..., None, :])
            )
            y = (memory @ q[..., None]).squeeze(-1)
            state = {
                "memory": memory,
                "recent.gamma": recent_gamma[..., 1:],
                "recent.k": recent_k[..., 1:, :],
                "recent.v": recent_v[..., 1:, :],
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


def _check_windows(state: dict[str, Tensor]) -> None:
    """Raises ValueError where the state does not carry the tokens that the windows of this module look back to."""
    for level, name, dim, tokens in (("memory", "recent.gamma", 2, 3), ("memory", "recent.k", 2, 3), ("memory", "recent.v", 2, 3)):
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


# sealed by nlc, sha256 of everything above: 3aa41f5e4358bf634d999780ecdffd421f27333603088ba9479d49d9bc5963e5
