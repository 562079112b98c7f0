"""Generated files: sealed, replaced whole, and never written over what a person made."""

from __future__ import annotations

import os
from pathlib import Path

import pytest
from hypothesis import given, strategies as st

from nlc.diagnostics import CompileError
from nlc.emit import emit_module, writing
from nlc.emit.digest import is_generated, is_sealed, seal, sealed_digest
from nlc.emit.writing import write_module, write_modules, write_text
from tests import models
from tests.emit.systems import program_of

TEXT = emit_module(program_of(models.momentum()))
OTHER = emit_module(program_of(models.heavy_ball()))
EDITED = TEXT.replace("alpha=-learning_rate", "alpha=learning_rate")


def code(error: pytest.ExceptionInfo[CompileError]) -> str:
    return error.value.diagnostics[0].code


@given(st.text(), st.integers(0, 200), st.characters())
def test_every_edit_breaks_the_seal(text: str, place: int, character: str) -> None:
    sealed = seal(text)
    assert is_sealed(sealed) and is_generated(sealed)
    edited = sealed[:place] + character + sealed[place + 1 :]
    assert edited == sealed or not is_sealed(edited)


def test_what_counts_as_generated() -> None:
    assert sealed_digest(TEXT) and is_sealed(TEXT)
    assert is_generated(EDITED) and not is_sealed(EDITED)
    without_seal = TEXT[: TEXT.rindex("# sealed")]
    assert is_generated(without_seal) and not is_sealed(without_seal) and sealed_digest(without_seal) is None
    assert not is_generated("") and not is_generated("print('mine')\n")


def test_files_are_written_replaced_and_left_alone(tmp_path: Path) -> None:
    path = tmp_path / "generated" / "optimizers" / "momentum.py"
    assert write_modules([(path, TEXT)]) == [(path, True)]
    stamp = path.stat().st_mtime_ns
    assert write_modules([(path, TEXT)]) == [(path, False)]
    assert path.stat().st_mtime_ns == stamp
    assert write_module(OTHER, path)
    assert path.read_text() == OTHER
    assert sorted(path.parent.iterdir()) == [path]


def test_an_edited_file_is_kept_unless_forced(tmp_path: Path) -> None:
    path = tmp_path / "momentum.py"
    path.write_text(EDITED)
    with pytest.raises(CompileError) as error:
        write_module(TEXT, path)
    assert code(error) == "NLC603" and "--force" in error.value.diagnostics[0].help
    assert path.read_text() == EDITED
    assert write_module(TEXT, path, force=True)
    assert path.read_text() == TEXT
    assert path.with_name("momentum.py.orig").read_text() == EDITED
    path.write_text(EDITED + "# again\n")
    assert write_module(TEXT, path, force=True)
    assert path.with_name("momentum.py.orig").read_text() == EDITED
    assert path.with_name("momentum.py.orig2").read_text() == EDITED + "# again\n"


@pytest.mark.parametrize("content", [b"print('mine')\n", b"", b"\xff\xfe\x00"])
def test_a_file_of_somebody_else_is_never_replaced(tmp_path: Path, content: bytes) -> None:
    path = tmp_path / "momentum.py"
    path.write_bytes(content)
    with pytest.raises(CompileError) as error:
        write_module(TEXT, path, force=True)
    assert code(error) == "NLC604"
    assert path.read_bytes() == content


def test_links_are_not_followed(tmp_path: Path) -> None:
    outside = tmp_path / "outside"
    outside.mkdir()
    (outside / "momentum.py").write_text(OTHER)
    (tmp_path / "generated").mkdir()
    (tmp_path / "generated" / "optimizers").symlink_to(outside)
    (tmp_path / "generated" / "dangling.py").symlink_to(tmp_path / "nowhere.py")
    for path in (tmp_path / "generated" / "optimizers" / "momentum.py", tmp_path / "generated" / "dangling.py"):
        with pytest.raises(CompileError) as error:
            write_module(TEXT, path, force=True)
        assert code(error) == "NLC605"
    with pytest.raises(CompileError):
        write_module(TEXT, tmp_path / "generated" / "optimizers" / "new.py", root=tmp_path)
    assert (outside / "momentum.py").read_text() == OTHER
    assert not (tmp_path / "nowhere.py").exists()


def test_names_that_differ_in_case_alone(tmp_path: Path) -> None:
    (tmp_path / "Momentum.py").write_text(TEXT)
    for modules in ([(tmp_path / "momentum.py", TEXT)], [(tmp_path / "a" / "x.py", TEXT), (tmp_path / "A" / "x.py", TEXT)]):
        with pytest.raises(CompileError) as error:
            write_modules(modules)
        assert code(error) == "NLC606"
    assert sorted(item.name for item in tmp_path.iterdir()) == ["Momentum.py"]


def test_nothing_is_written_when_anything_is_refused(tmp_path: Path) -> None:
    (tmp_path / "mine.py").write_text("mine\n")
    with pytest.raises(CompileError):
        write_modules([(tmp_path / "fine.py", TEXT), (tmp_path / "mine.py", TEXT)])
    assert sorted(item.name for item in tmp_path.iterdir()) == ["mine.py"]


def test_what_the_system_refuses_is_a_diagnostic(tmp_path: Path) -> None:
    (tmp_path / "file").write_text("")
    (tmp_path / "folder.py").mkdir()
    for path in (tmp_path / "file" / "momentum.py", tmp_path / "folder.py"):
        with pytest.raises(CompileError) as error:
            write_module(TEXT, path)
        assert code(error) == "NLC607"


def test_an_interrupted_write_leaves_the_old_file_and_nothing_else(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    path = tmp_path / "momentum.py"
    path.write_text("old")

    def full(_: int) -> None:
        raise OSError("disk full")

    monkeypatch.setattr(writing.os, "fsync", full)
    with pytest.raises(OSError, match="disk full"):
        write_text(path, "new")
    assert path.read_text() == "old"
    assert os.listdir(tmp_path) == ["momentum.py"]
