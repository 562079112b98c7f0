"""A program's module over a sequence cut anywhere: what it emits and its last state are those of the whole."""

from __future__ import annotations

import torch
from torch import Tensor

from nlc.ir.program import Program
from nlc.verify.inputs import Case, draw
from tests.emit.systems import emitted_class


def every_split_is_the_whole(program: Program, tokens: int = 13) -> None:
    """Fails when the two parts of a sequence differ from the whole, at any cut."""
    evidence = draw(program.model, Case(name=f"{tokens} tokens", chunks=3, extra=tokens - 12), 4, seed=5)
    module = emitted_class(program)(d_k=evidence.sizes["d_k"], d_v=evidence.sizes["d_v"])
    whole, end = module(**evidence.inputs)
    for cut in range(evidence.tokens + 1):
        first, state = module(**{name: x[:, :cut] for name, x in evidence.inputs.items()})
        second, last = module(**{name: x[:, cut:] for name, x in evidence.inputs.items()}, state=state)
        joined = {name: torch.cat((value, named(second)[name]), 1) for name, value in named(first).items()}
        assert all(torch.allclose(value, joined[name], rtol=0, atol=1e-12) for name, value in named(whole).items())
        assert all(torch.allclose(value, last[name], rtol=0, atol=1e-12) for name, value in end.items())


def named(outputs: Tensor | dict[str, Tensor]) -> dict[str, Tensor]:
    """Outputs by name, also when there is one."""
    return {"y": outputs} if isinstance(outputs, Tensor) else outputs
