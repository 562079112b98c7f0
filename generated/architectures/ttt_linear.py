"""TTTLinear, compiled from its description.

A matrix inside a residual and a layer norm, learned at test time by one gradient step a token, the gradients of a mini-batch taken at its
start.

Compiled by nlc from specs/architectures/ttt_linear.yaml. Edit the spec, not this file.
sha256 of the spec: af0f586245a86da637ef5f3bb8e0fac2b7881ba29e5a53b82d3ae5bdafd97066

Levels, fastest first (Nested Learning, Definition 2)
    rank  components  every  paper's number (slowest highest / slowest first)
    0     memory      token  1 / 1

Timetable
    every token  memory

Laws, per token; prev is the state before
    layer           = prev(memory.held_16) @ k                             into layer_norm
    activation      = layer_norm(layer)                                    out of layer_norm
    error           = k + scale * activation + shift - v
                      objective 0.5 * norm2(k + scale * layer_norm(memory @ k) + shift - v)
    norm_surprise   = error * scale                                        gradient by activation; calculus
    deviation       = sqrt(norm2(layer - sum(layer) / d) / d + 0.00001)    the norm divides by it
    local_surprise  = norm_surprise / deviation - sum(norm_surprise) / d / deviation - dot(norm_surprise, activation) / d / deviation *
                      activation
                      gradient by layer; calculus
    gradient        = outer(local_surprise, k)                             adjoint of the error; calculus
    memory          = prev(memory) - learning_rate * gradient              explicit gradient step; ttt
    y               = q + scale * layer_norm(memory @ q) + shift           read after the write
    memory.held_16  = where(due(16 tokens), memory, prev(memory.held_16))  kept: read by hold(memory, 16 tokens)
    position        = prev(position) + 1                                   kept: the tokens so far

Form
    memory: dual form (ttt, titans)
        It moves by gradients at a held state, which are told layer by layer (Dense).
        The gradients of a block are taken at one state, so its weights are sums of them, and reads are products of matrices.
"""

import copy
from typing import Any

import torch
from torch import Tensor, nn
from torch.utils.checkpoint import checkpoint

__all__ = ["TTTLinear"]


class TTTLinear(nn.Module):
    """TTTLinear, a memory over a sequence.

    A matrix inside a residual and a layer norm, learned at test time by one gradient step a token, the gradients of a mini-batch
    taken at its start.

    Inputs, by keyword, in any float dtype:
        q              (batch, time, heads, d)
        k              (batch, time, heads, d)
        v              (batch, time, heads, d)
        scale          (batch, time, heads, d)
        shift          (batch, time, heads, d)
        learning_rate  (batch, time, heads)
    State, kept in float32 or wider (a dict by name; None starts from zeros):
        memory, memory.held_16  (batch, heads, d, d)
        position  (), int64: how many tokens came before
    Returns the outputs (the tensor itself) and the state after the last token:
        y  (batch, time, heads, d)
    Under torch.compile every new length compiles anew.
    The sequence runs in blocks of 16 tokens, counted from the position of the state that is handed in.
    `nonfinite` says what to do at a token with numbers that are not finite: "raise" or "propagate" (no "skip": tokens are counted or kept).
    `checkpoint`, in tokens: the backward keeps the states between pieces of so many tokens, and computes the rest anew.
    """

    def __init__(self, d: int = 64, nonfinite: str = "propagate", checkpoint: int | None = None) -> None:
        super().__init__()
        if nonfinite not in ("raise", "propagate"):
            raise ValueError(f'nonfinite must be "raise" or "propagate", not {nonfinite!r}')
        if checkpoint is not None and checkpoint < 1:
            raise ValueError(f"checkpoint must be None, or 1 token or more, not {checkpoint}")
        self.nonfinite = nonfinite
        self.checkpoint = checkpoint
        self.d = d

    def initial_state(self, batch: int, heads: int, *, like: Tensor) -> dict[str, Tensor]:
        """Zeros on the device of `like`, in its dtype or float32, whichever is wider."""
        dtype = torch.promote_types(like.dtype, torch.float32)
        return {
            "memory": like.new_zeros(batch, heads, self.d, self.d, dtype=dtype),
            "memory.held_16": like.new_zeros(batch, heads, self.d, self.d, dtype=dtype),
            "position": like.new_zeros((), dtype=torch.int64),
        }

    def forward(
        self,
        *,
        q: Tensor,
        k: Tensor,
        v: Tensor,
        scale: Tensor,
        shift: Tensor,
        learning_rate: Tensor,
        state: dict[str, Tensor] | None = None,
    ) -> tuple[Tensor, dict[str, Tensor]]:
        """The whole sequence in blocks, which end where a period may: equal to `forward_by_token`."""
        if self.checkpoint is not None or self.nonfinite != "propagate":
            return _managed(self, {"q": q, "k": k, "v": v, "scale": scale, "shift": shift, "learning_rate": learning_rate}, state)
        batch, _, heads = q.shape[:3]
        with _full_precision(q):
            dtype = q.dtype
            before = 0 if state is None or state["position"].is_meta else int(state["position"])
            state = self._start(state, batch, heads, q)
            q, k, v, scale, shift, learning_rate = (x.to(state["memory"].dtype) for x in (q, k, v, scale, shift, learning_rate))
            streams = (q, k, v, scale, shift, learning_rate)
            lengths = _block_lengths(before, 16, q.shape[1])
            blocks = zip(*(torch.split(x.movedim(1, 2).flatten(0, 1), lengths, 1) for x in streams), strict=True)
            moved = {name: x.flatten(0, 1) for name, x in state.items() if name != "position"}
            y_in_blocks = [q.new_empty(batch * heads, 0, self.d)]
            for given in blocks:
                y, moved = self._block(*given, state=moved, before=before)
                before = before + given[0].shape[1]
                y_in_blocks.append(y)
            y = torch.unflatten(torch.cat(y_in_blocks, 1), 0, (batch, heads)).movedim(2, 1)
            last = {"position": state["position"] + q.shape[1]}
            state = {name: torch.unflatten(x, 0, (batch, heads)) for name, x in moved.items()} | last
            return y.to(dtype), state

    def _block(
        self, q: Tensor, k: Tensor, v: Tensor, scale: Tensor, shift: Tensor, learning_rate: Tensor, *, state: dict[str, Tensor], before: int
    ) -> tuple[Tensor, dict[str, Tensor]]:
        """The tokens up to where a period may end: what moves every so many tokens moves after them, if it does."""
        position = before + q.shape[1]
        due = position % 16 == 0
        layer = k @ state["memory.held_16"].mT
        activation = torch.nn.functional.layer_norm(layer, (self.d,))
        error = k + scale * activation + shift - v
        norm_surprise = error * scale
        deviation = ((layer - (layer.sum(-1) / self.d)[..., None]).square().sum(-1) / self.d + 0.00001).sqrt()
        local_surprise = (
            norm_surprise / deviation[..., None]
            - (norm_surprise.sum(-1) / self.d / deviation)[..., None]
            - ((norm_surprise * activation).sum(-1) / self.d / deviation)[..., None] * activation
        )
        memory_kept = _kept(q.new_full((), 1).expand(q.shape[0], q.shape[1]))
        memory_write = -learning_rate[..., None] * local_surprise
        memory_read = _read_matrix(q, (memory_kept, state["memory"]), [(memory_kept, k, memory_write)])
        memory = _moved_matrix((memory_kept, state["memory"]), [(memory_kept, k, memory_write)])
        y = q + scale * torch.nn.functional.layer_norm(memory_read, (self.d,)) + shift
        return y, {"memory": memory, "memory.held_16": memory if due else state["memory.held_16"]}

    def forward_by_token(
        self,
        *,
        q: Tensor,
        k: Tensor,
        v: Tensor,
        scale: Tensor,
        shift: Tensor,
        learning_rate: Tensor,
        state: dict[str, Tensor] | None = None,
    ) -> tuple[Tensor, dict[str, Tensor]]:
        """The laws, one token at a time: slow, and what `forward` must equal."""
        batch, _, heads = q.shape[:3]
        state = self._start(state, batch, heads, q)
        outputs = [q.new_empty(batch, 0, heads, self.d)]
        for t in range(q.shape[1]):
            y, state = self.step(
                q=q[:, t], k=k[:, t], v=v[:, t], scale=scale[:, t], shift=shift[:, t], learning_rate=learning_rate[:, t], state=state
            )
            outputs.append(y.unsqueeze(1))
        return torch.cat(outputs, 1), state

    def step(
        self, *, q: Tensor, k: Tensor, v: Tensor, scale: Tensor, shift: Tensor, learning_rate: Tensor, state: dict[str, Tensor]
    ) -> tuple[Tensor, dict[str, Tensor]]:
        """One token, for decoding: the laws as they stand; inputs without their time dim."""
        with _full_precision(q):
            dtype = q.dtype
            q, k, v, scale, shift, learning_rate = (x.to(state["memory"].dtype) for x in (q, k, v, scale, shift, learning_rate))
            position = state["position"] + 1
            due = position % 16 == 0
            layer = (state["memory.held_16"] @ k[..., None]).squeeze(-1)
            activation = torch.nn.functional.layer_norm(layer, (self.d,))
            error = k + scale * activation + shift - v
            norm_surprise = error * scale
            layer_centred = layer - (layer.sum(-1) / self.d)[..., None]
            deviation = (layer_centred.square().sum(-1) / self.d + 0.00001).sqrt()
            local_surprise = (
                norm_surprise / deviation[..., None]
                - (norm_surprise.sum(-1) / self.d / deviation)[..., None]
                - ((norm_surprise * activation).sum(-1) / self.d / deviation)[..., None] * activation
            )
            gradient = local_surprise[..., None] * k[..., None, :]
            memory = state["memory"] - learning_rate[..., None, None] * gradient
            y = q + scale * torch.nn.functional.layer_norm((memory @ q[..., None]).squeeze(-1), (self.d,)) + shift
            state = {
                "memory": memory,
                "memory.held_16": torch.where(due, memory, state["memory.held_16"]),
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


# sealed by nlc, sha256 of everything above: fdfe28db83159b8460ebc7608ecee9984f1cf89e680b0b6476ebd1968b1719e6
