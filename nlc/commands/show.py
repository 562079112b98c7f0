"""`nlc show --stage STAGE SPEC`: any intermediate form as text."""

from __future__ import annotations

from argparse import ArgumentParser, Namespace

from nlc import pipeline
from nlc.overrides import add_set_option, overrides_set
from nlc.places import find_spec

HELP = "print what a stage makes of a spec"


def add_arguments(parser: ArgumentParser) -> None:
    """What the command line may say after the command."""
    parser.add_argument("--stage", choices=[stage.name for stage in pipeline.STAGES], default="schedule", help="the stage to stop after")
    parser.add_argument("spec", help="a spec file, or the name of a shipped spec")
    add_set_option(parser)


def run(arguments: Namespace) -> int:
    """0; a wrong spec raises CompileError."""
    place = find_spec(arguments.spec)
    stage = next(stage for stage in pipeline.STAGES if stage.name == arguments.stage)
    print(stage.show(pipeline.run_until(stage.name, place.spec, overrides_set(arguments))).rstrip("\n"))
    return 0
