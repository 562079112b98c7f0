"""Mutations of statements: one place of a module -> the edits that an operator makes there."""

from __future__ import annotations

import ast
from collections.abc import Iterator
from itertools import pairwise

from tests.mutation.scope import loads, parameters, stores
from tests.mutation.source import Edit, Place, Source

SIMPLE = ast.Assign | ast.AnnAssign | ast.AugAssign | ast.Expr | ast.Raise | ast.Return


def statement_dropped(place: Place, source: Source) -> Iterator[Edit]:
    """Any simple statement but one that alone binds a name: without it the name would be missing, which shows nothing."""
    match place.node:
        case ast.Assign() | ast.AnnAssign() if place.function and not set(stores(place.node)) <= _bound_before(place):
            return
        case ast.Assign() | ast.AnnAssign() | ast.Expr() | ast.Raise() | ast.Return() if place.function:
            yield source.replaced(place.node, "pass")


def _bound_before(place: Place) -> set[str]:
    """The parameters, and the names bound in the function above the node."""
    assert place.function is not None
    above = [node for node in ast.walk(place.function) if isinstance(node, SIMPLE | ast.For) and node.lineno < _line(place.node)]
    headers = [node.target if isinstance(node, ast.For) else node for node in above]
    return {*parameters(place), *stores(*headers)}


def _line(node: ast.AST) -> int:
    return node.lineno if isinstance(node, ast.stmt) else 0


def statements_swapped(place: Place, source: Source) -> Iterator[Edit]:
    """Neighbours of which one changes what the other reads or changes, when both still find their names bound."""
    for name in ("body", "orelse"):
        block = getattr(place.node, name, None)
        for first, second in pairwise(block if isinstance(block, list) else []):
            if not isinstance(first, SIMPLE) or not isinstance(second, SIMPLE):
                continue
            around = (*place.around, place.node)
            shared = (set(stores(first)) & (loads(second) | set(stores(second)))) | (loads(first) & set(stores(second)))
            before = _bound_before(Place(first, around)) if Place(first, around).function else set()
            if shared and (set(stores(first)) & loads(second)) <= before:
                yield source.swapped(first, second)


def loop_shortened(place: Place, source: Source) -> Iterator[Edit]:
    """The first turn is left out, or the last."""
    match place.node:
        case ast.For(iter=iterable) | ast.comprehension(iter=iterable):
            yield from (source.replaced(iterable, f"list({source.of(iterable)})[{part}]") for part in ("1:", ":-1"))


def guard_dropped(place: Place, source: Source) -> Iterator[Edit]:
    """The context of a `with`, or a decorator, loses its effect."""
    match place.node:
        case ast.With(items=[ast.withitem(context_expr=context)]):
            yield source.replaced(context, "memoryview(b'')")
        case ast.FunctionDef(decorator_list=[ast.Call() as decorator]):
            start, end = source.span(decorator)
            yield Edit(start - 1, end, "")


def result_lost(place: Place, source: Source) -> Iterator[Edit]:
    match place.node:
        case ast.Return(value=ast.expr() as value):
            yield source.replaced(value, "None")
