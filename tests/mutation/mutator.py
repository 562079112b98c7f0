"""The text of an emitted module -> its mutants: every place and every operator, by machine, without choice."""

from __future__ import annotations

import random
from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import dataclass, field
from itertools import cycle, islice

from tests.mutation import arithmetic, expressions, statements
from tests.mutation.source import Edit, Place, Source

Operator = Callable[[Place, Source], Iterator[Edit]]

OPERATORS: tuple[Operator, ...] = (
    arithmetic.sign_flipped,
    arithmetic.minus_added_or_dropped,
    arithmetic.term_dropped,
    arithmetic.factor_dropped,
    arithmetic.operands_swapped,
    arithmetic.transposed,
    arithmetic.done_in_place,
    arithmetic.detached,
    expressions.index_changed,
    expressions.slice_changed,
    expressions.new_dim_moved,
    expressions.mask_moved,
    expressions.call_dropped,
    expressions.arguments_swapped,
    expressions.elements_swapped,
    expressions.keyword_dropped,
    expressions.constant_changed,
    expressions.key_changed,
    expressions.word_changed,
    expressions.comparison_changed,
    expressions.condition_fixed,
    expressions.variable_changed,
    expressions.state_stale,
    statements.statement_dropped,
    statements.statements_swapped,
    statements.loop_shortened,
    statements.guard_dropped,
    statements.result_lost,
)


@dataclass(frozen=True, slots=True)
class Mutant:
    """A module with one edit: which operator made it, in which function, and the lines it touched, before and after."""

    operator: str
    where: str
    line: int
    before: str
    after: str
    text: str = field(repr=False)

    @property
    def diff(self) -> str:
        return f"{self.operator} in {self.where}, line {self.line}:\n  - {self.before}\n  + {self.after}"


def operator_name(operator: Operator) -> str:
    return operator.__name__.replace("_", " ")


def mutants(text: str) -> tuple[Mutant, ...]:
    """Every mutant of a module that differs from it and from the others, in the order of the text."""
    source = Source.of_text(text)
    found: dict[str, Mutant] = {}
    for place in source.places():
        for operator in OPERATORS:
            for edit in operator(place, source):
                mutant = _mutant(source, place, operator, edit)
                if mutant.text != text:
                    found.setdefault(mutant.text, mutant)
    return tuple(found.values())


def _mutant(source: Source, place: Place, operator: Operator, edit: Edit) -> Mutant:
    before, after = source.diff(edit)
    line = source.data.count(b"\n", 0, edit.start) + 1
    return Mutant(operator_name(operator), place.where, line, before, after, source.edited(edit))


def drawn(pools: Mapping[str, Sequence[Mutant]], count: int, seed: int) -> list[tuple[str, Mutant]]:
    """So many mutants with their files, always the same: operators take turns, each with the file that had the fewest turns so far."""
    generator = random.Random(seed)
    left = {file: generator.sample(mutants, len(mutants)) for file, mutants in pools.items()}
    turns = dict.fromkeys(left, 0)
    names = [operator_name(operator) for operator in OPERATORS]
    found: list[tuple[str, Mutant]] = []
    for name in islice(cycle(names), count * len(names)):
        files = [file for file, mutants in left.items() if any(mutant.operator == name for mutant in mutants)]
        if files and len(found) < count:
            file = min(files, key=lambda file: (turns[file], file))
            mutant = next(mutant for mutant in left[file] if mutant.operator == name)
            left[file].remove(mutant)
            turns[file] += 1
            found.append((file, mutant))
    return found
