"""The command line: words -> one of the commands in nlc/commands, and its exit status.

0: fine. 1: the user's spec or claim is wrong (diagnostics are printed). 2: wrong usage.
"""

from __future__ import annotations

import sys
from argparse import ArgumentParser
from collections.abc import Sequence
from importlib import import_module
from io import TextIOWrapper

from nlc.diagnostics import CompileError
from nlc.places import UsageError
from nlc.terminal import print_diagnostics
from nlc.version import VERSION

COMMANDS = ("new", "check", "show", "explain", "graph", "build", "verify", "train", "generate", "evaluate", "doctor")
INTERRUPTED = 130


def main(words: Sequence[str] | None = None) -> int:
    """Run one command; returns its exit status and raises nothing for bad input."""
    _print_in_any_encoding()
    arguments = _parser().parse_args(words)
    try:
        status: int = import_module(f"nlc.commands.{arguments.command}").run(arguments)
        sys.stdout.flush()
        return status
    except CompileError as error:
        print_diagnostics(error.diagnostics)
        return 1
    except UsageError as error:
        print(f"nlc {arguments.command}: {error}", file=sys.stderr)
        return 2
    except KeyboardInterrupt:
        print("stopped", file=sys.stderr)
        return INTERRUPTED
    except BrokenPipeError:
        sys.stderr.close()
        return 1


def _print_in_any_encoding() -> None:
    """What the terminal's encoding cannot say (a letter of the spec, a byte of a path) is printed as an escape."""
    for stream in (sys.stdout, sys.stderr):
        if isinstance(stream, TextIOWrapper):
            stream.reconfigure(errors="backslashreplace")


def _parser() -> ArgumentParser:
    parser = ArgumentParser(prog="nlc", description="The Nested Learning Compiler: nested levels in YAML become verified PyTorch.")
    parser.add_argument("--version", action="version", version=f"nlc {VERSION}")
    commands = parser.add_subparsers(dest="command", metavar="COMMAND", required=True)
    for name in COMMANDS:
        module = import_module(f"nlc.commands.{name}")
        module.add_arguments(commands.add_parser(name, help=module.HELP, description=module.HELP))
    return parser
