"""Facts about a user's mistake, and their drawing: code, message, labelled excerpts, a way out."""

from __future__ import annotations

from collections.abc import Iterable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass, field
from itertools import groupby

from nlc.source import Span


@dataclass(frozen=True, slots=True)
class Label:
    """A place in the source and what is to be said about it."""

    span: Span
    text: str = ""


@dataclass(frozen=True, slots=True)
class Diagnostic:
    """One mistake: its code (NLC...), one sentence, the places (the first is the main one), and the way out."""

    code: str
    message: str
    labels: tuple[Label, ...] = ()
    help: str = ""

    def as_json(self) -> dict[str, object]:
        """The machine form: lines and columns count from 1, ends are exclusive."""
        places = []
        for label in self.labels:
            end_line, end_column = label.span.source.position(label.span.end)
            places.append(
                {
                    "file": label.span.source.name,
                    "line": label.span.line,
                    "column": label.span.column,
                    "end_line": end_line,
                    "end_column": end_column,
                    "label": label.text,
                }
            )
        return {"code": self.code, "message": self.message, "places": places, "help": self.help}


class CompileError(Exception):
    """What a stage raises when the user's text is wrong: one or more diagnostics."""

    def __init__(self, *diagnostics: Diagnostic) -> None:
        super().__init__("; ".join(f"{item.code}: {item.message}" for item in diagnostics))
        self.diagnostics = diagnostics

    def __reduce__(self) -> tuple[type[CompileError], tuple[Diagnostic, ...]]:
        """From one process to another it keeps its diagnostics, not only their text."""
        return type(self), self.diagnostics


@dataclass(slots=True)
class Collector:
    """Gathers the diagnostics of a stage, so that one run reports every mistake."""

    diagnostics: list[Diagnostic] = field(default_factory=list)

    @contextmanager
    def collecting(self) -> Iterator[None]:
        """Keep the diagnostics of a `CompileError` raised inside, and go on after the block."""
        try:
            yield
        except CompileError as error:
            self.diagnostics.extend(error.diagnostics)

    def add(self, diagnostic: Diagnostic) -> None:
        self.diagnostics.append(diagnostic)

    def raise_if_any(self) -> None:
        if self.diagnostics:
            raise CompileError(*dict.fromkeys(self.diagnostics))


TAB_WIDTH = 4
WIDEST_EXCERPT = 160


def render(diagnostic: Diagnostic) -> str:
    """The diagnostic as people read it: message, excerpts with carets, help. Ends without a newline."""
    lines = [f"error[{diagnostic.code}]: {diagnostic.message}"]
    gutter = max((len(str(label.span.line)) for label in diagnostic.labels), default=1) + 1
    for number, (source, labels) in enumerate(groupby(diagnostic.labels, key=lambda label: label.span.source)):
        lines.extend(_excerpts(list(labels), source.name, gutter, first=number == 0))
    if diagnostic.help:
        first, *rest = diagnostic.help.splitlines()
        lines.append(f"  help: {first}")
        lines.extend(f"        {line}" for line in rest)
    return "\n".join(lines)


def _excerpts(labels: list[Label], name: str, gutter: int, *, first: bool) -> Iterator[str]:
    arrow = "-->" if first else ":::"
    yield f"{' ' * (gutter - 1)} {arrow} {name}:{labels[0].span.line}:{labels[0].span.column}"
    if not labels[0].span.source.text:
        return
    yield f"{' ' * gutter} |"
    previous = 0
    for label in labels:
        line = label.span.line
        if previous and line != previous + 1 and line != previous:
            yield f"{' ' * gutter} ..."[: gutter + 4]
        if line != previous:
            yield _clip(f"{line:>{gutter}} | {_visible(_start_of_line(label.span))}".rstrip())
        yield _carets(label, gutter)
        previous = line


def _carets(label: Label, gutter: int) -> str:
    span = label.span
    text = _start_of_line(span)
    before = _visible(text[: span.column - 1])
    marked = _visible(text[span.column - 1 : span.column - 1 + max(1, span.end - span.start)])
    room = max(1, WIDEST_EXCERPT - len(before))
    carets = "^" * min(max(1, len(marked)), room)
    return f"{' ' * gutter} | {' ' * min(len(before), WIDEST_EXCERPT)}{carets} {label.text}".rstrip()


def _start_of_line(span: Span) -> str:
    """As much of the line as an excerpt can show."""
    return span.source.line(span.line)[: WIDEST_EXCERPT + 1]


def _visible(text: str) -> str:
    """Tabs widened and control or direction-changing characters escaped, so that columns hold on any terminal."""
    return "".join(
        " " * TAB_WIDTH if character == "\t" else character if character.isprintable() else f"\\u{ord(character):04x}" for character in text
    )


def _clip(line: str) -> str:
    return line if len(line) <= WIDEST_EXCERPT else line[: WIDEST_EXCERPT - 3] + "..."


def render_all(diagnostics: Iterable[Diagnostic]) -> str:
    """Several diagnostics, a blank line between them."""
    return "\n\n".join(render(diagnostic) for diagnostic in diagnostics)
