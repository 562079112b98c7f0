"""Relations between results on related inputs: where the laws say so they hold, elsewhere they do not, and broken modules break them."""

from __future__ import annotations

from functools import cache
from types import ModuleType

import pytest

from nlc import pipeline
from nlc.emit import emit_module
from nlc.ir.program import Program
from nlc.verify import metamorphic
from nlc.verify.equivariance import basis_obstacle, dims_of
from nlc.verify.linearity import linearity
from nlc.verify.load import load_source
from nlc.verify.metamorphic import METAMORPHIC
from nlc.verify.relation import relation_squares
from nlc.verify.square import Square
from nlc.verify.state_laws import idle_settings, sum_obstacle
from tests.architecture.modules import ROOT
from tests.emit.systems import program_from
from tests.verify import test_time as time
from tests.verify.test_parts_of_tokens import DELTA_PRODUCT

ARCHITECTURES = ROOT / "specs" / "architectures"


@cache
def shipped(name: str) -> Program:
    return pipeline.compile_program(ARCHITECTURES / f"{name}.yaml")


def related(program: Program, text: str = "") -> list[Square]:
    module: ModuleType = load_source(text or emit_module(program))
    return list(relation_squares(METAMORPHIC, program, getattr(module, program.model.name)))


def still_open(squares: list[Square]) -> set[str]:
    return {square.right for square in squares if not square.closed}


APPLIES = {
    "linear_attention": "twice q, twice k, twice v, basis of d_k, basis of d_v, shuffled, idle",
    "omega": "twice q, twice v, basis of d_k, basis of d_v",
    "swla": "twice q, twice k, twice v, twice gamma, basis of d_k, basis of d_v",
    "dla": "basis of d_k, basis of d_v",
    "delta_rule": "twice q, twice v, basis of d_k, basis of d_v, idle",
    "gated_delta_rule": "twice q, twice v, basis of d_k, basis of d_v, idle",
    "gated_linear_attention": "twice q, twice k, twice v, basis of d_v, idle",
    "retention": "twice q, twice k, twice v, basis of d_k, basis of d_v",
    "hebbian_mlp": "basis of d_k, basis of d_v, idle",
    "linear_attention_layer": "shuffled",
    **dict.fromkeys(("delta_rule_layer", "gated_delta_rule_layer", "mamba2_layer", "titans_linear_layer", "retention_layer"), ""),
    "swiglu_layer": "basis of d_model",
    "cms": "basis of d_model",
    "cms_nested": "basis of d_model",
    "cms_independent": "",
    **dict.fromkeys(("titans_layer", "ttt_linear_layer", "self_modifying_titans"), ""),
    "longhorn": "twice q, twice v, basis of d_k, basis of d_v, idle",
    "mesa": "twice q, twice v, basis of d_k, basis of d_v, idle",
    "mlp_training": "twice target, basis of d_in, basis of d_out, idle",
    "mlp_training_with_momentum": "twice target, basis of d_in, basis of d_out",
    "softmax_attention": "twice v, basis of d_k, basis of d_v",
    "softmax_attention_layer": "",
    **dict.fromkeys(("memory_as_gate_layer", "memory_as_context_layer"), ""),
    "segment_attention": "basis of d_k, basis of d_v",
    "sliding_window_attention": "twice v, basis of d_k, basis of d_v",
    "sliding_window_attention_layer": "",
    "comba": "twice q, twice v, basis of d_k, basis of d_v, idle",
    "delta_product": "twice q, twice v, basis of d_k, basis of d_v, idle",
    "kimi_delta_attention": "twice q, twice v, basis of d_v, idle",
    "rwkv7": "twice q, twice k, twice v, basis of d_v",
    "mamba2": "twice q, twice k, twice v, twice delta, basis of d_k, basis of d_v, idle",
    "oja": "twice q, twice k, basis of d_k, basis of d_v, idle",
    "titans_linear": "twice q, twice v, basis of d_k, basis of d_v",
    **dict.fromkeys(("titans", "atlas"), "basis of d_v"),
    **dict.fromkeys(("hope_inner", "hope_inner_per_token"), "twice q, basis of d"),
    "ttt_linear_residual": "twice q, basis of d, idle",
    "ttt_linear_plain": "twice q, twice v, basis of d_k, basis of d_v",
    "ttt_linear_per_token": "twice q, twice v, basis of d_k, basis of d_v, idle",
    **dict.fromkeys(("ttt_linear", "ttt_mlp", "yaad", "moneta", "memora"), ""),
}
"""What holds of each shipped architecture, as a person who knows it would say."""

TOLD = {"cms_across_contexts", "cms_in_context", "cms_nested_in_context"}
"""Modules that take a loss, with squares of their own (test_context.py)."""

WORDS = {"forward in another basis of ": "basis of ", "forward of shuffled tokens": "shuffled", "state after nothing was learned": "idle"}


@pytest.mark.parametrize("name", APPLIES)
def test_the_laws_say_which_relations_hold(name: str) -> None:
    squares = related(shipped(name))
    assert [square.text for square in squares if not square.closed] == []
    rights = dict.fromkeys(square.right for square in squares if square.applies)
    for long, short in WORDS.items():
        rights = {right.replace(long, short): None for right in rights}
    assert ", ".join(right for right in rights if right.startswith(("twice", *WORDS.values()))) == APPLIES[name]
    assert all(square.detail for square in squares if not square.applies)


SCALED = """nlc: 1
name: Scaled
dims: {d: 3}
inputs:
  k: [d]
  v: [d]
  scale: {shape: [], every: sequence}
levels:
  memory: {memory: "matrix(d, d)", objective: "-dot(memory(scale * k), v)", optimizer: gradient_descent(1), every: token}
outputs: {y: memory(k)}
"""


def test_what_flows_in_once_a_sequence_has_no_order() -> None:
    (found,) = [square for square in related(program_from(SCALED)) if square.right == "forward of shuffled tokens"]
    assert found.applies, found.detail
    assert found.closed, found.detail


def test_every_architecture_is_in_the_table() -> None:
    assert APPLIES.keys() | TOLD == {path.stem for path in ARCHITECTURES.glob("*.yaml")}


NEGATIVE = (
    ("delta_rule", "sum_obstacle", "forward of shuffled tokens"),
    ("gated_delta_rule", "sum_obstacle", "forward of shuffled tokens"),
    ("retention", "sum_obstacle", "forward of shuffled tokens"),
    ("gated_linear_attention", "sum_obstacle", "forward of shuffled tokens"),
    ("mlp_training", "sum_obstacle", "forward of shuffled tokens"),
    ("softmax_attention", "sum_obstacle", "forward of shuffled tokens"),
    ("gated_linear_attention", "basis_obstacle", "forward in another basis of d_k"),
    ("hebbian_mlp", "basis_obstacle", "forward in another basis of d_hidden"),
)


@pytest.mark.parametrize(("name", "condition", "relation"), NEGATIVE)
def test_where_a_relation_does_not_apply_it_does_not_hold(
    name: str, condition: str, relation: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(metamorphic, condition, lambda *_: "")
    assert relation in still_open(related(shipped(name)))


@pytest.mark.parametrize(("name", "stream"), [("delta_rule", "k"), ("delta_rule", "beta"), ("gated_linear_attention", "alpha")])
def test_what_is_not_linear_does_not_double(name: str, stream: str, monkeypatch: pytest.MonkeyPatch) -> None:
    def claimed(laws: object, of: str) -> object:
        found = linearity(shipped(name).laws, of)
        return metamorphic.Linearity(found.stream, found.outputs or frozenset({"y"}), found.slots)

    monkeypatch.setattr(metamorphic, "linearity", claimed)
    assert f"twice {stream}" in still_open(related(shipped(name)))


# --- broken modules ----------------------------------------------------------------------------------------------

MUTANTS = (
    ("delta_rule", "error = prediction - v", "error = prediction - v - 0.001 * v * v", "twice v"),
    ("delta_rule", "error = prediction - v", "error = prediction - v - 0.001 * v.flip(0)", "step of other batches"),
    (
        "linear_attention",
        "memory = torch.baddbmm(memory, value.mT, key)",
        "memory = torch.baddbmm(0.999 * memory, value.mT, key)",
        "forward of shuffled tokens",
    ),
    (
        "linear_attention",
        "attention = (query @ key.mT).tril()",
        "attention = (query @ key.flip(-1).mT).tril()",
        "forward in another basis of d_k",
    ),
    ("gated_delta_rule", "memory = torch.baddbmm(", "memory = (1 - 1e-9) * torch.baddbmm(", "state after nothing was learned"),
    ("delta_rule", "return _joined(reads, leading),", "return _joined(reads, leading).bfloat16(),", "error in torch.float32"),
)
"""A module, a change, and a relation that shows it."""


@pytest.mark.parametrize(("name", "old", "new", "relation"), MUTANTS)
def test_a_broken_module_breaks_its_relation(name: str, old: str, new: str, relation: str) -> None:
    text = emit_module(shipped(name))
    assert old in text
    seen = still_open(related(shipped(name), text.replace(old, new)))
    assert relation in seen


# --- what the laws say -------------------------------------------------------------------------------------------


def test_levels_that_wait_are_still() -> None:
    squares = [square for square in related(program_from(time.MIXED)) if square.right == "state before a period is over"]
    assert {square.applies for square in squares} == {True}
    assert {square.case.split()[0] for square in squares} == {"slow", "slow.momentum", "slowest"}
    assert [square.text for square in squares if not square.closed] == []


SYSTEM = """
nlc: 1
name: System
dims: {{d: 3}}
axes: [heads]
inputs: {{x: [d], g: [], w: {{shape: [d], axes: []}}}}
levels:
  memory:
    memory: matrix(d, d)
    objective: {objective}
    retention: {retention}
    optimizer: gradient_descent({rate})
    every: {every}
{more}outputs:
  y: {output}
"""


def system(
    objective: str = "dot(memory(w), x)",
    retention: str = "1",
    rate: str = "1",
    every: str = "token",
    more: str = "",
    output: str = "memory(w)",
) -> Program:
    return program_from(SYSTEM.format(objective=objective, retention=retention, rate=rate, every=every, more=more, output=output))


@pytest.mark.parametrize(
    ("program", "obstacle"),
    [
        (system(), ""),
        (system(retention="g"), ""),
        (system(rate="g"), ""),
        (system(objective="0.5 * norm2(memory(w) - x)"), ""),
        (system(objective="0.5 * norm2(memory(w) - prev(x))"), ""),
        (system(every="4 tokens"), ""),
        (system(every="2 tokens", more="    reset: 4 tokens\n"), ""),
        (system(every="2 tokens", more="    reset: 4 tokens\n    init: 0.5\n"), "memory starts again from a value of its own"),
        (system(objective="0.5 * norm2(memory(w) - x - w)"), "gradient is not linear in it"),
        (system(objective="dot(memory(x), x)"), "memory is not linear in it"),
        (system(objective="dot(memory(w), tanh(x))"), "memory is not linear in it"),
        (system(output="memory(w) + w"), "y is not linear in it"),
        (system(output="where(g < 0.5, memory(w), 2 * x)"), ""),
        (system(output="where(memory(w) < x, memory(w), x)"), "y is not linear in it"),
    ],
)
def test_what_is_linear_in_a_stream(program: Program, obstacle: str) -> None:
    found = linearity(program.laws, "x")
    assert found.obstacle == obstacle
    assert found.outputs == {"y"}


def test_what_has_no_entries_has_any_basis() -> None:
    program = system(objective="0.5 * norm2(memory(w) - x)", output="memory(w) * 2 / (1 + dot(x, w))")
    assert dims_of(program.model) == ("d",)
    assert basis_obstacle(program.laws, "d") == ""
    for output in ("memory(w) * x", "tanh(memory(w))", "memory(w) + 1", "sum(x) * w", "softmax(x)", "x / w", "where(x < 0, x, w)"):
        assert basis_obstacle(system(output=output).laws, "d") != "", output


def test_what_is_a_plain_sum() -> None:
    assert sum_obstacle(system().laws) == ""
    assert sum_obstacle(system(rate="g").laws) == ""
    for program in (
        system(retention="g"),
        system(every="2 tokens"),
        system(objective="dot(memory(prev(w)), x)"),
        program_from(DELTA_PRODUCT),
    ):
        assert sum_obstacle(program.laws) != ""


def test_what_leaves_the_states_as_they_are() -> None:
    assert idle_settings(system(rate="g").laws) == {"g": 0}
    assert idle_settings(system(rate="1 - g").laws) == {"g": 1}
    assert idle_settings(system(retention="g").laws) == {"g": 1, "x": 0}
    assert idle_settings(system(retention="g / 2").laws) is None
    assert idle_settings(shipped("delta_rule").laws) == {"beta": 0}
    assert idle_settings(shipped("gated_delta_rule").laws) == {"beta": 0, "alpha": 1}
