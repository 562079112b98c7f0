"""The repository as data for the house rules: its modules as syntax trees, and what each of them imports."""

from __future__ import annotations

import ast
from collections.abc import Callable, Iterable, Iterator
from dataclasses import dataclass
from functools import cache
from pathlib import Path

ROOT = Path(__file__).resolve().parents[2]


@dataclass(frozen=True, slots=True)
class Module:
    """A file of Python: its dotted name (a package is called by its folder), its path from the root, its text and tree."""

    name: str
    path: str
    text: str
    tree: ast.Module

    @staticmethod
    def of(path: str, text: str) -> Module:
        parts = Path(path).with_suffix("").parts
        return Module(".".join(parts[:-1] if parts[-1] == "__init__" else parts), path, text, ast.parse(text))

    def within(self, *packages: str) -> bool:
        return is_within(self.name, packages)


Finding = tuple[ast.AST, str]
"""A node, and what is wrong with it."""
Rule = Callable[[Module], Iterable[Finding]]


@cache
def modules(folder: str) -> tuple[Module, ...]:
    """Every Python file below a folder of the repository, sorted by path; there must be one."""
    paths = sorted((ROOT / folder).rglob("*.py"))
    assert paths, f"{folder}/ has no Python files"
    return tuple(Module.of(path.relative_to(ROOT).as_posix(), path.read_text()) for path in paths)


def violations(rule: Rule, checked: Iterable[Module]) -> list[str]:
    """What a rule finds, as `file:line: sentence`."""
    return [f"{module.path}:{getattr(node, 'lineno', 1)}: {says}" for module in checked for node, says in rule(module)]


def is_within(name: str, packages: Iterable[str]) -> bool:
    return any(name == package or name.startswith(f"{package}.") for package in packages)


def imports(module: Module) -> Iterator[tuple[ast.AST, str]]:
    """Each import anywhere in the file, by absolute dotted name: `from a.b import c` is `a.b.c`."""
    for node in ast.walk(module.tree):
        match node:
            case ast.Import(names):
                yield from ((node, alias.name) for alias in names)
            case ast.ImportFrom(base, names, level):
                package = module.name.split(".") if module.path.endswith("__init__.py") else module.name.split(".")[:-1]
                above = package[: len(package) - level + 1] if level else []
                prefix = ".".join([*above, *([base] if base else [])])
                yield from ((node, f"{prefix}.{alias.name}") for alias in names)


def functions(module: Module) -> Iterator[ast.FunctionDef | ast.AsyncFunctionDef]:
    return (node for node in ast.walk(module.tree) if isinstance(node, ast.FunctionDef | ast.AsyncFunctionDef))
