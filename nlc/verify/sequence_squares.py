"""The squares of an architecture: oracle, laws, program and the module's three ways, over all shape cases."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from functools import partial
from types import ModuleType

from torch import nn

from nlc.ir.program import Program
from nlc.verify.conditioning import conditioning_of
from nlc.verify.context_squares import context_squares
from nlc.verify.emitted import build
from nlc.verify.exact_squares import exact_squares
from nlc.verify.inputs import SHAPE_CASES, Case, Drawn, moving
from nlc.verify.judge import Judged, judge
from nlc.verify.lifetime_squares import lifetime_squares
from nlc.verify.metamorphic import METAMORPHIC
from nlc.verify.observe import GRADIENTS, OUTPUTS, STATE, Failure, Pair, Seen, attempt, leaves_of, observe
from nlc.verify.relation import relation_squares
from nlc.verify.run_law import run_laws
from nlc.verify.run_program import run_program
from nlc.verify.sequence_contract import CONTRACT
from nlc.verify.sequence_relations import RELATIONS
from nlc.verify.square import Square
from nlc.verify.training_squares import training_squares

ALL_QUANTITIES = (OUTPUTS, STATE, GRADIENTS)


def sequence_squares(program: Program, module: ModuleType) -> Iterator[Square]:
    """Every square of every case, in the order of the stages; a module without the spec's class opens one."""
    judged = [(case, judge(program, case, seed)) for seed, case in enumerate(SHAPE_CASES)]
    conditionings = [conditioning_of(program, view) for _, view in judged]
    for (case, view), conditioning in zip(judged, conditionings, strict=True):
        yield from conditioning.widened(_inner_squares(program, case, view), _roundings(view.drawn))
    module_class = getattr(module, program.model.name, None)
    if module_class is None:
        yield Pair("text", "module", "importing it", 0, 0).failed(Failure(f"there is no class {program.model.name}"), "import")[0]
        return
    if program.model.slopes:
        yield from context_squares(program, module_class, module)
        return
    for (case, view), conditioning in zip(judged, conditionings, strict=True):
        yield from conditioning.widened(_module_squares(program, module_class, case, view), _roundings(view.drawn))
    yield from lifetime_squares(program, module_class)
    if program.model.training:
        yield from training_squares(program, module, module_class)
    yield from relation_squares((*RELATIONS, *METAMORPHIC, *CONTRACT), program, module_class)
    yield from exact_squares(program, module_class)


def _inner_squares(program: Program, case: Case, view: Judged) -> Iterator[Square]:
    """Oracle = laws, and laws = program where it is more than the laws; one that opens when the oracle itself fails."""
    wanted, drawn = view.wanted, view.drawn
    if isinstance(wanted, Failure):
        yield from _pair("spec", "oracle", case, drawn).failed(wanted, OUTPUTS)
        return
    parameters, leaves = leaves_of(drawn.parameters, moving(program.model))
    laws = partial(run_laws, program.laws, sizes=drawn.sizes, hyperparameters=drawn.hyperparameters, parameters=parameters)
    by_laws = attempt(partial(observe, laws, drawn, leaves))
    yield from _pair("oracle", "laws", case, drawn).compare(wanted, by_laws)
    if program.is_parallel and isinstance(by_laws, Seen):
        numbers = drawn.hyperparameters
        chunks = partial(run_program, program, sizes=drawn.sizes, hyperparameters=numbers, chunk=drawn.chunk, parameters=parameters)
        yield from _pair("laws", "program", case, drawn).compare(by_laws, attempt(partial(observe, chunks, drawn, leaves)))


def _module_squares(program: Program, module_class: Callable[..., nn.Module], case: Case, view: Judged) -> Iterator[Square]:
    """Oracle = each way to run the module."""
    if isinstance(view.wanted, Failure):
        return
    emitted = attempt(partial(build, module_class, program, view.drawn))
    if isinstance(emitted, Failure):
        yield from _pair("oracle", "forward", case, view.drawn).failed(emitted, *ALL_QUANTITIES)
        return
    for name, system in emitted.ways(view.drawn.tokens):
        seen = attempt(partial(observe, system, view.drawn, emitted.leaves))
        yield from _pair("oracle", name, case, view.drawn).compare(view.wanted, seen)


def _pair(left: str, right: str, case: Case, drawn: Drawn) -> Pair:
    return Pair(left, right, case.name, drawn.updates, _width(drawn))


def _width(drawn: Drawn) -> int:
    return max(drawn.sizes.values(), default=1)


def _roundings(drawn: Drawn) -> int:
    """How often a number is rounded on its way through the system."""
    return drawn.updates + _width(drawn)
