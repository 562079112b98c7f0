"""`nlc verify [PATH...]`: squares and claims of specs, against the generated files where they stand; and files of claims."""

from __future__ import annotations

import json
from argparse import ArgumentParser, Namespace
from collections.abc import Sequence
from pathlib import Path
from typing import TYPE_CHECKING

from nlc import pipeline
from nlc.overrides import OPTION, add_set_option, overrides_set
from nlc.places import Place, UsageError, find_specs
from nlc.source import Source
from nlc.terminal import marked

if TYPE_CHECKING:
    from nlc.verify.report import ClaimsReport, Report

HELP = "show that generated modules do what their specs say, and decide claims, those of specs and those in files of their own"


def add_arguments(parser: ArgumentParser) -> None:
    """What the command line may say after the command."""
    parser.add_argument("path", nargs="*", help="spec files, folders, or names of shipped specs (default: the folder specs)")
    parser.add_argument("-o", "--output", metavar="DIR", help="where nlc build wrote (default: as nlc build)")
    parser.add_argument("--explain", metavar="CLAIM", help="only show the evidence for a claim, named by its id or by words that it says")
    parser.add_argument("--json", metavar="FILE", help="also write the verdicts as a list of objects ('-': print only them)")
    add_set_option(parser, "; without -o it judges what nlc build would write")


def run(arguments: Namespace) -> int:
    """0 only when every square closes and every verdict is as expected."""
    if arguments.explain is not None:
        return _explain(arguments)
    good = True
    objects: list[dict[str, object]] = []
    for place in find_specs(arguments.path, arguments.output):
        report = _report(place, overrides_set(arguments), is_built_elsewhere=bool(arguments.output))
        objects.extend(report.as_json())
        good = good and report.as_expected
        if arguments.json != "-":
            for fine, line in report.lines():
                print(marked(fine, line), flush=True)
    if arguments.json == "-":
        print(json.dumps(objects, indent=2))
    elif arguments.json:
        _write(Path(arguments.json), json.dumps(objects, indent=2) + "\n")
    return 0 if good else 1


def _explain(arguments: Namespace) -> int:
    """The evidence for the claims that are meant; 0 only when their verdicts are as expected."""
    from nlc.verify.explain import explanation, matching

    verdicts = [verdict for place in find_specs(arguments.path) for verdict in pipeline.claims_of(place.spec)]
    found = matching(verdicts, arguments.explain)
    if not found:
        known = ", ".join(sorted({verdict.id for verdict in verdicts if verdict.id})) or "none of them has an id"
        raise UsageError(f"no claim is called {arguments.explain!r} or says it; ids: {known}")
    for number, verdict in enumerate(found):
        print("\n" * bool(number) + "\n".join(explanation(verdict)))
    return 0 if all(verdict.as_expected for verdict in found) else 1


def _report(place: Place, overrides: Sequence[Source], *, is_built_elsewhere: bool) -> Report | ClaimsReport:
    """The report on the generated file where it stands, or, when the spec as changed was not built yet, on what would be built."""
    if pipeline.is_claims_file(place.spec):
        if overrides:
            raise UsageError(f"{OPTION} changes specs, and {place.spec} is a file of claims")
        return pipeline.verify_claims(place.spec)
    program = pipeline.compile_program(place.spec, overrides)
    emitted = pipeline.emit(program)
    if overrides and not is_built_elsewhere:
        return pipeline.verify(program, emitted, f"changed by {OPTION}: the text that nlc build would write")
    if not place.generated.is_file():
        return pipeline.verify(program, emitted, "not built yet: the text that nlc build would write")
    try:
        present = place.generated.read_text(encoding="utf-8")
    except (OSError, UnicodeDecodeError) as error:
        raise UsageError(f"cannot read {place.generated}: {error}") from error
    note = str(place.generated) if present == emitted else f"{place.generated}, which differs from what nlc build would write"
    return pipeline.verify(program, present, note)


def _write(path: Path, text: str) -> None:
    from nlc.emit.writing import write_text

    try:
        write_text(path, text)
    except OSError as error:
        raise UsageError(f"cannot write {path}: {error}") from error
