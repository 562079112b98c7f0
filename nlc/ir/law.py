"""Update rules as named equations in the paper's words, each with the rule and the citation that produced it."""

from __future__ import annotations

from dataclasses import dataclass

from nlc.ir.algebra import Expr
from nlc.ir.model import Clock
from nlc.ir.order import LevelOrder


@dataclass(frozen=True, slots=True)
class Equation:
    """`name = value`, by a rule. `name` is unique within its law; later equations refer to it by `Named`.

    `part` says which tensor of the component's state the equation gives the new value of (None for an abbreviation).
    """

    name: str
    value: Expr
    rule: str
    cites: tuple[str, ...] = ()
    part: str | None = None


@dataclass(frozen=True, slots=True)
class Law:
    """How one component moves at a tick of its clock: its equations in order, the new states last.

    Reads in the equations are settled: a `State` node is either PREVIOUS (the state when the tick began) or CURRENT (the new state,
    of a component that ran earlier in this tick).
    """

    component: str
    clock: Clock
    equations: tuple[Equation, ...]

    def new_state(self, part: str) -> Equation:
        return next(equation for equation in self.equations if equation.part == part)


@dataclass(frozen=True, slots=True)
class Laws:
    """All laws of a system in the order in which they run at a tick, then the outputs (settled in the same way)."""

    order: LevelOrder
    laws: tuple[Law, ...]
    outputs: tuple[Equation, ...]

    def law(self, component: str) -> Law:
        return next(law for law in self.laws if law.component == component)
