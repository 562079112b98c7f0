"""Pairs that compare for one reason share a sentence; nothing is lost by it."""

from __future__ import annotations

from hypothesis import given

from nlc.ir.model import Model
from nlc.order import order_levels
from nlc.order.clocks import speed
from nlc.order.describe import describe_levels
from nlc.order.together import TRANSITIVE, sentences_of_one_clock, told_together
from tests.order.systems import entry, steps, system, tokens
from tests.order.test_properties import ordered, systems


def test_pairs_of_one_reason_share_a_sentence() -> None:
    chains = [entry("a"), entry("a_next", objective="a"), entry("b"), entry("b_next", objective="b"), entry("c")]
    assert told_together(order_levels(system(*chains, entry("memory", tokens(16)), entry("slow", steps(4))))) == (
        "memory > a, b, c, a_next, b_next: token clock > step clock",
        "a, b, c, a_next, b_next > slow: 1 > 1/4 updates per step",
        TRANSITIVE,
        "a ~ b ~ c: same frequency, neither needs the other's new state",
        "a_next ~ b_next: same frequency, neither needs the other's new state",
        "a > a_next: a_next at step t reads a at step t, system.yaml:5",
        "a, c ~ b_next: same frequency, neither needs the other's new state; "
        "b_next is placed one level later because b_next at step t reads b at step t, system.yaml:10",
        "b, c ~ a_next: same frequency, neither needs the other's new state; "
        "a_next is placed one level later because a_next at step t reads a at step t, system.yaml:5",
        "b > b_next: b_next at step t reads b at step t, system.yaml:10",
    )


def test_what_is_told_together_is_shorter_and_each_pair_has_its_place() -> None:
    order = order_levels(system(*(entry(name) for name in "abcdefgh")))
    assert told_together(order) == ("a ~ b ~ c ~ d ~ e ~ f ~ g ~ h: same frequency, neither needs the other's new state",)
    assert len(order.relations) == 28
    assert describe_levels(order).count(" ~ ") == 28
    assert describe_levels(order, each_pair=False).count("\n") < describe_levels(order).count("\n")


@given(systems())
def test_every_pair_of_one_clock_is_in_exactly_one_sentence(model: Model) -> None:
    order = ordered(model)
    clocks = {name: speed(level.clock) for level in order.levels for name in level.components}
    wanted = [{item.left, item.right} for item in order.relations if clocks[item.left] == clocks[item.right]]
    told = [set(pair) for sentence in sentences_of_one_clock(order) for pair in sentence.pairs]
    assert sorted(map(sorted, told)) == sorted(map(sorted, wanted))


@given(systems())
def test_a_sentence_gives_the_reason_of_each_of_its_pairs(model: Model) -> None:
    order = ordered(model)
    for sentence in sentences_of_one_clock(order):
        for left, right in sentence.pairs:
            relation = order.relation(left, right)
            assert sentence.text.endswith(f": {relation.reason}")
            assert relation.kind == "tie" or (relation.left, relation.right) == (left, right)
