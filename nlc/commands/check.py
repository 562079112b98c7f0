"""`nlc check SPEC...`: diagnostics only."""

from __future__ import annotations

import json
from argparse import ArgumentParser, Namespace

from nlc import pipeline
from nlc.diagnostics import CompileError, Diagnostic
from nlc.overrides import add_set_option, overrides_set
from nlc.places import find_specs
from nlc.terminal import print_diagnostics

HELP = "say what is wrong with specs, and nothing when they are right"


def add_arguments(parser: ArgumentParser) -> None:
    """What the command line may say after the command."""
    parser.add_argument("spec", nargs="+", help="spec files, folders of them, or names of shipped specs")
    parser.add_argument("--format", choices=("text", "json"), default="text", help="json: one list of diagnostics")
    add_set_option(parser)


def run(arguments: Namespace) -> int:
    """0 when every spec compiles, 1 when some do not."""
    found: list[Diagnostic] = []
    for place in find_specs(arguments.spec):
        try:
            if pipeline.is_claims_file(place.spec):
                pipeline.check_claims(place.spec)
            else:
                pipeline.compile_program(place.spec, overrides_set(arguments))
        except CompileError as error:
            found.extend(error.diagnostics)
    if arguments.format == "json":
        print(json.dumps([item.as_json() for item in found], indent=2))
    elif found:
        print_diagnostics(found)
    return 1 if found else 0
