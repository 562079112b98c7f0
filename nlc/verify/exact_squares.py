"""The squares that allow no tolerance: on small whole numbers and halves, a polynomial system must come out the same to the bit.

The laws are reckoned in Python's own numbers, which know whether any order of additions and products stays exact in float64; as many
tokens are taken as do. Then oracle, laws, program and every way to run the module, at any chunk, must give those very numbers, and
gradients that are the same to the bit.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass, replace
from functools import partial, reduce

import torch

from nlc.ir.model import Family
from nlc.ir.program import Program
from nlc.ir.starts import starts_from_evidence
from nlc.verify.arithmetic import NotRational
from nlc.verify.dyadic import Dyadic
from nlc.verify.emitted import build
from nlc.verify.exact_evidence import draw_exactly, evidence_of, state_of, tensors_of, with_parameters_of
from nlc.verify.exact_laws import Seen as Reckoned, run_exactly
from nlc.verify.inputs import Case, Drawn, moving
from nlc.verify.observe import GRADIENTS, OUTPUTS, STATE, Failure, Pair, Seen, System, Tensors, attempt, leaves_of, observe
from nlc.verify.oracle import run_oracle
from nlc.verify.relation import ModuleClass
from nlc.verify.run_law import run_laws
from nlc.verify.run_program import run_program
from nlc.verify.square import Square

NAME = "exact numbers"
CASE = Case(name="whole numbers and halves", chunks=2, extra=1, batch=2, carried=True)
SEED = 3_000
Runner = Callable[[Drawn, Tensors, Tensors, Tensors | None], tuple[Tensors, Tensors]]
"""A system at drawn sizes: evidence, parameters, inputs and a state to outputs and the final state."""

LEAST = 2
"""Tokens: of one alone, chunks say nothing."""


@dataclass(frozen=True, slots=True)
class Wanted:
    """Evidence whose every number is exact, and what must come out of it."""

    drawn: Drawn
    outputs: Tensors
    state: Tensors


def exact_squares(program: Program, module_class: ModuleClass) -> Iterator[Square]:
    """Everything against exact numbers, or one square that says why the system has none; nothing where the oracle itself fails."""
    pair = Pair("oracle", NAME, CASE.name, 0, 0)
    wanted = attempt(partial(_reckoned_or_why, program))
    if not isinstance(wanted, Wanted):
        yield from pair.failed(wanted, OUTPUTS) if isinstance(wanted, Failure) else [pair.inapplicable(OUTPUTS, wanted)]
        return
    drawn = wanted.drawn
    oracle = _observed(program, drawn, partial(_oracle, program))
    if isinstance(oracle, Failure):
        return
    yield from _same(wanted, oracle, oracle, drawn, "oracle", NAME)
    for name, run in (("laws", _laws), ("program", _program))[: 1 + program.is_parallel]:
        yield from _same(wanted, oracle, _observed(program, drawn, partial(run, program)), drawn, NAME, name)
    for chunk in _chunks(program, drawn):
        other = replace(drawn, chunk=chunk)
        emitted = attempt(partial(build, module_class, program, other))
        if isinstance(emitted, Failure):
            yield from Pair(NAME, "forward", CASE.name, 0, 0).failed(emitted, OUTPUTS)
            return
        ways = (
            *emitted.ways(drawn.tokens),
            *((f"forward in pieces, cut at {t}", _in_pieces(emitted.forward, t)) for t in range(1, drawn.tokens)),
        )
        for name, way in ways if chunk == drawn.chunk else ways[:1]:
            seen = attempt(partial(observe, way, other, emitted.leaves, whole_directions))
            yield from _same(wanted, oracle, seen, other, NAME, name.partition(",")[0], f"chunks of {chunk}, {name}")


def _reckoned_or_why(program: Program) -> Wanted | str:
    try:
        return reckoned(program)
    except NotRational as reason:
        return f"the laws do not stay exact: {reason}"


def _chunks(program: Program, drawn: Drawn) -> Sequence[int]:
    return (*range(1, drawn.tokens + 2),) if program.is_parallel else (drawn.chunk,)


def reckoned(program: Program) -> Wanted:
    """The evidence with as many of its tokens as are exact, and what exact numbers make of it; raises NotRational when there is none."""
    unknown = [item.name for item in program.model.fast if item.every.family is not Family.TOKEN]
    if unknown:
        raise NotRational(f"the clock of {unknown[0]} is not that of tokens")
    whole = [item.name for item in program.model.inputs if item.is_of_sequence]
    if whole:
        raise NotRational(f"{whole[0]} comes once a sequence")
    late = [item.name for item in program.model.fast if starts_from_evidence(item)]
    if late:
        raise NotRational(f"{late[0]} starts from what a stream or another level says")
    drawn = draw_exactly(program, CASE, SEED)
    sequences = []
    tokens = drawn.tokens
    for sequence in range(drawn.batch):
        evidence = with_parameters_of(evidence_of(program.model, drawn, sequence), program, drawn.parameters)
        ticks = []
        for seen in run_exactly(program.laws, evidence, state_of(program, drawn, sequence)):
            ticks.append(seen)
            if len(ticks) > tokens or not _stays_exact(ticks):
                ticks.pop()
                break
        tokens = min(tokens, len(ticks))
        sequences.append(ticks)
    if tokens < LEAST:
        raise NotRational(f"numbers get too long for float64 after {tokens} tokens")
    inputs = {name: tensor[:, :tokens] for name, tensor in drawn.inputs.items()}
    outputs, state = tensors_of(program, [ticks[:tokens] for ticks in sequences])
    return Wanted(replace(drawn, inputs=inputs, tokens=tokens, chunk=min(drawn.chunk, tokens)), outputs, state)


def _stays_exact(ticks: Sequence[Reckoned]) -> bool:
    """Whether the loss that `observe` differentiates, the sum of all outputs and final states, and its gradients are exact."""
    values = [*(value for outputs, _ in ticks for value in outputs.values()), *ticks[-1][1].values()]
    entries = [entry for at_places in values for x in at_places.values() for entry in x.entries]
    loss = reduce(Dyadic.__add__, (entry for entry in entries if isinstance(entry, Dyadic)))
    return (loss * Dyadic.of(4 * len(ticks))).is_exact  # a product of n factors is met n times in a gradient


def whole_directions(tensors: Tensors, seed: int) -> Tensors:
    """A direction of -1, 0 and 1 for every tensor, by name."""
    generator = torch.Generator().manual_seed(seed)
    return {name: torch.randint(-1, 2, tensors[name].shape, generator=generator).double() for name in sorted(tensors)}


# --- who must come to the same numbers ---------------------------------------------------------------------------


def _observed(program: Program, drawn: Drawn, run: Runner) -> Seen | Failure:
    parameters, leaves = leaves_of(drawn.parameters, moving(program.model))
    return attempt(partial(observe, lambda inputs, state: run(drawn, parameters, inputs, state), drawn, leaves, whole_directions))


def _oracle(program: Program, drawn: Drawn, parameters: Tensors, inputs: Tensors, state: Tensors | None) -> tuple[Tensors, Tensors]:
    outputs, final = run_oracle(program.model, inputs, drawn.sizes, drawn.hyperparameters, state, parameters)
    return outputs, {slot.name: final[slot.name] for slot in program.slots}


def _laws(program: Program, drawn: Drawn, parameters: Tensors, inputs: Tensors, state: Tensors | None) -> tuple[Tensors, Tensors]:
    numbers = drawn.hyperparameters
    return run_laws(program.laws, inputs, state, sizes=drawn.sizes, hyperparameters=numbers, parameters=parameters)


def _program(program: Program, drawn: Drawn, parameters: Tensors, inputs: Tensors, state: Tensors | None) -> tuple[Tensors, Tensors]:
    numbers = drawn.hyperparameters
    return run_program(program, inputs, state, sizes=drawn.sizes, hyperparameters=numbers, chunk=drawn.chunk, parameters=parameters)


def _in_pieces(forward: System, t: int) -> System:
    def run(inputs: Tensors, state: Tensors | None) -> tuple[Tensors, Tensors]:
        first, between = forward({name: stream[:, :t] for name, stream in inputs.items()}, state)
        second, end = forward({name: stream[:, t:] for name, stream in inputs.items()}, between)
        return {name: torch.cat((first[name], second[name]), 1) for name in first}, end

    return run


def _same(wanted: Wanted, oracle: Seen, found: Seen | Failure, drawn: Drawn, left: str, right: str, case: str = "") -> Iterator[Square]:
    """Outputs and states against exact numbers, gradients against the oracle's, without tolerance."""
    pair = Pair(left, right, f"{drawn.tokens} tokens, {case}".removesuffix(", "), 0, 0)
    if isinstance(found, Failure):
        yield from pair.failed(found, OUTPUTS)
        return
    yield pair.equality(OUTPUTS, wanted.outputs, found.outputs)
    yield pair.equality(STATE, wanted.state, found.state)
    if oracle is not found:
        yield pair.equality(GRADIENTS, oracle.gradients, found.gradients)
