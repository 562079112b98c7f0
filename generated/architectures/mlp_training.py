"""MlpTraining: The paper's one-layer network in training, as a stream of data points; the layer is a memory, and this is one level.

Compiled by nlc from specs/architectures/mlp_training.yaml. Edit the spec, not this file.
sha256 of the spec: 6e7b0969a8cec88b815bab13b5fb78f52e98a852c347c91aa90d79c06fce6387

Levels, fastest first (Nested Learning, Definition 2)
    rank  components  every  paper's number (slowest highest / slowest first)
    0     layer       token  1 / 1

Timetable
    every token  layer

Laws, per token; prev is the state before
    prediction  = prev(layer) @ x                         read at the key
    error       = prediction - target                     objective 0.5 * norm2(layer @ x - target)
    gradient    = outer(error, x)                         adjoint of apply; calculus
    layer       = prev(layer) - learning_rate * gradient  explicit gradient step; nl:eq-7; nl:definition-2
    y           = prev(layer) @ x                         read before the write

Form
    layer: triangular chunks (deltanet, gated-deltanet)
        The old state is kept unchanged, and the writes read it at x alone (ScalarMinusLowRank).
        Writes read the old state through vectors alone, so those of a chunk solve one triangular system; the rest is matrix products.
"""

import copy
from typing import Any

import torch
from torch import Tensor, nn
from torch.utils.checkpoint import checkpoint

__all__ = ["MlpTraining"]


class MlpTraining(nn.Module):
    """The paper's one-layer network in training, as a stream of data points; the layer is a memory, and this is one level.

    Inputs, by keyword, in any float dtype:
        x       (batch, time, d_in)
        target  (batch, time, d_out)
    State, kept in float32 or wider (the tensor itself; None starts from zeros):
        layer  (batch, d_out, d_in)
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

    def initial_state(self, batch: int, *, like: Tensor) -> Tensor:
        """Zeros on the device of `like`, in its dtype or float32, whichever is wider."""
        return like.new_zeros(batch, self.d_out, self.d_in, dtype=torch.promote_types(like.dtype, torch.float32))

    def forward(self, *, x: Tensor, target: Tensor, state: Tensor | None = None) -> tuple[Tensor, Tensor]:
        """The whole sequence in chunks: equal to `forward_by_token`."""
        if self.checkpoint is not None or self.nonfinite != "propagate":
            return _managed(self, {"x": x, "target": target}, state)
        batch = x.shape[0]
        with _full_precision(x):
            dtype = x.dtype
            layer = self._start(state, batch, x)
            x, target = (x.to(layer.dtype) for x in (x, target))
            y, layer = self._layer_in_chunks(key=x, value=self.learning_rate * target, erase=self.learning_rate * x, query=x, memory=layer)
            return y.to(dtype), layer

    def _layer_in_chunks(self, key: Tensor, value: Tensor, erase: Tensor, query: Tensor, memory: Tensor) -> tuple[Tensor, Tensor]:
        """memory_t = memory_{t-1} + write_t key_t^T with write_t = value_t - memory_{t-1} erase_t, chunk by chunk.

        Streams are (batch, time, *axes, size), a scalar one with size 1.
        Inside a chunk the writes read one another:
            write_t + sum over s < t of (erase_t . key_s) write_s = value_t - memory erase_t
        """
        leading, memory = memory.shape[:-2], memory.flatten(0, -3)
        chunks = zip(*(_pieces(x, self.chunk) for x in (key, value, erase, query)), strict=True)
        reads = []
        for key, value, erase, query in chunks:
            write = _solve(erase @ key.mT, torch.baddbmm(value, erase, memory.mT, alpha=-1))
            read = query @ memory.mT
            attention = (query @ key.mT).tril(-1)
            read = torch.baddbmm(read, attention, write)
            reads.append(read)
            memory = torch.baddbmm(memory, write.mT, key)
        return _joined(reads, leading), memory.view(*leading, *memory.shape[1:])

    def forward_by_token(self, *, x: Tensor, target: Tensor, state: Tensor | None = None) -> tuple[Tensor, Tensor]:
        """The laws, one token at a time: slow, and what `forward` must equal."""
        batch = x.shape[0]
        state = self._start(state, batch, x)
        outputs = [x.new_empty(batch, 0, self.d_out)]
        for t in range(x.shape[1]):
            y, state = self.step(x=x[:, t], target=target[:, t], state=state)
            outputs.append(y.unsqueeze(1))
        return torch.cat(outputs, 1), state

    def step(self, *, x: Tensor, target: Tensor, state: Tensor) -> tuple[Tensor, Tensor]:
        """One token, for decoding: the laws as they stand; inputs without their time dim."""
        with _full_precision(x):
            dtype = x.dtype
            x, target = (x.to(state.dtype) for x in (x, target))
            prediction = (state @ x[..., None]).squeeze(-1)
            error = prediction - target
            gradient = error[..., None] * x[..., None, :]
            layer = state - self.learning_rate * gradient
            return prediction.to(dtype), layer

    def _start(self, state: Tensor | None, batch: int, like: Tensor) -> Tensor:
        """The state to start from, never narrower than zeros would be."""
        zeros = self.initial_state(batch, like=like)
        return zeros if state is None else state.to(torch.promote_types(state.dtype, zeros.dtype))


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


def _managed(module: Any, streams: dict[str, Tensor], state: Tensor | None) -> tuple[Tensor, Tensor]:
    """`forward` in pieces that the backward computes anew, and watched for what is not finite, as the module was made."""
    plain = copy.copy(module)
    plain.nonfinite, plain.checkpoint = "propagate", None
    outputs, last = _in_pieces(plain, streams, state, module.checkpoint) if module.checkpoint else plain.forward(**streams, state=state)
    if module.nonfinite == "propagate" or all(bool(x.isfinite().all()) for x in (*streams.values(), outputs, last)):
        return outputs, last
    return _watched(plain, streams, state, module.nonfinite)


def _in_pieces(module: Any, streams: dict[str, Tensor], state: Tensor | None, tokens: int) -> tuple[Tensor, Tensor]:
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


def _watched(module: Any, streams: dict[str, Tensor], state: Tensor | None, policy: str) -> tuple[Tensor, Tensor]:
    """Token by token: one by which something is not finite stops the sequence, or is passed over in its rows of the batch."""
    pieces, (_, last) = [], module.forward(**{name: x[:, :0] for name, x in streams.items()}, state=state)
    for t in range(streams["x"].shape[1]):
        token = {name: x[:, t : t + 1] for name, x in streams.items()}
        with torch.no_grad():
            outputs, after = module.forward(**token, state=last)
        seen = {**token, "y": outputs, "layer": after}
        rows = {name: ~x.reshape(len(x), -1).isfinite().all(1) for name, x in seen.items() if x.dim()}
        lost = torch.stack(list(rows.values())).any(0)
        if policy == "raise" and bool(lost.any()):
            names = ", ".join(name for name, row in rows.items() if bool(row.any()))
            raise FloatingPointError(f"not finite at token {t}, row {int(lost.nonzero()[0])} of the batch: {names}")
        outputs, after = module.forward(**{name: _chosen(lost, x) for name, x in token.items()}, state=last)
        pieces.append(_chosen(lost, outputs))
        last = _chosen(lost, after, last)
    return torch.cat(pieces, 1), last


def _chosen(lost: Tensor, x: Tensor, instead: Tensor | float = 0.0) -> Tensor:
    """x, (batch, ...), but for the rows that are lost."""
    return torch.where(lost.reshape(-1, *[1] * (x.dim() - 1)), instead, x)


# sealed by nlc, sha256 of everything above: e3eb9d8200b2ba61f2d311ee27bbb2d7885ee8eedc48da93121d412e478551d5
