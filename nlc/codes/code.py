"""A row of a stage's table of codes."""

from __future__ import annotations

from dataclasses import dataclass


@dataclass(frozen=True, slots=True)
class Code:
    """A code, its title, and what a user should know about it (one paragraph)."""

    number: str
    title: str
    explanation: str
