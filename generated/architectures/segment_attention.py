"""SegmentAttention, compiled from its description.

Attention in segments, before each of which stand the same persistent pairs, which training finds: a query sees those, and the tokens of its
own segment so far.

Compiled by nlc from specs/architectures/segment_attention.yaml. Edit the spec, not this file.
sha256 of the spec: afdfa9591b86f7e723375ff5d1f0bda2044e157b7be35fd9fe9ae3959132a331

Levels, fastest first (Nested Learning, Definition 2)
    rank  components                  every   paper's number (slowest highest / slowest first)
    0     attention                   always  1 / 2
    1     persistent_k, persistent_v  step    2 / 1

Timetable
    every always  attention
    every step    persistent_k, persistent_v

Laws, per token; prev is the state before
    score_v             = dot(k, now(q)) / sqrt(d_k)
                          the objective's exp of it weighs the distance to v; nl:eq-62
    score_persistent_v  = persistent_k @ now(q) / sqrt(d_k)
                          the objective's exp of it weighs the distance to persistent_v; nl:eq-62
    attention           = sum(softmax(score_v, score_persistent_v) * (v, persistent_v), over = window)
                          the minimiser, where the derivative by it is zero; nl:eq-63; titans
    y                   = attention                                                                     read after the write
    attention.k         = k
                          kept: a window of the tokens since the last 64 were full
    attention.v         = v
                          kept: a window of the tokens since the last 64 were full
    position            = prev(position) + 1                                                            kept: the tokens so far

Form
    attention: scaled dot-product attention (nl:eq-63)
        It is solved anew for every query, from the data of the tokens since the last 64 were full (Solved).
        Its weights are a softmax of scaled dot products, for which torch has a kernel.
"""

import copy
import math
from typing import Any

import torch
from torch import Tensor, nn
from torch.utils.checkpoint import checkpoint

__all__ = ["SegmentAttention"]


class SegmentAttention(nn.Module):
    """SegmentAttention, a memory over a sequence.

    Attention in segments, before each of which stand the same persistent pairs, which training finds: a query sees those, and the
    tokens of its own segment so far.

    Inputs, by keyword, in any float dtype:
        q  (batch, time, heads, d_k)
        k  (batch, time, heads, d_k)
        v  (batch, time, heads, d_v)
    State, kept in float32 or wider (a dict by name; None starts from zeros):
        attention.k  (batch, 63, heads, d_k), of the last 63, those that there were
        attention.v  (batch, 63, heads, d_v), of the last 63, those that there were
        position  (), int64: how many tokens came before
    Returns the outputs (the tensor itself) and the state after the last token:
        y  (batch, time, heads, d_v)
    Under torch.compile every new length compiles anew.
    `nonfinite` says what to do at a token with numbers that are not finite: "raise" or "propagate" (no "skip": tokens are counted or kept).
    `checkpoint`, in tokens: the backward keeps the states between pieces of so many tokens, and computes the rest anew.
    """

    def __init__(
        self, d_k: int = 64, d_v: int = 64, persistent: int = 4, nonfinite: str = "propagate", checkpoint: int | None = None
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
        self.persistent = persistent
        self.persistent_k = nn.Parameter(torch.empty(self.persistent, self.d_k))
        self.persistent_v = nn.Parameter(torch.empty(self.persistent, self.d_v))
        self.reset_parameters()

    def reset_parameters(self) -> None:
        """The slow levels as training finds them."""
        nn.init.uniform_(self.persistent_k, -(self.d_k**-0.5), self.d_k**-0.5)
        nn.init.uniform_(self.persistent_v, -(self.d_v**-0.5), self.d_v**-0.5)

    def initial_state(self, batch: int, heads: int, *, like: Tensor) -> dict[str, Tensor]:
        """Zeros on the device of `like`, in its dtype or float32, whichever is wider."""
        dtype = torch.promote_types(like.dtype, torch.float32)
        return {
            "attention.k": like.new_zeros(batch, 63, heads, self.d_k, dtype=dtype),
            "attention.v": like.new_zeros(batch, 63, heads, self.d_v, dtype=dtype),
            "position": like.new_zeros((), dtype=torch.int64),
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
            persistent_k, persistent_v = (weight.to(start["attention.k"].dtype) for weight in (self.persistent_k, self.persistent_v))
            k_window = torch.cat((start["attention.k"], k), 1)
            v_window = torch.cat((start["attention.v"], v), 1)
            before = 0 if start["position"].is_meta else int(start["position"]) % 64
            y_in_segments = _joint_attention(
                _in_segments(q, 64, before),
                [_in_segments(k_window[:, 63 - before :], 64)],
                [_in_segments(v_window[:, 63 - before :], 64)],
                [persistent_k],
                [persistent_v],
                scale=1 / math.sqrt(self.d_k),
            )
            y = _out_of_segments(y_in_segments, batch, before, q.shape[1])
            state = {
                "attention.k": k_window[:, q.shape[1] :],
                "attention.v": v_window[:, q.shape[1] :],
                "position": start["position"] + q.shape[1],
            }
            return y.to(dtype), state

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
        _check_windows(state)
        with _full_precision(q):
            dtype = q.dtype
            q, k, v = (x.to(state["attention.k"].dtype) for x in (q, k, v))
            persistent_k, persistent_v = (weight.to(state["attention.k"].dtype) for weight in (self.persistent_k, self.persistent_v))
            position = state["position"] + 1
            k_window = torch.cat((state["attention.k"], k.unsqueeze(1)), 1)
            v_window = torch.cat((state["attention.v"], v.unsqueeze(1)), 1)
            age = torch.arange(k_window.shape[1] - 1, -1, -1, dtype=k_window.dtype, device=k_window.device)[None, :, None]
            there = age < (position - 1) % 64 + 1
            score_v = (k_window * q.unsqueeze(1)).sum(-1) / math.sqrt(self.d_k)
            score_persistent_v = q.unsqueeze(1) @ persistent_k.mT / math.sqrt(self.d_k)
            scores = score_v.masked_fill(~there, -torch.inf), score_persistent_v.transpose(1, -1).squeeze(-1)
            weight_v, weight_persistent_v = torch.split(torch.cat(scores, 1).softmax(1), [x.shape[1] for x in scores], 1)
            attention = (weight_v[..., None] * v_window).sum(1) + weight_persistent_v.movedim(1, -1) @ persistent_v
            y = attention
            return y.to(dtype), {"attention.k": k_window[:, 1:], "attention.v": v_window[:, 1:], "position": position}

    def _start(self, state: dict[str, Tensor] | None, batch: int, heads: int, like: Tensor) -> dict[str, Tensor]:
        """The state to start from, never narrower than zeros would be."""
        zeros = self.initial_state(batch, heads, like=like)
        if state is None:
            return zeros
        _check_windows(state)
        return {name: state[name].to(torch.promote_types(state[name].dtype, zero.dtype)) for name, zero in zeros.items()}


def _full_precision(x: Tensor) -> torch.autocast:
    """No autocast inside: the state keeps its precision."""
    return torch.autocast("cpu" if x.is_meta else x.device.type, enabled=False)


def _joint_attention(
    query: Tensor, keys: list[Tensor], values: list[Tensor], lasting_keys: list[Tensor], lasting_values: list[Tensor], scale: float
) -> Tensor:
    """As attention, over all pairs together: several a token, each (batch, time, *axes, size), and lasting ones, (count, size)."""
    seen = _ages(query.shape[1], keys[0].shape[1], query) >= 0
    seen = torch.cat((*(seen.new_ones(len(seen), len(key)) for key in lasting_keys), *(seen for _ in keys)), 1)
    query, *pairs = (x.transpose(1, 2) for x in (query, *keys, *values))
    key, value = (
        torch.cat((*(x.expand(*query.shape[:2], -1, -1) for x in lasting), *inside), 2)
        for lasting, inside in ((lasting_keys, pairs[: len(keys)]), (lasting_values, pairs[len(keys) :]))
    )
    read = nn.functional.scaled_dot_product_attention(query, key, value, seen, scale=scale)
    return read.transpose(1, 2)


def _in_segments(x: Tensor, segment: int, before: int = 0) -> Tensor:
    """(batch, time, ...) -> (batch * segments, segment, ...): zeros for tokens that came before in the first, and to fill the last."""
    filled = nn.functional.pad(x, (0, 0) * (x.dim() - 2) + (before, -(before + x.shape[1]) % segment))
    return torch.unflatten(filled, 1, (filled.shape[1] // segment, segment)).flatten(0, 1)


def _out_of_segments(x: Tensor, batch: int, before: int, time: int) -> Tensor:
    """(batch * segments, segment, ...) -> (batch, time, ...)."""
    return torch.unflatten(x, 0, (batch, -(-(before + time) // x.shape[1]))).flatten(1, 2)[:, before : before + time]


def _ages(queries: int, data: int, like: Tensor) -> Tensor:
    """How many tokens older each datum is than each query, (queries, data): the last datum is the last query's own, age 0."""
    places = torch.arange(data, dtype=like.dtype, device=like.device)
    return places[data - queries :, None] - places


def _check_windows(state: dict[str, Tensor]) -> None:
    """Raises ValueError where the state does not carry the tokens that the windows of this module look back to."""
    for level, name, dim, tokens in (("attention", "attention.k", 1, 63), ("attention", "attention.v", 1, 63)):
        carried = state[name].shape[dim] if name in state else 0
        if carried != tokens:
            here = f"{level} looks back {tokens} tokens from the first one here"
            raise ValueError(f"{here}, but the state carries {carried} in {name}")


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


# sealed by nlc, sha256 of everything above: d352ae30a04eb1cc06232f44172e0ed57da2a4d1664f59f958b3972faf76968a
