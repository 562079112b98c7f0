"""`nlc graph SPEC -o FILE.svg`: a picture of levels by frequency, of what reads what, and of who moves when."""

from __future__ import annotations

from argparse import ArgumentParser, Namespace
from pathlib import Path

from nlc import pipeline
from nlc.ir.order import LevelOrder
from nlc.places import UsageError, find_specs

HELP = "draw the levels of a spec, what they read and when they move, as SVG"


def add_arguments(parser: ArgumentParser) -> None:
    """What the command line may say after the command."""
    parser.add_argument("spec", help="a spec file, or the name of a shipped spec")
    parser.add_argument("-o", "--output", metavar="FILE.svg", required=True, help="where to draw it")
    parser.add_argument("--force", action="store_true", help="replace FILE.svg also when it is not a picture that nlc drew")


def run(arguments: Namespace) -> int:
    """0 when the picture was written; a wrong spec raises CompileError, a file that cannot or must not be written UsageError."""
    from nlc.graph import draw_levels

    places = find_specs([arguments.spec])
    if len(places) != 1:
        raise UsageError(f"{arguments.spec} has {len(places)} specs; a picture shows one")
    path = Path(arguments.output)
    _check(path, force=arguments.force)
    levels: LevelOrder = pipeline.run_until("order", places[0].spec)
    print(f"{'wrote' if _write(path, draw_levels(levels)) else 'unchanged'} {path}")
    return 0


def _check(path: Path, *, force: bool) -> None:
    """Refuses what is no place for a picture, before any work is done."""
    from nlc.graph import is_drawn_by_nlc

    if path.suffix != ".svg" or "\0" in str(path):
        raise UsageError(f"{path} is not the name of a picture; give a name that ends in .svg")
    present = _present(path)
    if present is not None and not force and not is_drawn_by_nlc(present):
        raise UsageError(f"{path} is not a picture that nlc drew; --force replaces it")


def _present(path: Path) -> str | None:
    """The text of the file now; None when there is none."""
    try:
        return path.read_text(encoding="utf-8", errors="replace")
    except FileNotFoundError:
        return None
    except OSError as error:
        raise UsageError(f"cannot write {path}: {error.strerror}") from error


def _write(path: Path, text: str) -> bool:
    """Write the picture whole or not at all; whether the file changed."""
    from nlc.emit.writing import write_text

    if _present(path) == text:
        return False
    try:
        write_text(path, text)
    except OSError as error:
        raise UsageError(f"cannot write {path}: {error.strerror}") from error
    return True
