"""Expressions -> JSON, for certificates: every node with its kind, shape, operands and what else tells it from others."""

from __future__ import annotations

from enum import Enum
from fractions import Fraction
from typing import Any

from nlc.ir.algebra import Expr, children
from nlc.ir.dims import Dim

DETAILS = ("name", "component", "part", "when", "period", "delayed", "axis", "function", "operator", "value", "unit", "tokens")


def node_json(node: Expr) -> dict[str, Any]:
    """One node with everything below it."""
    found: dict[str, Any] = {
        "kind": type(node).__name__,
        "shape": [dim_json(dim) for dim in node.shape],
        "operands": [node_json(child) for child in children(node)],
    }
    for name in DETAILS:
        if hasattr(node, name):
            found[name] = _plain(getattr(node, name))
    if hasattr(node, "dim"):
        found["dim"] = dim_json(node.dim)
    return found


def dim_json(dim: Dim) -> list[Any]:
    """A size: its terms, each a factor and the powers of names."""
    return [[str(factor), [list(item) for item in names]] for names, factor in dim.terms]


def _plain(value: object) -> object:
    if isinstance(value, Enum):
        return value.value
    return str(value) if isinstance(value, Fraction) else value
