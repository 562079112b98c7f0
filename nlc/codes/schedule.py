"""NLC5xx: wishes about the schedule that cannot be met."""

from __future__ import annotations

from nlc.codes.code import Code
from nlc.diagnostics import Diagnostic


def chunk_length(chunk: int) -> Diagnostic:
    return Diagnostic("NLC501", f"a chunk cannot have {chunk} tokens", (), "give a whole number of 1 or more; 64 suits most sizes")


CODES: tuple[Code, ...] = (
    Code("NLC501", "chunk length", "`chunk` is the number of tokens that a parallel form handles at once: 1 or more. It never changes what is computed, only how fast."),
)  # fmt: skip
