"""A law as one expression: abbreviations put back, so that only states, streams and numbers are left."""

from __future__ import annotations

from nlc.ir.algebra import Expr, Named
from nlc.ir.build import replace
from nlc.ir.law import Law


def inlined(law: Law, part: str) -> Expr:
    """The new value of one tensor of the law's component, over reads of states, inputs and hyperparameters."""
    values: dict[str, Expr] = {}
    for equation in law.equations:
        values[equation.name] = replace(equation.value, lambda node: values.get(node.name) if isinstance(node, Named) else None)
    return values[law.new_state(part).name]
