"""SoftmaxAttentionLayer, compiled from its description.

Softmax attention between projections that a training loop moves, with rotary positions: a level of infinite frequency above slow ones.

Compiled by nlc from specs/architectures/softmax_attention_layer.yaml. Edit the spec, not this file.
sha256 of the spec: 1556d0b64c827ddf2cdb474b7e22e2cac2d335bd1eaf13ed97bf53883fc076d7

Levels, fastest first (Nested Learning, Definition 2)
    rank  components                                    every   paper's number (slowest highest / slowest first)
    0     attention                                     always  1 / 2
    1     project_k, project_out, project_q, project_v  step    2 / 1

Timetable
    every always  attention
    every step    project_k, project_out, project_q, project_v

Laws, per token; prev is the state before
    v            = split(project_v @ x, heads)             abbreviation
    q            = rotary(split(project_q @ x, heads))     abbreviation
    k            = rotary(split(project_k @ x, heads))     abbreviation
    score        = dot(k, now(q)) / sqrt(d_model / heads)
                   objective exp(dot(k, now(q)) / sqrt(d_model / heads)) * norm2(v - attention), what exp is taken of; nl:eq-62
    weight       = softmax(score, over = window)           exp of the scores over their sum; nl:eq-62
    attention    = sum(weight * v, over = window)          the minimiser, where the derivative by it is zero; nl:eq-63
    y            = project_out @ join(attention, heads)    read after the write
    attention.k  = k                                       kept: a window of all tokens
    attention.v  = v                                       kept: a window of all tokens
    position     = prev(position) + 1                      kept: the tokens so far

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

__all__ = ["SoftmaxAttentionLayer"]


class SoftmaxAttentionLayer(nn.Module):
    """SoftmaxAttentionLayer, a memory over a sequence.

    Softmax attention between projections that a training loop moves, with rotary positions: a level of infinite frequency above
    slow ones.

    Inputs, by keyword, in any float dtype:
        x  (batch, time, d_model)
    State, kept in float32 or wider (a dict by name; None starts from zeros):
        attention.k, attention.v  (batch, tokens, heads, d_model / heads), of all tokens so far
        position  (), int64: how many tokens came before
    Returns the outputs (the tensor itself) and the state after the last token:
        y  (batch, time, d_model)
    Under torch.compile every new length compiles anew.
    `nonfinite` says what to do at a token with numbers that are not finite: "raise" or "propagate" (no "skip": tokens are counted or kept).
    `checkpoint`, in tokens: the backward keeps the states between pieces of so many tokens, and computes the rest anew.
    """

    def __init__(self, d_model: int = 256, heads: int = 4, nonfinite: str = "propagate", checkpoint: int | None = None) -> None:
        super().__init__()
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
        self.reset_parameters()

    def reset_parameters(self) -> None:
        """The slow levels as training finds them."""
        for weight in (self.project_q, self.project_k, self.project_v, self.project_out):
            nn.init.uniform_(weight, -(self.d_model**-0.5), self.d_model**-0.5)

    def initial_state(self, batch: int, heads: int, *, like: Tensor) -> dict[str, Tensor]:
        """Zeros on the device of `like`, in its dtype or float32, whichever is wider."""
        dtype = torch.promote_types(like.dtype, torch.float32)
        return {
            "attention.k": like.new_zeros(batch, 0, heads, self.d_head, dtype=dtype),
            "attention.v": like.new_zeros(batch, 0, heads, self.d_head, dtype=dtype),
            "position": like.new_zeros((), dtype=torch.int64),
        }

    def forward(self, *, x: Tensor, state: dict[str, Tensor] | None = None) -> tuple[Tensor, dict[str, Tensor]]:
        """The whole sequence at once: equal to `forward_by_token`."""
        if self.checkpoint is not None or self.nonfinite != "propagate":
            return _managed(self, {"x": x}, state)
        batch = x.shape[0]
        heads = self.heads
        with _full_precision(x):
            dtype = x.dtype
            start = self._start(state, batch, heads, x)
            x = x.to(start["attention.k"].dtype)
            wide = start["attention.k"].dtype
            project_q, project_k, project_v = (weight.to(wide) for weight in (self.project_q, self.project_k, self.project_v))
            project_out = self.project_out.to(wide)
            place = (start["position"] + torch.arange(x.shape[1], device=x.device)).to(x.dtype)[:, None]
            v = torch.unflatten(x @ project_v.mT, -1, (self.heads, -1))
            q = _rotary(torch.unflatten(x @ project_q.mT, -1, (self.heads, -1)), place, 10000)
            k = _rotary(torch.unflatten(x @ project_k.mT, -1, (self.heads, -1)), place, 10000)
            k_window = torch.cat((start["attention.k"], k), 1)
            v_window = torch.cat((start["attention.v"], v), 1)
            attention_read = _attention(q, k_window, v_window, scale=1 / math.sqrt(self.d_head))
            y = attention_read.flatten(-2) @ project_out.mT
            return y.to(dtype), {"attention.k": k_window, "attention.v": v_window, "position": start["position"] + x.shape[1]}

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
            x = x.to(state["attention.k"].dtype)
            wide = state["attention.k"].dtype
            project_q, project_k, project_v = (weight.to(wide) for weight in (self.project_q, self.project_k, self.project_v))
            project_out = self.project_out.to(wide)
            position = state["position"] + 1
            place = (position - 1).to(state["attention.k"].dtype)
            v = torch.unflatten(x @ project_v.mT, -1, (self.heads, -1))
            q = _rotary(torch.unflatten(x @ project_q.mT, -1, (self.heads, -1)), place, 10000)
            k = _rotary(torch.unflatten(x @ project_k.mT, -1, (self.heads, -1)), place, 10000)
            k_window = torch.cat((state["attention.k"], k.unsqueeze(1)), 1)
            v_window = torch.cat((state["attention.v"], v.unsqueeze(1)), 1)
            score = (k_window * q.unsqueeze(1)).sum(-1) / math.sqrt(self.d_head)
            weight = score.softmax(1)
            attention = (weight[..., None] * v_window).sum(1)
            y = attention.flatten(-2) @ project_out.mT
            return y.to(dtype), {"attention.k": k_window, "attention.v": v_window, "position": position}

    def _start(self, state: dict[str, Tensor] | None, batch: int, heads: int, like: Tensor) -> dict[str, Tensor]:
        """The state to start from, never narrower than zeros would be."""
        zeros = self.initial_state(batch, heads, like=like)
        if state is None:
            return zeros
        return {name: state[name].to(torch.promote_types(state[name].dtype, zero.dtype)) for name, zero in zeros.items()}


def _full_precision(x: Tensor) -> torch.autocast:
    """No autocast inside: the state keeps its precision."""
    return torch.autocast("cpu" if x.is_meta else x.device.type, enabled=False)


def _rotary(x: Tensor, place: Tensor, base: int) -> Tensor:
    """Entries j and j + half of x, (..., size), turned in pairs by place / base ** (j / half); the last of an odd number stays."""
    half = x.shape[-1] // 2
    angle = place[..., None] / base ** (torch.arange(half, dtype=x.dtype, device=x.device) / half)
    left, right, last = torch.split(x, [half, half, x.shape[-1] - 2 * half], -1)
    return torch.cat((left * angle.cos() - right * angle.sin(), left * angle.sin() + right * angle.cos(), last), -1)


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


# sealed by nlc, sha256 of everything above: f065adb2d556bd77adee9fad053732c04f696affefc60e36aadb503639f5275e
