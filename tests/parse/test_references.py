from __future__ import annotations

import os
import stat
from pathlib import Path

import pytest
from hypothesis import HealthCheck, given, settings, strategies as st

from nlc.codes.parse import CODES
from nlc.diagnostics import CompileError, render_all
from nlc.ir.spec import SpecFile
from nlc.parse import parse_file, parse_library, parse_text, shipped
from nlc.parse.texts import LARGEST_TEXT
from tests.parse.examples import DELTA, MOMENTUM, codes, form, mistakes, spec_text, write

LEVEL = "{{memory: {{memory: vector(1), every: token, optimizer: {}}}}}"


@pytest.fixture(autouse=True)
def shipped_specs(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    folder = tmp_path / "shipped"
    (folder / "optimizers").mkdir(parents=True)
    (folder / "optimizers" / "momentum.yaml").write_text(MOMENTUM.replace("1e-3", "0.5"))
    (folder / "optimizers" / "heavy_ball.yaml").write_text(MOMENTUM.replace("Momentum", "HeavyBall"))
    monkeypatch.setattr(shipped, "shipped_specs_folder", lambda: folder)
    return folder


def parse(folder: Path, **files: str) -> SpecFile:
    return parse_file(write(folder, **files) / "architectures" / "host.yaml")


def host(optimizer: str, more: str = "", name: str = "Small") -> str:
    return spec_text(levels=LEVEL.format(optimizer), name=name) + more


@pytest.mark.parametrize("optimizer", ["gradient_descent(0.1)", "proximal(0.1)", "closed_form"])
def test_primitives_need_no_file(tmp_path: Path, optimizer: str) -> None:
    assert parse(tmp_path, architectures__host=host(optimizer)).optimizers == ()


@pytest.mark.parametrize("optimizer", ["momentum", "momentum(decay = 1)", "optimizers/momentum", "optimizers/momentum(decay = 1)"])
def test_optimizers_are_found_in_the_own_root_first(tmp_path: Path, optimizer: str) -> None:
    ((name, spec),) = parse(tmp_path, architectures__host=host(f'"{optimizer}"')).optimizers
    assert (name, form(spec.hyperparameters[0].value)) == (optimizer.partition("(")[0], "1/2")
    file = parse(tmp_path, architectures__host=host(f'"{optimizer}"'), optimizers__momentum=MOMENTUM)
    assert form(file.optimizers[0][1].hyperparameters[0].value) == "1/1000"
    assert [Path(name).name for name, _ in file.files] == ["host.yaml", "momentum.yaml"]


def test_the_outer_optimizer_and_those_of_optimizers_are_read(tmp_path: Path) -> None:
    nested = MOMENTUM.replace("Momentum", "Nested").replace("gradient_descent(1)", "heavy_ball(learning_rate = 1)")
    file = parse(
        tmp_path,
        architectures__host=host("gradient_descent(1)", "outer: {objective: task, optimizer: nested}\n"),
        optimizers__nested=nested,
    )
    assert [(name, spec.name.text) for name, spec in file.optimizers] == [("nested", "Nested"), ("heavy_ball", "HeavyBall")]


def test_an_optimizer_may_extend_another(tmp_path: Path) -> None:
    child = "nlc: 1\nname: Child\nextends: optimizers/momentum\nhyperparameters: {learning_rate: 2}\n"
    ((_, spec),) = parse(tmp_path, architectures__host=host("child"), optimizers__child=child).optimizers
    assert (spec.kind, form(spec.hyperparameters[0].value)) == ("optimizer", "2")


def test_an_unknown_optimizer_is_suggested(tmp_path: Path) -> None:
    (mistake,) = mistakes(lambda: parse(tmp_path, architectures__host=host("momemtum")))
    assert (mistake.code, mistake.help) == ("NLC178", "did you mean `momentum`?")
    (mistake,) = mistakes(lambda: parse(tmp_path, architectures__host=host("gradient_decent(1)")))
    assert mistake.help == "did you mean `gradient_descent`?"


def test_an_architecture_is_no_optimizer(tmp_path: Path) -> None:
    (mistake,) = mistakes(lambda: parse(tmp_path, architectures__host=host("architectures/delta"), architectures__delta=DELTA))
    assert mistake.code == "NLC179" and len(mistake.labels) == 2


def test_rings_of_optimizers_are_drawn(tmp_path: Path) -> None:
    one = MOMENTUM.replace("gradient_descent(1)", "two(1)")
    two = MOMENTUM.replace("gradient_descent(1)", "optimizers/one(1)")
    (mistake,) = mistakes(lambda: parse(tmp_path, architectures__host=host("one"), optimizers__one=one, optimizers__two=two))
    assert mistake.code == "NLC180"
    assert [label.text for label in mistake.labels] == ["needs two", "needs one"]


def test_long_chains_of_optimizers(tmp_path: Path) -> None:
    files = {f"optimizers__n{number}": MOMENTUM.replace("gradient_descent(1)", f"n{number + 1}") for number in range(9)}
    assert codes(lambda: parse(tmp_path, architectures__host=host("n0"), **files)) == ["NLC174"]


PEER = "\n  - {{says: the same, same_as: {}}}\n"


def test_peers_are_parsed_but_not_their_peers(tmp_path: Path) -> None:
    file = parse(
        tmp_path,
        architectures__host=host("gradient_descent(1)", "claims:" + PEER.format("architectures/other") + PEER.format("host")),
        architectures__other=host("momentum", "claims:" + PEER.format("host"), "Other"),
    )
    assert [(name, peer.spec.name.text, peer.peers) for name, _, peer in file.peers] == [
        ("architectures/other", "Other", ()),
        ("host", "Small", ()),
    ]
    assert [name for name, _ in file.peers[0][2].optimizers] == ["momentum"]
    assert len(file.files) == 1 and len(file.peers[0][2].files) == 2


def test_missing_peers_are_all_reported(tmp_path: Path) -> None:
    claims = "claims:" + PEER.format("nowhere") + PEER.format("neither")
    assert codes(lambda: parse(tmp_path, architectures__host=host("closed_form", claims))) == ["NLC172", "NLC172"]


def test_the_library_is_written_in_the_language() -> None:
    library = {item.name.text: item for item in parse_library()}
    assert {"matrix", "vector", "l2", "dot", "l1", "huber", "log_cosh", "forget", "weight_decay"} <= set(library)
    matrix, l2 = library["matrix"], library["l2"]
    assert [form(state.value) for state in matrix.states] == ["[rows, columns]"]
    assert matrix.read is not None and form(matrix.read) == "(x -> (weights @ x))"
    assert l2.objective is not None and form(l2.objective) == "(1/2 * norm2((prediction - value)))"
    assert all(item.says for item in library.values())
    assert parse_text(DELTA, "test.yaml").library == parse_library()


# --- files that cannot be read -----------------------------------------------------------------------------------


def test_unreadable_files(tmp_path: Path) -> None:
    (tmp_path / "latin.yaml").write_bytes(b"says: caf\xe9\n")
    (tmp_path / "large.yaml").write_bytes(b"#" * (LARGEST_TEXT + 1))
    os.mkfifo(tmp_path / "pipe.yaml")
    for name, code in (
        ("none.yaml", "NLC101"),
        ("", "NLC101"),
        ("latin.yaml", "NLC101"),
        ("pipe.yaml", "NLC101"),
        ("large.yaml", "NLC102"),
    ):
        assert codes(lambda name=name: parse_file(tmp_path / name)) == [code]  # type: ignore[misc]
    assert codes(lambda: parse_file(Path("nul\0.yaml"))) == ["NLC101"]
    assert codes(lambda: parse_file(Path("x" * 5000))) == ["NLC101"]


@pytest.mark.skipif(os.geteuid() == 0, reason="root may read everything")
def test_a_file_without_permission(tmp_path: Path) -> None:
    path = tmp_path / "secret.yaml"
    path.write_text(DELTA)
    path.chmod(stat.S_IWUSR)
    assert codes(lambda: parse_file(path)) == ["NLC101"]


# --- anything at all ---------------------------------------------------------------------------------------------

FRAGMENTS = st.sampled_from(
    ["", "\n", "  ", ": ", "- ", "{", "}", "[", "]", ",", "'", '"', "&a ", "*a", "!!x ", "<<: ", "#", "(", ")", "=", "->", "**", "\t",
     "\0", "\u202e", "use: memory", "extends: delta", "~", "memory", "token", "2x", "é", "\r", "%", "@", "---\n", "? "]
)  # fmt: skip


@settings(suppress_health_check=[HealthCheck.function_scoped_fixture])
@given(st.lists(st.tuples(st.integers(0, len(DELTA)), st.integers(0, 12), FRAGMENTS), min_size=1, max_size=4))
def test_any_change_of_a_spec_gives_a_spec_or_diagnostics(changes: list[tuple[int, int, str]]) -> None:
    text = DELTA
    for start, length, inserted in changes:
        text = text[:start] + inserted + text[start + length :]
    _parse_or_refuse(text)


@settings(suppress_health_check=[HealthCheck.function_scoped_fixture])
@given(st.binary(max_size=80) | st.text(max_size=80).map(lambda text: text.encode("utf-8", "surrogatepass")))
def test_any_file_gives_a_spec_or_diagnostics(tmp_path: Path, content: bytes) -> None:
    path = tmp_path / "any.yaml"
    path.write_bytes(content)
    with pytest.raises(CompileError) as refused:
        parse_file(path)
    assert render_all(refused.value.diagnostics)


def _parse_or_refuse(text: str) -> None:
    known = {row.number for row in CODES}
    try:
        file = parse_text(text, "test.yaml")
    except CompileError as error:
        assert {item.code for item in error.diagnostics} <= known
        assert render_all(error.diagnostics)
    else:
        assert file.files == (("test.yaml", text.removeprefix("\ufeff")),)
