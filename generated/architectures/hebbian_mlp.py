"""HebbianMlp, compiled from its description.

A network of two layers that fits each value to its key by similarity alone, one gradient step per token through both layers.

Compiled by nlc from specs/architectures/hebbian_mlp.yaml. Edit the spec, not this file.
sha256 of the spec: ef0cf8f27889600b9284ac647ed745f90475ac115b7f861108b0eb67a3c63245

Levels, fastest first (Nested Learning, Definition 2)
    rank  components  every  paper's number (slowest highest / slowest first)
    0     memory      token  1 / 1

Timetable
    every token  memory

Laws, per token; prev is the state before
    layer           = prev(memory.W1) @ k                                into gelu
    activation      = gelu(layer)                                        out of gelu
    slope           = normal_cdf(layer) + layer * normal_density(layer)  derivative of gelu
    local_surprise  = -transpose(prev(memory.W2)) @ v * slope
                      objective -dot(memory.W2 @ gelu(memory.W1 @ k), v), by layer; calculus
    gradient_W1     = outer(local_surprise, k)                           adjoint of apply; calculus
    gradient_W2     = -outer(v, activation)                              adjoint of apply; calculus
    memory.W1       = alpha * prev(memory.W1) - beta * gradient_W1       explicit gradient step; nl:definition-1; miras
    memory.W2       = alpha * prev(memory.W2) - beta * gradient_W2       explicit gradient step; nl:definition-1; miras
    y               = memory.W2 @ gelu(memory.W1 @ q)                    read after the write

Form
    memory: recurrence
        The new W1 reads normal_cdf(prev(memory.W1) @ k), which is not affine in the old W1 and W2 (Nonlinear).
        No parallel form of the table fits, so the law runs token by token.
"""

import copy
import math
from typing import Any

import torch
from torch import Tensor, nn
from torch.utils.checkpoint import checkpoint

__all__ = ["HebbianMlp"]


class HebbianMlp(nn.Module):
    """A network of two layers that fits each value to its key by similarity alone, one gradient step per token through both layers.

    Inputs, by keyword, in any float dtype:
        q      (batch, time, heads, d_k)
        k      (batch, time, heads, d_k)
        v      (batch, time, heads, d_v)
        alpha  (batch, time, heads)
        beta   (batch, time, heads)
    State, kept in float32 or wider (a dict by name; None starts from zeros):
        memory.W1  (batch, heads, d_hidden, d_k)
        memory.W2  (batch, heads, d_v, d_hidden)
    Returns the outputs (the tensor itself) and the state after the last token:
        y  (batch, time, heads, d_v)
    Under torch.compile the loop over tokens is unrolled: compile `step` instead.
    `nonfinite` says what to do at a token with numbers that are not finite: "raise", "skip" (its row of the batch) or "propagate".
    `checkpoint`, in tokens: the backward keeps the states between pieces of so many tokens, and computes the rest anew.
    """

    def __init__(
        self, d_k: int = 64, d_v: int = 64, d_hidden: int = 128, nonfinite: str = "propagate", checkpoint: int | None = None
    ) -> None:
        super().__init__()
        if nonfinite not in ("raise", "skip", "propagate"):
            raise ValueError(f'nonfinite must be "raise", "skip" or "propagate", not {nonfinite!r}')
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
        return {
            "memory.W1": like.new_zeros(batch, heads, self.d_hidden, self.d_k, dtype=dtype),
            "memory.W2": like.new_zeros(batch, heads, self.d_v, self.d_hidden, dtype=dtype),
        }

    def forward(
        self, *, q: Tensor, k: Tensor, v: Tensor, alpha: Tensor, beta: Tensor, state: dict[str, Tensor] | None = None
    ) -> tuple[Tensor, dict[str, Tensor]]:
        """The whole sequence, token by token: no parallel form is known for these laws."""
        if self.checkpoint is not None or self.nonfinite != "propagate":
            return _managed(self, {"q": q, "k": k, "v": v, "alpha": alpha, "beta": beta}, state)
        return self.forward_by_token(q=q, k=k, v=v, alpha=alpha, beta=beta, state=state)

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
            layer = (state["memory.W1"] @ k[..., None]).squeeze(-1)
            activation = torch.nn.functional.gelu(layer)
            slope = torch.special.ndtr(layer) + layer * (torch.exp(-layer.square() / 2) / math.sqrt(2 * math.pi))
            local_surprise = -(state["memory.W2"].mT @ v[..., None]).squeeze(-1) * slope
            gradient_W1 = local_surprise[..., None] * k[..., None, :]
            gradient_W2 = -v[..., None] * activation[..., None, :]
            memory_W1 = alpha[..., None, None] * state["memory.W1"] - beta[..., None, None] * gradient_W1
            memory_W2 = alpha[..., None, None] * state["memory.W2"] - beta[..., None, None] * gradient_W2
            y_hidden = torch.nn.functional.gelu((memory_W1 @ q[..., None]).squeeze(-1))
            y = (memory_W2 @ y_hidden[..., None]).squeeze(-1)
            return y.to(dtype), {"memory.W1": memory_W1, "memory.W2": memory_W2}

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


# sealed by nlc, sha256 of everything above: 561f039ee4a9f5ab1e2f852d5387692a331218ab9f8a1367e12327e1b882477f
