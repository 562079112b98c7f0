"""Oja: A matrix memory that is fitted to give keys for values; what it knew of a value is erased from the rows.

Compiled by nlc from specs/architectures/oja.yaml. Edit the spec, not this file.
sha256 of the spec: 2665d9f33f105ba820b4075f8816b15283187a6b332bb1fae3e2d76497289911

Levels, fastest first (Nested Learning, Definition 2)
    rank  components  every  paper's number (slowest highest / slowest first)
    0     memory      token  1 / 1

Timetable
    every token  memory

Laws, per token; prev is the state before
    gradient  = outer(v, transpose(prev(memory)) @ v) - outer(v, k)
                objective 0.5 * norm2(transpose(memory) @ v) - dot(memory @ k, v); calculus
    memory    = prev(memory) - beta * gradient                       explicit gradient step; nl:eq-66; nl:eq-67
    y         = memory @ q                                           read after the write

Form
    memory: recurrence
        -beta * outer(v, transpose(prev(memory)) @ v) is neither the state, scaled, nor the state @ a vector along a vector (Dense).
        No parallel form of the table fits, so the law runs token by token.
"""

import torch
from torch import Tensor, nn

__all__ = ["Oja"]


class Oja(nn.Module):
    """A matrix memory that is fitted to give keys for values; what it knew of a value is erased from the rows.

    Inputs, by keyword, in any float dtype:
        q     (batch, time, heads, d_k)
        k     (batch, time, heads, d_k)
        v     (batch, time, heads, d_v)
        beta  (batch, time, heads)
    State, kept in float32 or wider (the tensor itself; None starts from zeros):
        memory  (batch, heads, d_v, d_k)
    Returns the outputs (the tensor itself) and the state after the last token:
        y  (batch, time, heads, d_v)
    Under torch.compile the loop over tokens is unrolled: compile `step` instead.
    """

    def __init__(self, d_k: int = 64, d_v: int = 64) -> None:
        super().__init__()
        self.d_k = d_k
        self.d_v = d_v

    def initial_state(self, batch: int, heads: int, *, like: Tensor) -> Tensor:
        """Zeros on the device of `like`, in its dtype or float32, whichever is wider."""
        return like.new_zeros(batch, heads, self.d_v, self.d_k, dtype=torch.promote_types(like.dtype, torch.float32))

    def forward(self, *, q: Tensor, k: Tensor, v: Tensor, beta: Tensor, state: Tensor | None = None) -> tuple[Tensor, Tensor]:
        """The whole sequence, token by token: no parallel form is known for these laws."""
        return self.forward_by_token(q=q, k=k, v=v, beta=beta, state=state)

    def forward_by_token(self, *, q: Tensor, k: Tensor, v: Tensor, beta: Tensor, state: Tensor | None = None) -> tuple[Tensor, Tensor]:
        """The laws, one token at a time: slow, and what `forward` must equal."""
        batch, _, heads = q.shape[:3]
        state = self._start(state, batch, heads, q)
        outputs = [q.new_empty(batch, 0, heads, self.d_v)]
        for t in range(q.shape[1]):
            y, state = self.step(q=q[:, t], k=k[:, t], v=v[:, t], beta=beta[:, t], state=state)
            outputs.append(y.unsqueeze(1))
        return torch.cat(outputs, 1), state

    def step(self, *, q: Tensor, k: Tensor, v: Tensor, beta: Tensor, state: Tensor) -> tuple[Tensor, Tensor]:
        """One token, for decoding: the laws as they stand; inputs without their time dim."""
        with _full_precision(q):
            dtype = q.dtype
            q, k, v, beta = (x.to(state.dtype) for x in (q, k, v, beta))
            gradient = v[..., None] * (state.mT @ v[..., None]).squeeze(-1)[..., None, :] - v[..., None] * k[..., None, :]
            memory = state - beta[..., None, None] * gradient
            y = (memory @ q[..., None]).squeeze(-1)
            return y.to(dtype), memory

    def _start(self, state: Tensor | None, batch: int, heads: int, like: Tensor) -> Tensor:
        """The state to start from, never narrower than zeros would be."""
        zeros = self.initial_state(batch, heads, like=like)
        return zeros if state is None else state.to(torch.promote_types(state.dtype, zeros.dtype))


def _full_precision(x: Tensor) -> torch.autocast:
    """No autocast inside: the state keeps its precision."""
    return torch.autocast("cpu" if x.is_meta else x.device.type, enabled=False)


# sealed by nlc, sha256 of everything above: e72bf13f8772e9bf58d025cb1e456dd8f7ebba95c0bd9e5d6d98b1782ba06a91
