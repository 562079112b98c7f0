"""RetentionLayer: Retention between trained projections, with rotary positions, scaled keys, a norm of each head's output and a gate.

Compiled by nlc from specs/architectures/retention_layer.yaml. Edit the spec, not this file.
sha256 of the spec: 249601a2e11d9208a5836214151052d5336a14a92735bf166ac271bf34551251

Levels, fastest first (Nested Learning, Definition 2)
    rank  components                                                  every  paper's number (slowest highest / slowest first)
    0     memory                                                      token  1 / 2
    1     project_gate, project_k, project_out, project_q, project_v  step   2 / 1

Timetable
    every token  memory
    every step   project_gate, project_k, project_out, project_q, project_v

Laws, per token; prev is the state before
    v         = split(project_v @ x, heads)                                  abbreviation
    gate      = silu(split(project_gate @ x, heads))                         abbreviation
    q         = rotary(split(project_q @ x, heads))                          abbreviation
    k         = rotary(split(project_k @ x, heads)) / sqrt(d_model / heads)  abbreviation
    surprise  = -v                                                           objective -dot(memory @ k, v), by the prediction; calculus
    gradient  = outer(surprise, k)                                           adjoint of apply; calculus
    memory    = (1 - 2 ** (-5 - index(heads))) * prev(memory) - gradient     explicit gradient step; retnet
    y         = project_out @ join(memory @ q / sqrt(norm2(memory @ q) / (d_model / heads) + 0.000001) * gate, heads)
                read after the write
    position  = prev(position) + 1                                           kept: the tokens so far

Form
    memory: chunked prefix sum (linear-attention, gla, mamba2)
        The old state is kept times 1 - 2 ** (-5 - index(heads)), and no write reads it (Scalar).
        All writes are known before the state is, so a chunk is a decayed sum of them: matrix products.
"""

import copy
import math
from typing import Any

import torch
from torch import Tensor, nn
from torch.utils.checkpoint import checkpoint

__all__ = ["RetentionLayer"]


class RetentionLayer(nn.Module):
    """Retention between trained projections, with rotary positions, scaled keys, a norm of each head's output and a gate.

    Inputs, by keyword, in any float dtype:
        x  (batch, time, d_model)
    State, kept in float32 or wider (a dict by name; None starts from zeros):
        memory  (batch, heads, d_model / heads, d_model / heads)
        position  (), int64: how many tokens came before
    Returns the outputs (the tensor itself) and the state after the last token:
        y  (batch, time, d_model)
    `chunk`, in tokens, is about speed alone; under torch.compile every new length compiles anew.
    `nonfinite` says what to do at a token with numbers that are not finite: "raise" or "propagate" (no "skip": tokens are counted or kept).
    `checkpoint`, in tokens: the backward keeps the states between pieces of so many tokens, and computes the rest anew.
    """

    def __init__(
        self, d_model: int = 256, heads: int = 4, chunk: int = 64, nonfinite: str = "propagate", checkpoint: int | None = None
    ) -> None:
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
        self.d_model = d_model
        self.heads = heads
        if d_model % heads:
            raise ValueError(f"d_head = d_model / heads must be a whole number, not {d_model} / {heads}")
        self.d_head = d_model // heads
        self.project_q = nn.Parameter(torch.empty(self.d_model, self.d_model))
        self.project_k = nn.Parameter(torch.empty(self.d_model, self.d_model))
        self.project_v = nn.Parameter(torch.empty(self.d_model, self.d_model))
        self.project_out = nn.Parameter(torch.empty(self.d_model, self.d_model))
        self.project_gate = nn.Parameter(torch.empty(self.d_model, self.d_model))
        self.reset_parameters()

    def reset_parameters(self) -> None:
        """The slow levels as training finds them."""
        for weight in (self.project_q, self.project_k, self.project_v, self.project_out, self.project_gate):
            nn.init.uniform_(weight, -(self.d_model**-0.5), self.d_model**-0.5)

    def initial_state(self, batch: int, heads: int, *, like: Tensor) -> dict[str, Tensor]:
        """Zeros on the device of `like`, in its dtype or float32, whichever is wider."""
        dtype = torch.promote_types(like.dtype, torch.float32)
        return {
            "memory": like.new_zeros(batch, heads, self.d_head, self.d_head, dtype=dtype),
            "position": like.new_zeros((), dtype=torch.int64),
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
            x = x.to(start["memory"].dtype)
            wide = start["memory"].dtype
            project_q, project_k, project_v = (weight.to(wide) for weight in (self.project_q, self.project_k, self.project_v))
            project_out, project_gate = (weight.to(wide) for weight in (self.project_out, self.project_gate))
            heads_index = torch.arange(start["memory"].shape[1], dtype=start["memory"].dtype, device=start["memory"].device)
            place = (start["position"] + torch.arange(x.shape[1], device=x.device)).to(x.dtype)[:, None]
            v = torch.unflatten(x @ project_v.mT, -1, (self.heads, -1))
            gate = torch.nn.functional.silu(torch.unflatten(x @ project_gate.mT, -1, (self.heads, -1)))
            q = _rotary(torch.unflatten(x @ project_q.mT, -1, (self.heads, -1)), place, 10000)
            k = _rotary(torch.unflatten(x @ project_k.mT, -1, (self.heads, -1)), place, 10000) / math.sqrt(self.d_head)
            memory_read, memory = self._memory_in_chunks(
                decay=(1 - 2 ** (-5 - heads_index))[..., None].expand(batch, heads, -1), key=k, value=v, query=q, memory=start["memory"]
            )
            y = (torch.nn.functional.rms_norm(memory_read, (self.d_head,), eps=1e-06) * gate).flatten(-2) @ project_out.mT
            return y.to(dtype), {"memory": memory, "position": start["position"] + x.shape[1]}

    def _memory_in_chunks(self, decay: Tensor, key: Tensor, value: Tensor, query: Tensor, memory: Tensor) -> tuple[Tensor, Tensor]:
        """memory_t = decay_t memory_{t-1} + value_t key_t^T, chunk by chunk.

        Streams are (batch, time, *axes, size), a scalar one with size 1.
        The decay, (batch, *axes, 1), is that of every token: its products are made once.
        """
        leading, memory = memory.shape[:-2], memory.flatten(0, -3)
        chunks = zip(*(_pieces(x, self.chunk) for x in (key, value, query)), strict=True)
        products = _decay_products(decay.flatten(0, -2).unsqueeze(1).expand(-1, min(self.chunk, key.shape[1]), -1))
        kept_after, after = products[:, 1:, :1].contiguous(), products[:, 1:, 1:].contiguous()
        reads = []
        for key, value, query in chunks:
            n = key.shape[1]
            read = (kept_after[:, :n] * query) @ memory.mT
            attention = after[:, :n, :n] * (query @ key.mT).tril()
            read = torch.baddbmm(read, attention, value)
            reads.append(read)
            memory = products[:, n : n + 1, :1] * memory
            memory = torch.baddbmm(memory, value.mT, products[:, n, 1 : n + 1, None] * key)
        return _joined(reads, leading), memory.view(*leading, *memory.shape[1:])

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
            x = x.to(state["memory"].dtype)
            wide = state["memory"].dtype
            project_q, project_k, project_v = (weight.to(wide) for weight in (self.project_q, self.project_k, self.project_v))
            project_out, project_gate = (weight.to(wide) for weight in (self.project_out, self.project_gate))
            heads_index = torch.arange(state["memory"].shape[1], dtype=state["memory"].dtype, device=state["memory"].device)
            position = state["position"] + 1
            place = (position - 1).to(state["memory"].dtype)
            v = torch.unflatten(x @ project_v.mT, -1, (self.heads, -1))
            gate = torch.nn.functional.silu(torch.unflatten(x @ project_gate.mT, -1, (self.heads, -1)))
            q = _rotary(torch.unflatten(x @ project_q.mT, -1, (self.heads, -1)), place, 10000)
            k = _rotary(torch.unflatten(x @ project_k.mT, -1, (self.heads, -1)), place, 10000) / math.sqrt(self.d_head)
            surprise = -v
            gradient = surprise[..., None] * k[..., None, :]
            memory = (1 - 2 ** (-5 - heads_index))[..., None, None] * state["memory"] - gradient
            memory_read = (memory @ q[..., None]).squeeze(-1)
            y = (torch.nn.functional.rms_norm(memory_read, (self.d_head,), eps=1e-06) * gate).flatten(-2) @ project_out.mT
            return y.to(dtype), {"memory": memory, "position": position}

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


def _rotary(x: Tensor, place: Tensor, base: int) -> Tensor:
    """Entries j and j + half of x, (..., size), turned in pairs by place / base ** (j / half); the last of an odd number stays."""
    half = x.shape[-1] // 2
    angle = place[..., None] / base ** (torch.arange(half, dtype=x.dtype, device=x.device) / half)
    left, right, last = torch.split(x, [half, half, x.shape[-1] - 2 * half], -1)
    return torch.cat((left * angle.cos() - right * angle.sin(), left * angle.sin() + right * angle.cos(), last), -1)


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
        outputs, last = module.forward(**token, state=last)
        pieces.append(outputs)
    return torch.cat(pieces, 1), last


# sealed by nlc, sha256 of everything above: 6d7862dcd70edd8ac384b0fc527110f122749c6d9b4aeff8ac14142225d69f84
