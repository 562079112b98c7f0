"""Definition 2 and its edge cases: one test for each row of math.md 1.3, then the paper's own systems."""

from __future__ import annotations

import pytest

from nlc.ir.algebra import State
from nlc.ir.model import STEP, TOKEN, Clock, GradientPoint, Model
from nlc.ir.order import LevelOrder
from nlc.order import order_levels
from nlc.order.timetable import timetable
from tests import models
from tests.order.systems import ALWAYS, NEVER, SEQUENCE, SHAPE, Entry, entry, steps, system, tokens


def levels(order: LevelOrder) -> list[tuple[str, ...]]:
    return [level.components for level in order.levels]


def kinds(order: LevelOrder) -> dict[tuple[str, str], str]:
    return {(edge.reader, edge.source): edge.kind for edge in order.edges}


def adam() -> Model:
    return system(entry("weights", objective="first second"), entry("second"), entry("first"))


def muon() -> Model:
    return system(
        entry("weights", objective="orthogonalised"),
        entry("momentum"),
        entry("orthogonalised", steps(1, 5), init="momentum", reset=STEP),
    )


def m3() -> Model:
    return system(
        entry("weights", objective="first_out second slow_out"),
        entry("first"),
        entry("second"),
        entry("slow", steps(10)),
        entry("first_out", steps(1, 5), init="first", reset=STEP),
        entry("slow_out", steps(10, 5), init="slow", reset=steps(10)),
    )


def stacked(*, strict: bool) -> Model:
    """Two layers: the second one's keys are the first one's outputs; names sorted against the flow."""
    return system(entry("upper", TOKEN, "lower(k)", block="two"), entry("lower", TOKEN, block="one"), strict=strict)


# --- the rows of math.md 1.3 -----------------------------------------------------------------------------------------


def test_equal_frequency_with_a_dependency_makes_two_levels() -> None:
    order = order_levels(models.momentum())
    assert levels(order) == [("momentum",), ("weights",)]
    assert order.relation("weights", "momentum").kind == "faster"


def test_a_read_of_the_old_state_makes_no_order() -> None:
    order = order_levels(system(entry("momentum"), entry("weights", objective="prev(momentum)")))
    assert levels(order) == [("momentum", "weights")]
    assert kinds(order) == {("weights", "momentum"): "older state"}


def test_equal_frequency_without_a_dependency_is_a_tie() -> None:
    order = order_levels(adam())
    assert levels(order) == [("first", "second"), ("weights",)]
    assert order.relation("first", "second").kind == "tie"


def test_ties_are_not_transitive_and_the_earliest_layer_is_taken() -> None:
    order = order_levels(system(entry("a"), entry("b", objective="a"), entry("c")))
    assert levels(order) == [("a", "c"), ("b",)]
    assert [(item.left, item.right, item.kind) for item in order.relations] == [("a", "c", "tie"), ("a", "b", "faster"), ("c", "b", "tie")]


def test_frequency_zero_is_one_slowest_level_whatever_it_reads() -> None:
    frozen = [entry("frozen_b", NEVER, "frozen_a memory"), entry("frozen_a", NEVER, "frozen_b")]
    order = order_levels(system(*frozen, entry("memory", TOKEN, "frozen_a")))
    assert levels(order) == [("memory",), ("frozen_a", "frozen_b")]
    assert kinds(order) == {("memory", "frozen_a"): "older state"}


def test_a_frozen_optimizer_stands_with_its_frozen_host() -> None:
    inner = Clock(NEVER.family, steps(1, 5).period)
    assert levels(order_levels(system(entry("a", inner), entry("b", NEVER)))) == [("a", "b")]


def test_frequency_infinity_is_fastest_and_ordered_by_dataflow() -> None:
    order = order_levels(system(entry("a_reader", ALWAYS, "solved"), entry("solved", ALWAYS), entry("memory", tokens(1, 8), "a_reader")))
    assert levels(order) == [("solved",), ("a_reader",), ("memory",)]


@pytest.mark.parametrize(
    ("fast", "slow"),
    [
        (ALWAYS, tokens(1, 64)),
        (tokens(1, 2), TOKEN),
        (TOKEN, tokens(16)),
        (tokens(16, 5), tokens(16)),
        (tokens(512), SEQUENCE),
        (tokens(10**9), SEQUENCE),
        (SEQUENCE, steps(1, 100)),
        (steps(1, 5), STEP),
        (STEP, steps(8)),
        (steps(10**9), NEVER),
    ],
    ids=str,
)
def test_the_unit_of_time_is_exact_within_a_family_and_lexicographic_between_them(fast: Clock, slow: Clock) -> None:
    order = order_levels(system(entry("a_slow", slow), entry("b_fast", fast)))
    assert levels(order) == [("b_fast",), ("a_slow",)]
    assert [(item.left, item.right, item.kind) for item in order.relations] == [("b_fast", "a_slow", "faster")]


def test_stacked_layers_tie_because_outputs_do_not_order() -> None:
    order = order_levels(stacked(strict=False))
    assert levels(order) == [("lower", "upper")]
    assert kinds(order) == {("upper", "lower"): "forward"}


def test_stacked_layers_are_ordered_when_strict() -> None:
    order = order_levels(stacked(strict=True))
    assert levels(order) == [("lower",), ("upper",)]
    assert kinds(order) == {("upper", "lower"): "same tick"}


@pytest.mark.parametrize("strict", [False, True])
def test_stacked_layers_that_read_before_the_write_always_tie(strict: bool) -> None:
    model = system(entry("upper", TOKEN, "prev(lower)", block="two"), entry("lower", TOKEN, block="one"), strict=strict)
    assert levels(order_levels(model)) == [("lower", "upper")]


def test_layers_run_in_the_order_of_their_outputs_even_when_they_tie() -> None:
    model = system(entry("a", TOKEN, "b", block="two"), entry("b", TOKEN, block="one"))
    assert order_levels(model).run_order == ("b", "a")


def test_an_optimizer_belongs_to_the_block_that_it_serves() -> None:
    host = entry("memory", TOKEN, follows="memory.momentum", block="one")
    momentum = entry("memory.momentum", TOKEN, "gradient(memory)", host="memory")
    assert levels(order_levels(system(host, momentum))) == [("memory.momentum",), ("memory",)]


def test_at_a_coincident_tick_the_fastest_run_first() -> None:
    order = order_levels(system(entry("a", tokens(16)), entry("b", TOKEN), entry("c", tokens(4))))
    assert order.run_order == ("b", "c", "a")


def test_uneven_chunks_run_when_the_spec_opts_out() -> None:
    order = order_levels(system(entry("a", tokens(16)), entry("b", tokens(24)), uneven_chunks=True))
    assert levels(order) == [("a",), ("b",)]


def test_momentum_is_faster_than_the_weights_that_it_serves() -> None:
    order = order_levels(models.delta_rule_with_momentum())
    assert order.run_order == ("memory.momentum", "memory")
    assert kinds(order) == {("memory", "memory.momentum"): "same tick", ("memory.momentum", "memory"): "older state"}


# --- the paper's systems, and reads through gradients and initial states ------------------------------------------------


def test_the_slow_momentum_of_m3_is_slower_than_the_weights() -> None:
    order = order_levels(m3())
    assert levels(order) == [("first_out",), ("first", "second"), ("weights",), ("slow_out",), ("slow",)]
    assert kinds(order)["weights", "slow_out"] == "older state"
    assert timetable(order) == (
        ("5 times every step", ("first_out",)),
        ("every step", ("first", "second", "weights")),
        ("every 2 steps", ("slow_out",)),
        ("every 10 steps", ("slow",)),
    )


def test_an_orthogonalised_momentum_runs_after_the_slower_momentum_that_it_starts_from() -> None:
    order = order_levels(muon())
    assert levels(order) == [("orthogonalised",), ("momentum",), ("weights",)]
    assert order.run_order == ("momentum", "orthogonalised", "weights")
    assert order.relation("weights", "momentum").kind == "faster"


def test_an_initial_state_from_a_slower_chunk_is_the_one_before_this_tick() -> None:
    """Lookahead: the fast weights start again from slow ones, which have read the fast ones before."""
    model = system(entry("slow", steps(5), "fast"), entry("fast", STEP, init="slow", reset=steps(5)))
    assert kinds(order_levels(model)) == {("slow", "fast"): "same tick", ("fast", "slow"): "older state"}


@pytest.mark.parametrize(
    ("every", "reset", "source"), [(steps(1, 5), steps(1, 5), STEP), (TOKEN, SEQUENCE, SEQUENCE), (tokens(1, 2), STEP, STEP)], ids=str
)
def test_an_initial_state_from_a_level_that_moves_later_is_its_old_one(every: Clock, reset: Clock, source: Clock) -> None:
    model = system(entry("a", every, init="b", reset=reset), entry("b", source))
    assert kinds(order_levels(model)) == {("a", "b"): "older state"}


def test_an_initial_state_that_is_made_once_waits_for_nothing() -> None:
    model = system(entry("weights"), entry("average", init="weights"))
    assert kinds(order_levels(model)) == {("average", "weights"): "older state"}


def test_fast_state_starts_again_at_every_sequence_by_default() -> None:
    model = system(entry("a", TOKEN, init="b"), entry("b", TOKEN))
    assert kinds(order_levels(model)) == {("a", "b"): "same tick"}


def test_a_gradient_reads_what_its_objective_reads() -> None:
    model = system(
        entry("memory", TOKEN, "gate prev(other) slow", follows="momentum"),
        entry("momentum", TOKEN, "gradient(memory)"),
        entry("gate", TOKEN),
        entry("other", TOKEN),
        entry("slow", tokens(16)),
    )
    assert kinds(order_levels(model)) == {
        ("memory", "momentum"): "same tick",
        ("momentum", "gate"): "same tick",
        ("momentum", "memory"): "older state",
        ("momentum", "other"): "older state",
        ("momentum", "slow"): "older state",
    }


def test_a_gradient_at_the_retained_state_reads_what_the_retention_reads() -> None:
    def order(point: GradientPoint) -> LevelOrder:
        host = entry("memory", TOKEN, follows="momentum", retention="gate", gradient_at=point)
        return order_levels(system(host, entry("momentum", TOKEN, "gradient(memory)"), entry("gate", TOKEN)))

    assert order(GradientPoint.RETAINED).relation("gate", "momentum").kind == "faster"
    assert order(GradientPoint.PREVIOUS).relation("gate", "momentum").kind == "tie"


def test_an_optimizer_of_an_optimizer_reads_through_both_gradients() -> None:
    model = system(
        entry("memory", TOKEN, "gate", follows="first"),
        entry("first", TOKEN, "gradient(memory)", follows="second"),
        entry("second", TOKEN, "gradient(first)"),
        entry("gate", TOKEN),
    )
    assert order_levels(model).run_order == ("gate", "second", "first", "memory")


def test_gradients_that_read_each_other_are_followed_once() -> None:
    model = system(entry("a", TOKEN, "gradient(b) gate"), entry("b", TOKEN, "gradient(a)"), entry("gate", TOKEN))
    assert levels(order_levels(model)) == [("gate",), ("a", "b")]


def test_a_slower_level_may_read_the_gradients_of_a_faster_one() -> None:
    model = system(entry("memory", TOKEN, follows="momentum"), entry("momentum", tokens(16), "gradient(memory)", reduce="sum"))
    order = order_levels(model)
    assert levels(order) == [("memory",), ("momentum",)]
    assert order.run_order == ("memory", "momentum")


@pytest.mark.parametrize("reader", [entry("a", STEP, "z"), entry("a", STEP, retention="z"), entry("a", STEP, rate="z")], ids=Entry.text)
def test_every_part_of_an_update_counts(reader: Entry) -> None:
    assert order_levels(system(entry("z"), reader)).run_order == ("z", "a")


def test_names_that_an_update_only_mentions_do_not_count() -> None:
    read = State("memory", "", SHAPE)
    assert order_levels(system(entry("memory", TOKEN), entry("a", TOKEN, key=read, value=read, prediction=read))).edges == ()


def test_held_reads_break_a_cycle() -> None:
    order = order_levels(system(entry("a", TOKEN, "hold(b)"), entry("b", TOKEN, "a")))
    assert levels(order) == [("a",), ("b",)]


def test_both_numberings_of_the_paper() -> None:
    order = order_levels(system(entry("a", TOKEN), entry("b", STEP), entry("c", NEVER)))
    numbers = [(level.speed_rank, level.number_slowest_highest, level.number_slowest_first) for level in order.levels]
    assert numbers == [(0, 1, 3), (1, 2, 2), (2, 3, 1)]


def test_a_system_without_levels_is_ordered() -> None:
    order = order_levels(system())
    assert (order.levels, order.edges, order.relations, order.run_order, timetable(order)) == ((), (), (), (), ())
