"""A relation, something that must hold of an emitted module by itself -> squares on the evidence of its case."""

from __future__ import annotations

from collections.abc import Callable, Iterable, Iterator
from functools import partial

import torch
from torch import Tensor, nn

from nlc.ir.program import Program
from nlc.verify.conditioning import conditioning_of
from nlc.verify.emitted import Emitted, build
from nlc.verify.inputs import Case, Drawn
from nlc.verify.judge import judge
from nlc.verify.observe import OUTPUTS, Failure, Pair, Tensors, attempt
from nlc.verify.square import Square

CARRIED = Case(name="two chunks and one, state carried", chunks=2, extra=1, carried=True)
FRESH = Case(name="two chunks and one", chunks=2, extra=1)
BY_DEFAULT = Case(name="the program's own chunk and one", chunks=1, extra=1, batch=1, own_chunk=True)
SEED = 1_000

ModuleClass = Callable[..., nn.Module]
Relation = Callable[[ModuleClass, Emitted, Drawn], Iterator[Square]]


def relation_squares(relations: Iterable[tuple[Relation, Case]], program: Program, module_class: ModuleClass) -> Iterator[Square]:
    """Every relation as squares; a module that raises opens the one at hand. None on evidence where the oracle itself fails."""
    rows = tuple(relations)
    views = {case: judge(program, case, SEED) for case in dict.fromkeys(case for _, case in rows)}
    conditionings = {case: conditioning_of(program, view) for case, view in views.items()}
    for relation, case in rows:
        drawn = views[case].drawn
        if isinstance(views[case].wanted, Failure):
            continue
        found = attempt(partial(_squares, relation, program, module_class, drawn))
        name = relation.__name__.strip("_").replace("_", " ")
        squares = pair(name, drawn).failed(found, OUTPUTS) if isinstance(found, Failure) else found
        yield from conditionings[case].widened(squares, drawn.updates + pair(name, drawn).width)


def _squares(relation: Relation, program: Program, module_class: ModuleClass, drawn: Drawn) -> list[Square]:
    return list(relation(module_class, build(module_class, program, drawn), drawn))


def pair(right: str, drawn: Drawn, left: str = "oracle") -> Pair:
    """What is compared, with the rounding of as many ticks and as wide sums as the evidence has."""
    return Pair(left, right, f"{drawn.tokens} tokens", drawn.updates, max(drawn.sizes.values(), default=1))


def every(tensors: Tensors, change: Callable[[Tensor], Tensor]) -> dict[str, Tensor]:
    """Each tensor changed, under its name."""
    return {name: change(tensor) for name, tensor in tensors.items()}


def in_dtype(tensors: Tensors, dtype: torch.dtype) -> dict[str, Tensor]:
    """Each tensor in a dtype; counts, which are whole numbers, stay as they are."""
    return every(tensors, lambda tensor: tensor.to(dtype) if tensor.is_floating_point() else tensor)
