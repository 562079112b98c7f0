"""Omega: A matrix memory that fits its last few tokens together at every token, not the newest alone, and forgets.

Compiled by nlc from specs/architectures/omega.yaml. Edit the spec, not this file.
sha256 of the spec: 0569857dfca8515811b84c9beb50b09bd175febf01c96645d3ca4a8fec9c31e8

Levels, fastest first (Nested Learning, Definition 2)
    rank  components  every  paper's number (slowest highest / slowest first)
    0     memory      token  1 / 1

Timetable
    every token  memory

Laws, per token; prev is the state before
    prediction    = prev(memory) @ k                   read at the key
    error         = prediction - v                     objective 0.5 * sum(gamma * norm2(memory @ k - v), over = window)
    prediction_1  = prev(memory) @ delay(k, 1 token)   read at the key 1 token ago
    error_1       = prediction_1 - delay(v, 1 token)   objective 0.5 * sum(gamma * norm2(memory @ k - v), over = window)
    prediction_2  = prev(memory) @ delay(k, 2 tokens)  read at the key 2 tokens ago
    error_2       = prediction_2 - delay(v, 2 tokens)  objective 0.5 * sum(gamma * norm2(memory @ k - v), over = window)
    prediction_3  = prev(memory) @ delay(k, 3 tokens)  read at the key 3 tokens ago
    error_3       = prediction_3 - delay(v, 3 tokens)  objective 0.5 * sum(gamma * norm2(memory @ k - v), over = window)
    gradient      = gamma * outer(error, k) + delay(gamma, 1 token) * outer(error_1, delay(k, 1 token)) + delay(gamma, 2 tokens) *
                    outer(error_2, delay(k, 2 tokens)) + delay(gamma, 3 tokens) * outer(error_3, delay(k, 3 tokens))
                    adjoint of apply; calculus
    memory        = alpha * prev(memory) - gradient    explicit gradient step; atlas; nl:eq-68
    y             = memory @ q                         read after the write
    recent.gamma  = recent(gamma) and gamma            kept: the last values of gamma, for windows
    recent.k      = recent(k) and k                    kept: the last values of k, for windows
    recent.v      = recent(v) and v                    kept: the last values of v, for windows

Form
    memory: stacked triangular chunks (titans, deltanet)
        The old state is kept times alpha, and the writes read it at k, delay(k, 1 token), delay(k, 2 tokens), delay(k, 3 tokens) alone
        (ScalarMinusLowRank).
        The writes of a chunk solve one triangular system, in which the states at its start are stacked; the rest is matrix products.
"""

import copy
from typing import Any

import torch
from torch import Tensor, nn
from torch.utils.checkpoint import checkpoint

__all__ = ["Omega"]


class Omega(nn.Module):
    """A matrix memory that fits its last few tokens together at every token, not the newest alone, and forgets.

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

    def __init__(self, d_k: int = 64, d_v: int = 64, chunk: int = 16, nonfinite: str = "propagate", checkpoint: int | None = None) -> None:
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
            keys = k, recent_k[:, 2:-1], recent_k[:, 1:-2], recent_k[:, :-3]
            values = (
                gamma[..., None] * v,
                recent_gamma[:, 2:-1][..., None] * recent_v[:, 2:-1],
                recent_gamma[:, 1:-2][..., None] * recent_v[:, 1:-2],
                recent_gamma[:, :-3][..., None] * recent_v[:, :-3],
            )
            erases = (
                gamma[..., None] * k,
                recent_gamma[:, 2:-1][..., None] * recent_k[:, 2:-1],
                recent_gamma[:, 1:-2][..., None] * recent_k[:, 1:-2],
                recent_gamma[:, :-3][..., None] * recent_k[:, :-3],
            )
            y, memory = self._memory_in_chunks(
                alpha=alpha[..., None], query=q, keys=keys, values=values, erases=erases, memory=start["memory"]
            )
            state = {
                "memory": memory,
                "recent.gamma": recent_gamma[:, q.shape[1] :].movedim(1, 2),
                "recent.k": recent_k[:, q.shape[1] :].movedim(1, 2),
                "recent.v": recent_v[:, q.shape[1] :].movedim(1, 2),
            }
            return y.to(dtype), state

    def _memory_in_chunks(
        self, alpha: Tensor, query: Tensor, keys: tuple[Tensor, ...], values: tuple[Tensor, ...], erases: tuple[Tensor, ...], memory: Tensor
    ) -> tuple[Tensor, Tensor]:
        """Several writes a token, chunk by chunk.

            memory_t = alpha_t memory_{t-1} + write_1_t key_1_t^T + write_2_t key_2_t^T + write_3_t key_3_t^T + write_4_t key_4_t^T
            write_1_t = value_1_t - memory_{t-1} erase_1_t
            write_2_t = value_2_t - memory_{t-1} erase_2_t
            write_3_t = value_3_t - memory_{t-1} erase_3_t
            write_4_t = value_4_t - memory_{t-1} erase_4_t

        Streams are (batch, time, *axes, size), a scalar one with size 1. What each state is after a token is a sum of the states
        at the start of the chunk and of the writes since then, each times its share.
        """
        leading = memory.shape[:-2]
        states = memory.flatten(0, -3).mT
        one = torch.ones_like(keys[0][..., :1])
        moves = torch.cat((alpha, one, one, one, one), -1)
        key, value, erase = (torch.stack(x, 2).flatten(1, 2) for x in (keys, values, erases))
        chunks = zip(
            _shares(moves, 1, [0], self.chunk),
            *(_pieces(x, 4 * self.chunk) for x in (key, value, erase)),
            _pieces(query, self.chunk),
            strict=True,
        )
        reads = []
        for (shares, last), key, value, erase, query in chunks:
            before = shares[:, :-1, 0].repeat_interleave(4, 1)
            overlap = before[..., 1:] * (erase @ key.mT)
            value = torch.baddbmm(value, before[..., :1] * erase, states, alpha=-1)
            write = _solve(overlap, value)
            scores = query @ key.mT
            after = shares[:, 1:, 0]
            read = (after[..., :1] * query) @ states
            read = torch.baddbmm(read, after[..., 1:] * _causal(scores, 4), write)
            reads.append(read)
            states = torch.baddbmm(last[..., :1] * states, (last[..., 1:].mT * key).mT, write)
        memory = torch.unflatten(states.mT, 0, leading)
        return _joined(reads, leading), memory

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
            prediction = (state["memory"] @ k[..., None]).squeeze(-1)
            error = prediction - v
            prediction_1 = (state["memory"] @ recent_k[..., -2, :][..., None]).squeeze(-1)
            error_1 = prediction_1 - recent_v[..., -2, :]
            prediction_2 = (state["memory"] @ recent_k[..., -3, :][..., None]).squeeze(-1)
            error_2 = prediction_2 - recent_v[..., -3, :]
            prediction_3 = (state["memory"] @ recent_k[..., -4, :][..., None]).squeeze(-1)
            error_3 = prediction_3 - recent_v[..., -4, :]
            gradient = (
                gamma[..., None, None] * (error[..., None] * k[..., None, :])
                + recent_gamma[..., -2][..., None, None] * (error_1[..., None] * recent_k[..., -2, :][..., None, :])
                + recent_gamma[..., -3][..., None, None] * (error_2[..., None] * recent_k[..., -3, :][..., None, :])
                + recent_gamma[..., -4][..., None, None] * (error_3[..., None] * recent_k[..., -4, :][..., None, :])
            )
            memory = alpha[..., None, None] * state["memory"] - gradient
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


def _solve(below_diagonal: Tensor, right: Tensor) -> Tensor:
    """x with x_t = right_t - sum of below_diagonal[t, s] x_s over s < t; nothing else of the matrix is read."""
    solution: Tensor = torch.linalg.solve_triangular(below_diagonal, right, upper=False, unitriangular=True)
    return solution


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


def _causal(scores: Tensor, writes: int, diagonal: int = 0) -> Tensor:
    """Scores (copies, tokens, tokens * writes) of what was written up to each token; 0 for what comes later."""
    return torch.unflatten(scores, -1, (-1, writes)).movedim(-1, 1).tril(diagonal).movedim(1, -1).flatten(-2)


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


# sealed by nlc, sha256 of everything above: 23ce36cc760bdc2fc0010ce2537ef7d9bc25124fcc9c69860cfb21f6b7712f8e
