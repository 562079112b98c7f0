"""What the tests of numeric evidence run: programs of hand-built models, drawn data, and a hand-written module."""

from __future__ import annotations

from collections.abc import Sequence

import torch
from torch import Tensor

from nlc.derive import derive_laws
from nlc.ir.model import Model
from nlc.ir.program import Program
from nlc.order import order_levels
from nlc.schedule import schedule_program

SIZES = {"d_k": 5, "d_v": 3, "heads": 2}


def program_of(model: Model) -> Program:
    return schedule_program(derive_laws(order_levels(model)))


def drawn(model: Model, *, batch: int = 2, tokens: int = 6, seed: int = 0) -> dict[str, Tensor]:
    """Every input of an architecture in float64, with gradients wanted: normal vectors of norm about 1, scalars in [0, 1]."""
    generator = torch.Generator().manual_seed(seed)
    inputs = {}
    for stream in model.inputs:
        shape = (batch, tokens, *(SIZES[axis] for axis in stream.axes), *(dim.size(SIZES) for dim in stream.shape))
        draw = torch.randn if stream.shape else torch.rand
        length = shape[-1] ** 0.5 if stream.shape else 1.0
        inputs[stream.name] = (draw(shape, dtype=torch.float64, generator=generator) / length).requires_grad_()
    return inputs


def assert_close(found: Sequence[Tensor], wanted: Sequence[Tensor]) -> None:
    """Equal up to rounding in float64."""
    torch.testing.assert_close(tuple(found), tuple(wanted), rtol=1e-12, atol=1e-13)


DELTA_RULE = '''
import torch
from torch import Tensor, nn

class DeltaRule(nn.Module):
    """The delta rule in triangular chunks, as an emitted module has it."""

    def __init__(self, d_k: int = 64, d_v: int = 64, chunk: int = 64, nonfinite="propagate", checkpoint=None) -> None:
        super().__init__()
        if chunk < 1 or (checkpoint is not None and checkpoint < 1) or nonfinite not in ("raise", "skip", "propagate"):
            raise ValueError(chunk, checkpoint, nonfinite)
        self.nonfinite = nonfinite
        self.d_k, self.d_v, self.chunk = d_k, d_v, chunk

    def initial_state(self, batch: int, heads: int, *, like: Tensor) -> Tensor:
        return like.new_zeros(batch, heads, self.d_v, self.d_k, dtype=torch.promote_types(like.dtype, torch.float32))

    def forward(self, *, q, k, v, beta, state=None):
        with torch.autocast("cpu" if q.is_meta else q.device.type, enabled=False):
            if self.nonfinite == "propagate":
                return self._forward(q, k, v, beta, state)
            return self._watched(q, k, v, beta, state)

    def _watched(self, q, k, v, beta, state):
        lost = {name: ~x.flatten(2).isfinite().all(2) for name, x in (("q", q), ("k", k), ("v", v), ("beta", beta))}
        if self.nonfinite == "raise":
            for name, where in lost.items():
                for row, token in where.nonzero().tolist():
                    raise FloatingPointError(f"not finite at token {token}, row {row} of the batch: {name}")
        passed = torch.stack(list(lost.values())).any(0)
        q, k, v = (torch.where(passed[..., None, None], 0.0, x) for x in (q, k, v))
        y, memory = self._forward(q, k, v, torch.where(passed[..., None], 1.0, beta), state)
        return torch.where(passed[..., None, None], 0.0, y), memory

    def _forward(self, q, k, v, beta, state):
        batch, time, heads, _ = q.shape
        memory = self._start(q, state)
        query, key, value, rate = (self._chunked(x, memory.dtype) for x in (q, k, v, beta.unsqueeze(-1)))
        overlap = (rate * (key @ key.mT)).tril(-1)
        solved = torch.linalg.solve_triangular(overlap, rate * torch.cat((value, key), -1), upper=False, unitriangular=True)
        from_values, from_memory = solved.split((self.d_v, self.d_k), -1)
        attention = (query @ key.mT).tril()
        outputs = []
        for q_c, k_c, attention_c, values_c, memory_c in zip(*(x.unbind(2) for x in (query, key, attention, from_values, from_memory))):
            write = values_c - memory_c @ memory.mT
            outputs.append(q_c @ memory.mT + attention_c @ write)
            memory = memory + write.mT @ k_c
        y = torch.cat(outputs, dim=2)[:, :, :time] if outputs else value.flatten(2, 3)
        return y.transpose(1, 2).to(v.dtype), memory

    def _start(self, like, state):
        zeros = self.initial_state(like.shape[0], like.shape[2], like=like)
        return zeros if state is None else state.to(torch.promote_types(state.dtype, zeros.dtype))

    def _chunked(self, x, dtype):
        x = x.transpose(1, 2).to(dtype)
        x = nn.functional.pad(x, (0, 0, 0, -x.shape[2] % self.chunk))
        return x.unflatten(2, (x.shape[2] // self.chunk, self.chunk))

    def forward_by_token(self, *, q, k, v, beta, state=None):
        memory = self._start(q, state)
        outputs = [v.new_empty(v[:, :0].shape)]
        for t in range(q.shape[1]):
            y, memory = self.step(q=q[:, t], k=k[:, t], v=v[:, t], beta=beta[:, t], state=memory)
            outputs.append(y.unsqueeze(1))
        return torch.cat(outputs, dim=1), memory

    def step(self, *, q, k, v, beta, state):
        with torch.autocast("cpu" if q.is_meta else q.device.type, enabled=False):
            return self._step(q, k, v, beta, state)

    def _step(self, q, k, v, beta, state):
        query, key, value, rate = (x.to(state.dtype) for x in (q, k, v, beta))
        prediction = (state @ key.unsqueeze(-1)).squeeze(-1)
        error = prediction - value
        memory = state - rate[..., None, None] * error.unsqueeze(-1) * key.unsqueeze(-2)
        y = (memory @ query.unsqueeze(-1)).squeeze(-1)
        return y.to(v.dtype), memory
'''

MOMENTUM = '''
import math
import torch

class Momentum(torch.optim.Optimizer):
    """m = decay m - rate g;  W = W + m."""

    def __init__(self, params, learning_rate=0.01, decay=0.9, nonfinite=None):
        if nonfinite not in (None, "raise", "skip"):
            raise ValueError(nonfinite)
        self.nonfinite = nonfinite
        super().__init__(params, {"lr": learning_rate, "decay": decay})

    def add_param_group(self, group):
        if "learning_rate" in group:
            group["lr"] = group.pop("learning_rate")
        for name, value in {**self.defaults, **group}.items():
            if name == "params":
                continue
            if type(value) not in (int, float) or not math.isfinite(value) or (name == "lr" and value < 0):
                raise ValueError(name)
        super().add_param_group(group)

    @torch.no_grad()
    def step(self, closure=None):
        loss = None
        if closure is not None:
            with torch.enable_grad():
                loss = closure()
        gradients = [weight.grad for group in self.param_groups for weight in group["params"] if weight.grad is not None]
        if any(gradient.is_sparse or gradient.is_complex() for gradient in gradients):
            raise ValueError("gradient")
        if self.nonfinite and not all(gradient.isfinite().all() for gradient in gradients):
            if self.nonfinite == "raise":
                raise FloatingPointError("gradient")
            return loss
        for group in self.param_groups:
            for weight in group["params"]:
                if weight.grad is None:
                    continue
                state = self.state[weight]
                if not state:
                    state["momentum"] = torch.zeros_like(weight, dtype=torch.promote_types(weight.dtype, torch.float32))
                state["momentum"].mul_(group["decay"]).sub_(group["lr"] * weight.grad)
                weight.add_(state["momentum"])
        return loss
'''
