"""Program -> the text of a Python module: torch code as a person would have written it, with its story in the docstring.

Nothing is chosen here: forms, names and equations come with the program. The text imports torch and the standard library only.
"""

from __future__ import annotations

from nlc.emit.context import context_parts, is_told
from nlc.emit.digest import seal
from nlc.emit.header import header
from nlc.emit.imports import imports
from nlc.emit.network import network_parts
from nlc.emit.network_header import network_header
from nlc.emit.optimizer import optimizer_parts
from nlc.emit.render import render
from nlc.emit.safety import assert_safe
from nlc.emit.sequence import sequence_parts
from nlc.emit.views import InverseView, ModuleView, SolutionView
from nlc.ir.program import Program

__all__ = ["emit_module"]

ON_DEMAND = (("_inverse(", InverseView()), ("_solution(", SolutionView()))
"""Functions that a module has when its text calls them."""


def emit_module(program: Program) -> str:
    """The sealed text of a program's module; raises CompileError (NLC601, NLC602) for what cannot be written in torch."""
    parts = _parts(program)
    parts = (*parts, *(render(view) for call, view in ON_DEMAND if any(call in part for part in parts)))
    names = f'"{program.model.name}", "optimizers"' if program.training else f'"{program.model.name}"'
    text = seal(render(ModuleView(_header(program), imports(parts), names, parts)) + "\n")
    assert_safe(text)
    return text


def _header(program: Program) -> tuple[str, ...]:
    return header(program) if program.model.network is None else network_header(program)


def _parts(program: Program) -> tuple[str, ...]:
    if program.model.network is not None:
        return network_parts(program)
    if is_told(program):
        return context_parts(program)
    return optimizer_parts(program) if program.model.kind == "optimizer" else sequence_parts(program)
