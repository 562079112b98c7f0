"""Failures are made small: under judges that find fault with a construct, and under a law that is wrong on purpose."""

from __future__ import annotations

from dataclasses import replace

import pytest

from nlc import pipeline
from nlc.ir.algebra import Expr, Softmax
from nlc.ir.build import constant, replace as replace_nodes, scale
from nlc.ir.law import Law, Laws
from tests.random_specs.grammar import contained, draw_spec
from tests.random_specs.judge import CLOSED, CRASH, MISMATCH, REFUSED, compiles, judge
from tests.random_specs.shrink import shrink
from tests.random_specs.tree import Phrase, SpecTree

SMALL = 20
"""Lines: the name and version, a dim or two, an input, one level, one output."""

FAULTS = ("signal: softmax", "objective: huber", "memory: mlp of two layers", "optimizer: momentum", "gate: where", "signal: outer")


def first_with(label: str) -> SpecTree:
    drawn = (tree for tree in map(draw_spec, range(500)) if tree.kind == "architecture" and label in contained(tree))
    return next(tree for tree in drawn if len(tree.text.splitlines()) > SMALL and compiles(tree.text))


@pytest.mark.parametrize("label", FAULTS)
def test_a_spec_at_fault_for_one_construct_keeps_little_else(label: str) -> None:
    def fails(tree: SpecTree) -> bool:
        return label in contained(tree) and compiles(tree.text)

    smallest = shrink(first_with(label), fails)
    assert label in contained(smallest)
    assert len(smallest.text.splitlines()) <= SMALL, smallest.text
    assert len(smallest.levels) == 1
    assert shrink(smallest, fails) == smallest


def softmax_doubled(laws: Laws) -> Laws:
    """The laws with twice every softmax in them."""

    def wrong(node: Expr) -> Expr | None:
        return scale(constant(2), node) if isinstance(node, Softmax) else None

    def changed(law: Law) -> Law:
        return replace(law, equations=tuple(replace(item, value=replace_nodes(item.value, wrong)) for item in law.equations))

    return replace(laws, laws=tuple(changed(law) for law in laws.laws))


@pytest.mark.slow
def test_a_wrong_law_is_shown_in_a_small_spec(monkeypatch: pytest.MonkeyPatch) -> None:
    derive = pipeline.derive
    monkeypatch.setattr(pipeline, "derive", lambda levels: softmax_doubled(derive(levels)))
    texts = {draw_spec(seed): [value.text for level in draw_spec(seed).levels for _, value in level.fields()] for seed in range(60)}
    drawn = (tree for tree, values in texts.items() if any("softmax" in text for text in values) and compiles(tree.text))
    # Softmax sums to 1: where its sum is all that is read, the evidence decides whether twice as much is seen, and so what can go.
    tree = next(tree for tree in drawn if "sum(softmax" not in tree.text)
    first = judge(tree.text, stop_early=True)
    assert first.word == MISMATCH
    assert first.stage == "derive"
    smallest = shrink(tree, lambda smaller: judge(smaller.text, stop_early=True).resembles(first))
    assert len(smallest.text.splitlines()) <= SMALL, smallest.text
    assert judge(smallest.text, stop_early=True).word == MISMATCH
    monkeypatch.undo()
    assert judge(smallest.text).word == CLOSED


def test_a_crash_is_told_with_its_place(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(pipeline, "derive", lambda levels: levels.nothing)
    outcome = judge(draw_spec(0).text)
    assert (outcome.word, outcome.stage) == (CRASH, "AttributeError")
    assert "test_shrink.py" in outcome.detail


def test_a_refusal_has_codes() -> None:
    outcome = judge(draw_spec(0).text.replace("nlc: 1", "nlc: 2"))
    assert (outcome.word, outcome.codes) == (REFUSED, ("NLC144",))


def test_a_phrase_is_bracketed_where_it_must_be() -> None:
    x, y = Phrase("", "x"), Phrase("", "y")
    total = Phrase("", "{} + {}", (), (x, y))
    assert Phrase("", "{} * {}", (), (total, x)).text == "(x + y) * x"
    assert Phrase("", "maximum({}, {})", (), (total, x)).text == "maximum(x + y, x)"
    assert Phrase("", "where({} < {}, {}, {})", (), (total, x, y, total)).text == "where((x + y) < x, y, x + y)"
