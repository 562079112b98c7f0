"""What an objective is said with: the layers of a read, the prediction and the error, each under a name of its own."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass

from nlc.ir.algebra import Expr, LayerNorm, Map, Named, State, When, children, contains
from nlc.ir.build import replace


@dataclass(frozen=True, slots=True)
class Abbreviation:
    """`name` stands for `definition` in the objective; the definition still has FITTED reads.

    `surprise` is what the gradient by it is called where a reader needs its name (empty where it needs none).
    """

    name: Named
    definition: Expr
    surprise: str = ""
    is_read: bool = False
    is_error: bool = False


def count_layers(read: Expr, component: str) -> int:
    """How many different maps and norms inside a read vary with the component's state."""
    return len(set(_maps(read, component)))


def first_layer(read: Expr, component: str) -> Map | LayerNorm | None:
    """The innermost, leftmost map, or layer norm, of a read whose argument reads the component's own state."""
    return next(_maps(read, component), None)


def _maps(node: Expr, component: str) -> Iterator[Map | LayerNorm]:
    for child in children(node):
        yield from _maps(child, component)
    if isinstance(node, Map | LayerNorm) and contains(node, lambda part: _is_fitted(part, component)):
        yield node


def _is_fitted(node: Expr, component: str) -> bool:
    return isinstance(node, State) and node.component == component and node.when is When.FITTED


def occurs(wanted: Expr, node: Expr) -> bool:
    """Whether an expression is part of another."""
    return contains(node, lambda part: part == wanted)


def put(new: Expr, old: Expr, node: Expr) -> Expr:
    """The expression with `new` wherever it had `old`."""
    return replace(node, lambda part: new if part == old else None)
