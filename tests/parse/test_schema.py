from __future__ import annotations

from dataclasses import fields

import pytest

from nlc.ir.spec import ClaimField, ClaimsFile, DefinitionField, InputField, LevelField, Listing, OuterField, Spec
from nlc.parse import parse_text
from nlc.parse.fields import TABLES, Value
from nlc.parse.schema import READERS, read_spec
from nlc.parse.texts import source_of
from nlc.parse.yaml_nodes import read_yaml
from tests.parse.examples import DELTA, MOMENTUM, codes, expression, form, mistakes, spec_text


def read(text: str) -> Spec:
    return parse_text(text, "test.yaml").spec


def test_a_whole_spec_is_typed() -> None:
    spec = read(DELTA)
    assert (spec.name.text, spec.kind, spec.strict) == ("DeltaRule", "architecture", False)
    assert [item.text for item in spec.cites] == ["nl:eq-65", "deltanet"]
    assert [(item.name.text, form(item.value)) for item in spec.dims] == [("d_k", "64"), ("d_v", "64"), ("d_all", "(d_k + d_v)")]
    assert [item.text for item in spec.axes] == ["heads"]
    assert [item.name.text for item in spec.inputs] == ["q", "k", "v", "beta"]
    assert [(item.name.text, form(item.value)) for item in spec.let] == [("error", "(prev(memory)(k) - v)")]
    assert [item.name.text for item in spec.outputs] == ["y"]
    (level,) = spec.levels
    assert level.optimizer == expression("gradient_descent(learning_rate = beta)")
    assert level.retention is None
    assert [claim.expect and claim.expect.text for claim in spec.claims] == [None, "refuted"]
    assert [item.text for item in spec.claims[0].cites] == ["nl:eq-65"]


def test_inputs_have_three_forms() -> None:
    spec = read(DELTA)
    assert spec.inputs[0].shape == (expression("d_k"),)
    beta = spec.inputs[3]
    assert (beta.shape, beta.every, beta.axes) == ((), expression("token / 2"), ())
    assert beta.range == (expression("0"), expression("1"))
    assert read(MOMENTUM).inputs[0].shape == expression("like(weights)")


def test_definitions_hold_memories_objectives_and_retentions() -> None:
    text = """
  pair:
    parameters: [rows]
    states: {first: [rows, 2 * rows], second: "matrix(rows, rows)"}
    read: (x) -> first @ x
  half: {parameters: [scale_of], objective: scale_of * norm2(prediction - value), cites: miras}
  keep: {retention: 0.5}
"""
    pair, half, keep = read(spec_text(define=text)).define
    assert isinstance(pair.states[0].value, Listing)
    assert [form(item.value) for item in pair.states] == ["[rows, (2 * rows)]", "matrix(rows, rows)"]
    assert pair.read is not None and form(pair.read) == "(x -> (first @ x))"
    assert half.objective is not None and keep.retention == expression("0.5")


def test_claims_hold_bindings_and_options() -> None:
    text = """
  - says: the same
    same_as: architectures/linear_attention
    given: alpha == 1 and beta == 2
    where: {beta: learning_rate}
    with: {norm: identity, residual: false}
    varying: [learning_rate]
    expect: proved-if alpha == 1
"""
    claim = read_claims(text)[0]
    assert claim.same_as is not None and claim.same_as.text == "architectures/linear_attention"
    assert [(item.name.text, form(item.value)) for item in claim.options] == [("norm", "identity"), ("residual", "false")]
    assert [item.text for item in claim.varying] == ["learning_rate"]
    assert claim.expect is not None and claim.expect.text == "proved-if alpha == 1"


def read_claims(text: str) -> tuple[ClaimField, ...]:
    return read_spec(read_yaml(source_of(spec_text(claims=text), "test.yaml"))).claims


def test_a_spec_may_be_strict_and_have_an_outer_level() -> None:
    spec = read(spec_text(strict="true", outer="{objective: task, optimizer: gradient_descent(0.1)}"))
    assert spec.strict
    assert spec.outer is not None and spec.outer.optimizer == expression("gradient_descent(0.1)")


LEVEL = "{memory: {memory: vector(1), every: token, %s}}"
CLAIM = "[{says: it, %s}]"
REFUSED = (
    (spec_text(inptus="{k: []}"), "NLC141", "inptus"),
    (spec_text(levels=LEVEL % "objektive: l2"), "NLC141", "objektive"),
    (spec_text(inputs="{k: {shape: [], rnage: [0, 1]}}"), "NLC141", "rnage"),
    (spec_text(without=("name",)), "NLC142", ""),
    (spec_text(without=("nlc",)), "NLC142", ""),
    (spec_text(without=("levels",)), "NLC142", ""),
    (spec_text(without=("outputs",)), "NLC142", ""),
    (spec_text(inputs="{k: {every: token}}"), "NLC142", "k"),
    (spec_text(claims="[{prove: k == v}]"), "NLC142", "prove"),
    (spec_text(outer="{optimizer: gradient_descent(1)}"), "NLC142", "outer"),
    (spec_text(levels="[memory]"), "NLC143", "[memory]"),
    (spec_text(levels="{memory: vector(1)}"), "NLC143", "vector(1)"),
    (spec_text(levels="{memory: ~}"), "NLC143", "memory"),
    (spec_text(levels=LEVEL % "keys: [k]"), "NLC143", "[k]"),
    (spec_text(levels=LEVEL % "keys: {a: b}"), "NLC143", "{a: b}"),
    (spec_text(levels=LEVEL % "keys: ~"), "NLC143", "keys"),
    (spec_text(levels=LEVEL % "optimizer: 1 + 2"), "NLC143", "1 + 2"),
    (spec_text(levels=LEVEL % "optimizer: prev(a)(b)"), "NLC143", "prev(a)(b)"),
    (spec_text(axes="heads"), "NLC143", "heads"),
    (spec_text(says="[a]"), "NLC143", "[a]"),
    (spec_text(inputs="{k: {shape: [], range: [0]}}"), "NLC143", "[0]"),
    (spec_text(define="{m: {states: {a: [1]}, read: x}}"), "NLC143", "x"),
    ("- a\n- b\n", "NLC143", "- a\n- b"),
    ("just text", "NLC143", "just text"),
    (spec_text(nlc="2"), "NLC144", "2"),
    (spec_text(nlc="1.0"), "NLC144", "1.0"),
    (spec_text(kind="optimiser"), "NLC145", "optimiser"),
    (spec_text(strict="yes"), "NLC145", "yes"),
    (spec_text(claims=CLAIM % "prove: k == v, expect: true"), "NLC145", "true"),
    (spec_text(claims=CLAIM % "prove: k == v, expect: refuted by k"), "NLC145", "refuted by k"),
    (spec_text(name="small"), "NLC146", "small"),
    (spec_text(name="Delta_Rule"), "NLC146", "Delta_Rule"),
    (spec_text(name="D" * 62), "NLC146", "D" * 62),
    (spec_text(dims="{D: 4}"), "NLC147", "D"),
    (spec_text(dims="{d-k: 4}"), "NLC147", "d-k"),
    (spec_text(dims="{dé: 4}"), "NLC147", "dé"),
    (spec_text(let="{__class__: k}"), "NLC147", "__class__"),
    (spec_text(let=f"{{{'a' * 42}: k}}"), "NLC147", "a" * 42),
    (spec_text(let="{lambda: k}"), "NLC148", "lambda"),
    (spec_text(let="{input: k}"), "NLC148", "input"),
    (spec_text(let="{self: k}"), "NLC148", "self"),
    (spec_text(let="{prev: k}"), "NLC148", "prev"),
    (spec_text(let="{tanh: k}"), "NLC148", "tanh"),
    (spec_text(let="{key: k}"), "NLC148", "key"),
    (spec_text(axes="[token]"), "NLC148", "token"),
    (spec_text(name="None"), "NLC148", "None"),
    (spec_text(let="{k: v}"), "NLC149", "k"),
    (spec_text(let="{memory: v}"), "NLC149", "memory"),
    (spec_text(axes="[k]"), "NLC149", "k"),
    (spec_text(axes="[heads, heads]"), "NLC149", "heads"),
    (spec_text(hyperparameters="{v: 1}"), "NLC149", "v"),
    (spec_text(define="{k: {retention: 1}}"), "NLC149", "k"),
    (spec_text(levels="{}"), "NLC150", "levels"),
    (spec_text(levels=f"{{{', '.join(f'm{number}: {{}}' for number in range(65))}}}"), "NLC150", "levels"),
    (spec_text(dims="{d: 0}"), "NLC151", "0"),
    (spec_text(dims="{d: -3}"), "NLC151", "-3"),
    (spec_text(dims="{d: 2.5}"), "NLC151", "2.5"),
    (spec_text(dims=f"{{d: {2**20 + 1}}}"), "NLC151", str(2**20 + 1)),
    (spec_text(cites="nl-2:eq"), "NLC152", "nl-2:eq"),
    (spec_text(cites="[nl:eq-1, tittans]"), "NLC152", "tittans"),
    (spec_text(network="[]"), "NLC143", "[]"),
    (spec_text(network="[rms_norm]"), "NLC260", "rms_norm"),
    (spec_text(network="[{embed: 4}, head]"), "NLC143", "4"),
    (spec_text(network="[2 * 3, head]"), "NLC261", "2 * 3"),
    (spec_text(network="[{repeat: 2}, head]"), "NLC261", "repeat"),
    (spec_text(claims=CLAIM % "prove: k == v, measure: gap of x"), "NLC125", "of"),
    (spec_text(define="{both: {objective: l2, retention: 1}}"), "NLC154", "both"),
    (spec_text(define="{none_of_it: {parameters: []}}"), "NLC154", "none_of_it"),
    (spec_text(define="{reads: {retention: 1, read: (x) -> x}}"), "NLC154", "reads"),
    (spec_text(claims="[{says: it}]"), "NLC155", "it"),
    (spec_text(claims=CLAIM % "prove: k == v, order: k > v"), "NLC155", "it"),
    (MOMENTUM.replace("gradient: like(weights)", "gradient: like(momentum)"), "NLC156", "Momentum"),
    (MOMENTUM.replace("  weights:\n", "  other:\n"), "NLC156", "Momentum"),
)  # fmt: skip


@pytest.mark.parametrize(("text", "code", "place"), REFUSED)
def test_refused(text: str, code: str, place: str) -> None:
    (mistake,) = mistakes(lambda: read(text))
    assert (mistake.code, mistake.labels[0].span.text) == (code, place)
    assert mistake.message and mistake.help


def test_sizes_at_the_limits_are_accepted() -> None:
    assert len(read(spec_text(dims=f"{{a: 1, b: {2**20}}}")).dims) == 2
    many = ", ".join(f"m{number}: {{}}" for number in range(64))
    assert len(read(spec_text(levels=f"{{{many}}}")).levels) == 64


def test_an_axis_may_be_a_dim() -> None:
    spec = read(spec_text(dims="{heads: 4}", axes="[heads]"))
    assert spec.dims[0].name.text == spec.axes[0].text == "heads"


def test_all_mistakes_are_reported_at_once() -> None:
    text = spec_text(
        nlc="3", kind="optimzer", dims="{d: 0, D: 1}", levels="{memory: {objectve: l2, every: 2x}}", claims="[{says: a, order: (b}, {}]"
    )
    found = ["NLC127", "NLC128", "NLC141", "NLC142", "NLC144", "NLC145", "NLC147", "NLC151"]
    assert sorted(codes(lambda: read(text))) == found


def test_near_words_are_suggested() -> None:
    assert "`objective`" in mistakes(lambda: read(spec_text(levels=LEVEL % "objektive: l2")))[0].help
    assert "`titans`" in mistakes(lambda: read(spec_text(cites="tittans")))[0].help


def test_without_a_near_word_all_keys_are_listed() -> None:
    (mistake,) = mistakes(lambda: read(spec_text(outer="{objective: task, zzz: 1}")))
    assert mistake.help == "keys: every, objective, optimizer"


def test_clashing_names_are_both_labelled() -> None:
    (mistake,) = mistakes(lambda: read(DELTA.replace("  error:", "  memory:")))
    assert [(label.span.line, label.text) for label in mistake.labels] == [(15, "a level here"), (13, "an abbreviation here")]


def test_a_flood_of_mistakes_is_cut_short() -> None:
    text = spec_text(let="{" + ", ".join(f"k{number}: '2x'" for number in range(3000)) + "}")
    assert len(codes(lambda: read(text))) == 50


def test_every_kind_of_value_has_a_reader_and_every_field_a_place() -> None:
    assert set(READERS) == set(Value)
    nodes = dict(zip(TABLES, (Spec, LevelField, InputField, DefinitionField, OuterField, None, ClaimField, ClaimsFile), strict=True))
    for owner, table in TABLES.items():
        node = nodes[owner]  # none for the parts of a network, of which each is a node of its own
        attributes = {item.name for item in fields(node)} | {"nlc", "kind", "extends", "use", "measure"} if node else set()
        assert node is None or {field.attribute for field in table} <= attributes
        assert len({field.key for field in table}) == len(table)
        assert all(field.says and not field.says.endswith(".") for field in table)
