"""The seal of a generated file: its last line is a digest of everything above, so that an edit by hand is noticed."""

from __future__ import annotations

import re
from hashlib import sha256

SEAL = re.compile(r"# sealed by nlc, sha256 of everything above: ([0-9a-f]{64})\n?")
HEADER = "Compiled by nlc from"
"""How the second sentence of every generated file begins."""


def seal(text: str) -> str:
    """The text with its seal as the last line."""
    body = text.rstrip("\n") + "\n\n\n"
    return f"{body}# sealed by nlc, sha256 of everything above: {_digest(body)}\n"


def sealed_digest(text: str) -> str | None:
    """The digest that the last line claims; None when it is no seal."""
    match = SEAL.fullmatch(_last_line(text))
    return match[1] if match else None


def is_sealed(text: str) -> bool:
    """Whether the text is as nlc wrote it."""
    return sealed_digest(text) == _digest(text[: len(text) - len(_last_line(text))])


def is_generated(text: str) -> bool:
    """Whether nlc wrote the text, edited since or not: it has a seal, or the header of a generated file."""
    return sealed_digest(text) is not None or any(line.startswith(HEADER) for line in text.splitlines()[:8])


def _last_line(text: str) -> str:
    return text[text.rstrip("\n").rfind("\n") + 1 :]


def _digest(body: str) -> str:
    return sha256(body.encode()).hexdigest()
