from __future__ import annotations

import os
from pathlib import Path

import pytest

from nlc.diagnostics import render
from nlc.ir.spec import Spec, SpecFile
from nlc.parse import parse_file, parse_text, shipped
from tests.parse.examples import DELTA, codes, form, mistakes, spec_text, write

CHILD = "nlc: 1\nname: Child\nextends: {}\n"


@pytest.fixture(autouse=True)
def shipped_specs(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """A shipped folder of the tests' own, with one architecture."""
    folder = tmp_path / "shipped"
    (folder / "architectures").mkdir(parents=True)
    (folder / "architectures" / "shipped_rule.yaml").write_text(DELTA.replace("DeltaRule", "ShippedRule"))
    monkeypatch.setattr(shipped, "shipped_specs_folder", lambda: folder)
    return folder


def parse(folder: Path, **files: str) -> SpecFile:
    return parse_file(write(folder, **files) / "architectures" / "child.yaml")


def levels(spec: Spec) -> dict[str, dict[str, str]]:
    keys = ("memory", "objective", "keys", "every", "retention")
    return {level.name.text: {key: form(value) for key in keys if (value := getattr(level, key)) is not None} for level in spec.levels}


def test_a_child_merges_by_key_replaces_lists_and_removes_with_nothing(tmp_path: Path) -> None:
    child = (
        CHILD.format("delta")
        + """
dims: {d_k: 32}
axes: []
inputs:
  alpha: []
  beta: []
let: ~
levels:
  memory:
    retention: alpha
    keys:
"""
    )
    file = parse(tmp_path, architectures__delta=DELTA, architectures__child=child)
    spec = file.spec
    assert [form(item.value) for item in spec.dims] == ["32", "64", "(d_k + d_v)"]
    assert spec.axes == () and spec.let == ()
    assert [item.name.text for item in spec.inputs] == ["q", "k", "v", "beta", "alpha"]
    assert spec.inputs[3].shape == () and spec.inputs[3].every is None
    assert levels(spec) == {"memory": {"memory": "matrix(d_v, d_k)", "objective": "l2", "every": "token", "retention": "alpha"}}
    assert (spec.name.text, spec.says, spec.cites, spec.claims) == ("Child", None, (), ())
    assert [Path(name).name for name, _ in file.files] == ["child.yaml", "delta.yaml"]
    assert file.files[1][1] == DELTA


def test_spans_keep_pointing_to_the_file_of_the_value(tmp_path: Path) -> None:
    file = parse(tmp_path, architectures__delta=DELTA, architectures__child=CHILD.format("delta") + "levels: {memory: {every: step}}")
    (level,) = file.spec.levels
    assert level.objective is not None and level.every is not None
    assert level.objective.span.source.name.endswith("delta.yaml") and level.objective.span.line == 19
    assert level.every.span.source.name.endswith("child.yaml") and level.every.span.line == 4


def test_an_empty_value_with_nothing_to_remove_is_a_mistake(tmp_path: Path) -> None:
    child = CHILD.format("delta") + "levels: {memory: {window: ~}}"
    assert codes(lambda: parse(tmp_path, architectures__delta=DELTA, architectures__child=child)) == ["NLC143"]


@pytest.mark.parametrize("path", ["../other/delta", "other/delta", "other/delta.yaml", "architectures/shipped_rule"])
def test_paths_are_taken_from_the_file_the_root_and_the_shipped_specs(tmp_path: Path, path: str) -> None:
    file = parse(tmp_path, other__delta=DELTA, architectures__child=CHILD.format(path))
    assert list(levels(file.spec)) == ["memory"]


def test_names_in_diagnostics_follow_the_name_given(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    write(
        tmp_path,
        other__delta=DELTA,
        architectures__child=CHILD.format("../other/delta"),
        architectures__two=CHILD.format("architectures/shipped_rule"),
    )
    monkeypatch.chdir(tmp_path)
    assert [name for name, _ in parse_file(Path("specs/architectures/child.yaml")).files] == [
        "specs/architectures/child.yaml", "specs/other/delta.yaml",
    ]  # fmt: skip
    monkeypatch.chdir(tmp_path / "specs" / "architectures")
    assert [name for name, _ in parse_file(Path("child.yaml")).files] == ["child.yaml", "../other/delta.yaml"]
    assert [name for name, _ in parse_file(Path("two.yaml")).files] == ["two.yaml", "specs/architectures/shipped_rule.yaml"]


def test_a_text_without_a_folder_sees_shipped_specs_only(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    write(tmp_path, architectures__delta=DELTA)
    monkeypatch.chdir(tmp_path / "specs" / "architectures")
    assert parse_text(CHILD.format("architectures/shipped_rule"), "text").spec.levels
    assert codes(lambda: parse_text(CHILD.format("delta"), "text")) == ["NLC172"]
    assert parse_text(CHILD.format("delta"), "text", Path(".")).spec.levels


PART = "inputs: {gate: []}\nlevels:\n  gated: {memory: vector(1), every: token, retention: gate}\n"


def test_fragments_lie_between_the_parent_and_the_spec(tmp_path: Path) -> None:
    parent = spec_text(strict="true", dims="{a: 1, b: 1, c: 1, d: 1}")
    child = CHILD.format("parent") + "use: [../parts/one, ../parts/two]\ndims: {d: 5}"
    file = parse(
        tmp_path, architectures__parent=parent, architectures__child=child,
        parts__one="name: One\ndims: {b: 2, c: 2, d: 2}", parts__two="dims: {c: 3, d: 3}",
    )  # fmt: skip
    assert [form(item.value) for item in file.spec.dims] == ["1", "2", "3", "5"]
    assert file.spec.strict and file.spec.name.text == "Child"


def test_levels_are_copied_from_levels_and_from_fragments(tmp_path: Path) -> None:
    text = spec_text(inputs="{gate: []}", levels="""
  first: {memory: vector(2), every: token, keys: gate}
  second: {use: first, every: step, keys: ~}
  third: {use: second, retention: 0.5}
  fourth: {use: parts/gates.yaml#gated}
  fifth: {use: parts/gates.yaml#flat, every: step}
""", outputs="{y: gate}")  # fmt: skip
    file = parse(tmp_path, architectures__child=text, parts__gates=PART + "flat: {memory: vector(3)}\n")
    assert levels(file.spec) == {
        "first": {"memory": "vector(2)", "every": "token", "keys": "gate"},
        "second": {"memory": "vector(2)", "every": "step"},
        "third": {"memory": "vector(2)", "every": "step", "retention": "1/2"},
        "fourth": {"memory": "vector(1)", "every": "token", "retention": "gate"},
        "fifth": {"memory": "vector(3)", "every": "step"},
    }


def test_a_copied_level_follows_what_a_child_changes(tmp_path: Path) -> None:
    parent = spec_text(levels="{first: {memory: vector(2), every: token}, second: {use: first}}")
    child = CHILD.format("parent") + "levels: {first: {every: step}}"
    file = parse(tmp_path, architectures__parent=parent, architectures__child=child)
    assert {level["every"] for level in levels(file.spec).values()} == {"step"}


def test_rings_of_files_are_drawn(tmp_path: Path) -> None:
    files = {f"architectures__{name}": CHILD.format(parent) for name, parent in (("child", "b"), ("b", "c"), ("c", "b"))}
    (mistake,) = mistakes(lambda: parse(tmp_path, **files))
    assert mistake.code == "NLC173"
    assert [(Path(label.span.source.name).name, label.text) for label in mistake.labels] == [("b.yaml", "needs c"), ("c.yaml", "needs b")]
    assert "extends: c" in render(mistake) and "extends: b" in render(mistake)


def test_a_file_that_extends_or_uses_itself_is_a_ring(tmp_path: Path) -> None:
    assert codes(lambda: parse(tmp_path, architectures__child=CHILD.format("child"))) == ["NLC173"]
    assert codes(lambda: parse(tmp_path, architectures__child=spec_text(use="child.yaml"))) == ["NLC173"]


@pytest.mark.parametrize(("length", "found"), [(7, []), (8, ["NLC174"])])
def test_long_chains(tmp_path: Path, length: int, found: list[str]) -> None:
    files = {f"architectures__n{number}": CHILD.format(f"n{number + 1}") for number in range(length)}
    files[f"architectures__n{length}"] = DELTA
    folder = write(tmp_path, **files)
    path = folder / "architectures" / "n0.yaml"
    assert (codes(lambda: parse_file(path)) if found else parse_file(path).spec.levels and []) == found


def test_many_references_to_few_files_take_no_time(tmp_path: Path) -> None:
    files = {f"parts__n{number}": f"use: [{', '.join([f'n{number + 1}'] * 30)}]\n" for number in range(6)}
    files |= {"parts__n6": "dims: {a: 1}\n", "architectures__child": spec_text(use="../parts/n0")}
    assert parse(tmp_path, **files).spec.dims[0].name.text == "a"


def test_too_many_files(tmp_path: Path) -> None:
    files = {f"parts__n{number}": "dims: {a: 1}\n" for number in range(64)}
    text = spec_text(use=f"[{', '.join(f'../parts/n{number}' for number in range(64))}]")
    assert codes(lambda: parse(tmp_path, architectures__child=text, **files)) == ["NLC181"]


LEVEL_MISTAKES = (
    ("{a: {use: b}}", "NLC175", "b"),
    ("{a: {use: a}}", "NLC176", "a"),
    ("{a: {use: b}, b: {use: a}}", "NLC176", "a"),
    ("{a: {use: parts/gates.yaml#other}}", "NLC177", "parts/gates.yaml#other"),
    ("{a: {use: parts/none.yaml#gated}}", "NLC172", "parts/none.yaml#gated"),
    ("{a: {use: [b]}}", "NLC143", "[b]"),
    ("{" + ", ".join(f"a{n}: {{use: a{n + 1}}}" for n in range(9)) + ", a9: {every: token}}", "NLC174", "a9"),
)


@pytest.mark.parametrize(("text", "code", "place"), LEVEL_MISTAKES)
def test_wrong_uses_of_levels(tmp_path: Path, text: str, code: str, place: str) -> None:
    mistake, *more = mistakes(lambda: parse(tmp_path, architectures__child=spec_text(levels=text), parts__gates=PART))
    assert not more
    assert (mistake.code, mistake.labels[0].span.text) == (code, place)


HOSTILE_PATHS = (
    "/etc/passwd",
    "/etc/passwd.yaml",
    "C:/specs/delta",
    "../../outside",
    "../../../../../../etc/passwd",
    "other/../../../outside",
    "architectures\\\\delta",
    "a//b",
    "~/delta",
    "$HOME/delta",
    "http://example.org/delta",
    "delta;ls",
    "x" * 201,
)


@pytest.mark.parametrize("path", HOSTILE_PATHS)
@pytest.mark.parametrize("key", ["extends", "use"])
def test_hostile_paths_are_refused(tmp_path: Path, path: str, key: str) -> None:
    (tmp_path / "outside.yaml").write_text(DELTA)
    write(tmp_path, architectures__delta=DELTA)
    text = spec_text() + f'{key}: "{path}"\n'
    assert codes(lambda: parse(tmp_path, architectures__child=text)) == ["NLC171"]


def test_an_empty_or_missing_path(tmp_path: Path) -> None:
    assert codes(lambda: parse(tmp_path, architectures__child=spec_text(extends="''"))) == ["NLC171"]
    assert codes(lambda: parse(tmp_path, architectures__child=spec_text(extends="~"))) == ["NLC143"]
    assert codes(lambda: parse(tmp_path, architectures__child=spec_text(extends="[a, b]"))) == ["NLC143"]


def test_links_may_not_leave_the_root(tmp_path: Path) -> None:
    (tmp_path / "outside.yaml").write_text(DELTA)
    folder = write(tmp_path, architectures__child=CHILD.format("link"), architectures__delta=DELTA)
    os.symlink(tmp_path / "outside.yaml", folder / "architectures" / "link.yaml")
    assert codes(lambda: parse_file(folder / "architectures" / "child.yaml")) == ["NLC171"]
    (folder / "architectures" / "link.yaml").unlink()
    os.symlink("delta.yaml", folder / "architectures" / "link.yaml")
    assert parse_file(folder / "architectures" / "child.yaml").spec.levels


def test_linked_folders_may_not_leave_the_root(tmp_path: Path) -> None:
    (tmp_path / "elsewhere").mkdir()
    (tmp_path / "elsewhere" / "delta.yaml").write_text(DELTA)
    folder = write(tmp_path, architectures__child=CHILD.format("../linked/delta"))
    os.symlink(tmp_path / "elsewhere", folder / "linked")
    assert codes(lambda: parse_file(folder / "architectures" / "child.yaml")) == ["NLC171"]


def test_a_missing_parent_suggests_specs(tmp_path: Path) -> None:
    (mistake,) = mistakes(lambda: parse(tmp_path, architectures__delta=DELTA, architectures__child=CHILD.format("architectures/detla")))
    assert (mistake.code, mistake.help) == ("NLC172", "did you mean `architectures/delta`?")


def test_mistakes_in_a_parent_point_into_it(tmp_path: Path) -> None:
    (mistake,) = mistakes(lambda: parse(tmp_path, architectures__delta=DELTA + "a: b: c\n", architectures__child=CHILD.format("delta")))
    assert mistake.code == "NLC105" and mistake.labels[0].span.source.name.endswith("delta.yaml")
