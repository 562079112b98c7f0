"""A stage broken on purpose: `nlc verify` names it, in words and in JSON, whichever it is."""

from __future__ import annotations

import json
from collections.abc import Callable
from dataclasses import replace
from pathlib import Path

import pytest

from nlc import pipeline
from nlc.cli import main
from nlc.ir.affine import AffineLaw
from nlc.ir.law import Laws
from nlc.ir.order import LevelOrder
from nlc.ir.program import Program
from nlc.verify.square import FAULTS
from tests.architecture.modules import ROOT

SPEC = ROOT / "specs" / "architectures" / "delta_rule.yaml"
OPTIMIZER = ROOT / "specs" / "optimizers" / "momentum.yaml"

WORKING = {"derive": pipeline.derive, "schedule": pipeline.schedule, "emit": pipeline.emit}


def derive_that_forgets_a_rate(levels: LevelOrder) -> Laws:
    """The last equation of every law is that of the one before: the gradient is the new state."""
    laws = WORKING["derive"](levels)
    wrong = [
        replace(law, equations=(*law.equations[:-1], replace(law.equations[-1], value=law.equations[-1].value.terms[0])))
        for law in laws.laws
    ]  # type: ignore[union-attr]
    return replace(laws, laws=tuple(wrong))


def schedule_that_reads_nothing(laws: Laws) -> Program:
    """Writes that do not read the old state: linear attention's form for the delta rule."""
    program = WORKING["schedule"](laws)

    def unread(affine: AffineLaw | None) -> AffineLaw | None:
        return affine and replace(affine, writes=tuple(replace(write, reads=()) for write in affine.writes))

    memories = [replace(item, classified=replace(item.classified, affine=unread(item.classified.affine))) for item in program.memories]
    return replace(program, memories=tuple(memories))


def emit_that_masks_too_much(program: Program) -> str:
    return WORKING["emit"](program).replace(".tril()", ".tril(-1)").replace("alpha=-learning_rate", "alpha=learning_rate")


BROKEN: dict[str, tuple[str, Callable[..., object]]] = {
    "derive": ("derive", derive_that_forgets_a_rate),
    "schedule": ("schedule", schedule_that_reads_nothing),
    "emit": ("emit", emit_that_masks_too_much),
}


def verified(spec: Path, folder: Path, capsys: pytest.CaptureFixture[str]) -> tuple[int, str, dict[str, object]]:
    """The exit status, what is printed, and the first object of the JSON."""
    status = main(["verify", str(spec), "-o", str(folder), "--json", str(folder / "report.json")])
    return status, capsys.readouterr().out, json.loads((folder / "report.json").read_text())[0]


@pytest.mark.parametrize(
    ("spec", "stage"),
    [(SPEC, "derive"), (SPEC, "schedule"), (SPEC, "emit"), (OPTIMIZER, "derive"), (OPTIMIZER, "emit")],
    ids=lambda value: value if isinstance(value, str) else value.stem,
)
def test_a_broken_stage_is_named(
    spec: Path, stage: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    monkeypatch.setattr(pipeline, *BROKEN[stage])
    assert main(["build", str(spec), "-o", str(tmp_path)]) == 0
    capsys.readouterr()
    status, printed, report = verified(spec, tmp_path, capsys)
    assert status == 1
    assert f"    the first that does not names the stage: {stage}, for {FAULTS[stage]}\n" in printed
    assert report["faulty_stage"] == stage
    assert report["fault"] == FAULTS[stage]
    assert report["verdict"] == "refuted"


@pytest.mark.parametrize(
    ("spec", "old", "new"),
    [(SPEC, ".tril()", ".tril(-1)"), (OPTIMIZER, "alpha=-learning_rate", "alpha=learning_rate"), (SPEC, "class", "clas")],
)
def test_an_edited_file_is_named(spec: Path, old: str, new: str, tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    assert main(["build", str(spec), "-o", str(tmp_path)]) == 0
    (file,) = tmp_path.rglob("*.py")
    file.write_text(file.read_text().replace(old, new))
    capsys.readouterr()
    status, printed, report = verified(spec, tmp_path, capsys)
    assert status == 1
    assert f"the stage: file, for {FAULTS['file']}\n" in printed
    assert "which differs from what nlc build would write" in printed.splitlines()[0]
    assert report["faulty_stage"] == "file"


def test_an_edit_that_changes_nothing_is_no_fault(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    assert main(["build", str(SPEC), "-o", str(tmp_path)]) == 0
    (file,) = tmp_path.rglob("*.py")
    file.write_text(file.read_text().replace("error = prediction - v", "error = -v + prediction"))
    status, printed, report = verified(SPEC, tmp_path, capsys)
    assert status == 0
    assert "names the stage" not in printed
    assert report["faulty_stage"] is None
    assert report["fault"] is None


def test_the_report_says_which_squares_do_not_apply(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    _, printed, report = verified(SPEC, tmp_path, capsys)
    told = {item["name"]: item["because"] for item in report["does_not_apply"]}  # type: ignore[attr-defined]
    assert told["forward = forward of shuffled tokens"] == "the new memory is not the old one plus something of the token alone"
    assert f"    not applicable ({len(told)}; --json - says why): " in printed
    assert "forward of shuffled tokens" in printed
    assert f"{report['squares']['all']} squares close" in printed  # type: ignore[index]
