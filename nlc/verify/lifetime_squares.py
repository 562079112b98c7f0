"""The squares of what outlasts a sequence: one sequence, the state with which the next begins, and that one, in every stage."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from dataclasses import replace
from functools import partial

from torch import Tensor, nn

from nlc.ir.program import Program
from nlc.verify.conditioning import conditioning_of
from nlc.verify.emitted import build
from nlc.verify.inputs import Case, Drawn, moving
from nlc.verify.judge import Judged, judge
from nlc.verify.observe import OUTPUTS, Failure, Pair, Seen, System, Tensors, attempt, leaves_of, observe
from nlc.verify.oracle import run_oracle
from nlc.verify.oracle_sequences import next_sequence
from nlc.verify.relation import pair
from nlc.verify.run_law import run_laws
from nlc.verify.run_sequences import begin_next_sequence
from nlc.verify.square import Square

CASES: tuple[Case, ...] = (
    Case(name="no tokens", chunks=0, extra=0, carried=True),
    Case(name="two chunks and one", chunks=2, extra=1),
    Case(name="a chunk, state carried", chunks=1, extra=0, carried=True, varied=True),
)
SEED = 2_000

Begin = Callable[[Tensors], Tensors]
"""The state with which a sequence has ended to that with which the next begins."""


def lifetime_squares(program: Program, module_class: Callable[..., nn.Module]) -> Iterator[Square]:
    """Every square of two sequences in a row; none when nothing outlasts a sequence."""
    for seed, case in enumerate(CASES, start=SEED) if program.laws.beginnings else ():
        view = judge(program, case, seed)
        if not isinstance(view.wanted, Failure):
            twice = Judged(view.drawn, _by_oracle(program, view.drawn))
            squares = _squares(program, module_class, case, twice)
            ticks, width = 2 * view.drawn.updates + 2, max(view.drawn.sizes.values(), default=1)
            yield from conditioning_of(program, twice, by_oracle=_by_oracle).widened(squares, ticks + width)


def _squares(program: Program, module_class: Callable[..., nn.Module], case: Case, view: Judged) -> Iterator[Square]:
    wanted, drawn = view.wanted, view.drawn
    if isinstance(wanted, Failure):
        yield _pair("spec", "oracle", case, drawn).failed(wanted, OUTPUTS)[0]
        return
    parameters, leaves = leaves_of(drawn.parameters, moving(program.model))
    by_laws = attempt(partial(observe, _in_a_row(*_laws(program, drawn, parameters), drawn), drawn, leaves))
    yield from _pair("oracle", "laws", case, drawn).compare(wanted, by_laws)
    emitted = build(module_class, program, drawn)
    for name, run in emitted.ways(drawn.tokens):
        seen = attempt(partial(observe, _in_a_row(run, emitted.next_sequence, drawn), drawn, emitted.leaves))
        yield from _pair("oracle", name, case, drawn).compare(wanted, seen)


def _pair(left: str, right: str, case: Case, drawn: Drawn) -> Pair:
    two = pair(f"{right}, and the next sequence", drawn, left=left)
    return replace(two, case=f"{case.name}, twice", ticks=2 * drawn.updates + 2)


def _by_oracle(program: Program, drawn: Drawn) -> Seen | Failure:
    parameters, leaves = leaves_of(drawn.parameters, moving(program.model))
    return attempt(partial(observe, _in_a_row(*_oracle(program, drawn, parameters), drawn), drawn, leaves))


def _oracle(program: Program, drawn: Drawn, parameters: Tensors) -> tuple[System, Begin]:
    model, sizes, numbers = program.model, drawn.sizes, drawn.hyperparameters

    def carried(state: Tensors) -> Tensors:
        """Without what the oracle holds though no law reads it."""
        return {slot.name: state[slot.name] for slot in program.slots}

    def run(inputs: Tensors, state: Tensors | None) -> tuple[Tensors, Tensors]:
        outputs, final = run_oracle(model, inputs, sizes, numbers, state, parameters)
        return outputs, carried(final)

    return run, lambda state: carried(next_sequence(model, state, sizes, numbers, parameters))


def _laws(program: Program, drawn: Drawn, parameters: Tensors) -> tuple[System, Begin]:
    run = partial(run_laws, program.laws, sizes=drawn.sizes, hyperparameters=drawn.hyperparameters, parameters=parameters)
    begin = partial(begin_next_sequence, program.laws, sizes=drawn.sizes, hyperparameters=drawn.hyperparameters, parameters=parameters)
    return run, begin


def _in_a_row(run: System, begin: Begin, drawn: Drawn) -> System:
    """Two sequences, the second of the same data backwards; the final state is that with which a third would begin."""

    def system(inputs: Tensors, state: Tensors | None) -> tuple[Tensors, Tensors]:
        first, ended = run(inputs, state)
        second, last = run({name: _backwards(x, name in drawn.whole) for name, x in inputs.items()}, begin(ended))
        outputs = {f"{name} of sequence {number}": x for number, found in enumerate((first, second), start=1) for name, x in found.items()}
        return outputs, begin(last)

    return system


def _backwards(x: Tensor, is_whole: bool) -> Tensor:
    return x.flip(0 if is_whole else 1)
