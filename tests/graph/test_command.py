from __future__ import annotations

import subprocess
import sys
from pathlib import Path

import pytest

from nlc.cli import main
from nlc.graph import is_drawn_by_nlc
from tests.architecture.modules import ROOT

SPEC = "optimizers/momentum"


def errors(capsys: pytest.CaptureFixture[str]) -> str:
    return capsys.readouterr().err


def test_a_picture_is_written_and_not_again_when_nothing_changed(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    path = tmp_path / "momentum.svg"
    assert main(["graph", SPEC, "-o", str(path)]) == 0
    assert capsys.readouterr().out == f"wrote {path}\n"
    assert is_drawn_by_nlc(path.read_text())
    assert main(["graph", SPEC, "-o", str(path)]) == 0
    assert capsys.readouterr().out == f"unchanged {path}\n"
    path.write_text(path.read_text().replace("Momentum", "Old"))
    assert main(["graph", SPEC, "-o", str(path)]) == 0
    assert "Old" not in path.read_text()
    assert [file.name for file in tmp_path.iterdir()] == ["momentum.svg"]


def test_only_a_picture_of_nlc_is_replaced_without_force(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    path = tmp_path / "mine.svg"
    path.write_text("<svg>by hand</svg>")
    assert main(["graph", SPEC, "-o", str(path)]) == 2
    assert errors(capsys) == f"nlc graph: {path} is not a picture that nlc drew; --force replaces it\n"
    assert path.read_text() == "<svg>by hand</svg>"
    assert main(["graph", SPEC, "-o", str(path), "--force"]) == 0
    assert is_drawn_by_nlc(path.read_text())


@pytest.mark.parametrize("name", ["picture.png", "picture", "picture\0.svg"])
def test_a_picture_is_an_svg(name: str, tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    assert main(["graph", SPEC, "-o", str(tmp_path / name)]) == 2
    assert "give a name that ends in .svg" in errors(capsys)


def test_a_place_that_cannot_be_written_is_wrong_usage(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    (tmp_path / "folder.svg").mkdir()
    for path in (tmp_path / "missing" / "picture.svg", tmp_path / "folder.svg"):
        assert main(["graph", SPEC, "-o", str(path)]) == 2
        assert f"cannot write {path}: " in errors(capsys)


def test_a_picture_shows_one_spec(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    assert main(["graph", str(ROOT / "specs" / "optimizers"), "-o", str(tmp_path / "all.svg")]) == 2
    assert "a picture shows one" in errors(capsys)
    assert main(["graph", "no/such_spec", "-o", str(tmp_path / "none.svg")]) == 2


def test_a_wrong_spec_gives_its_diagnostics_and_no_picture(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    spec = ROOT / "tests" / "bad" / "NLC305-same-tick-cycle.yaml"
    assert main(["graph", str(spec), "-o", str(tmp_path / "bad.svg")]) == 1
    assert capsys.readouterr().out.startswith("error[NLC305]")
    assert list(tmp_path.iterdir()) == []


def test_the_place_to_draw_it_must_be_given() -> None:
    with pytest.raises(SystemExit) as caught:
        main(["graph", SPEC])
    assert caught.value.code == 2


@pytest.mark.parametrize("seed", ["0", "1"])
def test_the_bytes_do_not_depend_on_the_hash_seed_nor_on_torch(seed: str, tmp_path: Path) -> None:
    path = tmp_path / "continuum_memory.svg"
    words = ["graph", str(ROOT / "docs" / "graphs" / "continuum_memory.yaml"), "-o", str(path)]
    program = f"import sys; from nlc.cli import main; main({words}); sys.exit('torch' in sys.modules or 'sympy' in sys.modules)"
    done = subprocess.run(
        [sys.executable, "-c", program], cwd=ROOT, env={"PYTHONHASHSEED": seed}, capture_output=True, timeout=60, check=False
    )
    assert done.returncode == 0, done.stderr
    assert path.read_bytes() == (ROOT / "docs" / "graphs" / "continuum_memory.svg").read_bytes()
