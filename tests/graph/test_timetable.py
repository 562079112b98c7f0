from __future__ import annotations

from fractions import Fraction

from hypothesis import given, strategies as st

from nlc.graph import draw_levels
from nlc.graph.timetable import Entry, groups_of, timetable, updates
from nlc.ir.model import STEP, TOKEN, Clock, Family
from nlc.order import order_levels
from tests.graph.reading import SVG, read
from tests.graph.systems import everything
from tests.order.systems import ALWAYS, NEVER, SEQUENCE, entry, steps, system, tokens


def columns(*clocks: Clock) -> dict[Family, int]:
    return {group.family: group.ticks for group in groups_of(clocks)}


def test_there_are_columns_for_each_family_up_to_the_second_move_of_the_slowest() -> None:
    assert columns(TOKEN) == {Family.TOKEN: 8}
    assert columns(TOKEN, tokens(6)) == {Family.TOKEN: 12}
    assert columns(TOKEN, tokens(512)) == {Family.TOKEN: 32}
    assert columns(tokens(16), STEP) == {Family.TOKEN: 16, Family.STEP: 8}
    assert columns(tokens(1, 5), SEQUENCE, steps(8)) == {Family.TOKEN: 8, Family.SEQUENCE: 8, Family.STEP: 10}
    assert columns(ALWAYS, NEVER) == {Family.STEP: 8}


def moves(clock: Clock, family: Family, ticks: int) -> list[int | None]:
    return [updates(clock, family, tick) for tick in range(1, ticks + 1)]


def test_a_component_moves_at_whole_periods_counted_from_one() -> None:
    assert moves(tokens(3), Family.TOKEN, 7) == [0, 0, 1, 0, 0, 1, 0]
    assert moves(tokens(1, 5), Family.TOKEN, 2) == [5, 5]
    assert moves(steps(4, 3), Family.STEP, 4) == [0, 0, 0, 3]
    assert moves(TOKEN, Family.STEP, 1) == [None]
    assert moves(STEP, Family.TOKEN, 3) == [0, 0, 0]
    assert moves(ALWAYS, Family.TOKEN, 1) == [None]
    assert moves(NEVER, Family.STEP, 1) == [0]


@given(st.integers(1, 12), st.integers(1, 9))
def test_the_updates_of_a_cycle_are_what_the_frequency_says(ticks: int, times: int) -> None:
    clock = Clock(Family.TOKEN, Fraction(ticks, times))
    counts = moves(clock, Family.TOKEN, 3 * clock.period.numerator)
    assert sum(count or 0 for count in counts) == 3 * clock.period.numerator * clock.frequency


def test_what_no_column_shows_is_said() -> None:
    entries = {item.name: item for item in timetable(everything().levels).entries}
    assert entries["slow_memory"] == Entry("slow_memory", tokens(16), "first at token 16", Family.TOKEN)
    assert entries["frozen"].note == "never moves"
    assert entries["memory"].note == ""
    assert [item.name for item in entries.values()] == [name for level in everything().levels for name in level.components]


def test_the_drawn_timetable_has_a_disc_for_every_tick_with_updates() -> None:
    order = order_levels(
        system(entry("fast", tokens(1, 5)), entry("middle", TOKEN), entry("slow", tokens(4)), entry("rare", steps(12, 11)))
    )
    root = read(draw_levels(order)).root
    rows: dict[str, list[float]] = {}
    for disc in root.iter(f"{SVG}circle"):
        rows.setdefault(disc.attrib["cy"], []).append(float(disc.attrib["cx"]))
    assert [len(row) for row in rows.values()] == [8, 8, 2, 1]
    fast, _, slow, _ = rows.values()
    assert slow == [fast[3], fast[7]]
    assert [text.text for text in root.iter(f"{SVG}text") if text.attrib["class"] == "count"] == ["5"] * 8 + ["+"]
