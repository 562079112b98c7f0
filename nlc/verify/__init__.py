"""Program and module text -> Report: does the module do what the spec says, and do the spec's claims hold.

Claims need no torch, which only the squares load.
"""

from __future__ import annotations

from collections.abc import Callable

from nlc.ir.law import Laws
from nlc.ir.model import Model
from nlc.ir.program import Program
from nlc.verify.claims import decide_claims
from nlc.verify.report import Report

__all__ = ["Report", "verify_module"]


def verify_module(
    program: Program, module_text: str, *, laws_of: Callable[[Model], Laws], module: str = "as compiled", is_as_built: bool = True
) -> Report:
    """Judge a module's text against its spec; `laws_of` derives the laws of the other specs that claims name.

    `module` says in the report which text this is (the path of a committed file, say), `is_as_built` whether it is what `emit` writes.
    """
    from nlc.verify.squares import check_squares

    squares = check_squares(program, module_text)
    verdicts = decide_claims(program.laws, laws_of)
    return Report(program.model.path, program.model.name, module, squares, verdicts, is_as_built)
