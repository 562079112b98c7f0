"""Levels -> a timetable: columns for the first ticks of each family of clocks, and what each component does at each of them."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from types import MappingProxyType

from nlc.ir.model import Clock, Family
from nlc.ir.order import Level

TICKS: Mapping[Family, str] = MappingProxyType({Family.TOKEN: "token", Family.SEQUENCE: "sequence", Family.STEP: "step"})
"""The families that count ticks, fastest first, and what a tick of theirs is called."""

FEWEST, MOST = 8, 32
"""Columns of a family that is alone; several families share the most."""


@dataclass(frozen=True, slots=True)
class Group:
    """The first ticks of one family, counted from 1."""

    family: Family
    ticks: int

    @property
    def name(self) -> str:
        return TICKS[self.family]


@dataclass(frozen=True, slots=True)
class Entry:
    """A component's row: its clock, and in the columns of one family the words for what they cannot show."""

    name: str
    clock: Clock
    note: str = ""
    note_in: Family | None = None


@dataclass(frozen=True, slots=True)
class Timetable:
    """Who moves when, fastest first."""

    groups: tuple[Group, ...]
    entries: tuple[Entry, ...]


def timetable(levels: Sequence[Level]) -> Timetable:
    """The timetable of some levels."""
    clocks = [level.clock for level in levels]
    groups = groups_of(clocks)
    return Timetable(groups, tuple(_entry(name, level.clock, groups) for level in levels for name in level.components))


def groups_of(clocks: Sequence[Clock]) -> tuple[Group, ...]:
    """Enough ticks of each family to see its slowest component move twice, if there is room; steps when nothing counts ticks."""
    families = [family for family in TICKS if any(clock.family is family for clock in clocks)] or [Family.STEP]
    most = MOST // len(families)
    return tuple(Group(family, min(max(FEWEST, 2 * _slowest(clocks, family)), most)) for family in families)


def _slowest(clocks: Sequence[Clock], family: Family) -> int:
    return max((chunk(clock) for clock in clocks if clock.family is family), default=1)


def chunk(clock: Clock) -> int:
    """The ticks from one update to the next; the sub-updates of `16 tokens / 5` all run inside one tick, every 16."""
    return clock.period.numerator


def updates(clock: Clock, family: Family, tick: int) -> int | None:
    """How often a component moves at a tick of a family; None for many times inside it."""
    match clock.family:
        case Family.NEVER:
            return 0
        case Family.ALWAYS:
            return None
    if clock.family is family:
        return 0 if tick % chunk(clock) else clock.period.denominator
    return None if clock.family.value < family.value else 0


def _entry(name: str, clock: Clock, groups: Sequence[Group]) -> Entry:
    if clock.family is Family.NEVER:
        return Entry(name, clock, "never moves", groups[0].family)
    if any(group.family is clock.family and chunk(clock) > group.ticks for group in groups):
        return Entry(name, clock, f"first at {TICKS[clock.family]} {chunk(clock):,}", clock.family)
    return Entry(name, clock)
