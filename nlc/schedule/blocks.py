"""Periods -> blocks: how long one is, what stays as it is inside it, and the laws of the levels that move at its end."""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from dataclasses import replace as with_changes
from math import gcd

from nlc.ir.algebra import LEAVES, Due, Expr, Index, Input, Join, MatMul, Named, Split, State, When, contains, walk
from nlc.ir.build import replace
from nlc.ir.law import POSITION, PREVIOUS, Kept, Law, Laws, Reset
from nlc.ir.program import Blocks
from nlc.ir.recents import Recent
from nlc.ir.starts import NUMBERS
from nlc.schedule.reads import ReadBook


def find_blocks(laws: Laws) -> Blocks:
    """The blocks of a system, without their laws yet."""
    kept = frozenset((item.component, item.part) for item in laws.kept if _is_held(item))
    levels = frozenset(law.component for law in laws.laws if law.clock.period > 1)
    periods = tuple(_periods(laws))
    segments = (item.segment for item in laws.order.model.components if periods)  # alone, they lie side by side
    return Blocks(gcd(*periods, *segments), levels, kept, alone=gcd(*(item.period for item in laws.resets if item.sources)))


def late_starts(laws: Laws, blocks: Blocks) -> tuple[str, ...]:
    """The levels that start from what is known at a token only where no block begins with it, or where a block is read before it runs."""
    is_late = _is_told_late if laws.order.model.slopes else _starts_inside
    return tuple(dict.fromkeys(item.state.component for item in laws.resets if is_late(item, blocks)))


def _is_told_late(reset: Reset, blocks: Blocks) -> bool:
    """Whether it needs a token, in a system whose levels are told their slopes: all of a block is read before anything in it moves."""
    return reset.at_start or bool(reset.within) or not _is_known(reset, (*NUMBERS, State))


def _starts_inside(reset: Reset, blocks: Blocks) -> bool:
    """Whether it starts once alone, and no block may be cut off after the first token for it; or from what has no value in a block."""
    is_cut = bool(reset.period) or (blocks.are_used and not reset.sources)
    return not is_cut or not _is_known(reset, (*NUMBERS, State, Input, Index, Recent))


def start_sources(laws: Laws) -> Mapping[str, frozenset[str]]:
    """The levels whose new states each level starts from, whether itself or through what it starts from."""
    sources: dict[str, frozenset[str]] = {}
    for item in laws.resets:
        read = [node for node in walk(item.value) if isinstance(node, State)]
        new = {node.component for node in read if node.when is When.CURRENT}
        own = sources.get(item.state.component, frozenset())
        sources[item.state.component] = own.union(new, *(sources.get(node.component, ()) for node in read))
    return sources


def across_axes(laws: Laws) -> tuple[str, ...]:
    """The components whose laws or starts take what memories say, or what follows, across an axis: inside a block copies are alone."""
    across = [law.component for law in laws.laws if any(_crosses(equation.value) for equation in law.equations)]
    return tuple(dict.fromkeys((*across, *(item.state.component for item in laws.resets if _crosses(item.value)))))


def _crosses(node: Expr) -> bool:
    return contains(node, lambda part: isinstance(part, Split | Join) and contains(part, lambda inner: isinstance(inner, State | Named)))


def _is_known(reset: Reset, known: tuple[type[Expr], ...]) -> bool:
    """Whether it stays as it is, or starts from nothing but such leaves."""
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
