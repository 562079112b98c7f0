"""A law as one expression: abbreviations put back, so that only states, streams and numbers are left."""

from __future__ import annotations

from nlc.ir.algebra import Expr
from nlc.ir.law import Law, written_out


def inlined(law: Law, part: str) -> Expr:
    """The new value of one tensor of the law's component, over reads of states, inputs and hyperparameters."""
    return written_out(law.new_state(part).value, law)
