"""What holds for every system: the order's axioms, that every read is served, and that only the names decide."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import replace
from itertools import permutations, product

from hypothesis import assume, given, settings, strategies as st

from nlc.diagnostics import CompileError, Diagnostic
from nlc.ir.model import STEP, TOKEN, Clock, Component, Model
from nlc.ir.order import LevelOrder
from nlc.order import order_levels
from nlc.order.clocks import chunk, speed
from nlc.order.describe import describe_levels, free_to_stand_later
from nlc.order.timetable import timetable
from tests.order.systems import ALWAYS, NEVER, SEQUENCE, Entry, entry, steps, system, tokens

NAMES = ("a", "b", "c", "d", "e", "f")
FAST = (ALWAYS, tokens(1, 4), tokens(1, 2), TOKEN, tokens(4), tokens(16), SEQUENCE, NEVER)
SLOW = (steps(1, 5), STEP, steps(3), steps(12), steps(12, 5), NEVER)

bounded = settings(deadline=None, max_examples=100)


ANY_READ = ("{}", "prev({})", "hold({})")
OLD_READS = ANY_READ[1:]


@st.composite
def systems(draw: st.DrawFn, ways: Sequence[str] = ANY_READ, *, with_init: bool = True) -> Model:
    """Up to six levels of one kind (fast or slow) in one or two blocks, that read any others in some ways."""
    names = NAMES[: draw(st.integers(1, len(NAMES)))]
    clocks = draw(st.sampled_from((FAST, SLOW, FAST[3:5], SLOW[:3])))
    entries = [draw(_entries(name, names, clocks, ways, with_init)) for name in names]
    return system(*entries, strict=draw(st.booleans()))


@st.composite
def _entries(draw: st.DrawFn, name: str, names: tuple[str, ...], clocks: tuple[Clock, ...], ways: Sequence[str], with_init: bool) -> Entry:
    every = draw(st.sampled_from(clocks))
    others = [other for other in names if other != name]
    reads = draw(st.lists(st.sampled_from(others), max_size=2, unique=True)) if others else []
    objective = " ".join(draw(st.sampled_from(ways)).format(other) for other in reads)
    starts_from = draw(st.sampled_from(("", "", *others[:2]))) if with_init else ""
    reset = draw(st.sampled_from((None, *(clock for clock in SLOW if _may_reset(every, clock)))))
    block = draw(st.sampled_from(("", "", "upper")))
    return entry(name, every, objective, init=starts_from, reset=reset, block=block)


def _may_reset(every: Clock, reset: Clock) -> bool:
    return speed(every) <= speed(reset) and (every.family is not reset.family or chunk(reset) % chunk(every) == 0)


def ordered(model: Model) -> LevelOrder:
    """The order of a system that has one."""
    try:
        return order_levels(model)
    except CompileError as error:
        assert all(diagnostic.code.startswith("NLC3") and diagnostic.labels for diagnostic in error.diagnostics)
        assume(False)
        raise


def faster(order: LevelOrder) -> set[tuple[str, str]]:
    return {(item.left, item.right) for item in order.relations if item.kind == "faster"}


@bounded
@given(systems())
def test_faster_is_a_strict_order(model: Model) -> None:
    order = ordered(model)
    pairs = faster(order)
    assert all(left != right and (right, left) not in pairs for left, right in pairs)
    assert all((left, right) in pairs for left, middle in pairs for other, right in pairs if middle == other)


@bounded
@given(systems())
def test_faster_is_a_higher_frequency_or_a_need_at_equal_frequency(model: Model) -> None:
    order = ordered(model)
    names = [component.name for component in model.components]
    needs = {(edge.reader, edge.source) for edge in order.edges if edge.kind == "same tick"}
    for middle, reader, source in product(names, repeat=3):
        if {(reader, middle), (middle, source)} <= needs:
            needs.add((reader, source))
    speeds = {component.name: speed(component.every) for component in model.components}
    assert faster(order) == {
        (left, right)
        for left, right in permutations(names, 2)
        if speeds[left] < speeds[right] or (speeds[left] == speeds[right] and (right, left) in needs)
    }


@bounded
@given(systems())
def test_every_pair_has_one_relation_with_a_reason(model: Model) -> None:
    order = ordered(model)
    names = sorted(component.name for component in model.components)
    assert sorted(tuple(sorted((item.left, item.right))) for item in order.relations) == [
        (left, right) for left, right in permutations(names, 2) if left < right
    ]
    assert all(item.reason for item in order.relations)


@bounded
@given(systems())
def test_levels_follow_the_order(model: Model) -> None:
    """One frequency a level, components tied within it, faster ones on earlier levels, none of them later than need be."""
    order = ordered(model)
    pairs = faster(order)
    rank = {name: level.speed_rank for level in order.levels for name in level.components}
    assert sorted(rank) == sorted(order.run_order) == sorted(component.name for component in model.components)
    assert all(rank[left] < rank[right] for left, right in pairs)
    for before, level in zip((None, *order.levels), order.levels, strict=False):
        assert len({speed(model.component(name).every) for name in level.components}) == 1
        if before is not None and speed(before.clock) == speed(level.clock):
            assert all(any((other, name) in pairs for other in before.components) for name in level.components)


@bounded
@given(systems())
def test_what_is_read_new_stands_and_runs_before_its_reader(model: Model) -> None:
    order = ordered(model)
    rank = {name: level.speed_rank for level in order.levels for name in level.components}
    place = {name: index for index, name in enumerate(order.run_order)}
    for edge in order.edges:
        if edge.kind != "older state":
            assert place[edge.source] < place[edge.reader]
        starts_slower = speed(model.component(edge.source).every) > speed(model.component(edge.reader).every)
        if edge.kind == "same tick" and not starts_slower:
            assert rank[edge.source] < rank[edge.reader]


@bounded
@given(systems(), st.data())
def test_the_order_of_declaration_changes_nothing(model: Model, data: st.DataObject) -> None:
    first = ordered(model)
    second = ordered(replace(model, components=tuple(data.draw(st.permutations(model.components)))))
    assert replace(second, model=model) == first
    assert [edge.span for edge in second.edges] == [edge.span for edge in first.edges]
    assert timetable(second) == timetable(first)
    assert describe_levels(second) == describe_levels(first)


@bounded
@given(systems())
def test_refusals_do_not_depend_on_the_order_of_declaration(model: Model) -> None:
    def refused(components: tuple[Component, ...]) -> tuple[Diagnostic, ...]:
        try:
            order_levels(replace(model, components=components))
        except CompileError as error:
            return error.diagnostics
        return ()

    assert refused(model.components) == refused(model.components[::-1])


@bounded
@given(systems(OLD_READS, with_init=False))
def test_reads_of_older_states_leave_only_frequencies(model: Model) -> None:
    order = order_levels(model)
    assert len(order.levels) == len({speed(component.every) for component in model.components})
    assert {edge.kind for edge in order.edges} <= {"older state"}
    assert free_to_stand_later(order) == ()
