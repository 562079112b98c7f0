"""Dla, compiled from its description.

A network of two layers that fits values to keys by similarity alone and forgets; its gradients are taken at the start of each period.

Compiled by nlc from specs/architectures/dla.yaml. Edit the spec, not this file.
sha256 of the spec: de85b97c361aa449fb6403aa61e3877ae617655c124b2b671558d5076984d1ce

Levels, fastest first (Nested Learning, Definition 2)
    rank  components  every  paper's number (slowest highest / slowest first)
    0     memory      token  1 / 1

Timetable
    every token  memory

Laws, per token; prev is the state before
    layer              = prev(memory.W1.held_16) @ k                                into gelu
    activation         = gelu(layer)                                                out of gelu
    slope              = normal_cdf(layer) + layer * normal_density(layer)          derivative of gelu
    local_surprise     = -transpose(prev(memory.W2.held_16)) @ v * slope
                         objective -dot(memory.W2 @ gelu(memory.W1 @ k), v), by layer; calculus
    gradient_W1        = outer(local_surprise, k)                                   adjoint of apply; calculus
    gradient_W2        = -outer(v, activation)                                      adjoint of apply; calculus
    memory.W1          = alpha * prev(memory.W1) - beta * gradient_W1               explicit gradient step; atlas
    memory.W2          = alpha * prev(memory.W2) - beta * gradient_W2               explicit gradient step; atlas
    y                  = memory.W2 @ gelu(memory.W1 @ q)                            read after the write
    memory.W1.held_16  = where(due(16 tokens), memory.W1, prev(memory.W1.held_16))  kept: read by hold(memory, 16 tokens)
    memory.W2.held_16  = where(due(16 tokens), memory.W2, prev(memory.W2.held_16))  kept: read by hold(memory, 16 tokens)
    position           = prev(position) + 1                                         kept: the tokens so far

Form
    memory: dual form (ttt, titans)
        It moves by gradients at a held state, which are told layer by layer (Dense).
        The gradients of a block are taken at one state, so its weights are sums of them, and reads are products of matrices.
"""

import copy
import math
from typing import Any

import torch
from torch import Tensor, nn
from torch.utils.checkpoint import checkpoint

__all__ = ["Dla"]


class Dla(nn.Module):
    """Dla, a memory over a sequence.

    A network of two layers that fits values to keys by similarity alone and forgets; its gradients are taken at the start of each
    period.

    Inputs, by keyword, in any float dtype:
        q      (batch, time, heads, d_k)
        k      (batch, time, heads, d_k)
        v      (batch, time, heads, d_v)
        alpha  (batch, time, heads)
        beta   (batch, time, heads)
    State, kept in float32 or wider (a dict by name; None starts from zeros):
        memory.W1, memory.W1.held_16  (batch, heads, d_hidden, d_k)
        memory.W2, memory.W2.held_16  (batch, heads, d_v, d_hidden)
        position  (), int64: how many tokens came before
    Returns the outputs (the tensor itself) and the state after the last token:
        y  (batch, time, heads, d_v)
    Under torch.compile every new length compiles anew.
    The sequence runs in blocks of 16 tokens, counted from the position of the state that is handed in.
    `nonfinite` says what to do at a token with numbers that are not finite: "raise" or "propagate" (no "skip": tokens are counted or kept).
    `checkpoint`, in tokens: the backward keeps the states between pieces of so many tokens, and computes the rest anew.
    """

    def __init__(
        self, d_k: int = 64, d_v: int = 64, d_hidden: int = 256, nonfinite: str = "propagate", checkpoint: int | None = None
    ) -> None:
        super().__init__()
        if nonfinite not in ("raise", "propagate"):
            raise ValueError(f'nonfinite must be "raise" or "propagate", not {nonfinite!r}')
        if checkpoint is not None and checkpoint < 1:
            raise ValueError(f"checkpoint must be None, or 1 token or more, not {checkpoint}")
        self.nonfinite = nonfinite
        self.checkpoint = checkpoint
        self.d_k = d_k
        self.d_v = d_v
        self.d_hidden = d_hidden

    def initial_state(self, batch: int, heads: int, *, like: Tensor) -> dict[str, Tensor]:
        """Zeros on the device of `like`, in its dtype or float32, whichever is wider."""
        dtype = torch.promote_types(like.dtype, torch.float32)
        starts = {
            "memory.W1": like.new_zeros(batch, heads, self.d_hidden, self.d_k, dtype=dtype),
            "memory.W2": like.new_zeros(batch, heads, self.d_v, self.d_hidden, dtype=dtype),
        }
        held = {f"{name}.held_16": start for name, start in starts.items()}
        others = {"position": like.new_zeros((), dtype=torch.int64)}
        return starts | held | others

    def forward(
        self, *, q: Tensor, k: Tensor, v: Tensor, alpha: Tensor, beta: Tensor, state: dict[str, Tensor] | None = None
    ) -> tuple[Tensor, dict[str, Tensor]]:
        """The whole sequence in blocks, which end where a period may: equal to `forward_by_token`."""
        if self.checkpoint is not None or self.nonfinite != "propagate":
            return _managed(self, {"q": q, "k": k, "v": v, "alpha": alpha, "beta": beta}, state)
        batch, _, heads = q.shape[:3]
        with _full_precision(q):
            dtype = q.dtype
            before = 0 if state is None or state["position"].is_meta else int(state["position"])
            state = self._start(state, batch, heads, q)
            q, k, v, alpha, beta = (x.to(state["memory.W1"].dtype) for x in (q, k, v, alpha, beta))
            streams = (q, k, v, alpha, beta)
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
        self, q: Tensor, k: Tensor, v: Tensor, alpha: Tensor, beta: Tensor, *, state: dict[str, Tensor], before: int
    ) -> tuple[Tensor, dict[str, Tensor]]:
        """The tokens up to where a period may end: what moves every so many tokens moves after them, if it does."""
        position = before + q.shape[1]
        due = position % 16 == 0
        layer = k @ state["memory.W1.held_16"].mT
        activation = torch.nn.functional.gelu(layer)
        slope = torch.special.ndtr(layer) + layer * (torch.exp(-layer.square() / 2) / math.sqrt(2 * math.pi))
        local_surprise = -v @ state["memory.W2.held_16"] * slope
        memory_kept = _kept(alpha)
        W1_write = -beta[..., None] * local_surprise
        W2_write = beta[..., None] * v
        memory_read = _read_matrix(q, (memory_kept, state["memory.W1"]), [(memory_kept, k, W1_write)])
        y = _read_matrix(torch.nn.functional.gelu(memory_read), (memory_kept, state["memory.W2"]), [(memory_kept, activation, W2_write)])
        memory_W1 = _moved_matrix((memory_kept, state["memory.W1"]), [(memory_kept, k, W1_write)])
        memory_W2 = _moved_matrix((memory_kept, state["memory.W2"]), [(memory_kept, activation, W2_write)])
        moved = {"memory.W1": memory_W1, "memory.W2": memory_W2}
        held = {f"{name}.held_16": new if due else state[f"{name}.held_16"] for name, new in moved.items()}
        return y, moved | held

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
            q, k, v, alpha, beta = (x.to(state["memory.W1"].dtype) for x in (q, k, v, alpha, beta))
            position = state["position"] + 1
            due = position % 16 == 0
            layer = (state["memory.W1.held_16"] @ k[..., None]).squeeze(-1)
            activation = torch.nn.functional.gelu(layer)
            slope = torch.special.ndtr(layer) + layer * (torch.exp(-layer.square() / 2) / math.sqrt(2 * math.pi))
            local_surprise = -(state["memory.W2.held_16"].mT @ v[..., None]).squeeze(-1) * slope
            gradient_W1 = local_surprise[..., None] * k[..., None, :]
            gradient_W2 = -v[..., None] * activation[..., None, :]
            memory_W1 = alpha[..., None, None] * state["memory.W1"] - beta[..., None, None] * gradient_W1
            memory_W2 = alpha[..., None, None] * state["memory.W2"] - beta[..., None, None] * gradient_W2
            y_hidden = torch.nn.functional.gelu((memory_W1 @ q[..., None]).squeeze(-1))
            y = (memory_W2 @ y_hidden[..., None]).squeeze(-1)
            moved = {"memory.W1": memory_W1, "memory.W2": memory_W2}
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


def _block_lengths(before: int, tokens: int, time: int) -> list[int]:
    """The lengths of blocks that end at every multiple of `tokens`, counted from the start of the stream, and with the sequence."""
    ends = [*range(tokens - before % tokens, time, tokens), time]
    return [end - start for start, end in zip([0, *ends], ends, strict=False)] if time else []


def _kept(decay: Tensor) -> Tensor:
    """(copies, n) -> (copies, n + 1, n + 1): entry [t, s] is decay_{s+1} ... decay_t, row and column 0 the start.

    It solves x_t = decay_t x_{t-1} + e_t, a bidiagonal system, by products alone: a decay of 0 is exact, in values and gradients.
    """
    identity = torch.eye(decay.shape[1] + 1, dtype=decay.dtype, device=decay.device)
    below = nn.functional.pad(-decay[..., None] * identity[:-1], (0, 0, 1, 0))
    kept: Tensor = torch.linalg.solve_triangular(below, identity, upper=False, unitriangular=True)
    return kept


def _read_matrix(query: Tensor, start: tuple[Tensor, Tensor], writes: list[tuple[Tensor, Tensor, Tensor]]) -> Tensor:
    """A matrix at every token, times the query there: what is left of a start and of writes value along^T, each (left, ...).

    Streams are (copies, tokens, size).
    """
    left, initial = start
    read = left[:, 1:, :1] * (query @ initial.mT)
    for left, along, value in writes:
        read = torch.baddbmm(read, left[:, 1:, 1:] * (query @ along.mT), value)
    return read


def _moved_matrix(start: tuple[Tensor, Tensor], writes: list[tuple[Tensor, Tensor, Tensor]]) -> Tensor:
    """A matrix after the last token of the block."""
    left, initial = start
    moved = left[:, -1:, :1] * initial
    for left, along, value in writes:
        moved = torch.baddbmm(moved, (left[:, -1, 1:, None] * value).mT, along)
    return moved


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


# sealed by nlc, sha256 of everything above: 03883306e167c5fa399724b4de30bc9418fdf66d5bb4983e1f2d295d9e9fe0a7
