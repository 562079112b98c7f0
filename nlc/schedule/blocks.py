"""Periods -> blocks: how long one is, what stays as it is inside it, and the laws of the levels that move at its end."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import replace as with_changes
from math import gcd

from nlc.ir.algebra import LEAVES, Due, Expr, Join, MatMul, Named, Split, State, contains, walk
from nlc.ir.build import replace
from nlc.ir.law import POSITION, PREVIOUS, Kept, Law, Laws, Reset
from nlc.ir.program import Blocks
from nlc.ir.starts import NUMBERS
from nlc.schedule.reads import ReadBook


def find_blocks(laws: Laws) -> Blocks:
    """The blocks of a system, without their laws yet."""
    kept = frozenset((item.component, item.part) for item in laws.kept if _is_held(item))
    levels = frozenset(law.component for law in laws.laws if law.clock.period > 1)
    periods = tuple(_periods(laws))
    segments = (item.segment for item in laws.order.model.components if periods)  # alone, they lie side by side
    return Blocks(gcd(*periods, *segments), levels, kept)


def late_starts(laws: Laws) -> tuple[str, ...]:
    """The levels that start, or start again, from what is known at a token only, or are cut off at tokens that a reset shifts."""
    others = (*NUMBERS, State) if laws.order.model.slopes else NUMBERS
    late = (item.state.component for item in laws.resets if item.at_start or item.within or not _is_known(item, others))
    return tuple(dict.fromkeys(late))


def across_axes(laws: Laws) -> tuple[str, ...]:
    """The components whose laws take what memories say, or what follows from it, across an axis: inside a block copies are alone."""
    return tuple(law.component for law in laws.laws if any(_crosses(equation.value) for equation in law.equations))


def _crosses(node: Expr) -> bool:
    return contains(node, lambda part: isinstance(part, Split | Join) and contains(part, lambda inner: isinstance(inner, State | Named)))


def _is_known(reset: Reset, known: tuple[type[Expr], ...]) -> bool:
    """Whether it starts from what is known before its block: of levels that are told their slopes, also from what others then are."""
    return reset.is_cut_off or all(isinstance(node, known) for node in walk(reset.value) if isinstance(node, LEAVES))


def block_law(law: Law, book: ReadBook) -> Law:
    """The law with what it reads of the memories that move at every token by name, at vectors over streams."""
    values: dict[str, Expr] = {}
    equations = []
    for equation in law.equations:
        whole = replace(equation.value, lambda node: values.get(node.name) if isinstance(node, Named) else None)
        values[equation.name] = whole
        equations.append(with_changes(equation, value=book.take(_with_vectors(equation.value, values))))
    return with_changes(law, equations=tuple(equations))


def _periods(laws: Laws) -> Iterator[int]:
    yield from (node.period for value in laws.values for node in walk(value) if isinstance(node, Due))
    yield from (item.period for item in laws.resets)
    # A value held for one token is what the state before the token is: every token ends its period. A sum over a sequence has none.
    gathering = {law.component for law in laws.endings}
    yield from (1 for item in laws.kept if isinstance(item.value, State) and _is_held(item) and item.component not in gathering)


def _is_held(item: Kept) -> bool:
    """Whether something kept stays as it is until a period ends: no position, no previous stream, and no data of a window."""
    return item.component not in (POSITION, PREVIOUS) and item.window is None


def _with_vectors(node: Expr, values: dict[str, Expr]) -> Expr:
    """The expression with the vectors at which states are read written out, since they are needed before its law runs."""

    def written(part: Expr) -> Expr | None:
        match part:
            case MatMul(State() as state, vector) if len(vector.shape) == 1:
                return MatMul(
                    state, replace(vector, lambda inner: values.get(inner.name) if isinstance(inner, Named) else None), part.shape
                )
        return None

    return replace(node, written)
