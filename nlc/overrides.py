"""What changes a spec from outside -> texts `key=value` with a name: the `--set` options of a command, or keyword arguments."""

from __future__ import annotations

from argparse import ArgumentParser, Namespace
from collections.abc import Mapping

from nlc.source import Source

OPTION = "--set"


def add_set_option(parser: ArgumentParser, note: str = "") -> None:
    """Let a command take `--set key=value`, any number of times."""
    says = "change a dim or hyperparameter (d_k=32), or what stands at a path of keys (levels.memory.retention=0.9); repeatable"
    parser.add_argument(OPTION, action="append", default=[], metavar="key=value", help=f"{says}{note}")


def overrides_set(arguments: Namespace) -> tuple[Source, ...]:
    """The `--set` options of a command, as given."""
    return tuple(Source(OPTION, text) for text in arguments.set)


def overrides_of(values: Mapping[str, object]) -> tuple[Source, ...]:
    """The same for keyword arguments of Python."""
    return tuple(Source("compile_file", f"{name}={value}") for name, value in values.items())
