"""A spec's text through the whole front end, parse to schedule, and what must hold of every refusal."""

from __future__ import annotations

from importlib import import_module

from nlc import pipeline
from nlc.diagnostics import CompileError, Diagnostic, render
from nlc.ir.program import Program
from nlc.ir.spec import SpecFile
from nlc.parse import parse_text
from nlc.source import NOWHERE

STAGES_OF_CHECK = ("parse", "resolve", "order", "derive", "schedule", "claims", "network")
KNOWN = frozenset(row.number for stage in STAGES_OF_CHECK for row in import_module(f"nlc.codes.{stage}").CODES)


def compiled(file: SpecFile) -> Program:
    """What `nlc check` does after parsing."""
    return pipeline.schedule(pipeline.derive(pipeline.order(pipeline.resolve(file))))


def diagnostics_of(text: str) -> tuple[Diagnostic, ...]:
    """The diagnostics of a text, none when it compiles; anything but CompileError is a mistake of nlc's."""
    try:
        compiled(parse_text(text, "fuzz.yaml"))
    except CompileError as error:
        return error.diagnostics
    return ()


def assert_well_told(diagnostic: Diagnostic) -> None:
    """Its code is one of `nlc check`'s, its labels are in texts that somebody wrote, and it can be drawn and sent."""
    assert diagnostic.code in KNOWN
    assert diagnostic.labels
    for label in diagnostic.labels:
        assert label.span.source is not NOWHERE.source, diagnostic
        assert 0 <= label.span.start <= label.span.end <= len(label.span.source.text), diagnostic
    assert render(diagnostic).startswith(f"error[{diagnostic.code}]: ")
    assert diagnostic.as_json()["code"] == diagnostic.code
