"""SwigluLayer: A feed-forward network whose hidden values are gated, between projections that a training loop moves; it remembers nothing.

Compiled by nlc from specs/architectures/swiglu_layer.yaml. Edit the spec, not this file.
sha256 of the spec: 5a897e67c1fc2ef4bd33b5f439494142ac81342056dd6e7d83316a0a69e591f6

Levels, fastest first (Nested Learning, Definition 2)
    rank  components              every  paper's number (slowest highest / slowest first)
    0     contract, expand, gate  step   1 / 1

Timetable
    every step  contract, expand, gate

Laws, per token; prev is the state before
    y  = contract @ (silu(gate @ x) * (expand @ x))  no state is read
"""

import torch
from torch import Tensor, nn

__all__ = ["SwigluLayer"]


class SwigluLayer(nn.Module):
    """A feed-forward network whose hidden values are gated, between projections that a training loop moves; it remembers nothing.

    Inputs, by keyword, in any float dtype:
        x  (batch, time, d_model)
    State, kept in float32 or wider (a dict by name; None starts from zeros):
        nothing: an empty dict
    Returns the outputs (the tensor itself) and the state after the last token:
        y  (batch, time, d_model)
    No token depends on another: all are computed at once.
    """

    def __init__(self, d_model: int = 256, d_hidden: int = 683) -> None:
        super().__init__()
        self.d_model = d_model
        self.d_hidden = d_hidden
        self.expand = nn.Parameter(torch.empty(self.d_hidden, self.d_model))
        self.gate = nn.Parameter(torch.empty(self.d_hidden, self.d_model))
        self.contract = nn.Parameter(torch.empty(self.d_model, self.d_hidden))
        self.reset_parameters()

    def reset_parameters(self) -> None:
        """The slow levels as training finds them."""
        nn.init.uniform_(self.expand, -(self.d_model**-0.5), self.d_model**-0.5)
        nn.init.uniform_(self.gate, -(self.d_model**-0.5), self.d_model**-0.5)
        nn.init.uniform_(self.contract, -(self.d_hidden**-0.5), self.d_hidden**-0.5)

    def initial_state(self, batch: int, *, like: Tensor) -> dict[str, Tensor]:
        """Nothing is carried from token to token."""
        return {}

    def forward(self, *, x: Tensor, state: dict[str, Tensor] | None = None) -> tuple[Tensor, dict[str, Tensor]]:
        """All tokens at once: equal to `forward_by_token`."""
        with _full_precision(x):
            dtype = x.dtype
            wide = torch.promote_types(dtype, torch.float32)
            x = x.to(wide)
            expand, gate, contract = (weight.to(wide) for weight in (self.expand, self.gate, self.contract))
            y = torch.nn.functional.silu(x @ gate.mT) * (x @ expand.mT) @ contract.mT
            return y.to(dtype), {}

    def forward_by_token(self, *, x: Tensor, state: dict[str, Tensor] | None = None) -> tuple[Tensor, dict[str, Tensor]]:
        """The laws, one token at a time: slow, and what `forward` must equal."""
        batch = x.shape[0]
        state = {}
        outputs = [x.new_empty(batch, 0, self.d_model)]
        for t in range(x.shape[1]):
            y, state = self.step(x=x[:, t], state=state)
            outputs.append(y.unsqueeze(1))
        return torch.cat(outputs, 1), state

    def step(self, *, x: Tensor, state: dict[str, Tensor]) -> tuple[Tensor, dict[str, Tensor]]:
        """One token, for decoding: the laws as they stand; inputs without their time dim."""
        with _full_precision(x):
            dtype = x.dtype
            wide = torch.promote_types(dtype, torch.float32)
            x = x.to(wide)
            expand, gate, contract = (weight.to(wide) for weight in (self.expand, self.gate, self.contract))
            y = torch.nn.functional.silu(x @ gate.mT) * (x @ expand.mT) @ contract.mT
            return y.to(dtype), {}


def _full_precision(x: Tensor) -> torch.autocast:
    """No autocast inside: the state keeps its precision."""
    return torch.autocast("cpu" if x.is_meta else x.device.type, enabled=False)


# sealed by nlc, sha256 of everything above: c31716e1ac01ae857dba0c731c0f047029afd595d9f32a8722514fe6005578e8
