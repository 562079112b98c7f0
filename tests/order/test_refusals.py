"""What the order stage refuses, as the user sees it."""

from __future__ import annotations

from dataclasses import replace

import pytest

from nlc.codes.order import CODES
from nlc.diagnostics import CompileError, render_all
from nlc.ir.algebra import Hyperparameter, State
from nlc.ir.build import dot
from nlc.ir.model import STEP, TOKEN, Clock, ClosedForm, GradientDescent, Model
from nlc.order import order_levels
from tests import models
from tests.order.systems import ALWAYS, NEVER, SEQUENCE, SHAPE, Entry, entry, steps, system, tokens


def refusal(model: Model) -> str:
    with pytest.raises(CompileError) as caught:
        order_levels(model)
    return render_all(caught.value.diagnostics)


def codes(model: Model) -> list[str]:
    with pytest.raises(CompileError) as caught:
        order_levels(model)
    return [diagnostic.code for diagnostic in caught.value.diagnostics]


def test_a_cycle_of_two_is_drawn_with_both_reads() -> None:
    assert (
        refusal(system(entry("memory", TOKEN, "surprise(k)"), entry("surprise", TOKEN, "memory(k)"), file="specs/titans.yaml"))
        == """\
error[NLC305]: two levels need each other's new state at the same token
  --> specs/titans.yaml:3:16
   |
 3 |     objective: surprise(k)
   |                ^^^^^^^^^^^ memory needs the new surprise here
   ...
 6 |     objective: memory(k)
   |                ^^^^^^^^^ and surprise needs the new memory here
  help: read the state before this token's write: prev(memory)(k)"""
    )


def test_prev_breaks_a_cycle() -> None:
    model = system(entry("memory", TOKEN, "surprise(k)"), entry("surprise", TOKEN, "prev(memory)"))
    assert order_levels(model).run_order == ("surprise", "memory")


def test_a_cycle_is_told_from_the_first_read_in_the_file() -> None:
    text = refusal(system(entry("z", objective="a"), entry("a", objective="z")))
    assert text.index("z needs the new a here") < text.index("and a needs the new z here")
    assert text.endswith("prev(z)")


def test_a_longer_cycle_is_told_along_its_reads() -> None:
    assert (
        refusal(system(entry("a", objective="c"), entry("b", objective="a"), entry("c", objective="b")))
        == """\
error[NLC305]: 3 levels need one another's new state at the same step
  --> specs/system.yaml:3:16
   |
 3 |     objective: c
   |                ^ a needs the new c here
   ...
 9 |     objective: b
   |                ^ and c needs the new b here
   ...
 6 |     objective: a
   |                ^ and b needs the new a here
  help: read the state before this step's write: prev(a)"""
    )


def test_the_shortest_of_cycles_that_meet_is_shown_and_every_other_one() -> None:
    meeting = [entry("a", objective="b c"), entry("b", objective="a"), entry("c", objective="b")]
    apart = [entry("x", objective="y"), entry("y", objective="x")]
    text = refusal(system(*meeting, *apart))
    assert text.count("error[") == 2
    assert "and b needs the new a here" in text
    assert "and y needs the new x here" in text


def test_a_cycle_may_pass_through_a_faster_level() -> None:
    """Newton-Schulz that starts from the new weights, whose step it gives."""
    assert codes(system(entry("weights", objective="inner"), entry("inner", steps(1, 5), init="weights", reset=STEP))) == ["NLC305"]


def test_a_cycle_through_other_blocks_outputs_is_a_cycle() -> None:
    assert codes(system(entry("a", TOKEN, "b", block="one"), entry("b", TOKEN, "a", block="two"))) == ["NLC305"]


def test_an_optimizer_whose_gradient_needs_it_is_a_cycle() -> None:
    model = system(entry("memory", TOKEN, "momentum", follows="momentum"), entry("momentum", TOKEN, "gradient(memory)"))
    assert refusal(model).splitlines()[0] == "error[NLC305]: `momentum` needs its own new state at the same token"
    assert "momentum needs the new momentum here" in refusal(model)


def test_a_cycle_that_no_user_wrote_is_still_told() -> None:
    momentum, weights = models.momentum().components
    reads_back = replace(momentum, retention=(dot(models.GRADIENT, State("weights", "", SHAPE)),))
    text = refusal(replace(models.momentum(), components=(reads_back, weights)))
    assert text.endswith("help: read the state before this step's write: prev(momentum)")


def test_chunks_must_nest() -> None:
    assert (
        refusal(system(entry("a", tokens(24)), entry("b", tokens(16)), entry("c", tokens(16)), entry("d", tokens(48))))
        == """\
error[NLC301]: a chunk does not divide a slower one
  --> specs/system.yaml:5:5
   |
 5 |     every: 16 tokens
   |     ^^^^^^^^^^^^^^^^ updated every 16 tokens
   ...
 3 |     every: 24 tokens
   |     ^^^^^^^^^^^^^^^^ updated every 24 tokens, in the middle of such a chunk
  help: make the slower period a multiple of the faster one"""
    )


def test_of_many_equal_clocks_the_first_name_is_shown() -> None:
    model = system(entry("a", tokens(24)), entry("b", tokens(16)), entry("c", tokens(16)))
    assert refusal(replace(model, components=model.components[::-1])) == refusal(model)


@pytest.mark.parametrize(("one", "other"), [(steps(4), steps(6)), (tokens(3), tokens(16, 5)), (tokens(24, 5), tokens(16, 3))], ids=str)
def test_chunks_must_nest_in_their_family(one: Clock, other: Clock) -> None:
    assert codes(system(entry("a", one), entry("b", other))) == ["NLC301"]


@pytest.mark.parametrize(
    ("one", "other"),
    [
        (tokens(1, 2), tokens(1, 3)),
        (tokens(16, 5), tokens(16, 3)),
        (tokens(1, 3), tokens(16)),
        (tokens(3), steps(4)),
        (tokens(3), SEQUENCE),
    ],
    ids=str,
)
def test_parts_of_a_tick_and_other_families_always_nest(one: Clock, other: Clock) -> None:
    assert len(order_levels(system(entry("a", one), entry("b", other))).levels) == 2


def test_a_reset_comes_at_the_end_of_a_chunk() -> None:
    assert (
        refusal(system(entry("memory", tokens(16), reset=tokens(40))))
        == """\
error[NLC302]: `memory` is reset in the middle of a chunk
  --> specs/system.yaml:2:3
   |
 2 |   memory:
   |   ^^^^^^ reset every 40 tokens
 3 |     every: 16 tokens
   |     ^^^^^^^^^^^^^^^^ but updated every 16 tokens
  help: make the period of `reset` a multiple of the level's own"""
    )
    assert order_levels(system(entry("memory", tokens(16), reset=tokens(40)), uneven_chunks=True)).run_order == ("memory",)


def test_a_reset_is_not_faster_than_the_updates() -> None:
    assert (
        refusal(system(entry("memory", tokens(16), reset=TOKEN)))
        == """\
error[NLC303]: `memory` is reset more often than it is updated
  --> specs/system.yaml:2:3
   |
 2 |   memory:
   |   ^^^^^^ reset every token
 3 |     every: 16 tokens
   |     ^^^^^^^^^^^^^^^^ but updated every 16 tokens
  help: what it writes would be lost before its next update; reset it on its own clock or on a slower one"""
    )


@pytest.mark.parametrize("reset", [tokens(16), tokens(4096), SEQUENCE, STEP, NEVER], ids=str)
def test_a_reset_on_the_own_clock_or_a_slower_one_is_fine(reset: Clock) -> None:
    assert order_levels(system(entry("memory", tokens(16), reset=reset))).run_order == ("memory",)


def test_a_gradient_is_not_read_more_often_than_there_is_one() -> None:
    assert (
        refusal(system(entry("memory", tokens(16), follows="momentum"), entry("momentum", TOKEN, "gradient(memory)")))
        == """\
error[NLC304]: `momentum` reads the gradient of `memory` off schedule
  --> specs/system.yaml:6:16
   |
 6 |     objective: gradient(memory)
   |                ^^^^^^^^^^^^^^^^ momentum reads the gradient of memory here
 7 |     every: token
   |     ^^^^^^^^^^^^ momentum is updated every token
   ...
 4 |     every: 16 tokens
   |     ^^^^^^^^^^^^^^^^ memory is updated every 16 tokens, and has a gradient only then
  help: update momentum with memory or more slowly; a slower level reduces the gradients since its last update"""
    )


def test_a_slow_update_reads_no_fast_state() -> None:
    assert (
        refusal(system(entry("project", objective="memory(k)"), entry("memory", TOKEN, "project")))
        == """\
error[NLC306]: the update of slow level `project` reads fast level `memory`
  --> specs/system.yaml:3:16
   |
 3 |     objective: memory(k)
   |                ^^^^^^^^^ project reads memory here
 4 |     every: step
   |     ^^^^^^^^^^^ project is slow: one state, shared by all sequences
   ...
 7 |     every: token
   |     ^^^^^^^^^^^^ memory is fast: one state for every sequence
  help: a slow level learns from data and gradients only; let it read inputs or other slow levels, or update project on a token clock"""
    )


@pytest.mark.parametrize(
    "reader", [entry("a", STEP, "prev(memory)"), entry("a", STEP, rate="hold(memory)"), entry("a", STEP, init="memory")], ids=Entry.text
)
def test_a_slow_update_reads_no_older_fast_state_either(reader: Entry) -> None:
    assert codes(system(reader, entry("memory", SEQUENCE))) == ["NLC306"]


def test_the_first_of_several_reads_is_shown() -> None:
    gradients = [entry("momentum", TOKEN, "gradient(memory)", rate="gradient(memory)"), entry("memory", tokens(16), follows="momentum")]
    assert "specs/system.yaml:3:16" in refusal(system(*gradients))
    assert "specs/system.yaml:3:16" in refusal(system(entry("slow", STEP, "memory", rate="memory"), entry("memory", TOKEN)))


def test_a_slow_level_may_learn_from_the_gradient_of_a_fast_one() -> None:
    assert order_levels(system(entry("initial", objective="gradient(memory)"), entry("memory", TOKEN))).run_order == ("memory", "initial")


def test_what_is_solved_anew_keeps_nothing() -> None:
    assert (
        refusal(system(entry("attention", ALWAYS, retention="decay"), entry("decay", STEP)))
        == """\
error[NLC307]: `attention` is re-solved for every query and cannot have a retention
  --> specs/system.yaml:2:3
   |
 2 |   attention:
   |   ^^^^^^^^^ a retention acts on an old state
   ...
 4 |     every: always
   |     ^^^^^^^^^^^^^ but nothing is kept from one query to the next
  help: take it out, or let the level keep a state with `every: token`"""
    )


def test_what_is_solved_anew_has_no_momentum() -> None:
    step = GradientDescent(Hyperparameter("rate"))
    host = entry("attention", ALWAYS, follows="attention.momentum", optimizer_name="momentum", optimizer=step)
    inner = entry("attention.momentum", ALWAYS, "gradient(attention)", host="attention", optimizer=step)
    assert codes(system(host, inner)) == ["NLC307"]
    assert "cannot have the optimizer `momentum`" in refusal(system(host, inner))


def test_what_is_solved_anew_is_solved_in_closed_form() -> None:
    assert (
        refusal(system(entry("attention", ALWAYS, optimizer=GradientDescent(Hyperparameter("rate")))))
        == """\
error[NLC308]: `attention` is re-solved for every query and needs `optimizer: closed_form`
  --> specs/system.yaml:2:3
   |
 2 |   attention:
   |   ^^^^^^^^^ this takes a step from an old state
 3 |     every: always
   |     ^^^^^^^^^^^^^ but nothing is kept from one query to the next
  help: write `optimizer: closed_form`, or let the level keep a state with `every: token`"""
    )
    assert order_levels(system(entry("attention", ALWAYS, optimizer=ClosedForm()))).run_order == ("attention",)


def test_every_mistake_is_reported_at_once() -> None:
    model = system(entry("a", tokens(3)), entry("b", tokens(4), "c", reset=TOKEN), entry("c", tokens(4), "b"))
    assert codes(model) == ["NLC301", "NLC303", "NLC305"]


def test_codes_are_numbered_without_gaps() -> None:
    assert [code.number for code in CODES] == [f"NLC{300 + index}" for index in range(1, len(CODES) + 1)]
