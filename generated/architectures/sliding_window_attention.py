"""SlidingWindowAttention, compiled from its description.

Attention over the last tokens alone: for every query the vector nearest to their values, each weighed by how well its key matches.

Compiled by nlc from specs/architectures/sliding_window_attention.yaml. Edit the spec, not this file.
sha256 of the spec: bd55c5b45a14027fb496134bfba553c40463c51cbb26f3d813bfc3d21f599709

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
    attention.k  = k                               kept: a window of the last 512 tokens
    attention.v  = v                               kept: a window of the last 512 tokens
    position     = prev(position) + 1              kept: the tokens so far

Form
    attention: scaled dot-product attention (nl:eq-63)
        It is solved anew for every query, from the data of the last 512 tokens (Solved).
        Its weights are a softmax of scaled dot products, for which torch has a kernel.
"""

import copy
import math
from typing import Any

import torch
from torch import Tensor, nn
from torch.utils.checkpoint import checkpoint

__all__ = ["SlidingWindowAttention"]


class SlidingWindowAttention(nn.Module):
    """SlidingWindowAttention, a memory over a sequence.

    Attention over the last tokens alone: for every query the vector nearest to their values, each weighed by how well its key
    matches.

    Inputs, by keyword, in any float dtype:
        q  (batch, time, heads, d_k)
        k  (batch, time, heads, d_k)
        v  (batch, time, heads, d_v)
    State, kept in float32 or wider (a dict by name; None starts from zeros):
        attention.k  (batch, 511, heads, d_k), of the last 511, those that there were
        attention.v  (batch, 511, heads, d_v), of the last 511, those that there were
        position  (), int64: how many tokens came before
    Returns the outputs (the tensor itself) and the state after the last token:
        y  (batch, time, heads, d_v)
    `chunk`, in tokens, is about speed alone; under torch.compile every new length compiles anew.
    `nonfinite` says what to do at a token with numbers that are not finite: "raise" or "propagate" (no "skip": tokens are counted or kept).
    `checkpoint`, in tokens: the backward keeps the states between pieces of so many tokens, and computes the rest anew.
    """

    def __init__(self, d_k: int = 64, d_v: int = 64, chunk: int = 64, nonfinite: str = "propagate", checkpoint: int | None = None) -> None:
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
        self.d_k = d_k
        self.d_v = d_v

    def initial_state(self, batch: int, heads: int, *, like: Tensor) -> dict[str, Tensor]:
        """Zeros on the device of `like`, in its dtype or float32, whichever is wider."""
        dtype = torch.promote_types(like.dtype, torch.float32)
        return {
            "attention.k": like.new_zeros(batch, 511, heads, self.d_k, dtype=dtype),
            "attention.v": like.new_zeros(batch, 511, heads, self.d_v, dtype=dtype),
            "position": like.new_zeros((), dtype=torch.int64),
        }

    def forward(self, *, q: Tensor, k: Tensor, v: Tensor, state: dict[str, Tensor] | None = None) -> tuple[Tensor, dict[str, Tensor]]:
        """The whole sequence in chunks: equal to `forward_by_token`."""
        if self.checkpoint is not None or self.nonfinite != "propagate":
            return _managed(self, {"q": q, "k": k, "v": v}, state)
        batch, _, heads = q.shape[:3]
        with _full_precision(q):
            dtype = q.dtype
            start = self._start(state, batch, heads, q)
            q, k, v = (x.to(start["attention.k"].dtype) for x in (q, k, v))
            k_window = torch.cat((start["attention.k"], k), 1)
            v_window = torch.cat((start["attention.v"], v), 1)
            y = _sliding_attention(
                q, k_window, v_window, scale=1 / math.sqrt(self.d_k), window=512, chunk=self.chunk, position=start["position"]
            )
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
            position = state["position"] + 1
            k_window = torch.cat((state["attention.k"], k.unsqueeze(1)), 1)
            v_window = torch.cat((state["attention.v"], v.unsqueeze(1)), 1)
            age = torch.arange(k_window.shape[1] - 1, -1, -1, dtype=k_window.dtype, device=k_window.device)[None, :, None]
            there = age < position
            score = (k_window * q.unsqueeze(1)).sum(-1) / math.sqrt(self.d_k)
            weight = score.masked_fill(~there, -torch.inf).softmax(1)
            attention = (weight[..., None] * v_window).sum(1)
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


def _sliding_attention(query: Tensor, key: Tensor, value: Tensor, scale: float, window: int, chunk: int, position: Tensor) -> Tensor:
    """As attention, over the last `window` tokens alone, in chunks of queries with the keys near them: (batch, time, *axes, size).

    Keys begin with those of window - 1 earlier tokens, of which the last `position` are there.
    """
    there, reads = torch.arange(window - 1, -query.shape[1], -1, device=query.device) <= position, []
    query, key, value = (x.transpose(1, 2) for x in (query, key, value))
    for number, inside in enumerate(torch.split(query, chunk, 2)):
        near = slice(number * chunk, number * chunk + inside.shape[2] + window - 1)
        age = _ages(inside.shape[2], inside.shape[2] + window - 1, query)
        seen = (age >= 0) & (age < window) & there[near]
        reads.append(nn.functional.scaled_dot_product_attention(inside, key[:, :, near], value[:, :, near], seen, scale=scale))
    read = torch.cat(reads, 2)
    return read.transpose(1, 2)


def _ages(queries: int, data: int, like: Tensor) -> Tensor:
    """How many tokens older each datum is than each query, (queries, data): the last datum is the last query's own, age 0."""
    places = torch.arange(data, dtype=like.dtype, device=like.device)
    return places[data - queries :, None] - places


def _check_windows(state: dict[str, Tensor]) -> None:
    """Raises ValueError where the state does not carry the tokens that the windows of this module look back to."""
    for level, name, dim, tokens in (("attention", "attention.k", 1, 511), ("attention", "attention.v", 1, 511)):
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


# sealed by nlc, sha256 of everything above: f7f2541a0b3b5dd2ef8f484b070e902827fadd777d9fc9b72e9536378a8e437f
