"""A law in the making: equations collected in order, each under a word that nothing else has."""

from __future__ import annotations

from dataclasses import dataclass, field

from nlc.derive.names import fresh_name
from nlc.ir.algebra import Expr, Named, State, walk
from nlc.ir.law import Equation


@dataclass(slots=True)
class Draft:
    """The equations of the law of `level` so far; `reserved` are words that the spec uses itself."""

    level: str
    reserved: frozenset[str]
    equations: list[Equation] = field(default_factory=list)

    def let(self, word: str, value: Expr, rule: str, cites: tuple[str, ...] = ()) -> Named:
        """The name of the value: the one it has, or that of a new equation, called by the word if it is free."""
        known = self.known(value)
        if isinstance(known, Named):
            return known
        taken = self.reserved | {equation.name for equation in self.equations}
        name = fresh_name(word, self.level, taken)
        self.equations.append(Equation(name, value, rule, cites))
        return Named(name, value.shape)

    def keep(self, word: str, value: Expr, rule: str, state: State) -> Named:
        """The name of a new equation that gives the new value of a state, be it another component's."""
        taken = self.reserved | {equation.name for equation in self.equations}
        name = fresh_name(word, self.level, taken)
        owner = None if state.component == self.level else state.component
        self.equations.append(Equation(name, value, rule, (), state.part, owner))
        return Named(name, value.shape)

    def kept(self, state: State) -> Named | None:
        """The name of the equation that gives the new value of a state."""
        owner = None if state.component == self.level else state.component
        found = (item for item in self.equations if item.part == state.part and item.owner == owner)
        return next((Named(item.name, item.value.shape) for item in found), None)

    def known(self, value: Expr) -> Expr:
        """The name of the equation with this value, or the value itself when there is none."""
        return next((Named(equation.name, value.shape) for equation in self.equations if equation.value == value), value)

    def defines(self, value: Expr) -> bool:
        return isinstance(value, Named) and any(equation.name == value.name for equation in self.equations)

    def finished(self, *new_states: Equation) -> tuple[Equation, ...]:
        """The new states, after those equations that they need."""
        kept, needed = list(new_states), {name for state in new_states for name in names_in(state.value)}
        for equation in reversed(self.equations):
            if equation.name in needed or equation.part is not None:
                kept.insert(0, equation)
                needed |= names_in(equation.value)
        return tuple(kept)


def names_in(node: Expr) -> set[str]:
    """The equations that an expression refers to."""
    return {part.name for part in walk(node) if isinstance(part, Named)}
