"""A place in a module -> the names that are bound around it."""

from __future__ import annotations

import ast
from collections.abc import Sequence

from tests.mutation.source import Place


def parameters(place: Place) -> list[str]:
    """The parameters of the function around a place, `self` excepted."""
    function = place.function
    if function is None:
        return []
    every = (*function.args.posonlyargs, *function.args.args, *function.args.kwonlyargs)
    return [argument.arg for argument in every if argument.arg != "self"]


def locals_of(place: Place) -> list[str]:
    """Parameters, then what the function binds, each once, in the order of the text."""
    if place.function is None:
        return []
    return list(dict.fromkeys((*parameters(place), *stores(*place.function.body))))


def is_local_read(place: Place) -> bool:
    """Whether the place is a local variable that is read."""
    node = place.node
    return isinstance(node, ast.Name) and isinstance(node.ctx, ast.Load) and node.id in locals_of(place)


def attributes_of_self(place: Place) -> list[str]:
    """The attributes that the constructor of the class around a place assigns, in the order of the text."""
    owner = next((node for node in reversed(place.around) if isinstance(node, ast.ClassDef)), None)
    found: list[str] = []
    for node in ast.walk(owner) if owner else ():
        match node:
            case ast.Attribute(value=ast.Name(id="self"), attr=attr, ctx=ast.Store()):
                found.append(attr)
    return found


def stores(*nodes: ast.AST) -> list[str]:
    """The names that these nodes bind or change: targets, what a method or function whose name ends in `_` changes, what is appended to."""
    found = []
    for node in (inner for outer in nodes for inner in in_order(outer)):
        match node:
            case ast.Name(id=name, ctx=ast.Store()):
                found.append(name)
            case ast.Call(func=ast.Attribute(value=ast.Name(id="torch"), attr=attr), args=[ast.Name(id=name), *_]) if attr.endswith("_"):
                found.append(name)
            case ast.Call(func=ast.Attribute(value=ast.Name(id=name), attr="append")):
                found.append(name)
    return found


def loads(node: ast.AST) -> set[str]:
    """The names that a node reads."""
    return {inner.id for inner in ast.walk(node) if isinstance(inner, ast.Name) and isinstance(inner.ctx, ast.Load)}


def in_order(node: ast.AST) -> Sequence[ast.AST]:
    """A node and its parts in the order of the text."""
    inner = [part for child in ast.iter_child_nodes(node) for part in in_order(child)]
    return (node, *inner)


def in_subscript(place: Place) -> bool:
    """Whether the node stands inside the brackets of a subscript, with nothing but tuples and slices between."""
    inner: ast.AST = place.node
    for node in reversed(place.around):
        if isinstance(node, ast.Subscript):
            return node.slice is inner
        if not isinstance(node, ast.Tuple | ast.Slice):
            return False
        inner = node
    return False
