"""MlpTrainingWithMomentum: The same training with momentum. The weights need the new momentum, so these are two levels of one frequency.

Compiled by nlc from specs/architectures/mlp_training_with_momentum.yaml. Edit the spec, not this file.
sha256 of the spec: e7bb9749132ea0a663189360053e51e9258b10f778c370c08dca22838162092c

Levels, fastest first (Nested Learning, Definition 2)
    rank  components      every  paper's number (slowest highest / slowest first)
    0     layer.momentum  token  1 / 2
    1     layer           token  2 / 1

Timetable
    every token  layer.momentum, layer

Laws, per token; prev is the state before
    prediction  = prev(layer) @ x                                          read at the key
    error       = prediction - target                                      objective 0.5 * norm2(layer @ x - target)
    gradient    = outer(error, x)                                          adjoint of apply; calculus
    momentum    = decay * prev(layer.momentum) - learning_rate * gradient  explicit gradient step; nl:eq-10; nl:definition-2
    layer       = prev(layer) + layer.momentum
                  explicit gradient step on -dot(layer, layer.momentum); nl:eq-10; nl:definition-2
    y           = prev(layer) @ x                                          read before the write

Forms
    layer.momentum: recurrence
        It reads the state of layer, with which it moves as one (Companion).
        No parallel form of the table fits, so the law runs token by token.
    layer: recurrence
        It reads the state of layer.momentum, with which it moves as one (Companion).
        No parallel form of the table fits, so the law runs token by token.
"""

import torch
from torch import Tensor, nn

__all__ = ["MlpTrainingWithMomentum"]


class MlpTrainingWithMomentum(nn.Module):
    """The same training with momentum. The weights need the new momentum, so these are two levels of one frequency.

    Inputs, by keyword, in any float dtype:
        x       (batch, time, d_in)
        target  (batch, time, d_out)
    State, kept in float32 or wider (a dict by name; None starts from zeros):
        layer.momentum  (batch, d_out, d_in)
        layer  (batch, d_out, d_in)
    Returns the outputs (the tensor itself) and the state after the last token:
        y  (batch, time, d_out)
    Under torch.compile the loop over tokens is unrolled: compile `step` instead.
    """

    def __init__(self, d_in: int = 64, d_out: int = 64, learning_rate: float = 0.1, decay: float = 0.9) -> None:
        super().__init__()
        self.d_in = d_in
        self.d_out = d_out
        self.learning_rate = learning_rate
        self.decay = decay

    def initial_state(self, batch: int, *, like: Tensor) -> dict[str, Tensor]:
        """Zeros on the device of `like`, in its dtype or float32, whichever is wider."""
        dtype = torch.promote_types(like.dtype, torch.float32)
        return {
            "layer.momentum": like.new_zeros(batch, self.d_out, self.d_in, dtype=dtype),
            "layer": like.new_zeros(batch, self.d_out, self.d_in, dtype=dtype),
        }

    def forward(self, *, x: Tensor, target: Tensor, state: dict[str, Tensor] | None = None) -> tuple[Tensor, dict[str, Tensor]]:
        """The whole sequence, token by token: no parallel form is known for these laws."""
        return self.forward_by_token(x=x, target=target, state=state)

    def forward_by_token(self, *, x: Tensor, target: Tensor, state: dict[str, Tensor] | None = None) -> tuple[Tensor, dict[str, Tensor]]:
        """The laws, one token at a time: slow, and what `forward` must equal."""
        batch = x.shape[0]
        state = self._start(state, batch, x)
        outputs = [x.new_empty(batch, 0, self.d_out)]
        for t in range(x.shape[1]):
            y, state = self.step(x=x[:, t], target=target[:, t], state=state)
            outputs.append(y.unsqueeze(1))
        return torch.cat(outputs, 1), state

    def step(self, *, x: Tensor, target: Tensor, state: dict[str, Tensor]) -> tuple[Tensor, dict[str, Tensor]]:
        """One token, for decoding: the laws as they stand; inputs without their time dim."""
        with _full_precision(x):
            dtype = x.dtype
            x, target = (x.to(state["layer.momentum"].dtype) for x in (x, target))
            prediction = (state["layer"] @ x[..., None]).squeeze(-1)
            error = prediction - target
            gradient = error[..., None] * x[..., None, :]
            momentum = self.decay * state["layer.momentum"] - self.learning_rate * gradient
            layer = state["layer"] + momentum
            y = (state["layer"] @ x[..., None]).squeeze(-1)
            return y.to(dtype), {"layer.momentum": momentum, "layer": layer}

    def _start(self, state: dict[str, Tensor] | None, batch: int, like: Tensor) -> dict[str, Tensor]:
        """The state to start from, never narrower than zeros would be."""
        zeros = self.initial_state(batch, like=like)
        if state is None:
            return zeros
        return {name: state[name].to(torch.promote_types(state[name].dtype, zero.dtype)) for name, zero in zeros.items()}


def _full_precision(x: Tensor) -> torch.autocast:
    """No autocast inside: the state keeps its precision."""
    return torch.autocast("cpu" if x.is_meta else x.device.type, enabled=False)


# sealed by nlc, sha256 of everything above: 17ffc978cc705338b4e0ed2a5957e52339e941296414895dca2d9a63052b95e3
