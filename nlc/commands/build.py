"""`nlc build [PATH...] [-o DIR]`: specs -> modules."""

from __future__ import annotations

import difflib
from argparse import ArgumentParser, Namespace
from collections.abc import Sequence
from pathlib import Path

from nlc import pipeline
from nlc.diagnostics import CompileError, Diagnostic
from nlc.overrides import OPTION, add_set_option, overrides_set
from nlc.places import Place, UsageError, find_specs
from nlc.source import Source
from nlc.terminal import print_diagnostics

HELP = "compile specs to PyTorch modules"


def add_arguments(parser: ArgumentParser) -> None:
    """What the command line may say after the command."""
    parser.add_argument("path", nargs="*", help="spec files, folders, or names of shipped specs (default: the folder specs)")
    parser.add_argument("-o", "--output", metavar="DIR", help="where to write (default: generated/ beside specs/, else beside the spec)")
    parser.add_argument("--check", action="store_true", help="write nothing; print a diff and exit with 1 when a generated file is stale")
    parser.add_argument("--force", action="store_true", help="replace generated files edited by hand (kept as .orig)")
    add_set_option(parser, "; needs -o: what a changed spec compiles to never takes the place of the spec's own module")


def run(arguments: Namespace) -> int:
    """0 when everything was built (or, with --check, is up to date), else 1. Nothing is written unless every spec compiles."""
    if arguments.set and not arguments.output:
        raise UsageError(f"{OPTION} changes the spec: say with -o DIR where its module is to go")
    places = find_specs(arguments.path, arguments.output)
    texts, diagnostics = compile_all(places, overrides_set(arguments))
    if diagnostics:
        print_diagnostics(diagnostics)
        return 1
    if arguments.check:
        return 1 if sum(_is_stale(place, text) for place, text in zip(places, texts, strict=True)) else 0
    from nlc.emit.writing import write_modules

    modules = [(place.generated, text) for place, text in zip(places, texts, strict=True)]
    root = Path(arguments.output) if arguments.output else None
    for path, changed in write_modules(modules, force=arguments.force, root=root):
        print(f"{'wrote' if changed else 'unchanged'} {path}")
    return 0


def compile_all(places: tuple[Place, ...], overrides: Sequence[Source] = ()) -> tuple[list[str], list[Diagnostic]]:
    """The module text of every spec, and every mistake found in any of them."""
    texts: list[str] = []
    diagnostics: list[Diagnostic] = []
    for place in places:
        try:
            texts.append(pipeline.emit(pipeline.compile_program(place.spec, overrides)))
        except CompileError as error:
            diagnostics.extend(error.diagnostics)
    return texts, diagnostics


def _is_stale(place: Place, text: str) -> bool:
    """Whether the generated file differs from what the spec compiles to; prints the difference."""
    try:
        present = place.generated.read_text(encoding="utf-8")
    except (OSError, UnicodeDecodeError):
        print(f"{place.generated} is missing or unreadable; run: nlc build {place.spec}")
        return True
    if present == text:
        return False
    lines = difflib.unified_diff(present.splitlines(), text.splitlines(), str(place.generated), f"{place.spec} compiled", lineterm="")
    print("\n".join(lines))
    print(f"{place.generated} is stale; run: nlc build {place.spec}")
    return True
