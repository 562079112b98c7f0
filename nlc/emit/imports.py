"""The parts of a module -> its import lines: those of the names that the parts use and no scope of theirs makes."""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Sequence
from symtable import SymbolTable, symtable

LIBRARY: tuple[tuple[str, tuple[str, ...]], ...] = (
    ("copy", ()),
    ("math", ()),
    ("collections.abc", ("Callable", "Iterable", "Iterator")),
    ("typing", ("Any", "overload")),
)
"""The modules of the standard library in the order of their lines, and what is imported from each: nothing from one that is used itself."""

TORCH: tuple[tuple[str, tuple[str, ...]], ...] = (
    ("torch", ()),
    ("torch", ("Tensor", "distributed", "nn")),
    ("torch.optim", ("Optimizer",)),
    ("torch.optim.optimizer", ("ParamsT",)),
    ("torch.utils.checkpoint", ("checkpoint",)),
)
"""The same of torch."""

MODULES = frozenset(module for module, _ in (*LIBRARY, *TORCH))
"""All that emitted code may import from."""


def imports(parts: Sequence[str]) -> tuple[str, ...]:
    """The lines, first those of the standard library, then, after an empty one, torch's."""
    used = _free(symtable("\n".join(parts), "parts", "exec"))
    groups = [tuple(_lines(modules, used)) for modules in (LIBRARY, TORCH)]
    return tuple(line for group in groups if group for line in ("", *group))[1:]


def _free(table: SymbolTable) -> set[str]:
    """The names that a scope, or one inside of it, takes from the module."""
    own = {symbol.get_name() for symbol in table.get_symbols() if symbol.is_referenced() and symbol.is_global()}
    return own.union(*map(_free, table.get_children()))


def _lines(modules: Iterable[tuple[str, tuple[str, ...]]], used: set[str]) -> Iterator[str]:
    for module, names in modules:
        wanted = ", ".join(name for name in names if name in used)
        if wanted:
            yield f"from {module} import {wanted}"
        elif not names and module in used:
            yield f"import {module}"
