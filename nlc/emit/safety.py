"""The text of a module -> nothing, if it holds only what emitted code may hold: the last gate before the text leaves the stage."""

from __future__ import annotations

import ast
from collections.abc import Iterator

from nlc.emit.imports import MODULES

STATEMENTS = (
    ast.Import, ast.ImportFrom, ast.ClassDef, ast.FunctionDef, ast.Assign, ast.AnnAssign, ast.Expr, ast.Return, ast.For, ast.If, ast.With,
    ast.Raise,
)  # fmt: skip
FORBIDDEN_NAMES = frozenset({"eval", "exec", "compile", "globals", "locals", "vars", "getattr", "setattr", "delattr", "open", "input"})
DUNDERS = frozenset({"__init__", "__all__"})


def assert_safe(text: str) -> None:
    """Raises AssertionError, a defect of nlc, for a text that is no Python or does anything but compute with torch."""
    try:
        tree = ast.parse(text)
    except (SyntaxError, ValueError) as error:
        raise AssertionError(f"emitted text is not Python: {error}") from error
    faults = sorted({fault for node in ast.walk(tree) for fault in _faults(node)})
    assert not faults, f"emitted text goes beyond what emitted code may do: {'; '.join(faults)}"


def _faults(node: ast.AST) -> Iterator[str]:
    match node:
        case ast.Import(names):
            yield from (f"import of {item.name}" for item in names if item.name not in MODULES)
        case ast.ImportFrom(module, _, level) if level or module not in MODULES:
            yield f"import from {module}"
        case ast.stmt() if not isinstance(node, STATEMENTS):
            yield type(node).__name__
        case ast.Name(id=name) if name in FORBIDDEN_NAMES or _is_dunder(name):
            yield name
        case ast.Attribute(attr=name) if _is_dunder(name):
            if not (name == "__init__" and isinstance(node.value, ast.Call)):
                yield name
        case ast.FunctionDef(name=name) | ast.ClassDef(name=name) if _is_dunder(name) and name != "__init__":
            yield name


def _is_dunder(name: str) -> bool:
    return name.startswith("__") and name not in DUNDERS
