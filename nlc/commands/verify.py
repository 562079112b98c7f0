"""`nlc verify [PATH...]`: squares and claims of specs, against the generated files where they stand; and files of claims."""

from __future__ import annotations

import json
import os
from argparse import ArgumentParser, ArgumentTypeError, Namespace
from collections.abc import Iterator, Sequence
from functools import partial
from pathlib import Path
from typing import TYPE_CHECKING

from nlc import pipeline
from nlc.overrides import OPTION, add_set_option, overrides_set
from nlc.places import Place, UsageError, find_specs, usable_path
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
    parser.add_argument("--certificate", metavar="DIR", help="also write certificates, NAME.cert.json, and their pages, NAME.cert.md")
    parser.add_argument("--replay", metavar="CERT", help="only look at the evidence of a certificate again, by a checker of its own")
    parser.add_argument("--jobs", metavar="N", type=_jobs, default=1, help="how many specs to judge at a time, in processes (default: 1)")
    add_set_option(parser, "; without -o it judges what nlc build would write")


def _jobs(text: str) -> int:
    if not text.isdecimal() or int(text) < 1:
        raise ArgumentTypeError(f"{text!r} is no number of specs: 1, 2, ...")
    return int(text)


def run(arguments: Namespace) -> int:
    """0 only when every square closes and every verdict is as expected."""
    if arguments.replay is not None:
        return _replay(Path(arguments.replay))
    if arguments.explain is not None:
        return _explain(arguments)
    good = True
    objects: list[dict[str, object]] = []
    places = find_specs(arguments.path, arguments.output)
    judged = reports(places, overrides_set(arguments), is_built_elsewhere=bool(arguments.output), jobs=arguments.jobs)
    for place, report in zip(places, judged, strict=True):
        objects.extend(report.as_json())
        good = good and report.as_expected
        if arguments.certificate:
            _certify(place.spec, report, usable_path(arguments.certificate))
        if arguments.json != "-":
            for fine, line in report.lines():
                print(marked(fine, line), flush=True)
    if arguments.json == "-":
        print(json.dumps(objects, indent=2))
    elif arguments.json:
        _write(Path(arguments.json), json.dumps(objects, indent=2) + "\n")
    return 0 if good else 1


def reports(
    places: Sequence[Place], overrides: Sequence[Source] = (), *, is_built_elsewhere: bool = False, jobs: int = 1
) -> Iterator[Report | ClaimsReport]:
    """The report on each place, in their order, each as soon as it and those before it are there; `jobs` are made at a time."""
    judge = partial(_report, overrides=overrides, is_built_elsewhere=is_built_elsewhere)
    if jobs == 1 or len(places) == 1:
        yield from map(judge, places)
        return
    from concurrent.futures import ProcessPoolExecutor
    from multiprocessing import get_context

    # A fork of a process with torch's threads can hang, so that the processes start from nothing.
    with ProcessPoolExecutor(min(jobs, len(places)), get_context("spawn"), initializer=_one_thread_each) as pool:
        try:
            yield from pool.map(judge, places)
        finally:
            pool.shutdown(wait=False, cancel_futures=True)


def _one_thread_each() -> None:
    """Before torch is loaded: the processes share the cores, so that more threads would only stand in each other's way."""
    os.environ.setdefault("OMP_NUM_THREADS", "1")


def _certify(path: Path, report: Report | ClaimsReport, folder: Path) -> None:
    """Write the certificate and its page; never one that a second look does not accept."""
    from nlc.verify.certificate import page

    certificate = pipeline.certificate(path, report)
    problems = pipeline.replay(certificate)
    if problems:
        raise UsageError(f"the certificate of {path} does not replay, which is a fault of nlc: {problems[0]}")
    try:
        folder.mkdir(parents=True, exist_ok=True)
    except OSError as error:
        raise UsageError(f"cannot write {folder}: {error}") from error
    _write(folder / f"{path.stem}.cert.json", json.dumps(certificate, indent=1, sort_keys=True) + "\n")
    _write(folder / f"{path.stem}.cert.md", page(certificate))


def _replay(path: Path) -> int:
    """0 when the certificate holds."""
    try:
        certificate = json.loads(path.read_text(encoding="utf-8"))
    except (OSError, ValueError) as error:
        raise UsageError(f"cannot read {path}: {error}") from error
    problems = pipeline.replay(certificate) if isinstance(certificate, dict) else ("this is no certificate",)
    for problem in problems:
        print(marked(False, f"BAD {problem}"))
    if not problems:
        claims = certificate["claims"]
        looked_at = sum(pipeline.is_replayed(claim) for claim in claims)
        print(marked(True, f"ok  {path}: the evidence of {looked_at} of {len(claims)} claims was looked at again and holds"))
        for claim in claims:
            if not pipeline.is_replayed(claim):
                print(marked(True, f"      not looked at: {claim['verdict']:<9} {claim['id'] or claim['says']}"))
    return 1 if problems else 0


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
