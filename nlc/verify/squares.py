"""Program and module text -> commuting squares: whether the oracle, the laws, the program and the module compute one thing.

The squares stand in the order of the stages, so the first that does not close names the stage that went wrong (design section 7).
"""

from __future__ import annotations

from collections.abc import Iterator

from nlc.ir.program import Program
from nlc.verify.load import load_source
from nlc.verify.network_context_squares import network_context_squares
from nlc.verify.network_squares import network_squares
from nlc.verify.observe import Failure, Pair, attempt
from nlc.verify.optimizer_squares import optimizer_squares
from nlc.verify.oracle_network_context import learns_from_loss
from nlc.verify.sequence_squares import sequence_squares
from nlc.verify.square import Square, faulty_stage, worst

__all__ = ["Square", "all_squares", "check_squares", "faulty_stage"]


def check_squares(program: Program, module_source: str) -> tuple[Square, ...]:
    """One square for every pair and quantity, with its worst case; a module that raises opens squares, and never this function."""
    return worst(all_squares(program, module_source))


def all_squares(program: Program, module_source: str) -> Iterator[Square]:
    """Every square of every case, one after the other, so that one may stop at the first that does not close."""
    module = attempt(lambda: load_source(module_source, program.model.name))
    if isinstance(module, Failure):
        yield from Pair("text", "module", "importing it", 0, 0).failed(module, "import")
        return
    if program.model.network is not None:
        if learns_from_loss(program.model):
            yield from network_context_squares(program, module)
        yield from network_squares(program, module)
        return
    squares = optimizer_squares if program.model.kind == "optimizer" else sequence_squares
    yield from squares(program, module)
