"""Levels as people read them: the table of levels, the reasons of their order, and what Definition 2 leaves open."""

from __future__ import annotations

from collections.abc import Iterator, Sequence

from nlc.ir.order import LevelOrder, Relation
from nlc.order.clocks import speed
from nlc.order.together import told_together

COLUMNS = ("speed rank", "component", "clock", "level (fastest = 1)", "level (slowest = 1)")

NOT_UNIQUE = (
    "Levels are not unique: components tie across them, and ties are not transitive.\n"
    "Each stands on the earliest level of its frequency that its reads allow."
)


def describe_levels(order: LevelOrder, *, each_pair: bool = True) -> str:
    """The table of levels with both of the paper's numberings, then the reason for every pair. Ends without a newline.

    Definition 2 and section 3.3 of Nested Learning count the fastest level as 1, its figures 2 and 3 and section 7 the slowest.
    Without `each_pair`, pairs that compare for one reason share a sentence: for people, since pairs are many.
    """
    paragraphs = ["\n".join(_table([COLUMNS, *_rows(order)]))]
    if order.relations:
        paragraphs.append("\n".join([_sentence(relation) for relation in order.relations] if each_pair else told_together(order)))
    if any(_crosses_levels(order, relation) for relation in order.relations):
        paragraphs.append("\n".join([NOT_UNIQUE, *_freedom(free_to_stand_later(order))]))
    return "\n\n".join(paragraphs)


def free_to_stand_later(order: LevelOrder) -> tuple[str, ...]:
    """The components that could stand on a later level of their frequency without one more level, in the order of the levels."""
    clocks = {name: speed(level.clock) for level in order.levels for name in level.components}
    last = {speed(level.clock): level.speed_rank for level in order.levels}
    latest: dict[str, int] = {}
    for level in reversed(order.levels):
        for name in level.components:
            slower = [item.right for item in order.relations if item.left == name and item.kind == "faster"]
            followers = [latest[other] - 1 for other in slower if clocks[other] == clocks[name]]
            latest[name] = min(followers, default=last[clocks[name]])
    return tuple(name for level in order.levels for name in level.components if latest[name] > level.speed_rank)


def _rows(order: LevelOrder) -> Iterator[tuple[str, ...]]:
    for level in order.levels:
        for name in level.components:
            yield str(level.speed_rank), name, str(level.clock), str(level.number_slowest_highest), str(level.number_slowest_first)


def _table(rows: Sequence[Sequence[str]]) -> Iterator[str]:
    widths = [max(len(cell) for cell in column) for column in zip(*rows, strict=True)]
    for row in rows:
        yield "  ".join(cell.ljust(width) for cell, width in zip(row, widths, strict=True)).rstrip()


def _sentence(relation: Relation) -> str:
    return f"{relation.left} {'>' if relation.kind == 'faster' else '~'} {relation.right}: {relation.reason}"


def _crosses_levels(order: LevelOrder, relation: Relation) -> bool:
    level = next(level for level in order.levels if relation.left in level.components)
    return relation.kind == "tie" and relation.right not in level.components


def _freedom(names: Sequence[str]) -> Iterator[str]:
    if names:
        yield f"Free to stand on a later one: {', '.join(names)}."
