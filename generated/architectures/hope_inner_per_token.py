"""HopeInnerPerToken: The self-modifying rule of Hope with periods of one token; every memory reads and writes what it is.

Compiled by nlc from specs/architectures/hope_inner_per_token.yaml. Edit the spec, not this file.
sha256 of the spec: a511fde3fe79e3ebfdd68e44fc4ffa15b90f33e8cb0b7f297096d1746fa66dec

Levels, fastest first (Nested Learning, Definition 2)
    rank  components               every  paper's number (slowest highest / slowest first)
    0     answer, key_map, memory  token  1 / 1

Timetable
    every token  answer, key_map, memory

Laws, per token; prev is the state before
    k               = l2_normalise(prev(key_map.held_1) @ x)      abbreviation
    prediction      = prev(answer) @ k                            read at the key
    v               = prev(answer.held_1) @ x                     abbreviation
    surprise        = prev(answer.held_1) @ (k - v) + prediction
                      objective dot(answer @ k, stop_gradient(hold(answer, 1 tokens) @ (k - v))) + 0.5 * norm2(answer @ k), by the
                      prediction; calculus
    gradient        = outer(surprise, k)                          adjoint of apply; calculus
    answer          = retention * prev(answer) - rate * gradient  explicit gradient step
    y               = prev(memory) @ q                            read before the write
    key_map.held_1  = key_map                                     kept: read by hold(key_map, 1 tokens)
    as answer, each with its own state: key_map, memory
    as key_map.held_1, each with its own state: answer.held_1, memory.held_1

Forms
    answer and key_map: recurrence
        The states answer and key_map move as one, and the writes read them at l2_normalise(prev(key_map.held_1) @ x) alone (Companion).
        No parallel form of the table fits, so the law runs token by token.
    memory: recurrence
        The old state is kept times retention, and the writes read it at l2_normalise(key_map_read) alone (ScalarMinusLowRank).
        No parallel form of the table fits, so the law runs token by token.
"""

import copy
from typing import Any

import torch
from torch import Tensor, nn
from torch.utils.checkpoint import checkpoint

__all__ = ["HopeInnerPerToken"]


class HopeInnerPerToken(nn.Module):
    """The self-modifying rule of Hope with periods of one token; every memory reads and writes what it is.

    Inputs, by keyword, in any float dtype:
        q          (batch, time, heads, d)
        x          (batch, time, heads, d)
        rate       (batch, time, heads)
        retention  (batch, time, heads)
    State, kept in float32 or wider (a dict by name; None starts from zeros):
        key_map, answer, memory, key_map.held_1, answer.held_1, memory.held_1  (batch, heads, d, d)
    Returns the outputs (the tensor itself) and the state after the last token:
        y  (batch, time, heads, d)
    Under torch.compile the loop over tokens is unrolled: compile `step` instead.
    `nonfinite` says what to do at a token with numbers that are not finite: "raise", "skip" (its row of the batch) or "propagate".
    `checkpoint`, in tokens: the backward keeps the states between pieces of so many tokens, and computes the rest anew.
    """

    def __init__(self, d: int = 64, nonfinite: str = "propagate", checkpoint: int | None = None) -> None:
        super().__init__()
        if nonfinite not in ("raise", "skip", "propagate"):
            raise ValueError(f'nonfinite must be "raise", "skip" or "propagate", not {nonfinite!r}')
        if checkpoint is not None and checkpoint < 1:
            raise ValueError(f"checkpoint must be None, or 1 token or more, not {checkpoint}")
        self.nonfinite = nonfinite
        self.checkpoint = checkpoint
        self.d = d

    def initial_state(self, batch: int, heads: int, *, like: Tensor) -> dict[str, Tensor]:
        """Zeros on the device of `like`, in its dtype or float32, whichever is wider."""
        dtype = torch.promote_types(like.dtype, torch.float32)
        return {
            "key_map": like.new_zeros(batch, heads, self.d, self.d, dtype=dtype),
            "answer": like.new_zeros(batch, heads, self.d, self.d, dtype=dtype),
            "memory": like.new_zeros(batch, heads, self.d, self.d, dtype=dtype),
            "key_map.held_1": like.new_zeros(batch, heads, self.d, self.d, dtype=dtype),
            "answer.held_1": like.new_zeros(batch, heads, self.d, self.d, dtype=dtype),
            "memory.held_1": like.new_zeros(batch, heads, self.d, self.d, dtype=dtype),
        }

    def forward(
        self, *, q: Tensor, x: Tensor, rate: Tensor, retention: Tensor, state: dict[str, Tensor] | None = None
    ) -> tuple[Tensor, dict[str, Tensor]]:
        """The whole sequence, token by token: no parallel form is known for these laws."""
        if self.checkpoint is not None or self.nonfinite != "propagate":
            return _managed(self, {"q": q, "x": x, "rate": rate, "retention": retention}, state)
        return self.forward_by_token(q=q, x=x, rate=rate, retention=retention, state=state)

    def forward_by_token(
        self, *, q: Tensor, x: Tensor, rate: Tensor, retention: Tensor, state: dict[str, Tensor] | None = None
    ) -> tuple[Tensor, dict[str, Tensor]]:
        """The laws, one token at a time: slow, and what `forward` must equal."""
        batch, _, heads = q.shape[:3]
        state = self._start(state, batch, heads, q)
        outputs = [q.new_empty(batch, 0, heads, self.d)]
        for t in range(q.shape[1]):
            y, state = self.step(q=q[:, t], x=x[:, t], rate=rate[:, t], retention=retention[:, t], state=state)
            outputs.append(y.unsqueeze(1))
        return torch.cat(outputs, 1), state

    def step(self, *, q: Tensor, x: Tensor, rate: Tensor, retention: Tensor, state: dict[str, Tensor]) -> tuple[Tensor, dict[str, Tensor]]:
        """One token, for decoding: the laws as they stand; inputs without their time dim."""
        with _full_precision(q):
            dtype = q.dtype
            q, x, rate, retention = (x.to(state["key_map"].dtype) for x in (q, x, rate, retention))
            k = torch.nn.functional.normalize((state["key_map.held_1"] @ x[..., None]).squeeze(-1), dim=-1)
            prediction = (state["answer"] @ k[..., None]).squeeze(-1)
            v = (state["answer.held_1"] @ x[..., None]).squeeze(-1)
            surprise = (state["answer.held_1"] @ (k - v)[..., None]).squeeze(-1) + prediction
            gradient = surprise[..., None] * k[..., None, :]
            answer = retention[..., None, None] * state["answer"] - rate[..., None, None] * gradient
            key_map_prediction = (state["key_map"] @ k[..., None]).squeeze(-1)
            key_map_surprise = (state["key_map.held_1"] @ (k - v)[..., None]).squeeze(-1) + key_map_prediction
            key_map_gradient = key_map_surprise[..., None] * k[..., None, :]
            key_map = retention[..., None, None] * state["key_map"] - rate[..., None, None] * key_map_gradient
            memory_prediction = (state["memory"] @ k[..., None]).squeeze(-1)
            memory_surprise = (state["memory.held_1"] @ (k - v)[..., None]).squeeze(-1) + memory_prediction
            memory_gradient = memory_surprise[..., None] * k[..., None, :]
            memory = retention[..., None, None] * state["memory"] - rate[..., None, None] * memory_gradient
            y = (state["memory"] @ q[..., None]).squeeze(-1)
            state = {
                "key_map": key_map,
                "answer": answer,
                "memory": memory,
                "key_map.held_1": key_map,
                "answer.held_1": answer,
                "memory.held_1": memory,
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


# sealed by nlc, sha256 of everything above: 642f2213ef68545834aa90e0e0521327e5be9f39b45df86a3099e49f057942ff
