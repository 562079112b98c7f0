"""The text of a module -> places where it may be changed, and texts with one place changed: precise edits, so that a mutant is a diff."""

from __future__ import annotations

import ast
from collections.abc import Callable, Iterator
from dataclasses import dataclass, field
from itertools import accumulate
from typing import TypeVar, cast

Node = TypeVar("Node", bound=ast.AST)
Function = ast.FunctionDef | ast.Lambda


@dataclass(frozen=True, slots=True)
class Edit:
    """Bytes `start` up to `end` of a text become `new`."""

    start: int
    end: int
    new: str


@dataclass(frozen=True, slots=True)
class Place:
    """A node of the module with the nodes around it, the module first."""

    node: ast.AST
    around: tuple[ast.AST, ...]

    @property
    def parent(self) -> ast.AST:
        return self.around[-1]

    @property
    def function(self) -> ast.FunctionDef | None:
        """The innermost function around the node."""
        return next((node for node in reversed(self.around) if isinstance(node, ast.FunctionDef)), None)

    @property
    def where(self) -> str:
        """The function's name, or the class's, or `module`."""
        named = (node.name for node in reversed((*self.around, self.node)) if isinstance(node, ast.FunctionDef | ast.ClassDef))
        return next(named, "module")


@dataclass(frozen=True, slots=True)
class Source:
    """A module's text with its tree; nodes know their places in it."""

    text: str
    tree: ast.Module
    data: bytes = field(repr=False)
    lines: tuple[int, ...] = field(repr=False)
    """Where each line begins, in bytes."""

    @staticmethod
    def of_text(text: str) -> Source:
        data = text.encode()
        lengths = [len(line) for line in data.splitlines(keepends=True)]
        return Source(text, ast.parse(text), data, tuple(accumulate(lengths, initial=0)))

    def span(self, node: ast.AST) -> tuple[int, int]:
        """The first byte of a node and the one after its last."""
        located = cast(ast.expr, node)
        assert located.end_lineno is not None and located.end_col_offset is not None
        return self.lines[located.lineno - 1] + located.col_offset, self.lines[located.end_lineno - 1] + located.end_col_offset

    def slice(self, start: int, end: int) -> str:
        return self.data[start:end].decode()

    def of(self, node: ast.AST) -> str:
        """A node as it is written."""
        return self.slice(*self.span(node))

    def atom(self, node: ast.expr) -> str:
        """A node as it is written, in parentheses where it needs them to stand anywhere."""
        atoms = ast.Name | ast.Attribute | ast.Call | ast.Subscript | ast.Constant | ast.List | ast.Dict | ast.ListComp
        return self.of(node) if isinstance(node, atoms) else f"({self.of(node)})"

    def replaced(self, node: ast.AST, new: str) -> Edit:
        return Edit(*self.span(node), new)

    def swapped(self, left: ast.AST, right: ast.AST) -> Edit:
        """Two nodes in each other's place."""
        (start, left_end), (right_start, end) = self.span(left), self.span(right)
        return Edit(start, end, self.of(right) + self.slice(left_end, right_start) + self.of(left))

    def between(self, left: ast.AST, right: ast.AST, old: str, new: str) -> Edit:
        """The sign `old` between two nodes, changed to `new`."""
        start, end = self.span(left)[1], self.span(right)[0]
        gap = self.slice(start, end)
        assert gap.count(old) == 1, gap
        return Edit(start, end, gap.replace(old, new))

    def edited(self, edit: Edit) -> str:
        return (self.data[: edit.start] + edit.new.encode() + self.data[edit.end :]).decode()

    def diff(self, edit: Edit) -> tuple[str, str]:
        """The lines that an edit touches, before and after, each as one line without indentation."""
        first = self.data.rfind(b"\n", 0, edit.start) + 1
        last = self.data.find(b"\n", edit.end)
        before, after = self.slice(first, last), self.slice(first, edit.start) + edit.new + self.slice(edit.end, last)
        return " ".join(before.split()), " ".join(after.split())

    def places(self) -> Iterator[Place]:
        """Every node that is not excluded, in the order of the text, a node before its parts."""
        yield from _places(Place(self.tree, ()))


def _places(place: Place) -> Iterator[Place]:
    for name, value in ast.iter_fields(place.node):
        for child in value if isinstance(value, list) else [value]:
            if isinstance(child, ast.AST) and not any(rule(place.node, name, child) for rule, _ in EXCLUDED):
                inner = Place(child, (*place.around, place.node))
                yield inner
                yield from _places(inner)


Exclusion = Callable[[ast.AST, str, ast.AST], bool]
"""Whether a parent's child, in this field, is left alone."""


def _is_docstring(parent: ast.AST, name: str, child: ast.AST) -> bool:
    return isinstance(child, ast.Expr) and isinstance(child.value, ast.Constant)


def _is_annotation(parent: ast.AST, name: str, child: ast.AST) -> bool:
    return name in ("annotation", "returns")


def _is_import(parent: ast.AST, name: str, child: ast.AST) -> bool:
    return isinstance(child, ast.Import | ast.ImportFrom)


def _is_export(parent: ast.AST, name: str, child: ast.AST) -> bool:
    return isinstance(child, ast.Assign) and isinstance(child.targets[0], ast.Name) and child.targets[0].id == "__all__"


def _is_overload(parent: ast.AST, name: str, child: ast.AST) -> bool:
    match child:
        case ast.FunctionDef(decorator_list=[ast.Name(id="overload")]):
            return True
    return False


def _is_message(parent: ast.AST, name: str, child: ast.AST) -> bool:
    return isinstance(parent, ast.Call) and isinstance(parent.func, ast.Name) and parent.func.id.endswith("Error")


EXCLUDED: tuple[tuple[Exclusion, str], ...] = (
    (_is_docstring, "docstrings say what the code does and do nothing"),
    (_is_annotation, "annotations are the type checker's: emitted files pass mypy --strict in `make check`"),
    (_is_import, "a missing import is a NameError, which shows nothing about the verifier"),
    (_is_export, "`__all__` is read by `import *` alone; tests/emit holds it"),
    (_is_overload, "overloads are annotations of a function that follows"),
    (_is_message, "the words of an exception are for people; that it is raised is mutated"),
)
"""What is not mutated, each with the reason."""
