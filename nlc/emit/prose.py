"""Text of users and rules -> text that is safe in a docstring: one line, no quotes that end it, nothing invisible."""

from __future__ import annotations

import textwrap


def prose(text: str) -> str:
    """One line; backslashes and double quotes are replaced, control and direction-changing characters written out."""
    line = " ".join(text.split())
    visible = "".join(character if character.isprintable() else f"U+{ord(character):04X}" for character in line)
    return visible.replace("\\", "/").replace('"', "'")


def sentence(text: str) -> str:
    """The text as prose, with a full stop."""
    line = prose(text)
    return line if line.endswith((".", "!", "?")) else f"{line}."


def wrapped(text: str, width: int = 140) -> tuple[str, ...]:
    """The text as lines of at most `width` characters."""
    return tuple(textwrap.wrap(text, width, break_on_hyphens=False)) or ("",)
