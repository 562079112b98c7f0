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

import math

import torch
from torch import Tensor, nn

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
    """

    def __init__(self, d_k: int = 64, d_v: int = 64, d_hidden: int = 128) -> None:
        super().__init__()
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


# sealed by nlc, sha256 of everything above: 65a23f4fd213fb4f2dbeb4daf938716e30c97e43a8d616d53034d0313ea7e1b3
