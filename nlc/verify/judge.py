"""A program and a case -> evidence with the oracle's view of it, drawn so that the oracle gives finite numbers where it can."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass, replace
from functools import partial

from nlc.ir.program import Program
from nlc.verify.inputs import Case, Drawn, draw, longest_period, moving
from nlc.verify.observe import Failure, Seen, Tensors, attempt, leaves_of, observe
from nlc.verify.oracle import run_oracle

TOKENS_BEFORE = 3
"""Tokens after the longest period, where the state is one that the spec itself comes to."""


@dataclass(frozen=True, slots=True)
class Judged:
    """Evidence, and what the oracle makes of it: a `Failure` also when its numbers are not finite."""

    drawn: Drawn
    wanted: Seen | Failure


def judge(program: Program, case: Case, seed: int) -> Judged:
    """The judge's view of a case, of the hardest evidence that gives finite numbers.

    Scalars lie on the ends of their ranges, or else between them (a logarithm of 0, say); a carried state is any, or else one that the
    spec itself comes to (the root of a second moment, say).
    """
    for drawn in _evidence(program, case, seed):
        wanted = judged_by_oracle(program, drawn)
        if isinstance(wanted, Failure) or wanted.is_finite:
            return Judged(drawn, wanted)
    return Judged(drawn, Failure("the spec itself gives numbers that are not finite"))


def _evidence(program: Program, case: Case, seed: int) -> Iterator[Drawn]:
    """A case drawn in every way, the hardest first."""
    for edges in (True, False):
        drawn = draw(program.model, case, program.chunk, seed=seed, edges=edges, slots=program.slots)
        yield drawn
    if case.carried:
        past = replace(case, chunks=0, extra=longest_period(program.model) + TOKENS_BEFORE, carried=False)
        before = judged_by_oracle(program, draw(program.model, past, program.chunk, seed=seed + 1, edges=False, slots=program.slots))
        if isinstance(before, Seen):
            yield replace(drawn, state=before.state)


def judged_by_oracle(program: Program, drawn: Drawn) -> Seen | Failure:
    """What the oracle makes of evidence."""
    parameters, leaves = leaves_of(drawn.parameters, moving(program.model))
    return attempt(partial(observe, partial(_run, program, drawn, parameters), drawn, leaves))


def _run(program: Program, drawn: Drawn, parameters: Tensors, inputs: Tensors, state: Tensors | None) -> tuple[Tensors, Tensors]:
    """The oracle at drawn sizes; of the state, what the program carries."""
    outputs, final = run_oracle(program.model, inputs, drawn.sizes, drawn.hyperparameters, state, parameters)
    return outputs, {slot.name: final[slot.name] for slot in program.slots}
