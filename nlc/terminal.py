"""Where text meets the terminal: plain when nobody watches, coloured when somebody does."""

from __future__ import annotations

import os
import sys
from collections.abc import Iterable

from nlc.diagnostics import Diagnostic, render_all

RED, BOLD, BLUE, GREEN, YELLOW, END = "\x1b[31m", "\x1b[1m", "\x1b[34m", "\x1b[32m", "\x1b[33m", "\x1b[0m"


def is_coloured(stream: object) -> bool:
    """Whether the stream is a terminal that wants colours (NO_COLOR is respected)."""
    return bool(getattr(stream, "isatty", lambda: False)()) and "NO_COLOR" not in os.environ and os.environ.get("TERM") != "dumb"


def print_diagnostics(diagnostics: Iterable[Diagnostic]) -> None:
    """Diagnostics in their drawn form, to standard output."""
    text = render_all(diagnostics)
    if is_coloured(sys.stdout):
        text = "\n".join(_coloured(line) for line in text.splitlines())
    print(text)


def _coloured(line: str) -> str:
    if line.startswith("error["):
        return f"{RED}{BOLD}{line}{END}"
    if line.lstrip().startswith(("-->", ":::")):
        return f"{BLUE}{line}{END}"
    if line.startswith("  help:"):
        return f"{GREEN}{line}{END}"
    return line


def marked(good: bool, text: str) -> str:
    """A line of a report, green or red on a terminal."""
    if not is_coloured(sys.stdout):
        return text
    return f"{GREEN if good else RED}{text}{END}"
