"""`nlc explain SPEC`: levels and why, equations and why, chosen forms and why."""

from __future__ import annotations

from argparse import ArgumentParser, Namespace

from nlc import pipeline
from nlc.citations import resolve_citation
from nlc.ir.program import Program
from nlc.places import find_specs

HELP = "explain a spec: its levels, its update equations, its parallel forms, each with the reason"


def add_arguments(parser: ArgumentParser) -> None:
    """What the command line may say after the command."""
    parser.add_argument("spec", nargs="+", help="spec files, folders of them, or names of shipped specs")


def run(arguments: Namespace) -> int:
    """0; a wrong spec raises CompileError."""
    texts = [explanation(pipeline.compile_program(place.spec)) for place in find_specs(arguments.spec)]
    print("\n\n".join(texts))
    return 0


def explanation(program: Program) -> str:
    """The whole explanation of a system as text."""
    from nlc.derive.describe import laws_text
    from nlc.order.describe import describe_levels
    from nlc.schedule.describe import program_text

    model = program.model
    sections = [
        f"{model.name}: {model.says}".rstrip(": ") + "\n" + _sources(model.cites),
        "Levels, fastest first (Nested Learning, Definition 2)\n" + describe_levels(program.laws.order),
        "Update laws\n" + laws_text(program.laws),
        "Forms\n" + program_text(program),
    ]
    return "\n\n".join(section.rstrip("\n") for section in sections)


def _sources(cites: tuple[str, ...]) -> str:
    return "\n".join(f"  {key}: {resolve_citation(key)}" for key in cites)
