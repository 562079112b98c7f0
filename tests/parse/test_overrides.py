"""`--set key=value`: what it reaches, what it replaces, and what is said when it reaches nothing."""

from __future__ import annotations

from pathlib import Path

import pytest
from hypothesis import given, strategies as st

from nlc.diagnostics import CompileError, render
from nlc.ir.spec import SpecFile
from nlc.parse import parse_file
from nlc.source import Source
from tests.parse.examples import DELTA, MOMENTUM, codes, form, mistakes, write

COPY = DELTA.replace("outputs:", "  copy: {use: memory, keys: q}\noutputs:")


def changed(tmp_path: Path, *texts: str, spec: str = DELTA) -> SpecFile:
    path = write(tmp_path, architectures__host=spec) / "architectures" / "host.yaml"
    return parse_file(path, [Source("--set", text) for text in texts])


def test_a_name_alone_is_a_dim_or_a_hyperparameter(tmp_path: Path) -> None:
    file = changed(tmp_path, "d_k=32", "d_all=2 * d_v")
    assert {item.name.text: form(item.value) for item in file.spec.dims} == {"d_k": "32", "d_v": "64", "d_all": "(2 * d_v)"}
    optimizer = changed(tmp_path, "learning_rate=0.5", spec=MOMENTUM)
    assert [form(item.value) for item in optimizer.spec.hyperparameters] == ["1/2"]


def test_a_path_leads_to_a_field_of_a_level_present_or_not(tmp_path: Path) -> None:
    (level,) = changed(tmp_path, "levels.memory.optimizer=gradient_descent(0.5 * beta)", "levels.memory.retention=0.9").spec.levels
    assert level.optimizer is not None and form(level.optimizer) == "gradient_descent((1/2 * beta))"
    assert level.retention is not None and form(level.retention) == "9/10"
    assert level.objective is not None and form(level.objective) == "l2"


def test_the_value_is_read_as_yaml(tmp_path: Path) -> None:
    file = changed(tmp_path, "inputs.beta.range=[0, 2]", "levels.memory={memory: vector(d_v), objective: l2, every: token}")
    beta = next(item for item in file.spec.inputs if item.name.text == "beta")
    assert beta.range is not None and [form(bound) for bound in beta.range] == ["0", "2"]
    assert file.spec.levels[0].keys is None


def test_an_empty_value_removes(tmp_path: Path) -> None:
    assert changed(tmp_path, "levels.memory.values=").spec.levels[0].values is None


def test_copies_of_a_level_follow_it(tmp_path: Path) -> None:
    memory, copy = changed(tmp_path, "levels.memory.retention=0.9", spec=COPY).spec.levels
    assert memory.retention == copy.retention is not None
    assert copy.keys is not None and form(copy.keys) == "q"


def test_what_is_inherited_can_be_set_and_the_parent_stays(tmp_path: Path) -> None:
    child = "nlc: 1\nname: Child\nextends: architectures/parent\nclaims: [{says: not the parent, same_as: architectures/parent}]\n"
    path = write(tmp_path, architectures__parent=DELTA, architectures__child=child) / "architectures" / "child.yaml"
    file = parse_file(path, [Source("--set", "d_k=8")])
    ((_, _, parent),) = file.peers
    assert [form(spec.dims[0].value) for spec in (file.spec, parent.spec)] == ["8", "64"]


def test_spans_of_what_is_new_are_in_the_flag_and_others_stay(tmp_path: Path) -> None:
    (level,) = changed(tmp_path, "levels.memory.retention=  alpha * beta").spec.levels
    assert level.retention is not None
    assert (level.retention.span.place, level.retention.span.text) == ("--set:1:27", "alpha * beta")
    assert level.name.span.source.name.endswith("host.yaml")


def test_the_file_remembers_what_changed_it(tmp_path: Path) -> None:
    assert changed(tmp_path, "d_k=32").overrides == ("d_k=32",)


@pytest.mark.parametrize(
    ("text", "code", "help"),
    [
        ("d_k", "NLC182", "levels.memory.retention=0.9"),
        ("=3", "NLC182", "key=value"),
        ("levels..keys=k", "NLC182", "key=value"),
        ("d_q=3", "NLC183", "did you mean `d_v`?"),
        ("learning_rate=3", "NLC183", "names: d_all, d_k, d_v"),
        ("dims.d_q=3", "NLC183", "did you mean `d_v`?"),
        ("levels.memry.keys=k", "NLC183", "did you mean `memory`?"),
        ("level.memory.keys=k", "NLC183", "did you mean `levels`?"),
        ("levels.memory.keys.first=k", "NLC183", "there are no names"),
        ("levels.memory.retnetion=1", "NLC141", "did you mean `retention`?"),
        ("levels.memory.retention=[1]", "NLC143", "language reference"),
        ("levels.memory.retention=beta * * 2", "NLC125", "operand"),
        ("inputs.beta.range=[0, 1", "NLC105", "close it with ]"),
        ("d_k=0", "NLC151", "whole number"),
        ("d_k=1\u202e", "NLC103", "delete it"),
    ],
)
def test_mistakes_point_into_the_flag(tmp_path: Path, text: str, code: str, help: str) -> None:
    (mistake,) = mistakes(lambda: changed(tmp_path, text))
    assert mistake.code == code
    assert mistake.labels[0].span.source == Source("--set", text)
    assert help in render(mistake)


def test_one_value_for_each_key(tmp_path: Path) -> None:
    (mistake,) = mistakes(lambda: changed(tmp_path, "d_k=3", "dims.d_k=4"))
    assert (mistake.code, [label.span.text for label in mistake.labels]) == ("NLC110", ["dims.d_k", "d_k"])


def test_every_mistake_is_reported(tmp_path: Path) -> None:
    assert codes(lambda: changed(tmp_path, "d_q=3", "d_k", "levels.x.keys=k")) == ["NLC183", "NLC182", "NLC183"]


@given(text=st.text(max_size=30) | st.from_regex(r"levels\.memory\.[a-z]{1,9}=.{0,20}", fullmatch=True))
def test_any_text_changes_the_spec_or_is_refused(tmp_path_factory: pytest.TempPathFactory, text: str) -> None:
    try:
        assert changed(tmp_path_factory.getbasetemp(), text).spec.levels
    except CompileError as error:
        assert error.diagnostics
