"""What must hold of an emitted sequence module by itself: causality to the bit, pieces equal to the whole, precision of the state."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from dataclasses import replace
from functools import partial

import torch
from torch import Tensor, nn

from nlc.ir.program import Program
from nlc.verify.bounds import magnitude
from nlc.verify.emitted import Emitted, build
from nlc.verify.inputs import Case, Drawn
from nlc.verify.judge import judge
from nlc.verify.observe import OUTPUTS, STATE, Failure, Pair, System, Tensors, attempt, distance
from nlc.verify.oracle import run_oracle
from nlc.verify.square import Square

CARRIED = Case(name="two chunks and one, state carried", chunks=2, extra=1, carried=True)
FRESH = Case(name="two chunks and one", chunks=2, extra=1)
SEED = 1_000
ModuleClass = Callable[..., nn.Module]
Relation = Callable[[Program, Emitted, Drawn], Iterator[Square]]


def sequence_relations(program: Program, module_class: ModuleClass) -> Iterator[Square]:
    """Every relation as a square; a module that raises opens the one at hand. None where the oracle itself fails."""
    for relation, case in RELATIONS:
        judged = judge(program, case, SEED)
        if isinstance(judged.wanted, Failure):
            return
        drawn = judged.drawn
        found = attempt(partial(_squares, relation, program, module_class, drawn))
        name = relation.__name__.strip("_").replace("_", " ")
        yield from _pair(name, drawn).failed(found, OUTPUTS) if isinstance(found, Failure) else found


def _squares(relation: Relation, program: Program, module_class: ModuleClass, drawn: Drawn) -> list[Square]:
    return list(relation(program, build(module_class, program, drawn), drawn))


def _arguments_kept(program: Program, emitted: Emitted, drawn: Drawn) -> Iterator[Square]:
    """No way to run changes its inputs or the state it was given."""
    for name, run in emitted.ways(drawn.tokens):
        inputs, state = _copy(drawn.inputs), _copy(drawn.state or {})
        run(inputs, state)
        error = max(_largest(drawn.inputs, inputs), _largest(drawn.state or {}, state))
        yield _pair(f"arguments after {name}", drawn, left="arguments before").square("inputs and state", error, 0.0)


def _causality(program: Program, emitted: Emitted, drawn: Drawn) -> Iterator[Square]:
    """Other inputs from token t on leave the outputs before t as they were, bit by bit."""
    other = judge(program, CARRIED, SEED + 1).drawn
    for name, run in emitted.ways(drawn.tokens):
        outputs, _ = run(drawn.inputs, drawn.state)
        error = 0.0
        for t in range(1, drawn.tokens):
            changed = {key: torch.cat((stream[:, :t], other.inputs[key][:, t:]), 1) for key, stream in drawn.inputs.items()}
            again, _ = run(changed, drawn.state)
            error = max(error, _largest(_until(outputs, t), _until(again, t)))
        pair = _pair(f"{name} with another future", drawn, left=name)
        yield pair.square("outputs before it", error, 0.0, "an output depends on later inputs" if error else "")


def _pieces(program: Program, emitted: Emitted, drawn: Drawn) -> Iterator[Square]:
    """A sequence run in two pieces, the state carried between them, is the sequence run whole."""
    outputs, final = emitted.forward(drawn.inputs, drawn.state)
    scale = magnitude([*drawn.inputs.values(), *outputs.values(), *final.values()])
    for t in (1, drawn.chunk - 1, drawn.chunk, drawn.chunk + 1, drawn.tokens):
        first, between = emitted.forward({name: stream[:, :t] for name, stream in drawn.inputs.items()}, drawn.state)
        second, end = emitted.forward({name: stream[:, t:] for name, stream in drawn.inputs.items()}, between)
        joined = {name: torch.cat((first[name], second[name]), 1) for name in outputs}
        pair = replace(_pair("forward in pieces", drawn, left="forward"), case=f"cut after {t} of {drawn.tokens} tokens")
        yield pair.closeness(OUTPUTS, outputs, joined, scale)
        yield pair.closeness(STATE, final, end, scale)


def _bfloat16(program: Program, emitted: Emitted, drawn: Drawn) -> Iterator[Square]:
    """With bfloat16 inputs the state is kept, and computed, in float32; outputs are rounded once, at the end."""
    inputs = {name: stream.bfloat16() for name, stream in drawn.inputs.items()}
    for name, run in emitted.ways(drawn.tokens):
        yield from _low_precision(program, drawn, inputs, run, f"{name} in bfloat16")


def _autocast(program: Program, emitted: Emitted, drawn: Drawn) -> Iterator[Square]:
    """Under autocast the arithmetic of the state stays in float32."""

    def run(inputs: Tensors, state: Tensors | None) -> tuple[Tensors, Tensors]:
        with torch.autocast("cpu", dtype=torch.bfloat16):
            return emitted.forward(inputs, state)

    inputs = {name: stream.float() for name, stream in drawn.inputs.items()}
    yield from _low_precision(program, drawn, inputs, run, "forward under autocast")


def _low_precision(program: Program, drawn: Drawn, inputs: Tensors, run: System, name: str) -> Iterator[Square]:
    """Against the oracle in float64 on the very same rounded inputs: the state to float32, outputs to their own precision."""
    exact = {key: stream.double() for key, stream in inputs.items()}
    wanted, wanted_state = run_oracle(program.model, exact, drawn.sizes, drawn.hyperparameters)
    outputs, state = run(inputs, None)
    scale = magnitude([*exact.values(), *wanted.values(), *wanted_state.values()])
    pair = _pair(name, drawn)
    narrow = [
        f"{key} is {tensor.dtype}" for key, tensor in state.items() if tensor.is_floating_point() and tensor.dtype is not torch.float32
    ]
    yield pair.square("dtype of the state", float(len(narrow)), 0.0, ", ".join(narrow))
    yield pair.closeness(STATE, {slot.name: wanted_state[slot.name] for slot in program.slots}, state, scale, torch.float32)
    dtype = next(iter(inputs.values())).dtype
    once = replace(pair, ticks=0, width=1) if dtype is torch.bfloat16 else pair
    yield once.closeness(OUTPUTS, wanted, outputs, scale, dtype)


RELATIONS: tuple[tuple[Relation, Case], ...] = (
    (_arguments_kept, CARRIED),
    (_causality, CARRIED),
    (_pieces, CARRIED),
    (_bfloat16, FRESH),
    (_autocast, FRESH),
)
"""Each relation, with the case whose evidence it gets."""


def _pair(right: str, drawn: Drawn, left: str = "oracle") -> Pair:
    return Pair(left, right, f"{drawn.tokens} tokens", drawn.tokens, max(drawn.sizes.values(), default=1))


def _copy(tensors: Tensors) -> dict[str, Tensor]:
    return {name: tensor.clone() for name, tensor in tensors.items()}


def _until(tensors: Tensors, t: int) -> dict[str, Tensor]:
    return {name: tensor[:, :t] for name, tensor in tensors.items()}


def _largest(left: Tensors, right: Tensors) -> float:
    return max((distance(tensor, right[name]) for name, tensor in left.items()), default=0.0)
