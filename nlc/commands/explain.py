"""`nlc explain SPEC`: levels and why, equations and why, chosen forms and why."""

from __future__ import annotations

from argparse import ArgumentParser, Namespace
from collections.abc import Sequence
from pathlib import Path

from nlc import pipeline
from nlc.citations import resolve_citations
from nlc.diagnostics import CompileError
from nlc.ir.order import LevelOrder
from nlc.ir.program import Program
from nlc.overrides import add_set_option, overrides_set
from nlc.places import find_specs
from nlc.source import Source
from nlc.terminal import print_diagnostics

HELP = "explain a spec: its levels, its update equations, its parallel forms, each with the reason"


def add_arguments(parser: ArgumentParser) -> None:
    """What the command line may say after the command."""
    parser.add_argument("spec", nargs="+", help="spec files, folders of them, or names of shipped specs")
    add_set_option(parser)


def run(arguments: Namespace) -> int:
    """0 when every spec compiles; 1 when one does not (its levels are explained all the same)."""
    explained = [_explain(place.spec, overrides_set(arguments)) for place in find_specs(arguments.spec)]
    return 0 if all(explained) else 1


def _explain(path: Path, overrides: Sequence[Source]) -> bool:
    levels: LevelOrder = pipeline.run_until("order", path, overrides)
    print(_levels(levels))
    try:
        program = pipeline.schedule(pipeline.derive(levels))
    except CompileError as error:
        print("\nThis version does not compile it:\n")
        print_diagnostics(error.diagnostics)
        return False
    print(f"\n{_laws_and_forms(program)}\n")
    return True


def explanation(program: Program) -> str:
    """The whole explanation of a system as text."""
    return f"{_levels(program.laws.order)}\n\n{_laws_and_forms(program)}"


def _levels(levels: LevelOrder) -> str:
    from nlc.order.describe import describe_levels
    from nlc.resolve.describe import memories_text

    model = levels.model
    sources = [f"  {source}" for source in resolve_citations(model.cites)]
    title = "\n".join([f"{model.name}: {model.says}".removesuffix(": "), *sources])
    memories = f"Associative memories (Nested Learning, Definition 1)\n{memories_text(model)}"
    order = f"Levels, fastest first (Nested Learning, Definition 2)\n{describe_levels(levels, each_pair=False)}"
    return f"{title}\n\n{memories}\n\n{order}"


def _laws_and_forms(program: Program) -> str:
    from nlc.derive.describe import laws_text
    from nlc.schedule.describe import program_text

    laws, forms = laws_text(program.laws).rstrip("\n"), program_text(program).rstrip("\n")
    return f"Update laws\n{laws}\n\nForms\n{forms}"
