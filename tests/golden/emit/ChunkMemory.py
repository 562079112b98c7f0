"""ChunkMemory: A delta rule beside a memory that learns from it every 16 tokens, with a momentum.

Compiled by nlc from spec.yaml. Edit the spec, not this file.
sha256 of the spec: b9d18ea83cb2d765d26e3e08d39e8192d276e64c224ce58faff36c49c25d3a47

Levels, fastest first (Nested Learning, Definition 2)
    rank  components     every      paper's number (slowest highest / slowest first)
    0     fast           token      1 / 3
    1     slow.momentum  16 tokens  2 / 2
    2     slow           16 tokens  3 / 1

Timetable
    every token      fast
    every 16 tokens  slow.momentum, slow

Laws, per token; prev is the state before
    prediction     = prev(fast) @ k                                                 read at the key
    error          = prediction - v                                                 objective 0.5 * norm2(fast @ k - v)
    gradient       = outer(error, k)                                                adjoint of apply; calculus
    fast           = prev(fast) - beta * gradient                                   explicit gradient step
    prediction     = prev(slow) @ k                                                 read at the key
    error          = prediction - fast @ k                                          objective 0.5 * norm2(slow @ k - fast @ k)
    gradient       = outer(error, k)                                                adjoint of apply; calculus
    gathered       = prev(slow.gradient) + gradient                                 the data since the last update, of 16 tokens
    momentum       = where(due(16 tokens), 0.9 * prev(slow.momentum) - 0.1 * gathered, prev(slow.momentum))
                     explicit gradient step
    slow           = where(due(16 tokens), prev(slow) + slow.momentum, prev(slow))  explicit gradient step on -dot(slow, slow.momentum)
    y              = fast @ q + prev(slow) @ q                                      read before and after the write
    slow.gradient  = where(due(16 tokens), 0, slow.gradient)                        kept: gathered since the last update
    position       = prev(position) + 1                                             kept: the tokens so far

Forms
    fast: triangular chunks (deltanet, gated-deltanet)
        The old state is kept unchanged, and the writes read it at k alone (ScalarMinusLowRank).
        Writes read the old state through vectors alone, so those of a chunk solve one triangular system; the rest is matrix products.
    slow.momentum: sums over blocks (nl:eq-71)
        It reads the state of slow, with which it moves as one (Companion).
        It stays as it is until a period ends, so the tokens of a block read it, and add up their gradients, in products of matrices.
    slow: sums over blocks (nl:eq-71)
        It reads the state of slow.momentum, with which it moves as one (Companion).
        It stays as it is until a period ends, so the tokens of a block read it, and add up their gradients, in products of matrices.
"""

import copy
from typing import Any

import torch
from torch import Tensor, nn
from torch.utils.checkpoint import checkpoint

__all__ = ["ChunkMemory"]


class ChunkMemory(nn.Module):
    """A delta rule beside a memory that learns from it every 16 tokens, with a momentum.

    Inputs, by keyword, in any float dtype:
        q     (batch, time, heads, d_k)
        k     (batch, time, heads, d_k)
        v     (batch, time, heads, d_v)
        beta  (batch, time, heads)
    State, kept in float32 or wider (a dict by name; None starts from zeros):
        fast, slow.momentum, slow, slow.gradient  (batch, heads, d_v, d_k)
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
            "fast": like.new_zeros(batch, heads, self.d_v, self.d_k, dtype=dtype),
            "slow.momentum": like.new_zeros(batch, heads, self.d_v, self.d_k, dtype=dtype),
            "slow": like.new_zeros(batch, heads, self.d_v, self.d_k, dtype=dtype),
            "slow.gradient": like.new_zeros(batch, heads, self.d_v, self.d_k, dtype=dtype),
            "position": like.new_zeros((), dtype=torch.int64),
        }

    def forward(
        self, *, q: Tensor, k: Tensor, v: Tensor, beta: Tensor, state: dict[str, Tensor] | None = None
    ) -> tuple[Tensor, dict[str, Tensor]]:
        """The whole sequence in blocks, which end where a period may: equal to `forward_by_token`."""
        if self.checkpoint is not None or self.nonfinite != "propagate":
            return _managed(self, {"q": q, "k": k, "v": v, "beta": beta}, state)
        batch, _, heads = q.shape[:3]
        with _full_precision(q):
            dtype = q.dtype
            before = 0 if state is None or state["position"].is_meta else int(state["position"])
            state = self._start(state, batch, heads, q)
            q, k, v, beta = (x.to(state["fast"].dtype) for x in (q, k, v, beta))
            value = beta[..., None] * v
            erase = beta[..., None] * k
            streams = (q, k, value, erase)
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
        self, q: Tensor, k: Tensor, value: Tensor, erase: Tensor, *, state: dict[str, Tensor], before: int
    ) -> tuple[Tensor, dict[str, Tensor]]:
        """The tokens up to where a period may end: what moves every so many tokens moves after them, if it does."""
        position = before + q.shape[1]
        due = position % 16 == 0
        fast_read, fast_read_2, fast = self._fast_in_chunks(key=k, value=value, erase=erase, query_1=q, query_2=k, memory=state["fast"])
        prediction = k @ state["slow"].mT
        error = prediction - fast_read_2
        gathered = torch.baddbmm(state["slow.gradient"], error.mT, k)
        momentum = 0.9 * state["slow.momentum"] - 0.1 * gathered if due else state["slow.momentum"]
        slow = state["slow"] + momentum if due else state["slow"]
        y = torch.baddbmm(fast_read, q, state["slow"].mT)
        return y, {"fast": fast, "slow.momentum": momentum, "slow": slow, "slow.gradient": torch.zeros_like(gathered) if due else gathered}

    def _fast_in_chunks(
        self, key: Tensor, value: Tensor, erase: Tensor, query_1: Tensor, query_2: Tensor, memory: Tensor
    ) -> tuple[Tensor, Tensor, Tensor]:
        """memory_t = memory_{t-1} + write_t key_t^T with write_t = value_t - memory_{t-1} erase_t, chunk by chunk.

        Streams are (copies, tokens, size), a scalar one with size 1.
        Inside a chunk the writes read one another:
            write_t + sum over s < t of (erase_t . key_s) write_s = value_t - memory erase_t
        """
        chunks = zip(*(_pieces(x, self.chunk) for x in (key, value, erase, query_1, query_2)), strict=True)
        reads_1 = []
        reads_2 = []
        for key, value, erase, query_1, query_2 in chunks:
            write = _solve(erase @ key.mT, torch.baddbmm(value, erase, memory.mT, alpha=-1))
            asked = torch.cat((query_1, query_2), 1)
            attention = torch.cat([(x @ key.mT).tril() for x in (query_1, query_2)], 1)
            read_1, read_2 = torch.baddbmm(asked @ memory.mT, attention, write).chunk(2, 1)
            reads_1.append(read_1)
            reads_2.append(read_2)
            memory = torch.baddbmm(memory, write.mT, key)
        return _joined(reads_1), _joined(reads_2), memory

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
            q, k, v, beta = (x.to(state["fast"].dtype) for x in (q, k, v, beta))
            position = state["position"] + 1
            due = position % 16 == 0
            prediction = (state["fast"] @ k[..., None]).squeeze(-1)
            error = prediction - v
            gradient = error[..., None] * k[..., None, :]
            fast = state["fast"] - beta[..., None, None] * gradient
            slow_momentum_prediction = (state["slow"] @ k[..., None]).squeeze(-1)
            slow_momentum_error = slow_momentum_prediction - (fast @ k[..., None]).squeeze(-1)
            slow_momentum_gradient = slow_momentum_error[..., None] * k[..., None, :]
            gathered = state["slow.gradient"] + slow_momentum_gradient
            momentum = torch.where(due, 0.9 * state["slow.momentum"] - 0.1 * gathered, state["slow.momentum"])
            slow = torch.where(due, state["slow"] + momentum, state["slow"])
            y = (fast @ q[..., None]).squeeze(-1) + (state["slow"] @ q[..., None]).squeeze(-1)
            state = {
                "fast": fast,
                "slow.momentum": momentum,
                "slow": slow,
                "slow.gradient": torch.where(due, 0, gathered),
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


# sealed by nlc, sha256 of everything above: ef6e395b8375b3891beacb413e1220ae83a688ada5738f57282f867d5afcbab2
