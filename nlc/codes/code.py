"""A row of a stage's table of codes; and what messages have in common: quotes, suggestions, a mistake told from where it was used."""

from __future__ import annotations

from collections.abc import Iterable
from dataclasses import dataclass, replace
from difflib import get_close_matches

from nlc.diagnostics import Diagnostic, Label
from nlc.source import Span

LONGEST_QUOTE, MOST_NAMES = 60, 200


@dataclass(frozen=True, slots=True)
class Code:
    """A code, its title, and what a user should know about it (one paragraph)."""

    number: str
    title: str
    explanation: str


def quoted(text: str) -> str:
    """What a user wrote, in one short line between backquotes."""
    line = " ".join(text.split())
    return f"`{line}`" if len(line) <= LONGEST_QUOTE else f"`{line[:LONGEST_QUOTE]}...`"


def suggestion(word: str, known: Iterable[str], what: str, listed: Iterable[str] | None = None) -> str:
    """The known word that is nearest; without a near one, all of them (or those `listed`), which are called `what`."""
    names = sorted(set(known))[:MOST_NAMES]
    near = get_close_matches(word, names, n=1, cutoff=0.6) if len(word) <= LONGEST_QUOTE else []
    if near:
        return f"did you mean `{near[0]}`?"
    shown = names if listed is None else sorted(set(listed))[:MOST_NAMES]
    return f"{what}: {', '.join(shown)}" if shown else f"there are no {what}"


def used_here(diagnostic: Diagnostic, span: Span, name: str) -> Diagnostic:
    """A mistake inside something that is defined elsewhere, told from where it is used."""
    return replace(diagnostic, labels=(Label(span, f"{quoted(name)} is used here"), *diagnostic.labels))
