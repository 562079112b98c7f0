"""Memora, compiled from its description.

A network of two layers inside a residual, whose weights stay positive with a fixed sum; they are multiplied by what the gradients say,
after a power of the old ones, which is a mirror step by entropy.

Compiled by nlc from specs/architectures/memora.yaml. Edit the spec, not this file.
sha256 of the spec: a70c432c55b939f33f11bd24d35860351614c29e51cbc9f879a7924170e6ab0f

Levels, fastest first (Nested Learning, Definition 2)
    rank  components   every  paper's number (slowest highest / slowest first)
    0     memory.dual  token  1 / 2
    1     memory       token  2 / 1

Timetable
    every token  memory.dual, memory

Laws, per token; prev is the state before
    layer              = prev(memory.W1.held_16) @ k                                     into gelu
    activation         = gelu(layer)                                                     out of gelu
    error              = k + prev(memory.W2.held_16) @ activation - v
                         objective 0.5 * norm2(k + memory.W2 @ gelu(memory.W1 @ k) - v)
    slope              = normal_cdf(layer) + layer * normal_density(layer)               derivative of gelu
    local_surprise     = transpose(prev(memory.W2.held_16)) @ error * slope              gradient by layer; calculus
    gradient_W1        = outer(local_surprise, k)                                        adjoint of the error; calculus
    gradient_W2        = outer(error, activation)                                        adjoint of the error; calculus
    dual.W1            = retention * prev(memory.dual.W1) - learning_rate * gradient_W1  explicit gradient step; miras
    dual.W2            = retention * prev(memory.dual.W2) - learning_rate * gradient_W2  explicit gradient step; miras
    memory.W1          = d * exp(memory.dual.W1) / (sum(exp(memory.dual.W1)) + sum(exp(memory.dual.W2)))
                         the minimiser, where the derivative by it is zero; miras
    memory.W2          = d * exp(memory.dual.W2) / (sum(exp(memory.dual.W1)) + sum(exp(memory.dual.W2)))
                         the minimiser, where the derivative by it is zero; miras
    y                  = q + memory.W2 @ gelu(memory.W1 @ q)                             read after the write
    memory.W1.held_16  = where(due(16 tokens), memory.W1, prev(memory.W1.held_16))       kept: read by hold(memory, 16 tokens)
    memory.W2.held_16  = where(due(16 tokens), memory.W2, prev(memory.W2.held_16))       kept: read by hold(memory, 16 tokens)
    position           = prev(position) + 1                                              kept: the tokens so far

Form
    memory.dual and memory: recurrence
        The new memory.W1 reads exp(retention * prev(memory.dual.W1) - learning_rate * outer(transpose(prev(memory.W2.held_16)) @ (k +
        prev(memory.W2.held_16) @ gelu(prev(memory.W1.held_16) @ k) - v) * (normal_cdf(prev(memory.W1.held_16) @ k) +
        prev(memory.W1.held_16) @ k * normal_density(prev(memory.W1.held_16) @ k)), k)), which is not affine in the old memory.dual.W1,
        memory.dual.W2, memory.W1 and memory.W2 (Nonlinear).
        No parallel form of the table fits, so the law runs token by token.
"""

import copy
import math
from typing import Any

import torch
from torch import Tensor, nn
from torch.utils.checkpoint import checkpoint

__all__ = ["Memora"]


class Memora(nn.Module):
    """Memora, a memory over a sequence.

    A network of two layers inside a residual, whose weights stay positive with a fixed sum; they are multiplied by what the
    gradients say, after a power of the old ones, which is a mirror step by entropy.

    Inputs, by keyword, in any float dtype:
        q              (batch, time, heads, d)
        k              (batch, time, heads, d)
        v              (batch, time, heads, d)
        learning_rate  (batch, time, heads)
        retention      (batch, time, heads)
    State, kept in float32 or wider (a dict by name; None starts from zeros):
        memory.dual.W1, memory.W1, memory.W1.held_16  (batch, heads, 4 * d, d)
        memory.dual.W2, memory.W2, memory.W2.held_16  (batch, heads, d, 4 * d)
        position  (), int64: how many tokens came before
    Returns the outputs (the tensor itself) and the state after the last token:
        y  (batch, time, heads, d)
    Under torch.compile the loop over tokens is unrolled: compile `step` instead.
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
            "memory.dual.W1": like.new_zeros(batch, heads, 4 * self.d, self.d, dtype=dtype),
            "memory.dual.W2": like.new_zeros(batch, heads, self.d, 4 * self.d, dtype=dtype),
            "memory.W1": like.new_zeros(batch, heads, 4 * self.d, self.d, dtype=dtype),
            "memory.W2": like.new_zeros(batch, heads, self.d, 4 * self.d, dtype=dtype),
            "memory.W1.held_16": like.new_zeros(batch, heads, 4 * self.d, self.d, dtype=dtype),
            "memory.W2.held_16": like.new_zeros(batch, heads, self.d, 4 * self.d, dtype=dtype),
            "position": like.new_zeros((), dtype=torch.int64),
        }

    def forward(
        self, *, q: Tensor, k: Tensor, v: Tensor, learning_rate: Tensor, retention: Tensor, state: dict[str, Tensor] | None = None
    ) -> tuple[Tensor, dict[str, Tensor]]:
        """The whole sequence, token by token: no parallel form is known for these laws."""
        if self.checkpoint is not None or self.nonfinite != "propagate":
            return _managed(self, {"q": q, "k": k, "v": v, "learning_rate": learning_rate, "retention": retention}, state)
        return self.forward_by_token(q=q, k=k, v=v, learning_rate=learning_rate, retention=retention, state=state)

    def forward_by_token(
        self, *, q: Tensor, k: Tensor, v: Tensor, learning_rate: Tensor, retention: Tensor, state: dict[str, Tensor] | None = None
    ) -> tuple[Tensor, dict[str, Tensor]]:
        """The laws, one token at a time: slow, and what `forward` must equal."""
        batch, _, heads = q.shape[:3]
        state = self._start(state, batch, heads, q)
        outputs = [q.new_empty(batch, 0, heads, self.d)]
        for t in range(q.shape[1]):
            y, state = self.step(q=q[:, t], k=k[:, t], v=v[:, t], learning_rate=learning_rate[:, t], retention=retention[:, t], state=state)
            outputs.append(y.unsqueeze(1))
        return torch.cat(outputs, 1), state

    def step(
        self, *, q: Tensor, k: Tensor, v: Tensor, learning_rate: Tensor, retention: Tensor, state: dict[str, Tensor]
    ) -> tuple[Tensor, dict[str, Tensor]]:
        """One token, for decoding: the laws as they stand; inputs without their time dim."""
        with _full_precision(q):
            dtype = q.dtype
            q, k, v, learning_rate, retention = (x.to(state["memory.dual.W1"].dtype) for x in (q, k, v, learning_rate, retention))
            position = state["position"] + 1
            due = position % 16 == 0
            layer = (state["memory.W1.held_16"] @ k[..., None]).squeeze(-1)
            activation = torch.nn.functional.gelu(layer)
            error = k + (state["memory.W2.held_16"] @ activation[..., None]).squeeze(-1) - v
            slope = torch.special.ndtr(layer) + layer * (torch.exp(-layer.square() / 2) / math.sqrt(2 * math.pi))
            local_surprise = (state["memory.W2.held_16"].mT @ error[..., None]).squeeze(-1) * slope
            gradient_W1 = local_surprise[..., None] * k[..., None, :]
            gradient_W2 = error[..., None] * activation[..., None, :]
            dual_W1 = retention[..., None, None] * state["memory.dual.W1"] - learning_rate[..., None, None] * gradient_W1
            dual_W2 = retention[..., None, None] * state["memory.dual.W2"] - learning_rate[..., None, None] * gradient_W2
            dual_W1_exp = dual_W1.exp()
            dual_W2_exp = dual_W2.exp()
            dual_total = dual_W1_exp.sum((-2, -1)) + dual_W2_exp.sum((-2, -1))
            memory_W1 = self.d * dual_W1_exp / dual_total[..., None, None]
            memory_W2 = self.d * dual_W2_exp / dual_total[..., None, None]
            y_hidden = torch.nn.functional.gelu((memory_W1 @ q[..., None]).squeeze(-1))
            y = q + (memory_W2 @ y_hidden[..., None]).squeeze(-1)
            state = {
                "memory.dual.W1": dual_W1,
                "memory.dual.W2": dual_W2,
                "memory.W1": memory_W1,
                "memory.W2": memory_W2,
                "memory.W1.held_16": torch.where(due, memory_W1, state["memory.W1.held_16"]),
                "memory.W2.held_16": torch.where(due, memory_W2, state["memory.W2.held_16"]),
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


# sealed by nlc, sha256 of everything above: 877ea331600676ffcf3864f5f2275712166c93d387a2c017a851048ef5dab215
