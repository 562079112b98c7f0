"""The reason for every pair, word for word, and the text that `explain` prints."""

from __future__ import annotations

import pytest

from nlc.ir.model import STEP, TOKEN, Clock, Model
from nlc.order import order_levels
from nlc.order.describe import describe_levels, free_to_stand_later
from nlc.order.timetable import timetable
from tests import models
from tests.order.systems import ALWAYS, NEVER, SEQUENCE, entry, steps, system, tokens
from tests.order.test_definition_two import muon, stacked


def reason(model: Model, left: str, right: str) -> str:
    return order_levels(model).relation(left, right).reason


@pytest.mark.parametrize(
    ("fast", "slow", "expected"),
    [
        (tokens(1, 4), TOKEN, "4 > 1 updates per token"),
        (TOKEN, tokens(16), "1 > 1/16 updates per token"),
        (tokens(16, 5), tokens(16), "5/16 > 1/16 updates per token"),
        (steps(1, 5), steps(10), "5 > 1/10 updates per step"),
        (SEQUENCE, Clock(SEQUENCE.family, SEQUENCE.period * 2), "1 > 1/2 updates per sequence"),
        (tokens(512), SEQUENCE, "token clock > sequence clock"),
        (TOKEN, STEP, "token clock > step clock"),
        (ALWAYS, TOKEN, "always > token clock"),
        (STEP, NEVER, "step clock > never"),
    ],
)
def test_frequencies(fast: Clock, slow: Clock, expected: str) -> None:
    entries = (entry("a", slow, reset=NEVER), entry("b", fast))
    assert reason(system(*entries), "a", "b") == expected


def test_a_read_is_named_with_its_place() -> None:
    model = system(entry("momentum"), entry("weights", objective="momentum"), file="specs/optimizers/momentum.yaml")
    assert reason(model, "momentum", "weights") == "weights at step t reads momentum at step t, momentum.yaml:5"


def test_a_read_without_a_place_is_named_alone() -> None:
    assert reason(models.momentum(), "momentum", "weights") == "weights at step t reads momentum at step t"


def test_a_path_is_named_read_by_read() -> None:
    model = system(entry("a", TOKEN), entry("b", TOKEN, "a"), entry("c", TOKEN, "b"))
    assert reason(model, "a", "c") == "c at token t reads b at token t, system.yaml:8; b at token t reads a at token t, system.yaml:5"


def test_a_direct_read_is_a_better_reason_than_a_path() -> None:
    model = system(entry("a"), entry("b", objective="a"), entry("c", objective="b a"))
    assert reason(model, "a", "c") == "c at step t reads a at step t, system.yaml:8"


def test_a_path_may_pass_through_a_faster_level() -> None:
    assert reason(muon(), "momentum", "weights") == (
        "weights at step t reads orthogonalised at step t, system.yaml:3; orthogonalised at step t reads momentum at step t, system.yaml:8"
    )


def test_ties_within_a_level() -> None:
    assert reason(system(entry("a"), entry("b")), "a", "b") == "same frequency, neither needs the other's new state"
    assert reason(system(entry("a", NEVER), entry("b", NEVER)), "a", "b") == "neither is ever updated"
    assert reason(stacked(strict=False), "lower", "upper") == (
        "same frequency; upper at token t reads lower at token t, system.yaml:3, but through another block's outputs, "
        "which counts only in a strict spec"
    )


def test_a_read_through_outputs_is_told_whichever_name_comes_first() -> None:
    model = system(entry("a", SEQUENCE, "b", block="two"), entry("b", SEQUENCE, block="one"))
    assert reason(model, "a", "b").startswith("same frequency; a at sequence t reads b at sequence t, system.yaml:3, but through")


def test_a_tie_across_levels_says_why_one_stands_later() -> None:
    model = system(entry("a"), entry("b", objective="a"), entry("c"), entry("d", objective="b"))
    assert reason(model, "b", "c") == (
        "same frequency, neither needs the other's new state; "
        "b is placed one level later because b at step t reads a at step t, system.yaml:5"
    )
    assert reason(model, "d", "c").split("; ")[1] == "d is placed 2 levels later because d at step t reads b at step t, system.yaml:10"


def test_freedom_counts_whole_chains() -> None:
    """Beside a chain of three, a chain of two may stand one level later, as a whole or in part; the chain of three may not."""
    chain = [entry("a"), entry("b", objective="a"), entry("c", objective="b")]
    order = order_levels(system(*chain, entry("x"), entry("y", objective="x"), entry("slower", steps(2))))
    assert free_to_stand_later(order) == ("x", "y")


def test_description() -> None:
    model = system(entry("a"), entry("b", objective="a"), entry("c"), entry("memory", tokens(16)))
    assert (
        describe_levels(order_levels(model))
        == """\
speed rank  component  clock      level (fastest = 1)  level (slowest = 1)
0           memory     16 tokens  1                    3
1           a          step       2                    2
1           c          step       2                    2
2           b          step       3                    1

memory > a: token clock > step clock
memory > c: token clock > step clock
memory > b: token clock > step clock
a ~ c: same frequency, neither needs the other's new state
a > b: b at step t reads a at step t, system.yaml:5
c ~ b: same frequency, neither needs the other's new state; b is placed one level later because b at step t reads a at step t, system.yaml:5

Levels are not unique: components tie across them, and ties are not transitive.
Each stands on the earliest level of its frequency that its reads allow.
Free to stand on a later one: c."""
    )


def test_description_of_levels_that_are_unique() -> None:
    assert (
        describe_levels(order_levels(models.delta_rule()))
        == """\
speed rank  component  clock  level (fastest = 1)  level (slowest = 1)
0           memory     token  1                    1"""
    )


def test_levels_may_be_open_though_no_component_can_move_alone() -> None:
    text = describe_levels(order_levels(system(entry("a"), entry("b", objective="a"), entry("c"), entry("d", objective="c"))))
    assert text.endswith("its reads allow.")


def test_timetable() -> None:
    clocks = {"solved": ALWAYS, "pairs": tokens(1, 2), "memory": TOKEN, "a": tokens(16), "frozen": NEVER, "sequences": SEQUENCE}
    entries = [entry(name, clock, "memory" if name == "alpha" else "") for name, clock in clocks.items()]
    assert timetable(order_levels(system(*entries, entry("b_first", tokens(16)), entry("parts", tokens(16, 5))))) == (
        ("at every query", ("solved",)),
        ("2 times every token", ("pairs",)),
        ("every token", ("memory",)),
        ("5 times every 16 tokens", ("parts",)),
        ("every 16 tokens", ("a", "b_first")),
        ("every sequence", ("sequences",)),
        ("never", ("frozen",)),
    )
