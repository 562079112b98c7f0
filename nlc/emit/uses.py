"""The equations of a level that moves at the ends of periods -> where in a block each of them is needed."""

from __future__ import annotations

from collections import Counter
from collections.abc import Callable, Collection
from dataclasses import dataclass, replace

from nlc.ir.algebra import Add, Expr, Named, Outer, State, When, walk
from nlc.ir.build import add, replace as replaced
from nlc.ir.law import Equation


@dataclass(frozen=True, slots=True)
class Uses:
    """The names of equations that are needed at every token, as sums over the block, and once at its end."""

    at_every_token: frozenset[str]
    summed: frozenset[str]
    at_end: frozenset[str]

    def __contains__(self, name: str) -> bool:
        return name in self.at_every_token or name in self.summed or name in self.at_end


def find_uses(component: str, equations: tuple[Equation, ...]) -> Uses:
    """Sums are what is gathered, and abbreviations that stand in one alone; what they are made of is needed at every token."""
    gathered = {equation.name for equation in equations if gathers(component, equation)}
    every: set[str] = set()
    summed: set[str] = set(gathered)
    end: set[str] = {item.name for item in equations if item.part is not None or item.starts is not None} - gathered
    for equation in reversed(equations):
        if equation.name in gathered:
            for term in sum_terms(equation.value):
                (summed if isinstance(term, Named) else every).update(_names(term))
        elif equation.name in every or equation.name in summed:
            every |= _names(equation.value)
        if equation.name in end:
            end |= _names(equation.value)
    return Uses(frozenset(every), frozenset(summed - every), frozenset(end))


def gathered_in_place(component: str, equations: tuple[Equation, ...]) -> tuple[Equation, ...]:
    """The equations without names for outer products that are gathered and used nowhere else: those stand where they are gathered."""
    times = Counter(part.name for equation in equations for part in walk(equation.value) if isinstance(part, Named))
    products = {item.name: item.value for item in equations if isinstance(item.value, Outer) and times[item.name] == 1 and _is_word(item)}
    kept = []
    for equation in equations:
        terms = sum_terms(equation.value)
        if gathers(component, equation) and any(isinstance(term, Named) and term.name in products for term in terms):
            placed = (products.pop(term.name, term) if isinstance(term, Named) else term for term in terms)
            equation = replace(equation, value=add(*placed))
        kept.append(equation)
    return tuple(kept)


def _is_word(equation: Equation) -> bool:
    return equation.part is None and equation.starts is None


def gathers(component: str, equation: Equation) -> bool:
    """Whether an equation adds to the sum of the data since the last update."""
    return equation.part is not None and any(
        is_gathered(term, equation.owner or component, equation.part) for term in sum_terms(equation.value)
    )


def is_gathered(node: Expr, component: str, part: str | None) -> bool:
    """Whether a term is that sum as the block begins; an abbreviation, whose part is None, has none."""
    return isinstance(node, State) and (node.component, node.part, node.when) == (component, part, When.PREVIOUS)


def sum_terms(node: Expr) -> tuple[Expr, ...]:
    """The terms of a sum, or all there is."""
    return node.terms if isinstance(node, Add) else (node,)


def written_out(equations: tuple[Equation, ...], varies: Callable[[Expr], bool], kept_names: Collection[str] = ()) -> tuple[Equation, ...]:
    """The equations without abbreviations for what all tokens share, which does not vary: those are written out where they stand.

    Those of `kept_names` stay, and where the rounds of a level start.
    """
    shared: dict[str, Expr] = {}
    kept = []
    for equation in equations:
        value = replaced(equation.value, lambda node: shared.get(node.name) if isinstance(node, Named) else None)
        if equation.part is None and equation.starts is None and equation.name not in kept_names and not varies(value):
            shared[equation.name] = value
        else:
            kept.append(replace(equation, value=value))
    return tuple(kept)


def _names(node: Expr) -> set[str]:
    return {part.name for part in walk(node) if isinstance(part, Named)}
