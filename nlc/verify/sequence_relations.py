"""What must hold of the numbers of an emitted sequence module by itself: causality to the bit, pieces equal to the whole, precision."""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Mapping
from dataclasses import replace

import torch
from torch import Tensor

from nlc.ir.algebra import Position, Tick, walk
from nlc.ir.program import Program
from nlc.verify.bounds import magnitude
from nlc.verify.conditioning import widened_in
from nlc.verify.emitted import Emitted, build
from nlc.verify.inputs import Case, Drawn
from nlc.verify.judge import judge
from nlc.verify.observe import OUTPUTS, STATE, System, Tensors, distance
from nlc.verify.oracle import run_oracle
from nlc.verify.relation import CARRIED, SEED, ModuleClass, Relation, every, in_dtype, pair
from nlc.verify.square import Square


def _arguments_kept(module_class: ModuleClass, emitted: Emitted, drawn: Drawn) -> Iterator[Square]:
    """No way to run changes its inputs, the state it was given or its parameters."""
    for name, run in emitted.ways(drawn.tokens):
        inputs, state = every(drawn.inputs, Tensor.clone), every(drawn.state or {}, Tensor.clone)
        run(inputs, state)
        error = max(_largest(drawn.inputs, inputs), _largest(drawn.state or {}, state))
        yield pair(f"arguments after {name}", drawn, left="arguments before").square("inputs and state", error, 0.0)
        error = _largest(drawn.parameters, emitted.parameters)
        yield pair(f"slow levels after {name}", drawn, left="slow levels before").square("parameters", error, 0.0)


def _causality(module_class: ModuleClass, emitted: Emitted, drawn: Drawn) -> Iterator[Square]:
    """Other inputs from token t on leave the outputs before t as they were, bit by bit."""
    other = judge(emitted.program, CARRIED, SEED + 1).drawn
    for name, run in emitted.ways(drawn.tokens):
        outputs, _ = run(drawn.inputs, drawn.state)
        error = 0.0
        for t in range(1, drawn.tokens):
            past, future = drawn.at(slice(t)), other.at(slice(t, None))
            changed = {key: x if key in drawn.whole else torch.cat((x, future[key]), 1) for key, x in past.items()}
            again, _ = run(changed, drawn.state)
            error = max(error, _largest(_until(outputs, t), _until(again, t)))
        surprised = pair(f"{name} with another future", drawn, left=name)
        yield surprised.square("outputs before it", error, 0.0, "an output depends on later inputs" if error else "")


def _pieces(module_class: ModuleClass, emitted: Emitted, drawn: Drawn) -> Iterator[Square]:
    """A sequence run in two pieces, the state carried between them, is the sequence run whole."""
    outputs, final = emitted.forward(drawn.inputs, drawn.state)
    scale = magnitude([*drawn.inputs.values(), *outputs.values(), *final.values()])
    for t in (1, drawn.chunk - 1, drawn.chunk, drawn.chunk + 1, drawn.tokens):
        first, between = emitted.forward(drawn.at(slice(t)), drawn.state)
        second, end = emitted.forward(drawn.at(slice(t, None)), between)
        joined = {name: torch.cat((first[name], second[name]), 1) for name in outputs}
        cut = replace(pair("forward in pieces", drawn, left="forward"), case=f"cut after {t} of {drawn.tokens} tokens")
        yield cut.closeness(OUTPUTS, outputs, joined, scale)
        yield cut.closeness(STATE, final, end, scale)


def _chunk_lengths(module_class: ModuleClass, emitted: Emitted, drawn: Drawn) -> Iterator[Square]:
    """Chunks of any length, up to longer ones than the sequence, give the same results."""
    if emitted.program.has_chunk:
        outputs, final = emitted.forward(drawn.inputs, drawn.state)
        scale = magnitude([*drawn.inputs.values(), *outputs.values(), *final.values()])
        for chunk in range(1, drawn.tokens + 2):
            again, end = build(module_class, emitted.program, replace(drawn, chunk=chunk)).forward(drawn.inputs, drawn.state)
            other = replace(pair("forward in other chunks", drawn, left="forward"), case=f"chunks of {chunk} tokens")
            yield other.closeness(OUTPUTS, outputs, again, scale)
            yield other.closeness(STATE, final, end, scale)


def _layouts(module_class: ModuleClass, emitted: Emitted, drawn: Drawn) -> Iterator[Square]:
    """Inputs and a state whose numbers lie in another order in memory give the same results."""
    for name, run in emitted.ways(drawn.tokens):
        outputs, final = run(drawn.inputs, drawn.state)
        scale = magnitude([*drawn.inputs.values(), *outputs.values(), *final.values()])
        again, end = run(every(drawn.inputs, _reversed_in_memory), every(drawn.state or {}, _reversed_in_memory))
        strided = pair(f"{name} of strided inputs", drawn, left=name)
        yield strided.closeness(OUTPUTS, outputs, again, scale)
        yield strided.closeness(STATE, final, end, scale)


def _reversed_in_memory(tensor: Tensor) -> Tensor:
    dims = tuple(reversed(range(tensor.dim())))
    return tensor.permute(dims).contiguous().permute(dims)


def _bfloat16(module_class: ModuleClass, emitted: Emitted, drawn: Drawn) -> Iterator[Square]:
    """With bfloat16 inputs the state is kept, and computed, in float32; outputs are rounded once, at the end."""
    single = build(module_class, emitted.program, drawn, torch.float32)
    runs = {f"{name} in bfloat16": run for name, run in single.ways(drawn.tokens)}
    yield from _low_precision(single, drawn, torch.bfloat16, runs)


def _autocast(module_class: ModuleClass, emitted: Emitted, drawn: Drawn) -> Iterator[Square]:
    """Under autocast the arithmetic of the state stays in float32."""
    single = build(module_class, emitted.program, drawn, torch.float32)
    runs = {f"{name} under autocast": _under_autocast(run) for name, run in single.ways(drawn.tokens)}
    yield from _low_precision(single, drawn, torch.float32, runs)


def _under_autocast(run: System) -> System:
    def cast(inputs: Tensors, state: Tensors | None) -> tuple[Tensors, Tensors]:
        with torch.autocast("cpu", dtype=torch.bfloat16):
            return run(inputs, state)

    return cast


def _low_precision(emitted: Emitted, drawn: Drawn, dtype: torch.dtype, runs: Mapping[str, System]) -> Iterator[Square]:
    """Against the oracle in float64 on the very same rounded inputs and parameters: the state to float32, outputs to their own precision.

    A state is carried in, for a system may stay at zero once it is there.
    """
    inputs, start = in_dtype(drawn.inputs, dtype), in_dtype(drawn.state or {}, torch.float32)
    exact, given = in_dtype(inputs, torch.float64), in_dtype(start, torch.float64)
    parameters = in_dtype(emitted.parameters, torch.float64)
    wanted, wanted_state = run_oracle(emitted.program.model, exact, drawn.sizes, drawn.hyperparameters, given, parameters)
    states = _rounded(emitted.program, (*start.values(), *wanted_state.values()))
    scale = magnitude([*exact.values(), *parameters.values(), *wanted.values(), *states])
    kept = {slot.name: wanted_state[slot.name] for slot in emitted.program.slots}
    squares = []
    for name, run in runs.items():
        outputs, state = run(inputs, start)
        precise = pair(name, drawn)
        once = replace(precise, ticks=0, width=1) if dtype is torch.bfloat16 else precise
        narrow = [f"{key} is {x.dtype}" for key, x in state.items() if x.is_floating_point() and x.dtype is not torch.float32]
        yield precise.square("dtype of the state", float(len(narrow)), 0.0, ", ".join(narrow))
        squares.append(precise.closeness(STATE, kept, state, scale, torch.float32))
        squares.append(once.closeness(OUTPUTS, wanted, outputs, scale, dtype))
    rounded = replace(drawn, inputs=exact, state=given, parameters=parameters)
    yield from widened_in(torch.float32, emitted.program, rounded, squares, drawn.updates + max(drawn.sizes.values()))


def _rounded(program: Program, states: Iterable[Tensor]) -> list[Tensor]:
    """The states whose magnitude says how much is rounded: counts are exact, and matter only where laws compute with them."""
    has_counts = any(isinstance(node, Position | Tick) for value in program.laws.values for node in walk(value))
    return [state for state in states if has_counts or state.is_floating_point()]


RELATIONS: tuple[tuple[Relation, Case], ...] = (
    (_arguments_kept, CARRIED),
    (_causality, CARRIED),
    (_pieces, CARRIED),
    (_layouts, CARRIED),
    (_chunk_lengths, CARRIED),
    (_bfloat16, CARRIED),
    (_autocast, CARRIED),
)
"""Each relation, with the case whose evidence it gets."""


def _until(tensors: Tensors, t: int) -> dict[str, Tensor]:
    return {name: tensor[:, :t] for name, tensor in tensors.items()}


def _largest(left: Tensors, right: Tensors) -> float:
    return max((distance(tensor, right[name]) for name, tensor in left.items()), default=0.0)
