"""DeltaRuleWithMomentum: DeltaRuleWithMomentum, built by hand.

Compiled by nlc from specs/architectures/DeltaRuleWithMomentum.yaml. Edit the spec, not this file.
sha256 of the spec: 0000000000000000000000000000000000000000000000000000000000000000

Levels, fastest first (Nested Learning, Definition 2)
    rank  components       every  paper's number (slowest highest / slowest first)
    0     memory.momentum  token  1 / 2
    1     memory           token  2 / 1

Timetable
    every token  memory.momentum, memory

Laws, per token; prev is the state before
    prediction  = prev(memory) @ k                               read at the key
    error       = prediction - v                                 objective 0.5 * norm2(memory @ k - v)
    gradient    = outer(error, k)                                adjoint of apply; calculus
    momentum    = 0.9 * prev(memory.momentum) - beta * gradient  explicit gradient step
    memory      = prev(memory) + memory.momentum                 explicit gradient step on -dot(memory, memory.momentum)
    y           = memory @ q                                     read after the write

Form
    memory.momentum and memory: stacked triangular chunks (titans, deltanet)
        The states memory.momentum and memory move as one, and the writes read them at k alone (Companion).
        The writes of a chunk solve one triangular system, in which the states at its start are stacked; the rest is matrix products.
"""

import copy
from typing import Any

import torch
from torch import Tensor, nn
from torch.utils.checkpoint import checkpoint

__all__ = ["DeltaRuleWithMomentum"]


class DeltaRuleWithMomentum(nn.Module):
    """DeltaRuleWithMomentum, built by hand.

    Inputs, by keyword, in any float dtype:
        q     (batch, time, heads, d_k)
        k     (batch, time, heads, d_k)
        v     (batch, time, heads, d_v)
        beta  (batch, time, heads)
    State, kept in float32 or wider (a dict by name; None starts from zeros):
        memory.momentum, memory  (batch, heads, d_v, d_k)
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
            "memory.momentum": like.new_zeros(batch, heads, self.d_v, self.d_k, dtype=dtype),
            "memory": like.new_zeros(batch, heads, self.d_v, self.d_k, dtype=dtype),
        }

    def forward(
        self, *, q: Tensor, k: Tensor, v: Tensor, beta: Tensor, state: dict[str, Tensor] | None = None
    ) -> tuple[Tensor, dict[str, Tensor]]:
        """The whole sequence in chunks: equal to `forward_by_token`."""
        if self.checkpoint is not None or self.nonfinite != "propagate":
            return _managed(self, {"q": q, "k": k, "v": v, "beta": beta}, state)
        batch, _, heads = q.shape[:3]
        with _full_precision(q):
            dtype = q.dtype
            start = self._start(state, batch, heads, q)
            q, k, v, beta = (x.to(start["memory.momentum"].dtype) for x in (q, k, v, beta))
            y, memory_momentum, memory = self._memory_in_chunks(
                key=k,
                value=beta[..., None] * v,
                erase=beta[..., None] * k,
                query=q,
                memory_momentum=start["memory.momentum"],
                memory=start["memory"],
            )
            return y.to(dtype), {"memory.momentum": memory_momentum, "memory": memory}

    def _memory_in_chunks(
        self, key: Tensor, value: Tensor, erase: Tensor, query: Tensor, memory_momentum: Tensor, memory: Tensor
    ) -> tuple[Tensor, Tensor, Tensor]:
        """Several states that move as one, chunk by chunk.

            memory_momentum_t = 0.9 memory_momentum_{t-1} + write_t key_t^T
            memory_t = 0.9 memory_momentum_{t-1} + memory_{t-1} + write_t key_t^T
            write_t = value_t - memory_{t-1} erase_t

        Streams are (batch, time, *axes, size), a scalar one with size 1. What each state is after a token is a sum of the states
        at the start of the chunk and of the writes since then, each times its share.
        """
        leading = memory_momentum.shape[:-2]
        states = torch.cat((memory_momentum, memory), -1).flatten(0, -3).mT
        one = torch.ones_like(key[..., :1])
        zero = torch.zeros_like(one)
        moves = torch.cat((0.9 * one, zero, one, 0.9 * one, one, one), -1)
        ((steady, _),) = _shares(moves[:, : self.chunk], 2, [0, 1], self.chunk)
        chunks = zip(*(_pieces(x, self.chunk) for x in (key, value, erase, query)), strict=True)
        reads = []
        for key, value, erase, query in chunks:
            n = key.shape[1]
            shares = steady[:, : n + 1, :, : 2 + n]
            last = shares[:, -1]
            before = shares[:, :-1, 1]
            overlap = before[..., 2:] * (erase @ key.mT)
            value = torch.baddbmm(value, _scaled(erase, before[..., :2]), states, alpha=-1)
            write = _solve(overlap, value)
            scores = query @ key.mT
            after = shares[:, 1:, 1]
            read = _scaled(query, after[..., :2]) @ states
            read = torch.baddbmm(read, after[..., 2:] * scores.tril(), write)
            reads.append(read)
            kept = last[..., :2] @ torch.unflatten(states, 1, (2, -1)).flatten(2)
            states = torch.baddbmm(kept.view_as(states), _scaled(key, last[..., 2:].mT).mT, write)
        memory_momentum, memory = torch.unflatten(states.mT, 0, leading).chunk(2, -1)
        return _joined(reads, leading), memory_momentum, memory

    def forward_by_token(
        self, *, q: Tensor, k: Tensor, v: Tensor, beta: Tensor, state: dict[str, Tensor] | None = None
    ) -> tuple[Tensor, dict[str, Tensor]]:
        """The laws, one token at a time: slow, and what `forward` must equal."""
        batch, _, heads = q.shape[:3]
        state = self._start(state, batch, heads, q)
        outputs = [q.new_empty(batch, 0, heads, self.d_v)]
        for t in range(q.shape[1]):
            y, state = self.step(q=q[:, t], k=k[:, t], v=v[:, t], beta=beta[:, t], state=state)
            outputs.append(y.unsqueeze(1))
        return torch.cat(outputs, 1), state

    def step(self, *, q: Tensor, k: Tensor, v: Tensor, beta: Tensor, state: dict[str, Tensor]) -> tuple[Tensor, dict[str, Tensor]]:
        """One token, for decoding: the laws as they stand; inputs without their time dim."""
        with _full_precision(q):
            dtype = q.dtype
            q, k, v, beta = (x.to(state["memory.momentum"].dtype) for x in (q, k, v, beta))
            prediction = (state["memory"] @ k[..., None]).squeeze(-1)
            error = prediction - v
            gradient = error[..., None] * k[..., None, :]
            momentum = 0.9 * state["memory.momentum"] - beta[..., None, None] * gradient
            memory = state["memory"] + momentum
            y = (memory @ q[..., None]).squeeze(-1)
            return y.to(dtype), {"memory.momentum": momentum, "memory": memory}

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


def _scaled(x: Tensor, shares: Tensor) -> Tensor:
    """(copies, n, size), (copies, n, states) -> (copies, n, states * size): each vector beside itself, times its share in each state."""
    return (shares.unsqueeze(-1) * x.unsqueeze(-2)).flatten(-2)


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


# sealed by nlc, sha256 of everything above: 3beee333a1d47d5e0af0a3158240fc271e604dd4d18618844f667fd2680d7e08
