"""The equations of an optimizer's law -> those that get lines of their own; what is used once is written out where it is used."""

from __future__ import annotations

from dataclasses import replace as with_changes

from nlc.ir.algebra import Dot, Due, Expr, Named, Norm, Sum, Where, walk
from nlc.ir.build import replace
from nlc.ir.dims import ENTRIES, MATRIX
from nlc.ir.law import Equation
from nlc.ir.show import expression_text

LONGEST = 200
"""Characters of an equation into which another may be written."""


def written_out(equations: tuple[Equation, ...], of_matrices: bool) -> list[tuple[Equation, tuple[str, ...]]]:
    """The equations without those lists that a single one of them uses, once: they are written out there, unless they sum up each tensor.

    Each comes with its text and, before it, the texts of those that are written out in it.
    """
    kept: list[tuple[Equation, tuple[str, ...]]] = [
        (item, (f"{item.name} = {expression_text(when_due(item.value))}",)) for item in equations
    ]
    for name in [item.name for item in equations]:
        equation, texts = next(pair for pair in kept if pair[0].name == name)
        word = Named(name, equation.value.shape)
        uses = [item.name for item, _ in kept for node in walk(item.value) if node == word]
        if (
            equation.part is None
            and equation.value.shape in (ENTRIES, MATRIX)
            and len(uses) == 1
            and not (of_matrices and _sums_up(equation.value))
            and all(len(expression_text(_put(item.value, word, equation.value))) <= LONGEST for item, _ in kept if item.name in uses)
        ):
            kept = [_with(pair, word, equation.value, texts) if pair[0].name in uses else pair for pair in kept if pair[0] != equation]
    return kept


def _with(pair: tuple[Equation, tuple[str, ...]], word: Expr, value: Expr, texts: tuple[str, ...]) -> tuple[Equation, tuple[str, ...]]:
    equation, own = pair
    return with_changes(equation, value=_put(equation.value, word, value)), (*texts, *own)


def _put(where: Expr, word: Expr, value: Expr) -> Expr:
    return replace(where, lambda node: value if node == word else None)


def _sums_up(value: Expr) -> bool:
    return any(isinstance(node, Dot | Norm | Sum) for node in walk(value))


def when_due(value: Expr) -> Expr:
    """What a state becomes when it is due; the lines stand under that condition."""
    match value:
        case Where(Due(), then):
            return then
    return value
