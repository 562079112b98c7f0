"""`make demo`: build every spec, verify it, train a small model on real text, and leave one page that shows all of it.

Everything goes to the folder demo/: generated/ (the modules), run/ (the trained model, its metrics and its loss curve), report.html.
"""

from __future__ import annotations

import json
import os
import sys
import sysconfig
import time
from collections import Counter
from pathlib import Path

from nlc import cli, pipeline
from nlc.commands.explain import explanation
from nlc.commands.verify import reports
from nlc.places import Place, find_specs
from nlc.terminal import marked
from nlc.train.report import ReportSection, write_report
from nlc.verify.report import ClaimsReport, Report

FOLDER = Path("demo")
TRAINED = "specs/architectures/gated_delta_rule.yaml"
STEPS = 250
GOAL = 2.3
"""Nats per byte of held-out text; counts of byte pairs give about 2.5."""


def main() -> int:
    """0 when everything was built, is right, and learned to the goal."""
    started = time.monotonic()
    step("building every spec")
    if cli.main(["build", "specs", "-o", str(FOLDER / "generated"), "--force"]) != 0:
        return 1
    step("verifying what was built")
    places = find_specs(["specs"], str(FOLDER / "generated"))
    shown = [printed(report) for report in reports(places, is_built_elsewhere=True, jobs=os.cpu_count() or 1)]
    step(f"training {TRAINED} on the sources of Python's standard library")
    data = sorted(str(path) for path in Path(sysconfig.get_path("stdlib")).glob("*.py"))
    words = ["train", TRAINED, "-o", str(FOLDER / "run"), "--force", "--set", f"steps={STEPS}", "--data", *data]
    if cli.main(words) != 0:
        return 1
    loss = held_out_loss()
    curve = (FOLDER / "run" / "loss.svg").read_text(encoding="utf-8")
    sections = [section(place, report) for place, report in zip(places, shown, strict=True)]
    summary = f"Trained {TRAINED} for {STEPS} steps to a held-out loss of {loss:.3f} nats per byte (goal: below {GOAL})."
    trained = ReportSection(title="A language model around one of them", says=summary, picture=curve)
    write_report(FOLDER / "report.html", [trained, *sections], title="nlc: what was built, shown and trained")
    good = all(report.as_expected for report in shown) and loss < GOAL
    print(f"\n{summary}\nThe report is {FOLDER / 'report.html'} ({time.monotonic() - started:.0f} s in all).")
    return 0 if good else 1


def step(text: str) -> None:
    """Say what happens next."""
    print(f"\n== {text}", flush=True)


def printed(report: Report | ClaimsReport) -> Report:
    """The report on a spec, once its lines are on the screen."""
    assert isinstance(report, Report), "specs are judged here, not files of claims"
    for good, line in report.lines():
        print(marked(good, line), flush=True)
    return report


def section(place: Place, report: Report) -> ReportSection:
    """One spec's part of the page: its levels, laws and forms, and the verdicts."""
    verdicts = Counter(verdict.verdict for verdict in report.verdicts)
    program = pipeline.compile_program(place.spec)
    return ReportSection(
        title=report.name,
        says=program.model.says,
        explanation=explanation(program),
        verdicts=tuple(sorted(verdicts.items())),
        facts=(("squares that close", f"{sum(square.closed for square in report.drawn)} of {len(report.drawn)}"),),
    )


def held_out_loss() -> float:
    """The last held-out loss of the run."""
    summary = json.loads((FOLDER / "run" / "summary.json").read_text(encoding="utf-8"))
    return float(summary["held_out_loss"])


if __name__ == "__main__":
    sys.exit(main())
