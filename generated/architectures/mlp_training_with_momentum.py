"""MlpTrainingWithMomentum: The same training with momentum. The weights need the new momentum, so these are two levels of one frequency.

Compiled by nlc from specs/architectures/mlp_training_with_momentum.yaml. Edit the spec, not this file.
sha256 of the spec: e7bb9749132ea0a663189360053e51e9258b10f778c370c08dca22838162092c

Levels, fastest first (Nested Learning, Definition 2)
    rank  components      every  paper's number (slowest highest / slowest first)
    0     layer.momentum  token  1 / 2
    1     layer           token  2 / 1

Timetable
    every token  layer.momentum, layer

Laws, per token; prev is the state before
    prediction  = prev(layer) @ x                                          read at the key
    error       = prediction - target                                      objective 0.5 * norm2(layer @ x - target)
    gradient    = outer(error, x)                                          adjoint of apply; calculus
    momentum    = decay * prev(layer.momentum) - learning_rate * gradient  explicit gradient step; nl:eq-10; nl:definition-2
    layer       = prev(layer) + layer.momentum
                  explicit gradient step on -dot(layer, layer.momentum); nl:eq-10; nl:definition-2
    y           = prev(layer) @ x                                          read before the write

Form
    layer.momentum and layer: stacked triangular chunks (titans, deltanet)
        The states layer.momentum and layer move as one, and the writes read them at x alone (Companion).
        The writes of a chunk solve one triangular system, in which the states at its start are stacked; the rest is matrix products.
"""

import copy
from typing import Any

import torch
from torch import Tensor, nn
from torch.utils.checkpoint import checkpoint

__all__ = ["MlpTrainingWithMomentum"]


class MlpTrainingWithMomentum(nn.Module):
    """The same training with momentum. The weights need the new momentum, so these are two levels of one frequency.

    Inputs, by keyword, in any float dtype:
        x       (batch, time, d_in)
        target  (batch, time, d_out)
    State, kept in float32 or wider (a dict by name; None starts from zeros):
        layer.momentum, layer  (batch, d_out, d_in)
    Returns the outputs (the tensor itself) and the state after the last token:
        y  (batch, time, d_out)
    `chunk`, in tokens, is about speed alone; under torch.compile every new length compiles anew.
    `nonfinite` says what to do at a token with numbers that are not finite: "raise", "skip" (its row of the batch) or "propagate".
    `checkpoint`, in tokens: the backward keeps the states between pieces of so many tokens, and computes the rest anew.
    """

    def __init__(
        self,
        d_in: int = 64,
        d_out: int = 64,
        learning_rate: float = 0.1,
        decay: float = 0.9,
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
        self.d_in = d_in
        self.d_out = d_out
        self.learning_rate = learning_rate
        self.decay = decay

    def initial_state(self, batch: int, *, like: Tensor) -> dict[str, Tensor]:
        """Zeros on the device of `like`, in its dtype or float32, whichever is wider."""
        dtype = torch.promote_types(like.dtype, torch.float32)
        return {
            "layer.momentum": like.new_zeros(batch, self.d_out, self.d_in, dtype=dtype),
            "layer": like.new_zeros(batch, self.d_out, self.d_in, dtype=dtype),
        }

    def forward(self, *, x: Tensor, target: Tensor, state: dict[str, Tensor] | None = None) -> tuple[Tensor, dict[str, Tensor]]:
        """The whole sequence in chunks: equal to `forward_by_token`."""
        if self.checkpoint is not None or self.nonfinite != "propagate":
            return _managed(self, {"x": x, "target": target}, state)
        batch = x.shape[0]
        with _full_precision(x):
            dtype = x.dtype
            start = self._start(state, batch, x)
            x, target = (x.to(start["layer.momentum"].dtype) for x in (x, target))
            y, layer_momentum, layer = self._layer_in_chunks(
                decay=x.new_full((), self.decay)[..., None].expand(batch, x.shape[1], -1),
                key=x,
                value=self.learning_rate * target,
                erase=self.learning_rate * x,
                query=x,
                layer_momentum=start["layer.momentum"],
                layer=start["layer"],
            )
            return y.to(dtype), {"layer.momentum": layer_momentum, "layer": layer}

    def _layer_in_chunks(
        self, decay: Tensor, key: Tensor, value: Tensor, erase: Tensor, query: Tensor, layer_momentum: Tensor, layer: Tensor
    ) -> tuple[Tensor, Tensor, Tensor]:
        """Several states that move as one, chunk by chunk.

            layer_momentum_t = decay_t layer_momentum_{t-1} + write_t key_t^T
            layer_t = decay_t layer_momentum_{t-1} + layer_{t-1} + write_t key_t^T
            write_t = value_t - layer_{t-1} erase_t

        Streams are (batch, time, *axes, size), a scalar one with size 1. What each state is after a token is a sum of the states
        at the start of the chunk and of the writes since then, each times its share.
        """
        leading = layer_momentum.shape[:-2]
        states = torch.cat((layer_momentum, layer), -1).flatten(0, -3).mT
        one = torch.ones_like(key[..., :1])
        zero = torch.zeros_like(one)
        moves = torch.cat((decay, zero, one, decay, one, one), -1)
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
            after = shares[:, :-1, 1]
            read = _scaled(query, after[..., :2]) @ states
            read = torch.baddbmm(read, after[..., 2:] * scores.tril(-1), write)
            reads.append(read)
            kept = last[..., :2] @ torch.unflatten(states, 1, (2, -1)).flatten(2)
            states = torch.baddbmm(kept.view_as(states), _scaled(key, last[..., 2:].mT).mT, write)
        layer_momentum, layer = torch.unflatten(states.mT, 0, leading).chunk(2, -1)
        return _joined(reads, leading), layer_momentum, layer

    def forward_by_token(self, *, x: Tensor, target: Tensor, state: dict[str, Tensor] | None = None) -> tuple[Tensor, dict[str, Tensor]]:
        """The laws, one token at a time: slow, and what `forward` must equal."""
        batch = x.shape[0]
        state = self._start(state, batch, x)
        outputs = [x.new_empty(batch, 0, self.d_out)]
        for t in range(x.shape[1]):
            y, state = self.step(x=x[:, t], target=target[:, t], state=state)
            outputs.append(y.unsqueeze(1))
        return torch.cat(outputs, 1), state

    def step(self, *, x: Tensor, target: Tensor, state: dict[str, Tensor]) -> tuple[Tensor, dict[str, Tensor]]:
        """One token, for decoding: the laws as they stand; inputs without their time dim."""
        with _full_precision(x):
            dtype = x.dtype
            x, target = (x.to(state["layer.momentum"].dtype) for x in (x, target))
            prediction = (state["layer"] @ x[..., None]).squeeze(-1)
            error = prediction - target
            gradient = error[..., None] * x[..., None, :]
            momentum = self.decay * state["layer.momentum"] - self.learning_rate * gradient
            layer = state["layer"] + momentum
            return prediction.to(dtype), {"layer.momentum": momentum, "layer": layer}

    def _start(self, state: dict[str, Tensor] | None, batch: int, like: Tensor) -> dict[str, Tensor]:
        """The state to start from, never narrower than zeros would be."""
        zeros = self.initial_state(batch, like=like)
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


# sealed by nlc, sha256 of everything above: 1ae7c01551005bd56419c30b8e649bee37881e6dbbec705990731edad9dd07be
