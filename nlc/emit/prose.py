"""Text of users and rules -> text that is safe in a docstring: one line, no quotes that end it, nothing invisible."""

from __future__ import annotations

import textwrap
from collections.abc import Sequence

from nlc.emit.layout import Lines, indented
from nlc.ir.model import Model


def prose(text: str) -> str:
    """One line; backslashes and double quotes are replaced, control and direction-changing characters written out."""
    line = " ".join(text.split())
    visible = "".join(character if character.isprintable() else f"U+{ord(character):04X}" for character in line)
    return visible.replace("\\", "/").replace('"', "'")


def sentence(text: str) -> str:
    """The text as prose, with a full stop."""
    line = prose(text)
    return line if line.endswith((".", "!", "?")) else f"{line}."


def class_docstring(model: Model, kind: str, lines: Sequence[str]) -> Lines:
    """The lines of a class's docstring: what the model says, if one line has room for it, else that it is of a `kind`; then `lines`."""
    says = wrapped(sentence(model.says or model.name), 128)
    first, *rest = says if len(says) == 1 else (f"{model.name}, {kind}.", "", *says)
    return (first, *indented(rest), "", *indented(lines))


def wrapped(text: str, width: int = 140) -> tuple[str, ...]:
    """The text as lines of at most `width` characters."""
    return tuple(textwrap.wrap(text, width, break_on_hyphens=False)) or ("",)
