"""Laws and a dim -> whether another orthonormal basis of that dim changes nothing but the basis of the results, and if not, why not.

A system keeps its meaning in any basis when no operation looks at single entries along the dim: sums of products over it, and products with
numbers, do not; elementwise products, functions, gates for each channel, and sums over the entries do.
"""

from __future__ import annotations

from collections.abc import Iterator

from nlc.ir.algebra import (
    Compare,
    Divide,
    Expr,
    Extremum,
    Eye,
    Full,
    Join,
    LayerNorm,
    Map,
    Power,
    Softmax,
    Split,
    Spread,
    Sum,
    Times,
    Where,
    WindowMean,
    children,
)
from nlc.ir.dims import Dim, Shape
from nlc.ir.law import Laws
from nlc.ir.model import Model
from nlc.ir.recents import Convolve


def dims_of(model: Model) -> tuple[str, ...]:
    """The names of the dims along which the system's vectors and matrices have entries."""
    shapes = [*(stream.shape for stream in model.inputs), *(state.shape for item in model.components for state in item.states)]
    return tuple(dict.fromkeys(dim.name for shape in shapes for dim in shape if dim.name is not None and dim.name not in model.axes))


def basis_obstacle(laws: Laws, name: str) -> str:
    """What keeps a system from having any basis of a dim; empty when nothing does."""
    for value in (*laws.values, *(item.value for item in laws.resets)):
        for node in _entrywise(value, name):
            for reason in _obstacles(node, name):
                return reason
    return ""


def _entrywise(node: Expr, name: str) -> Iterator[Expr]:
    """The node and everything below it, but not products with what is the same in all entries along the dim."""
    match node:
        case Times(left, Spread(x, axis)) if _is_constant_along(node.shape, axis, name):
            parts: tuple[Expr, ...] = (left, x)
        case Times(Spread(x, axis), right) if _is_constant_along(node.shape, axis, name):
            parts = (x, right)
        case _:
            yield node
            parts = children(node)
    for part in parts:
        yield from _entrywise(part, name)


def _is_constant_along(shape: Shape, axis: int | None, name: str) -> bool:
    return all(place != axis for place, dim in enumerate(shape) if dim.name == name)


def _obstacles(node: Expr, name: str) -> Iterator[str]:
    shapes = (node.shape, *(child.shape for child in children(node)))
    if any(_is_made_of(dim, name) for shape in shapes for dim in shape):
        yield f"there are sizes made of {name}"
    match node:
        case Times() | Map() | Power() | Extremum() | Compare() | Softmax() | LayerNorm() if _has(node.shape, name):
            yield f"entries along {name} are taken one by one"
        case Convolve(_, kernel) if _has(kernel.shape, name):
            yield f"entries along {name} have weights of their own"
        case Divide(_, by) if _has(by.shape, name):
            yield f"entries along {name} are taken one by one"
        case Where(condition) if _has(condition.shape, name):
            yield f"entries along {name} are taken one by one"
        case Full(value) if value and _has(node.shape, name):
            yield f"a number stands in every entry along {name}"
        case Eye((rows, columns)) if rows != columns and _has(node.shape, name):
            yield f"an identity of {rows} and {columns} fixes the basis"
        case Spread(_, axis) if any(dim.name == name for place, dim in enumerate(node.shape) if place != axis):
            yield f"a number stands in every entry along {name}"
        case Sum(x, axis) if _has(x.shape, name) if axis is None else x.shape[axis].name == name:
            yield f"it sums over the entries along {name}"
        case WindowMean(scores) if any(_has(score.shape, name) for score in scores):
            yield f"entries along {name} are taken one by one"
        case Split(x) | Join(x) if _has(x.shape, name) or _has(node.shape, name):
            yield f"{name} is split or joined"


def _has(shape: Shape, name: str) -> bool:
    return any(dim.name == name for dim in shape)


def _is_made_of(dim: Dim, name: str) -> bool:
    return dim.name != name and name in dim.names
