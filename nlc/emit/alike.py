"""Laws of a system -> those that are told in full, and which others are the same but for whose state moves."""

from __future__ import annotations

import re
from dataclasses import dataclass, replace

from nlc.ir.algebra import Expr, State
from nlc.ir.build import replace as replaced
from nlc.ir.law import WORD, Equation, Kept, Law, without_repeats
from nlc.ir.show import expression_text


@dataclass(frozen=True, slots=True)
class Told:
    """A law that is told, and the components that move by it with their own states in place of its component's."""

    law: Law
    others: tuple[str, ...] = ()


def told_once(laws: tuple[Law, ...]) -> tuple[Told, ...]:
    """The laws in their order, each with those later ones that say the same of another state; the spec's words are defined once."""
    told: list[Told] = []
    for law in without_repeats(laws):
        like = next((place for place, item in enumerate(told) if _is_alike(item.law, law)), None)
        if like is None:
            told.append(Told(law))
        else:
            told[like] = replace(told[like], others=(*told[like].others, law.component))
    return tuple(told)


def _is_alike(told: Law, law: Law) -> bool:
    """Whether a law is the told one with another state; what defines a word of its own has to be told."""
    if told.clock != law.clock or any(item.rule == WORD for item in law.equations) or len(law.equations) < 2:
        return False
    return [_said(item, told.component, law.component) for item in told.equations if item.rule != WORD] == [
        _said(item, law.component, law.component) for item in law.equations
    ]


def kept_once(kept: tuple[Kept, ...]) -> tuple[tuple[Kept, tuple[str, ...]], ...]:
    """What is carried, in its order, each with the names of what is carried in the same way for other components."""
    told: dict[tuple[object, ...], tuple[Kept, tuple[str, ...]]] = {}
    for item in kept:
        said = (item.part, *_said(Equation(item.name, item.value, item.rule), item.component, "each"))
        first, others = told.get(said, (item, ()))
        told[said] = (first, others if first is item else (*others, item.name))
    return tuple(told.values())


def _said(equation: Equation, old: str, new: str) -> tuple[str, str, str, tuple[str, ...]]:
    """What a reader sees of an equation of a component, as if it were another one's."""

    def change(node: Expr) -> Expr | None:
        return replace(node, component=new) if isinstance(node, State) and node.component == old else None

    name, rule = (re.sub(rf"\b{re.escape(old)}\b", new, text) for text in (equation.name, equation.rule))
    return name, expression_text(replaced(equation.value, change)), rule, equation.cites
