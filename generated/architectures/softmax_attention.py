"""SoftmaxAttention, compiled from its description.

Attention keeps nothing that it learned: for every query it solves anew for the vector nearest to all values, each of them weighed by how
well its key matches the query.

Compiled by nlc from specs/architectures/softmax_attention.yaml. Edit the spec, not this file.
sha256 of the spec: b9da67a46b7a912b6766c47cf392a2d960ebb7f3eecd629b6d6394f6d35dfd19

Levels, fastest first (Nested Learning, Definition 2)
    rank  components  every   paper's number (slowest highest / slowest first)
    0     attention   always  1 / 1

Timetable
    every always  attention

Laws, per token; prev is the state before
    score        = dot(k, now(q)) / sqrt(d_k)
                   objective exp(dot(k, now(q)) / sqrt(d_k)) * norm2(v - attention), what exp is taken of; nl:eq-62
    weight       = softmax(score, over = window)   exp of the scores over their sum; nl:eq-62
    attention    = sum(weight * v, over = window)  the minimiser, where the derivative by it is zero; nl:eq-63
    y            = attention                       read after the write
    attention.k  = k                               kept: a window of all tokens
    attention.v  = v                               kept: a window of all tokens

Form
    attention: scaled dot-product attention (nl:eq-63)
        It is solved anew for every query, from the data of all tokens so far (Solved).
        Its weights are a softmax of scaled dot products, for which torch has a kernel.
"""

import copy
import math
from typing import Any

import torch
from torch import Tensor, nn
from torch.utils.checkpoint import checkpoint

__all__ = ["SoftmaxAttention"]


class SoftmaxAttention(nn.Module):
    """SoftmaxAttention, a memory over a sequence.

    Attention keeps nothing that it learned: for every query it solves anew for the vector nearest to all values, each of them
    weighed by how well its key matches the query.

    Inputs, by keyword, in any float dtype:
        q  (batch, time, heads, d_k)
        k  (batch, time, heads, d_k)
        v  (batch, time, heads, d_v)
    State, kept in float32 or wider (a dict by name; None starts from zeros):
        attention.k  (batch, tokens, heads, d_k), of all tokens so far
        attention.v  (batch, tokens, heads, d_v), of all tokens so far
    Returns the outputs (the tensor itself) and the state after the last token:
        y  (batch, time, heads, d_v)
    Under torch.compile every new length compiles anew.
    `nonfinite` says what to do at a token with numbers that are not finite: "raise" or "propagate" (no "skip": tokens are counted or kept).
    `checkpoint`, in tokens: the backward keeps the states between pieces of so many tokens, and computes the rest anew.
    """

    def __init__(self, d_k: int = 64, d_v: int = 64, nonfinite: str = "propagate", checkpoint: int | None = None) -> None:
        super().__init__()
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
            "attention.k": like.new_zeros(batch, 0, heads, self.d_k, dtype=dtype),
            "attention.v": like.new_zeros(batch, 0, heads, self.d_v, dtype=dtype),
        }

    def forward(self, *, q: Tensor, k: Tensor, v: Tensor, state: dict[str, Tensor] | None = None) -> tuple[Tensor, dict[str, Tensor]]:
        """The whole sequence at once: equal to `forward_by_token`."""
        if self.checkpoint is not None or self.nonfinite != "propagate":
            return _managed(self, {"q": q, "k": k, "v": v}, state)
        batch, _, heads = q.shape[:3]
        with _full_precision(q):
            dtype = q.dtype
            start = self._start(state, batch, heads, q)
            q, k, v = (x.to(start["attention.k"].dtype) for x in (q, k, v))
            k_window = torch.cat((start["attention.k"], k), 1)
            v_window = torch.cat((start["attention.v"], v), 1)
            y = _attention(q, k_window, v_window, scale=1 / math.sqrt(self.d_k))
            return y.to(dtype), {"attention.k": k_window, "attention.v": v_window}

    def forward_by_token(
        self, *, q: Tensor, k: Tensor, v: Tensor, state: dict[str, Tensor] | None = None
    ) -> tuple[Tensor, dict[str, Tensor]]:
        """The laws, one token at a time: slow, and what `forward` must equal."""
        batch, _, heads = q.shape[:3]
        state = self._start(state, batch, heads, q)
        outputs = [q.new_empty(batch, 0, heads, self.d_v)]
        for t in range(q.shape[1]):
            y, state = self.step(q=q[:, t], k=k[:, t], v=v[:, t], state=state)
            outputs.append(y.unsqueeze(1))
        return torch.cat(outputs, 1), state

    def step(self, *, q: Tensor, k: Tensor, v: Tensor, state: dict[str, Tensor]) -> tuple[Tensor, dict[str, Tensor]]:
        """One token, for decoding: the laws as they stand; inputs without their time dim."""
        with _full_precision(q):
            dtype = q.dtype
            q, k, v = (x.to(state["attention.k"].dtype) for x in (q, k, v))
            k_window = torch.cat((state["attention.k"], k.unsqueeze(1)), 1)
            v_window = torch.cat((state["attention.v"], v.unsqueeze(1)), 1)
            score = (k_window * q.unsqueeze(1)).sum(-1) / math.sqrt(self.d_k)
            weight = score.softmax(1)
            attention = (weight[..., None] * v_window).sum(1)
            y = attention
            return y.to(dtype), {"attention.k": k_window, "attention.v": v_window}

    def _start(self, state: dict[str, Tensor] | None, batch: int, heads: int, like: Tensor) -> dict[str, Tensor]:
        """The state to start from, never narrower than zeros would be."""
        zeros = self.initial_state(batch, heads, like=like)
        if state is None:
            return zeros
        return {name: state[name].to(torch.promote_types(state[name].dtype, zero.dtype)) for name, zero in zeros.items()}


def _full_precision(x: Tensor) -> torch.autocast:
    """No autocast inside: the state keeps its precision."""
    return torch.autocast("cpu" if x.is_meta else x.device.type, enabled=False)


def _attention(query: Tensor, key: Tensor, value: Tensor, scale: float) -> Tensor:
    """The mean of the values, weighed by a softmax of scale * (key . query), up to each query's own token: (batch, time, *axes, size).

    The last key belongs to the last query; keys may begin earlier.
    """
    seen = None if key.shape[1] == query.shape[1] else _ages(query.shape[1], key.shape[1], query) >= 0
    query, key, value = (x.transpose(1, 2) for x in (query, key, value))
    read = nn.functional.scaled_dot_product_attention(query, key, value, seen, is_causal=seen is None, scale=scale)
    return read.transpose(1, 2)


def _ages(queries: int, data: int, like: Tensor) -> Tensor:
    """How many tokens older each datum is than each query, (queries, data): the last datum is the last query's own, age 0."""
    places = torch.arange(data, dtype=like.dtype, device=like.device)
    return places[data - queries :, None] - places


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


# sealed by nlc, sha256 of everything above: 5ef0451c0dda330b11d71c34b5da6834fbe4980bbfed1459653a25e33a3eb13b
