"""Program -> the text of a Python module: torch code as a person would have written it, with its story in the docstring.

Nothing is chosen here: forms, names and equations come with the program. The text imports torch and the standard library only.
"""

from __future__ import annotations

from nlc.emit.context import context_parts, is_told
from nlc.emit.digest import seal
from nlc.emit.header import header
from nlc.emit.network import network_parts
from nlc.emit.network_context import learns
from nlc.emit.network_header import network_header
from nlc.emit.optimizer import optimizer_parts
from nlc.emit.render import render
from nlc.emit.safety import assert_safe
from nlc.emit.sequence import sequence_parts
from nlc.emit.views import InverseView, ModuleView, SolutionView
from nlc.ir.contexts import contexts_of
from nlc.ir.program import Program

__all__ = ["emit_module"]

SEQUENCE_IMPORTS = ("import torch", "from torch import Tensor, nn")
OPTIMIZER_IMPORTS = (
    "import math",
    "from collections.abc import Callable",
    "from typing import Any, overload",
    "",
    "import torch",
    "from torch import Tensor",
    "from torch.optim import Optimizer",
    "from torch.optim.optimizer import ParamsT",
)
WITH_MODULES = tuple("from torch import Tensor, nn" if line == "from torch import Tensor" else line for line in OPTIMIZER_IMPORTS)
WITH_PROCESSES = tuple(line.replace("Tensor, nn", "Tensor, distributed, nn") for line in WITH_MODULES)

ON_DEMAND = (("_inverse(", InverseView()), ("_solution(", SolutionView()))
"""Functions that a module has when its text calls them."""


def emit_module(program: Program) -> str:
    """The sealed text of a program's module; raises CompileError (NLC601, NLC602) for what cannot be written in torch."""
    parts = _parts(program)
    parts = (*parts, *(render(view) for call, view in ON_DEMAND if any(call in part for part in parts)))
    names = f'"{program.model.name}", "optimizers"' if program.training else f'"{program.model.name}"'
    text = seal(render(ModuleView(_header(program), _imports(program, parts), names, parts)) + "\n")
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


def _imports(program: Program, parts: tuple[str, ...]) -> tuple[str, ...]:
    if program.model.kind == "optimizer":
        return WITH_PROCESSES if contexts_of(program.model) else OPTIMIZER_IMPORTS
    is_managed = any("plain = copy.copy(module)" in part for part in parts)
    imports = WITH_MODULES if program.training else SEQUENCE_IMPORTS
    if not program.training:
        maths = ("import math",) if any("math." in part for part in parts) else ()
        words = ("from typing import Any",) if program.model.network is not None else ()
        imports = (*maths, *words, "", *imports) if maths or words else imports
    if is_told(program):
        library = "from collections.abc import Callable, Iterable"
        imports = tuple(line.replace("from collections.abc import Callable", library) for line in imports)
        imports = imports if program.training else (library, "from typing import Any", "", *imports)
    if any("def _restarts(" in part for part in parts):
        imports = tuple(line.replace("import Callable", "import Callable, Iterable, Iterator") for line in imports)
    elif learns(program):
        library = "from collections.abc import Callable, Iterator" if program.training else "from collections.abc import Iterator"
        imports = tuple(line for line in imports if "collections.abc" not in line)
        imports = tuple(word for line in imports for word in ((library, line) if line.startswith("from typing") else (line,)))
    return _with_copies(imports) if is_managed else imports


def _with_copies(imports: tuple[str, ...]) -> tuple[str, ...]:
    """With what a module needs whose `forward` may be cut in pieces."""
    library = imports[: imports.index("")] if "" in imports else ()
    typed = library if any("typing" in line for line in library) else (*library, "from typing import Any")
    return ("import copy", *typed, "", *imports[len(library) + bool(library) :], "from torch.utils.checkpoint import checkpoint")
