"""The forms, run plainly, against the laws that they were made from: any length, chunk, decay and number of writes."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import replace

import pytest
import torch
from hypothesis import given, strategies as st
from torch import Tensor

from nlc.ir.affine import StateRead, Write
from nlc.ir.algebra import HALF
from nlc.ir.build import negate, scale
from nlc.ir.model import Model
from nlc.ir.program import Program
from nlc.verify.run_law import run_laws
from nlc.verify.run_law_steps import run_law_steps
from nlc.verify.run_program import run_program
from tests import models
from tests.derive import systems
from tests.models import stream
from tests.verify.programs import SIZES, assert_close, drawn, program_of

PARALLEL = [
    models.linear_attention,
    models.delta_rule,
    models.gated_delta_rule,
    models.gated_linear_memory,
    systems.vector_memory,
    systems.channel_gated_memory,
    systems.channel_gated_delta_rule,
    systems.separate_read_and_write,
    systems.decayed_after_the_gradient,
    systems.two_memories,
    systems.two_writes,
    systems.momentum_in_linear_attention,
    systems.gated_delta_rule_with_momentum,
    models.delta_rule_with_momentum,
    systems.two_memories_in_a_cycle,
    systems.memory_of_two_tensors,
]


def seen(outputs: dict[str, Tensor], state: dict[str, Tensor]) -> list[Tensor]:
    return [*(outputs[name] for name in sorted(outputs)), *(state[name] for name in sorted(state))]


def both(
    program: Program, inputs: dict[str, Tensor], chunk: int, state: dict[str, Tensor] | None = None
) -> tuple[list[Tensor], list[Tensor]]:
    by_laws = run_laws(program.laws, inputs, state, sizes=SIZES, hyperparameters={})
    return seen(*by_laws), seen(*run_program(program, inputs, state, sizes=SIZES, hyperparameters={}, chunk=chunk))


@given(build=st.sampled_from(PARALLEL), tokens=st.integers(0, 7), chunk=st.integers(1, 8), seed=st.integers(0, 99))
def test_a_form_is_its_law(build: Callable[[], Model], tokens: int, chunk: int, seed: int) -> None:
    program = program_of(build())
    assert program.is_parallel
    wanted, found = both(program, drawn(program.model, tokens=tokens, seed=seed), chunk)
    assert_close(found, wanted)


@pytest.mark.parametrize("build", PARALLEL)
def test_a_carried_state_and_all_gradients(build: Callable[[], Model]) -> None:
    program = program_of(build())
    inputs = drawn(program.model, tokens=7)
    _, final = run_laws(program.laws, inputs, sizes=SIZES, hyperparameters={})
    generator = torch.Generator().manual_seed(5)
    state = {name: torch.randn(tensor.shape, dtype=torch.float64, generator=generator).requires_grad_() for name, tensor in final.items()}
    wanted, found = both(program, inputs, 3, state)
    leaves = [*inputs.values(), *state.values()]
    slopes = [
        torch.autograd.grad(torch.stack([x.sin().sum() for x in results]).sum(), leaves, allow_unused=True, materialize_grads=True)
        for results in (found, wanted)
    ]
    assert_close([*found, *slopes[0]], [*wanted, *slopes[1]])


@pytest.mark.parametrize("gate", [0.0, 1e-200, 1.0])
def test_extreme_decays_are_exact(gate: float) -> None:
    program = program_of(models.gated_delta_rule())
    inputs = drawn(program.model, tokens=7)
    inputs["alpha"] = torch.full_like(inputs["alpha"], gate).requires_grad_()
    wanted, found = both(program, inputs, 4)
    slopes = [torch.autograd.grad(results[0].sum(), list(inputs.values())) for results in (found, wanted)]
    assert all(bool(slope.isfinite().all()) for slope in slopes[0])
    assert_close([*found, *slopes[0]], [*wanted, *slopes[1]])


def test_several_simultaneous_writes() -> None:
    """Two writes a token, each reading the state before both: the delta rule twice, at half the rate."""
    program = program_of(models.delta_rule())
    (memory,) = program.memories
    assert memory.classified.affine is not None
    rate = stream("beta")
    half = Write(stream("k"), scale(HALF, scale(rate, stream("v"))), (StateRead(scale(HALF, negate(rate)), stream("k")),))
    twice = replace(memory.classified, affine=replace(memory.classified.affine, writes=(half, half)))
    doubled = replace(program, memories=(replace(memory, classified=twice),))
    inputs = drawn(program.model, tokens=7)
    wanted = run_laws(program.laws, inputs, sizes=SIZES, hyperparameters={})
    assert_close(seen(*run_program(doubled, inputs, sizes=SIZES, hyperparameters={}, chunk=4)), seen(*wanted))


def test_a_recurrence_runs_by_its_laws() -> None:
    program = program_of(systems.robust_memory())
    wanted, found = both(program, drawn(program.model), 4)
    assert all(torch.equal(left, right) for left, right in zip(found, wanted, strict=True))


def test_an_optimizer_s_laws_run_over_a_group() -> None:
    laws = program_of(models.momentum()).laws
    weights = [torch.ones(2), torch.zeros(1, 2)]
    found, state = run_law_steps(laws, weights, [[torch.ones(2), torch.full((1, 2), 3.0)]] * 2, [{"learning_rate": 1.0, "decay": 0.5}] * 2)
    assert_close(found, [torch.full((2,), 1 - 1 - 1.5), torch.full((1, 2), -3 - 4.5)])
    assert_close(state["momentum"], [torch.full((2,), -1.5), torch.full((1, 2), -4.5)])
