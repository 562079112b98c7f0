"""Laws as text, for `nlc show` and `nlc explain`: one line an equation, in columns."""

from __future__ import annotations

import textwrap
from collections.abc import Iterator, Sequence

from nlc.ir.law import Equation, Laws, abbreviated_text, used_definitions
from nlc.ir.restarts import restart_equations

WIDEST_EQUATION = 60
"""A longer equation pushes its own rule to the right, and nobody else's."""


def laws_text(laws: Laws) -> str:
    """All laws in the order in which they run, then the outputs, each equation with its rule and citations. Ends without a newline.

    Of a model, the laws of each of its layers, then those of what trains it.
    """
    if laws.layers:
        texts = [f"{layer.order.model.name}\n{textwrap.indent(laws_text(layer), '    ')}" for layer in laws.layers]
        return "\n".join([*texts, *([_laws_text(laws)] if laws.training else [])])
    return _laws_text(laws)


def _laws_text(laws: Laws) -> str:
    definitions, unit = used_definitions(laws), laws.order.model.unit
    blocks = [("abbreviations", definitions)] if definitions else []
    blocks += [(f"{law.component}, {law.says}", law.equations) for law in laws.laws]
    if laws.told_outputs:
        blocks.append(("outputs, after the updates", laws.told_outputs))
    if laws.kept:
        blocks.append((f"kept for the next {unit}", tuple(Equation(item.name, item.value, item.rule) for item in laws.kept)))
    if laws.resets:
        resets = (equation for item in laws.resets for equation in item.told)
        blocks.append((f"before the first {unit} of a new period", tuple(resets)))
    blocks += [(f"{law.component}, when the sequence ends", law.equations) for law in laws.endings]
    if laws.beginnings:
        begun = (Equation(item.name, item.value, "goes on" if item.goes_on else "begins anew") for item in laws.beginnings)
        blocks.append(("with which the next sequence begins", tuple(begun)))
    for item, training in zip(laws.order.model.training, laws.training, strict=True):
        title = f"every {item.every}, by {item.optimizer.name}: {', '.join(item.levels)}"
        blocks.append((title, tuple(equation for law in training.laws for equation in law.equations)))
    if restarts := restart_equations(laws.order.model):
        blocks.append(("slow levels that start again", restarts))
    equations = [equation for _, group in blocks for equation in group]
    names = max(len(equation.name) for equation in equations)
    texts = [abbreviated_text(equation, definitions) for equation in equations]
    values = max((width for text in texts if (width := len(text)) <= WIDEST_EQUATION), default=0)
    return "\n".join(line for title, group in blocks for line in _block(title, group, names, values, definitions))


def _block(title: str, equations: Sequence[Equation], names: int, values: int, definitions: tuple[Equation, ...]) -> Iterator[str]:
    yield title
    for equation in equations:
        source = " ".join((f"[{equation.rule}]", *equation.cites))
        yield f"    {equation.name:<{names}}  = {abbreviated_text(equation, definitions):<{values}}    {source}"
