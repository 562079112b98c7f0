"""Hostile input is refused with a diagnostic, at once, and nothing is written; what users say is inert in what is emitted."""

from __future__ import annotations

import ast
import json
from collections.abc import Callable, Iterator, Mapping
from pathlib import Path

import pytest

from nlc.cli import main
from tests.front.hostile import FINE, GROWING, INJECTIONS, LARGE, NAMES, PATHS, TEXTS, spec
from tests.timing import is_in_time

SOON, SOON_FOR_A_MEBIBYTE = 0.1, 0.3
"""Seconds of processor time in a process that is running, on the machine of tests/timing.py."""


@pytest.fixture(autouse=True)
def folder(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Iterator[Path]:
    """An empty folder to work in, where no canary sings afterwards."""
    monkeypatch.chdir(tmp_path)
    yield tmp_path
    assert not list(tmp_path.rglob("canary"))


def contents(folder: Path) -> dict[str, bytes | None]:
    return {str(path): path.read_bytes() if path.is_file() else None for path in sorted(folder.rglob("*"))}


def refused(command: list[str], capsys: pytest.CaptureFixture[str], folder: Path) -> str:
    """What the command says about a bad spec; it must exit with 1 and leave the folder as it was."""
    before = contents(folder)
    assert main(command) == 1
    assert contents(folder) == before
    printed = capsys.readouterr()
    assert printed.err == ""
    return printed.out


@pytest.mark.parametrize("what", (*TEXTS, *GROWING, *LARGE))
def test_texts_are_refused_soon(what: str, folder: Path, capsys: pytest.CaptureFixture[str]) -> None:
    text, code = {**TEXTS, **GROWING, **LARGE}[what]
    Path("bad.yaml").write_text(text, encoding="utf-8")
    assert refused(["check", "bad.yaml"], capsys, folder).startswith(f"error[{code}]: ")
    assert refused(["build", "bad.yaml", "-o", "out"], capsys, folder).startswith(f"error[{code}]: ")
    limit = SOON_FOR_A_MEBIBYTE if what in LARGE else SOON
    assert is_in_time(limit, lambda: main(["check", "bad.yaml"]))


@pytest.mark.parametrize("what", FINE)
def test_what_only_looks_hostile_compiles_soon(what: str) -> None:
    Path("fine.yaml").write_text(FINE[what])
    assert main(["check", "fine.yaml"]) == 0
    assert is_in_time(SOON, lambda: main(["check", "fine.yaml"]))


# --- paths -------------------------------------------------------------------------------------------------------


@pytest.fixture
def root(folder: Path) -> Path:
    """A folder of specs beside a secret, with links that lead to it."""
    (folder / "outside.yaml").write_text("secret: 1\n")
    specs = folder / "project" / "specs" / "architectures"
    specs.mkdir(parents=True)
    (specs / "linked.yaml").symlink_to(folder / "outside.yaml")
    (specs / "linked_folder").symlink_to(folder)
    return specs


REFERENCES = ("extends: {0}", "use: {0}", "use: [{0}]", "levels: {{memory: {{use: '{0}#x'}}}}", "claims: [{{says: x, same_as: {0}}}]")


@pytest.mark.parametrize("path", PATHS)
@pytest.mark.parametrize("key", REFERENCES)
def test_paths_lead_nowhere_else(key: str, path: str, root: Path, folder: Path, capsys: pytest.CaptureFixture[str]) -> None:
    lines = [line for line in spec().splitlines() if not key.startswith("levels") or not line.startswith(("levels", "  "))]
    bad = root / "bad.yaml"
    bad.write_text("\n".join([*lines, key.format(path)]) + "\n")
    said = refused(["check", str(bad)], capsys, folder)
    assert "secret" not in said
    assert "error[NLC171]" in said or "error[NLC172]" in said or "error[NLC105]" in said or "error[NLC143]" in said


@pytest.mark.parametrize("path", ["/etc/passwd(1)", "../outside(1)", "linked_folder/outside", "architectures/linked(1)"])
def test_optimizers_lead_nowhere_else(path: str, root: Path, folder: Path, capsys: pytest.CaptureFixture[str]) -> None:
    bad = root / "bad.yaml"
    bad.write_text(spec().replace("gradient_descent(beta)", path))
    assert "secret" not in refused(["check", str(bad)], capsys, folder)


def test_built_files_stay_in_the_output_folder(folder: Path, capsys: pytest.CaptureFixture[str]) -> None:
    elsewhere = folder / "elsewhere"
    elsewhere.mkdir()
    Path("fine.yaml").write_text(spec())
    Path("out").mkdir()
    Path("out/fine.py").symlink_to(elsewhere / "fine.py")
    assert refused(["build", "fine.yaml", "-o", "out"], capsys, folder).startswith("error[NLC605]")


# --- injection ---------------------------------------------------------------------------------------------------


def saying(sentence: str) -> str:
    """A spec that says a sentence wherever a spec may say something."""
    quoted = json.dumps(sentence, ensure_ascii=False)
    text = spec(top=f"says: {quoted}\ncites: ['nl:x']").replace("    keys: k", f"    says: {quoted}\n    keys: k")
    return f"{text}claims:\n  - says: {quoted}\n    prove: memory == prev(memory)\n    expect: refuted\n"


@pytest.mark.parametrize("sentence", INJECTIONS)
def test_sentences_are_inert(sentence: str, folder: Path) -> None:
    Path("fine.yaml").write_text(saying(sentence), encoding="utf-8")
    assert main(["build", "fine.yaml", "-o", "out"]) == 0
    same, plain = (ast.parse(text) for text in (Path("out/fine.py").read_text(encoding="utf-8"), built(folder, saying("A sentence."))))
    assert code_of(same) == code_of(plain)


def test_the_place_of_a_citation_is_inert(folder: Path) -> None:
    text = built(folder, spec(top=f"cites: [{json.dumps('nl:' + INJECTIONS[0])}]"))
    assert code_of(ast.parse(text)) == code_of(ast.parse(built(folder, spec(top="cites: [nl:x]"))))


@pytest.mark.parametrize("name", ['a"""b', "a\nimport os", "a\\", "{{ 7 * 7 }}", "a'b", "\u202e", "a b", "-o", "\udcff"])
def test_names_of_files_are_inert(name: str, folder: Path) -> None:
    path = folder / f"{name}.yaml"
    path.write_text(spec())
    assert main(["build", str(path), "-o", "out"]) == 0
    (module,) = Path("out").iterdir()
    assert code_of(ast.parse(module.read_text(encoding="utf-8"))) == code_of(ast.parse(built(folder, spec())))


def built(folder: Path, text: str) -> str:
    """The module of another spec."""
    (folder / "other.yaml").write_text(text, encoding="utf-8")
    assert main(["build", str(folder / "other.yaml"), "-o", str(folder / "other")]) == 0
    return (folder / "other" / "other.py").read_text(encoding="utf-8")


def code_of(tree: ast.Module) -> str:
    """The code without docstrings: what runs."""
    for node in ast.walk(tree):
        if isinstance(node, ast.Module | ast.ClassDef | ast.FunctionDef) and ast.get_docstring(node, clean=False) is not None:
            node.body = node.body[1:]
    return ast.dump(tree)


PLACES: Mapping[str, Callable[[str], str]] = {
    "dims": lambda name: spec(dims=f"d_k: 4, d_v: 3, {name}: 2"),
    "inputs": lambda name: spec().replace("beta: []", f"beta: [], {name}: []"),
    "hyperparameters": lambda name: spec(rate=f"0.1, {name}: 1"),
    "let": lambda name: spec(top=f"let: {{{name}: beta}}"),
    "define": lambda name: spec(top=f"define:\n  {name}: {{objective: beta}}"),
    "levels": lambda name: spec().replace("levels:\n", f"levels:\n  {name}: {{use: memory}}\n"),
    "outputs": lambda name: spec().replace("{y: memory(k)}", f"{{{name}: memory(k)}}"),
    "axes": lambda name: spec(top=f"axes: [{name}]"),
    "name": lambda name: spec().replace("name: Hostile", f"name: {name}"),
}


@pytest.mark.parametrize("place", PLACES)
def test_names_are_plain_words(place: str, folder: Path, capsys: pytest.CaptureFixture[str]) -> None:
    for name in NAMES:
        if place == "name" and name == "A":
            continue
        Path("bad.yaml").write_text(PLACES[place](json.dumps(name, ensure_ascii=False)), encoding="utf-8")
        assert refused(["check", "bad.yaml"], capsys, folder).startswith("error[NLC1"), name


@pytest.mark.parametrize("place", PLACES)
def test_the_same_specs_with_plain_names_compile(place: str) -> None:
    Path("fine.yaml").write_text(PLACES[place]("Plain" if place == "name" else "plain"))
    assert main(["check", "fine.yaml"]) == 0
