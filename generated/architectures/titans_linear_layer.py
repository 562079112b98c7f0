"""TitansLinearLayer: The delta rule layer on a memory that forgets and moves with momentum; the token decides on all three rates.

Compiled by nlc from specs/architectures/titans_linear_layer.yaml. Edit the spec, not this file.
sha256 of the spec: a6b3d6b4d76c35fd9572c8903daa07ef4dc5fb7bac09480897bc00a4c7e5e1a4

Levels, fastest first (Nested Learning, Definition 2)
    rank  components                                                  every  paper's number (slowest highest / slowest first)
    0     memory.momentum                                             token  1 / 3
    1     memory                                                      token  2 / 2
    2     kernel_k, kernel_q, kernel_v, project_beta, project_decay,  step   3 / 1
          project_gate, project_k, project_out, project_q,
          project_retention, project_v

Timetable
    every token  memory.momentum, memory
    every step   kernel_k, kernel_q, kernel_v, project_beta, project_decay,
                 project_gate, project_k, project_out, project_q,
                 project_retention, project_v

Laws, per token; prev is the state before
    beta              = sigmoid(split(project_beta @ x, heads))                              abbreviation
    gate              = silu(split(project_gate @ x, heads))                                 abbreviation
    retention         = sigmoid(split(project_retention @ x, heads))                         abbreviation
    inner_decay       = sigmoid(split(project_decay @ x, heads))                             abbreviation
    v                 = split(silu(convolve(project_v @ x, kernel_v)), heads)                abbreviation
    q                 = l2_normalise(split(silu(convolve(project_q @ x, kernel_q)), heads))  abbreviation
    k                 = l2_normalise(split(silu(convolve(project_k @ x, kernel_k)), heads))  abbreviation
    prediction        = prev(memory) @ k                                                     read at the key
    error             = prediction - v                                                       objective 0.5 * norm2(memory @ k - v)
    gradient          = outer(error, k)                                                      adjoint of apply; calculus
    momentum          = inner_decay * prev(memory.momentum) - beta * gradient                explicit gradient step; titans
    memory            = retention * prev(memory) + memory.momentum
                        explicit gradient step on -dot(memory, memory.momentum); titans
    y                 = project_out @ join(memory @ q / sqrt(norm2(memory @ q) / (d_model / heads) + 0.000001) * gate, heads)
                        read after the write
    recent.project_k  = recent(project_k @ x) and project_k @ x
                        kept: the last values of project_k @ x, for delays and convolutions
    recent.project_v  = recent(project_v @ x) and project_v @ x
                        kept: the last values of project_v @ x, for delays and convolutions
    recent.project_q  = recent(project_q @ x) and project_q @ x
                        kept: the last values of project_q @ x, for delays and convolutions

Form
    memory.momentum and memory: stacked triangular chunks (titans, deltanet)
        The states memory.momentum and memory move as one, and the writes read them at l2_normalise(split(silu(convolve(project_k @ x,
        kernel_k)), heads)) alone (Companion).
        The writes of a chunk solve one triangular system, in which the states at its start are stacked; the rest is matrix products.
"""

import copy
from typing import Any

import torch
from torch import Tensor, nn
from torch.utils.checkpoint import checkpoint

__all__ = ["TitansLinearLayer"]


class TitansLinearLayer(nn.Module):
    """The delta rule layer on a memory that forgets and moves with momentum; the token decides on all three rates.

    Inputs, by keyword, in any float dtype:
        x  (batch, time, d_model)
    State, kept in float32 or wider (a dict by name; None starts from zeros):
        memory.momentum, memory  (batch, heads, d_model / heads, d_model / heads)
        recent.project_k, recent.project_v, recent.project_q  (batch, width - 1, d_model)
    Returns the outputs (the tensor itself) and the state after the last token:
        y  (batch, time, d_model)
    `chunk`, in tokens, is about speed alone; under torch.compile every new length compiles anew.
    `nonfinite` says what to do at a token with numbers that are not finite: "raise", "skip" (its row of the batch) or "propagate".
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
        if nonfinite not in ("raise", "skip", "propagate"):
            raise ValueError(f'nonfinite must be "raise", "skip" or "propagate", not {nonfinite!r}')
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
        self.project_gate = nn.Parameter(torch.empty(self.d_model, self.d_model))
        self.project_out = nn.Parameter(torch.empty(self.d_model, self.d_model))
        self.project_beta = nn.Parameter(torch.empty(self.heads, self.d_model))
        self.kernel_q = nn.Parameter(torch.empty(self.width, self.d_model))
        self.kernel_k = nn.Parameter(torch.empty(self.width, self.d_model))
        self.kernel_v = nn.Parameter(torch.empty(self.width, self.d_model))
        self.project_retention = nn.Parameter(torch.empty(self.heads, self.d_model))
        self.project_decay = nn.Parameter(torch.empty(self.heads, self.d_model))
        self.reset_parameters()

    def reset_parameters(self) -> None:
        """The slow levels as training finds them."""
        for weight in (self.project_q, self.project_k, self.project_v, self.project_gate, self.project_out, self.project_beta):
            nn.init.uniform_(weight, -(self.d_model**-0.5), self.d_model**-0.5)
        for weight in (self.kernel_q, self.kernel_k, self.kernel_v):
            nn.init.uniform_(weight, -(self.width**-0.5), self.width**-0.5)
        nn.init.uniform_(self.project_retention, -(self.d_model**-0.5), self.d_model**-0.5)
        nn.init.uniform_(self.project_decay, -(self.d_model**-0.5), self.d_model**-0.5)

    def initial_state(self, batch: int, heads: int, *, like: Tensor) -> dict[str, Tensor]:
        """Zeros on the device of `like`, in its dtype or float32, whichever is wider."""
        dtype = torch.promote_types(like.dtype, torch.float32)
        return {
            "memory.momentum": like.new_zeros(batch, heads, self.d_head, self.d_head, dtype=dtype),
            "memory": like.new_zeros(batch, heads, self.d_head, self.d_head, dtype=dtype),
            "recent.project_k": like.new_zeros(batch, self.width - 1, self.d_model, dtype=dtype),
            "recent.project_v": like.new_zeros(batch, self.width - 1, self.d_model, dtype=dtype),
            "recent.project_q": like.new_zeros(batch, self.width - 1, self.d_model, dtype=dtype),
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
            project_gate, project_out = (weight.to(wide) for weight in (self.project_gate, self.project_out))
            project_beta, kernel_q, kernel_k = (weight.to(wide) for weight in (self.project_beta, self.kernel_q, self.kernel_k))
            kernel_v, project_retention = (weight.to(wide) for weight in (self.kernel_v, self.project_retention))
            project_decay = self.project_decay.to(wide)
            recent_project_k = torch.cat((start["recent.project_k"], x @ project_k.mT), 1)
            recent_project_v = torch.cat((start["recent.project_v"], x @ project_v.mT), 1)
            recent_project_q = torch.cat((start["recent.project_q"], x @ project_q.mT), 1)
            beta = (x @ project_beta.mT).sigmoid()
            gate = torch.nn.functional.silu(torch.unflatten(x @ project_gate.mT, -1, (self.heads, -1)))
            retention = (x @ project_retention.mT).sigmoid()
            inner_decay = (x @ project_decay.mT).sigmoid()
            v = torch.unflatten(torch.nn.functional.silu(_convolved(recent_project_v, kernel_v)), -1, (self.heads, -1))
            q = torch.nn.functional.normalize(
                torch.unflatten(torch.nn.functional.silu(_convolved(recent_project_q, kernel_q)), -1, (self.heads, -1)), dim=-1
            )
            k = torch.nn.functional.normalize(
                torch.unflatten(torch.nn.functional.silu(_convolved(recent_project_k, kernel_k)), -1, (self.heads, -1)), dim=-1
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
            y = (torch.nn.functional.rms_norm(memory_read, (self.d_head,), eps=1e-06) * gate).flatten(-2) @ project_out.mT
            state = {
                "memory.momentum": memory_momentum,
                "memory": memory,
                "recent.project_k": recent_project_k[:, x.shape[1] :],
                "recent.project_v": recent_project_v[:, x.shape[1] :],
                "recent.project_q": recent_project_q[:, x.shape[1] :],
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
        with _full_precision(x):
            dtype = x.dtype
            x = x.to(state["memory.momentum"].dtype)
            wide = state["memory.momentum"].dtype
            project_q, project_k, project_v = (weight.to(wide) for weight in (self.project_q, self.project_k, self.project_v))
            project_gate, project_out = (weight.to(wide) for weight in (self.project_gate, self.project_out))
            project_beta, kernel_q, kernel_k = (weight.to(wide) for weight in (self.project_beta, self.kernel_q, self.kernel_k))
            kernel_v, project_retention = (weight.to(wide) for weight in (self.kernel_v, self.project_retention))
            project_decay = self.project_decay.to(wide)
            recent_project_k = torch.cat((state["recent.project_k"], (x @ project_k.mT).unsqueeze(-2)), -2)
            recent_project_v = torch.cat((state["recent.project_v"], (x @ project_v.mT).unsqueeze(-2)), -2)
            recent_project_q = torch.cat((state["recent.project_q"], (x @ project_q.mT).unsqueeze(-2)), -2)
            beta = (x @ project_beta.mT).sigmoid()
            gate = torch.nn.functional.silu(torch.unflatten(x @ project_gate.mT, -1, (self.heads, -1)))
            retention = (x @ project_retention.mT).sigmoid()
            inner_decay = (x @ project_decay.mT).sigmoid()
            v = torch.unflatten(torch.nn.functional.silu((recent_project_v * kernel_v.flip(0)).sum(-2)), -1, (self.heads, -1))
            q = torch.nn.functional.normalize(
                torch.unflatten(torch.nn.functional.silu((recent_project_q * kernel_q.flip(0)).sum(-2)), -1, (self.heads, -1)), dim=-1
            )
            k = torch.nn.functional.normalize(
                torch.unflatten(torch.nn.functional.silu((recent_project_k * kernel_k.flip(0)).sum(-2)), -1, (self.heads, -1)), dim=-1
            )
            prediction = (state["memory"] @ k[..., None]).squeeze(-1)
            error = prediction - v
            gradient = error[..., None] * k[..., None, :]
            momentum = inner_decay[..., None, None] * state["memory.momentum"] - beta[..., None, None] * gradient
            memory = retention[..., None, None] * state["memory"] + momentum
            memory_read = (memory @ q[..., None]).squeeze(-1)
            y = (torch.nn.functional.rms_norm(memory_read, (self.d_head,), eps=1e-06) * gate).flatten(-2) @ project_out.mT
            state = {
                "memory.momentum": momentum,
                "memory": memory,
                "recent.project_k": recent_project_k[..., 1:, :],
                "recent.project_v": recent_project_v[..., 1:, :],
                "recent.project_q": recent_project_q[..., 1:, :],
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
    """(batch, time, *axes, size) -> chunks of (batch * axes, tokens, size), the last one short: nothing is padded."""
    return torch.split(x.movedim(1, -2).flatten(0, -3), chunk, 1)


def _joined(pieces: list[Tensor], leading: torch.Size) -> Tensor:
    """Chunks of (batch * axes, tokens, size) -> (batch, time, *axes, size)."""
    whole = torch.cat(pieces, 1)
    return whole.view(*leading, *whole.shape[1:]).movedim(-2, 1)


def _convolved(x: Tensor, kernel: Tensor) -> Tensor:
    """(batch, width - 1 + time, *axes, size) -> (batch, time, *axes, size): row j of the kernel times the value j tokens before."""
    width = kernel.shape[0]
    total = kernel[0] * x[:, width - 1 :]
    for tokens in range(1, width):
        total = total + kernel[tokens] * x[:, width - 1 - tokens : -tokens]
    return total


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
        outputs, after = module.forward(**{name: _chosen(lost, x) for name, x in token.items()}, state=last)
        pieces.append(_chosen(lost, outputs))
        last = {name: _chosen(lost, x, last[name]) for name, x in after.items()}
    return torch.cat(pieces, 1), last


def _chosen(lost: Tensor, x: Tensor, instead: Tensor | float = 0.0) -> Tensor:
    """x, (batch, ...), but for the rows that are lost."""
    return torch.where(lost.reshape(-1, *[1] * (x.dim() - 1)), instead, x)


# sealed by nlc, sha256 of everything above: 70d1fd1776b79590e009178ef19f455acce594ced5489c663f87932aeae8696d
