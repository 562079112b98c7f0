"""TitansLinear: Titans with a matrix as memory, its gradients taken at every token.

Compiled by nlc from specs/architectures/titans_linear.yaml. Edit the spec, not this file.
sha256 of the spec: cc3aa7ee1e499e7b3568b51671fdea078171f4bb07cdd45353523e920f610637

Levels, fastest first (Nested Learning, Definition 2)
    rank  components       every  paper's number (slowest highest / slowest first)
    0     memory.momentum  token  1 / 2
    1     memory           token  2 / 1

Timetable
    every token  memory.momentum, memory

Laws, per token; prev is the state before
    prediction  = prev(memory) @ k                                          read at the key
    error       = prediction - v                                            objective 0.5 * norm2(memory @ k - v)
    gradient    = outer(error, k)                                           adjoint of apply; calculus
    momentum    = decay * prev(memory.momentum) - learning_rate * gradient  explicit gradient step
    memory      = retention * prev(memory) + memory.momentum                explicit gradient step on -dot(memory, memory.momentum)
    y           = memory @ q                                                read after the write

Forms
    memory.momentum: recurrence
        It reads the state of memory, with which it moves as one (Companion).
        No parallel form of the table fits, so the law runs token by token.
    memory: recurrence
        It reads the state of memory.momentum, with which it moves as one (Companion).
        No parallel form of the table fits, so the law runs token by token.
"""

import torch
from torch import Tensor, nn

__all__ = ["TitansLinear"]


class TitansLinear(nn.Module):
    """Titans with a matrix as memory, its gradients taken at every token.

    Inputs, by keyword, in any float dtype:
        q              (batch, time, heads, d_k)
        k              (batch, time, heads, d_k)
        v              (batch, time, heads, d_v)
        learning_rate  (batch, time, heads)
        decay          (batch, time, heads)
        retention      (batch, time, heads)
    State, kept in float32 or wider (a dict by name; None starts from zeros):
        memory.momentum  (batch, heads, d_v, d_k)
        memory  (batch, heads, d_v, d_k)
    Returns the outputs (the tensor itself) and the state after the last token:
        y  (batch, time, heads, d_v)
    Under torch.compile the loop over tokens is unrolled: compile `step` instead.
    """

    def __init__(self, d_k: int = 64, d_v: int = 64, period: float = 1.0) -> None:
        super().__init__()
        self.d_k = d_k
        self.d_v = d_v
        self.period = period

    def initial_state(self, batch: int, heads: int, *, like: Tensor) -> dict[str, Tensor]:
        """Zeros on the device of `like`, in its dtype or float32, whichever is wider."""
        dtype = torch.promote_types(like.dtype, torch.float32)
        return {
            "memory.momentum": like.new_zeros(batch, heads, self.d_v, self.d_k, dtype=dtype),
            "memory": like.new_zeros(batch, heads, self.d_v, self.d_k, dtype=dtype),
        }

    def forward(
        self,
        *,
        q: Tensor,
        k: Tensor,
        v: Tensor,
        learning_rate: Tensor,
        decay: Tensor,
        retention: Tensor,
        state: dict[str, Tensor] | None = None,
    ) -> tuple[Tensor, dict[str, Tensor]]:
        """The whole sequence, token by token: no parallel form is known for these laws."""
        return self.forward_by_token(q=q, k=k, v=v, learning_rate=learning_rate, decay=decay, retention=retention, state=state)

    def forward_by_token(
        self,
        *,
        q: Tensor,
        k: Tensor,
        v: Tensor,
        learning_rate: Tensor,
        decay: Tensor,
        retention: Tensor,
        state: dict[str, Tensor] | None = None,
    ) -> tuple[Tensor, dict[str, Tensor]]:
        """The laws, one token at a time: slow, and what `forward` must equal."""
        batch, _, heads = q.shape[:3]
        state = self._start(state, batch, heads, q)
        outputs = [q.new_empty(batch, 0, heads, self.d_v)]
        for t in range(q.shape[1]):
            y, state = self.step(
                q=q[:, t],
                k=k[:, t],
                v=v[:, t],
                learning_rate=learning_rate[:, t],
                decay=decay[:, t],
                retention=retention[:, t],
                state=state,
            )
            outputs.append(y.unsqueeze(1))
        return torch.cat(outputs, 1), state

    def step(
        self, *, q: Tensor, k: Tensor, v: Tensor, learning_rate: Tensor, decay: Tensor, retention: Tensor, state: dict[str, Tensor]
    ) -> tuple[Tensor, dict[str, Tensor]]:
        """One token, for decoding: the laws as they stand; inputs without their time dim."""
        with _full_precision(q):
            dtype = q.dtype
            q, k, v, learning_rate, decay, retention = (
                x.to(state["memory.momentum"].dtype) for x in (q, k, v, learning_rate, decay, retention)
            )
            prediction = (state["memory"] @ k[..., None]).squeeze(-1)
            error = prediction - v
            gradient = error[..., None] * k[..., None, :]
            momentum = decay[..., None, None] * state["memory.momentum"] - learning_rate[..., None, None] * gradient
            memory = retention[..., None, None] * state["memory"] + momentum
            y = (memory @ q[..., None]).squeeze(-1)
            return y.to(dtype), {"memory.momentum": momentum, "memory": memory}

    def _start(self, state: dict[str, Tensor] | None, batch: int, heads: int, like: Tensor) -> dict[str, Tensor]:
        """The state to start from, never narrower than zeros would be."""
        zeros = self.initial_state(batch, heads, like=like)
        if state is None:
            return zeros
        return {name: state[name].to(torch.promote_types(state[name].dtype, zero.dtype)) for name, zero in zeros.items()}


def _full_precision(x: Tensor) -> torch.autocast:
    """No autocast inside: the state keeps its precision."""
    return torch.autocast("cpu" if x.is_meta else x.device.type, enabled=False)


# sealed by nlc, sha256 of everything above: b44ca8b7a04ab8ebeb48bbe0598932d89786d2d6db9364602e138d98c394d3fe
