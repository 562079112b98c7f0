"""Emitted sequence modules do what their laws say, at every length, chunk, dtype and gate, and look at no later token."""

from __future__ import annotations

from collections.abc import Callable
from itertools import product
from typing import Any

import pytest
import torch
from hypothesis import given, settings, strategies as st
from torch import Tensor

from nlc.ir.model import Model
from nlc.ir.program import Program
from tests import models
from tests.derive import systems
from tests.emit import references
from tests.emit.systems import ODD, Tensors, emitted_class, inputs_of, program_from, program_of, sizes_of

BY_HAND = (models.linear_attention, models.delta_rule, models.gated_delta_rule, models.gated_linear_memory, models.delta_rule_with_momentum)
PROGRAMS = (*(program_of(model()) for model in BY_HAND), *(program_from(text) for text in ODD))
GATED = program_of(models.gated_delta_rule())
SMALL = {"d_k": 4, "d_v": 3}

DTYPES = ((torch.bfloat16, torch.float32), (torch.float32, torch.float32), (torch.float64, torch.float64))
"""The dtype of inputs and outputs, and that of the state."""

each_program = pytest.mark.parametrize("program", PROGRAMS, ids=lambda program: program.model.name)


@pytest.fixture(autouse=True)
def one_thread() -> None:
    torch.set_num_threads(1)


def built(program: Program, chunk: int = 3) -> tuple[Any, dict[str, int]]:
    """A small module and its sizes."""
    sizes = sizes_of(program, **(SMALL if program.model.digest == "0" * 64 else {}))
    dims = {item.name: sizes[item.name] for item in program.model.dims if item.definition is None}
    return emitted_class(program)(**dims, **({"chunk": chunk} if program.chunked else {})), sizes


def leaves(*values: Tensor | Tensors) -> list[Tensor]:
    return [leaf for value in values for leaf in (value.values() if isinstance(value, dict) else (value,))]


def largest(left: list[Tensor], right: list[Tensor]) -> float:
    return max((float((a - b).detach().abs().max()) if a.numel() else 0.0 for a, b in zip(left, right, strict=True)), default=0.0)


@pytest.mark.parametrize("place", range(len(PROGRAMS)), ids=lambda place: PROGRAMS[place].model.name)
@settings(deadline=None, max_examples=12)
@given(tokens=st.integers(0, 9), chunk=st.integers(1, 12), batch=st.integers(0, 2), seed=st.integers(0, 99))
def test_all_ways_equal_the_laws(place: int, tokens: int, chunk: int, batch: int, seed: int) -> None:
    program = PROGRAMS[place]
    module, sizes = built(program, chunk)
    inputs = inputs_of(program, sizes, batch=batch, tokens=tokens, seed=seed)
    for run in (module, module.forward_by_token):
        outputs, state = run(**inputs)
        found = outputs if isinstance(outputs, dict) else {program.model.outputs[0].name: outputs}
        carried = state if isinstance(state, dict) else {program.slots[0].name: state}
        heads, dims = sizes["heads"] if program.model.axes else 1, 2 + len(program.model.axes)
        assert {value.shape[:dims] for value in found.values()} == {(batch, tokens, heads)[:dims]}
        for row, head in product(range(batch), range(heads)):
            streams = {item.name: _copy(inputs[item.name][row], head, bool(item.axes), 1) for item in program.model.inputs}
            copy = {name: _copy(value[row], head, bool(program.model.axes), 0) for name, value in carried.items()}
            wanted, last = references.run(references.STEPS[program.model.name], streams, {name: 0 * value for name, value in copy.items()})
            mine = [_copy(found[name][row], head, bool(program.model.axes), 1) for name in wanted]
            assert largest([*mine, *(copy[name] for name in last)], [*wanted.values(), *last.values()]) < 1e-12


def _copy(value: Tensor, head: int, has_axis: bool, place: int) -> Tensor:
    """What belongs to one head."""
    return value.select(place, head) if has_axis else value


@each_program
def test_gradients_of_inputs_and_initial_state_equal_those_of_the_laws(program: Program) -> None:
    module, sizes = built(program)
    inputs = {name: value.requires_grad_() for name, value in inputs_of(program, sizes, tokens=8).items()}
    axes = [sizes[axis] for axis in program.model.axes]
    zeros = module.initial_state(2, *axes, like=next(iter(inputs.values())))
    start = {name: torch.randn_like(value).requires_grad_() for name, value in zeros.items()} if isinstance(zeros, dict) else None
    state: Any = torch.randn_like(zeros).requires_grad_() if start is None else start
    wanted: list[Tensor] | None = None
    for run in (module.forward_by_token, module):
        total = torch.stack([(leaf**2).sum() for leaf in leaves(*run(**inputs, state=state))]).sum()
        gradients = list(torch.autograd.grad(total, [*inputs.values(), *leaves(state)]))
        assert largest(gradients, wanted or gradients) < 1e-10
        wanted = gradients


@pytest.mark.parametrize("gate", [0.0, 1e-6, 1e-30, 1.0])
def test_gates_at_their_ends_are_exact_in_values_and_gradients(gate: float) -> None:
    module, sizes = built(GATED, chunk=16)
    inputs = inputs_of(GATED, sizes, tokens=40)
    inputs["alpha"][:, 3:9] = gate
    inputs["alpha"][:, 20] = gate
    inputs["beta"][:, 5:12] = min(gate, 1.0)
    inputs = {name: value.requires_grad_() for name, value in inputs.items()}
    found = [run(**inputs) for run in (module, module.forward_by_token)]
    assert largest(leaves(*found[0]), leaves(*found[1])) < 1e-12
    gradients = [torch.autograd.grad((y**2).sum() + (memory**3).sum(), list(inputs.values())) for y, memory in found]
    assert all(gradient.isfinite().all() for gradient in gradients[0])
    assert largest(list(gradients[0]), list(gradients[1])) < 1e-11


@pytest.mark.parametrize("gate", [0.0, 1e-6, 1e-30, 1.0])
@pytest.mark.parametrize("model", [systems.channel_gated_memory, systems.channel_gated_delta_rule], ids=lambda model: model.__name__)
def test_channels_forget_exactly_in_values_and_gradients(model: Callable[[], Model], gate: float) -> None:
    program = program_of(model())
    module, sizes = built(program, chunk=16)
    inputs = inputs_of(program, sizes, tokens=40)
    inputs["p"] = inputs["p"].sigmoid()
    inputs["p"][:, 3:9] = gate
    inputs["p"][:, 20, ..., 1] = gate
    inputs = {name: value.requires_grad_() for name, value in inputs.items()}
    found = [run(**inputs) for run in (module, module.forward_by_token)]
    assert largest(leaves(*found[0]), leaves(*found[1])) < 1e-12
    gradients = [
        torch.autograd.grad((y**2).sum() + (memory**3).sum(), list(inputs.values()), allow_unused=True, materialize_grads=True)
        for y, memory in found
    ]
    assert all(gradient.isfinite().all() for gradient in gradients[0])
    assert largest(list(gradients[0]), list(gradients[1])) < 1e-11


def test_a_decay_of_zero_forgets_all() -> None:
    module, sizes = built(GATED)
    inputs = inputs_of(GATED, sizes, tokens=8)
    inputs["alpha"][:, 4] = 0.0
    fresh = {name: value[:, 4:] for name, value in inputs.items()}
    assert largest([module(**inputs)[0][:, 4:]], [module(**fresh)[0]]) < 1e-14


@each_program
def test_first_and_second_derivatives(program: Program) -> None:
    module, sizes = built(program, chunk=2)
    inputs = inputs_of(program, sizes, batch=1, tokens=3, seed=1)
    names = list(inputs)

    def run(*values: Tensor) -> tuple[Tensor, ...]:
        return tuple(leaves(*module(**dict(zip(names, values, strict=True)))))

    values = [value.requires_grad_() for value in inputs.values()]
    assert torch.autograd.gradcheck(run, values, fast_mode=True)
    assert torch.autograd.gradgradcheck(run, values, fast_mode=True)


@each_program
def test_outputs_before_a_token_keep_their_bits_when_it_and_its_future_change(program: Program) -> None:
    module, sizes = built(program, chunk=5)
    inputs = inputs_of(program, sizes, tokens=11, dtype=torch.float32)
    other = inputs_of(program, sizes, tokens=11, dtype=torch.float32, seed=7)
    before = leaves(module(**inputs)[0])
    for t in range(1, 11):
        changed = {name: torch.cat((value[:, :t], other[name][:, t:]), 1) for name, value in inputs.items()}
        after = leaves(module(**changed)[0])
        assert all(torch.equal(left[:, :t], right[:, :t]) for left, right in zip(before, after, strict=True))


def test_masked_products_that_overflow_leave_no_trace() -> None:
    module, sizes = built(GATED, chunk=8)
    inputs = inputs_of(GATED, sizes, tokens=8, dtype=torch.float32)
    inputs["q"][:, 5:7] = 1e30
    before = module(**inputs)[0]
    inputs["k"][:, 7] = 1e30
    assert torch.equal(module(**inputs)[0][:, :7], before[:, :7])


@each_program
@pytest.mark.parametrize(("given", "kept"), DTYPES)
def test_outputs_have_the_dtype_of_the_inputs_and_states_float32_or_wider(program: Program, given: torch.dtype, kept: torch.dtype) -> None:
    module, sizes = built(program)
    for run in (module, module.forward_by_token):
        outputs, state = run(**inputs_of(program, sizes, dtype=given))
        assert {leaf.dtype for leaf in leaves(outputs)} == {given}
        assert {leaf.dtype for leaf in leaves(state)} == {kept}


@each_program
def test_autocast_does_not_reach_the_state(program: Program) -> None:
    module, sizes = built(program)
    inputs = inputs_of(program, sizes, dtype=torch.float32)
    wanted = leaves(*module(**inputs))
    with torch.autocast("cpu", dtype=torch.bfloat16):
        assert largest(leaves(*module(**inputs)), wanted) == 0.0
        assert largest(leaves(*module.forward_by_token(**inputs)), wanted) < 1e-5


@each_program
def test_meta_tensors_pass_through(program: Program) -> None:
    module, sizes = built(program)
    wanted = leaves(*module(**inputs_of(program, sizes)))
    inputs = {name: value.to("meta") for name, value in inputs_of(program, sizes).items()}
    found = leaves(*module(**inputs))
    assert [(leaf.device.type, leaf.shape, leaf.dtype) for leaf in found] == [("meta", leaf.shape, leaf.dtype) for leaf in wanted]


@each_program
def test_arguments_are_left_as_they_were(program: Program) -> None:
    module, sizes = built(program)
    inputs = inputs_of(program, sizes)
    _, state = module(**inputs)
    kept = [leaf.clone() for leaf in leaves(inputs, state)]
    module(**inputs, state=state)
    module.step(**{name: value[:, 0] for name, value in inputs.items()}, state=state)
    assert all(torch.equal(leaf, copy) for leaf, copy in zip(leaves(inputs, state), kept, strict=True))


@each_program
def test_vectorised_maps_over_modules(program: Program) -> None:
    module, sizes = built(program)
    inputs = inputs_of(program, sizes, tokens=4)
    stacked = {name: torch.stack((value, 2 * value)) for name, value in inputs.items()}
    found = torch.func.vmap(lambda streams: module(**streams))(stacked)
    assert largest([leaf[0] for leaf in leaves(*found)], leaves(*module(**inputs))) < 1e-12


def test_chunk_must_be_positive_and_derived_dims_whole() -> None:
    with pytest.raises(ValueError, match="chunk must be 1 or more, not 0"):
        emitted_class(GATED)(chunk=0)
    with pytest.raises(ValueError, match="d_k = d_model / heads must be a whole number, not 7 / 2"):
        emitted_class(program_from(ODD[0]))(d_model=7)


@pytest.mark.slow
@pytest.mark.parametrize("program", PROGRAMS[:4], ids=lambda program: program.model.name)
def test_torch_compile_takes_every_form_whole(program: Program) -> None:
    compiles(program, tokens=256)


def test_torch_compile_takes_a_gated_form_whole() -> None:
    compiles(GATED, tokens=5, backend="aot_eager")


def compiles(program: Program, tokens: int, backend: str = "inductor") -> None:
    """Forward and backward, in one graph, give what eager gives."""
    module, sizes = built(program, chunk=min(64, tokens // 2))
    inputs = {name: value.requires_grad_() for name, value in inputs_of(program, sizes, tokens=tokens, dtype=torch.float32).items()}
    compiled = torch.compile(module, fullgraph=True, backend=backend)
    results = []
    for run in (module, compiled):
        outputs = leaves(*run(**inputs))
        results.append([*outputs, *torch.autograd.grad(torch.stack([leaf.sum() for leaf in outputs]).sum(), list(inputs.values()))])
    assert largest(*results) < 1e-3
