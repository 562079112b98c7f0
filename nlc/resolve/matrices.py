"""Whether an optimizer spec is about matrices: then `like(weights)` has rows and columns, and parameters of other ranks are refused.

Every other optimizer takes tensors as they come; for it `like(weights)` is the list of their entries.
"""

from __future__ import annotations

from collections.abc import Iterator, Mapping

from nlc.ir.dims import Dim, Shape
from nlc.ir.spec import Binary, Call, Comparison, DefinitionField, Function, Listing, Name, Negate, Spec, Syntax

WORDS = frozenset({"transpose", "outer", "rows", "columns"})
"""Functions of matrices and their sizes."""


def is_of_matrices(spec: Spec, definitions: Mapping[str, DefinitionField]) -> bool:
    """Whether some level of the spec multiplies or transposes matrices, itself or through what it uses."""
    return any(_speaks_of_matrices(syntax, definitions, ()) for syntax in _texts(spec))


def sides_of(like: Shape) -> dict[str, Dim]:
    """What `rows(weights)` and `columns(weights)` are; nothing when `like(weights)` is no matrix."""
    return {"rows(weights)": like[0], "columns(weights)": like[1]} if len(like) == 2 else {}


def _texts(spec: Spec) -> Iterator[Syntax]:
    yield from (item.value for item in spec.let)
    yield from (size for stream in spec.inputs if isinstance(stream.shape, tuple) for size in stream.shape)
    for level in spec.levels:
        found = (level.memory, level.objective, level.retention, level.optimizer, level.init, level.keys, level.values)
        yield from (syntax for syntax in found if syntax is not None)


def _speaks_of_matrices(syntax: Syntax, definitions: Mapping[str, DefinitionField], path: tuple[str, ...]) -> bool:
    match syntax:
        case Binary("@"):
            return True
        case Name(text):
            return text in WORDS or (text not in path and text in definitions and _defines_matrices(definitions[text], definitions, path))
        case Binary(_, left, right):
            parts: tuple[Syntax, ...] = (left, right)
        case Negate(operand):
            parts = (operand,)
        case Comparison(operands) | Listing(operands):
            parts = operands
        case Function(_, body):
            parts = (body,)
        case Call(function, arguments, keywords):
            parts = (function, *arguments, *(value for _, value in keywords))
        case _:
            return False
    return any(_speaks_of_matrices(part, definitions, path) for part in parts)


def _defines_matrices(definition: DefinitionField, definitions: Mapping[str, DefinitionField], path: tuple[str, ...]) -> bool:
    inner = (*path, definition.name.text)
    bodies = (definition.objective, definition.retention)
    return any(_speaks_of_matrices(body, definitions, inner) for body in bodies if body is not None)
