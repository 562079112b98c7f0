"""Laws -> units: the levels that move at every token, each alone, or with its optimizer's levels where one linear law holds them all."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass

from nlc.ir.algebra import Expr, Parameter, State
from nlc.ir.build import replace
from nlc.ir.dual import DualLaw
from nlc.ir.law import Laws
from nlc.ir.program import Blocks
from nlc.schedule.dual_law import find_dual_laws
from nlc.schedule.inline import inlined
from nlc.schedule.reads import states_read

Dependencies = Mapping[str, frozenset[str]]


@dataclass(frozen=True, slots=True)
class Units:
    """`values` are the new states of every level, over states and streams; `duals` the linear laws, or why there is none, by memory.

    `gathering` are levels that stay as they are until the sequence ends, which are given like parameters.
    """

    blocks: Blocks
    slow: frozenset[str]
    values: Mapping[str, tuple[Expr, ...]]
    duals: Mapping[str, DualLaw | str]
    gathering: tuple[str, ...] = ()

    def given(self, value: Expr) -> Expr:
        """The value, in which levels that stay as they are until the sequence ends are given."""
        return _given(self.gathering, value)

    def law(self, name: str) -> DualLaw | None:
        """The linear law of the unit that a memory leads."""
        law = self.duals.get(name)
        return law if isinstance(law, DualLaw) else None

    def members(self, name: str) -> tuple[str, ...]:
        """The levels of a unit, the memory that leads it last."""
        law = self.law(name)
        return (*(item for item in law.components if item != name), name) if law else (name,)

    def leader(self, component: str) -> str:
        """The unit that a level belongs to."""
        return next((name for name in self.duals if component in self.members(name)), component)

    def reached(self) -> Dependencies:
        """Every unit that a unit's law needs, directly or through others."""
        names = [name for name in self.values if name not in self.slow and self.leader(name) == name]
        needed = {name: states_read(*self._made_of(name), but=self.blocks) for name in names}
        reached = {name: frozenset(self.leader(source) for source in sources) - {name} for name, sources in needed.items()}
        for _ in names:
            reached = {name: sources.union(*(reached[source] for source in sources)) for name, sources in reached.items()}
        return reached

    def _made_of(self, name: str) -> tuple[Expr, ...]:
        law = self.law(name)
        return law.values if law else self.values[name]


def find_units(laws: Laws, blocks: Blocks) -> Units:
    """The units of a system."""
    components = laws.order.model.component
    gathering = tuple(law.component for law in laws.endings)
    values = {
        law.component: tuple(_given(gathering, inlined(law, state.part)) for state in components(law.component).states)
        for law in laws.laws
        if law.component not in gathering
    }
    found = find_dual_laws(laws, blocks)
    duals = {name: law if isinstance(law, str) else law.over(lambda value: _given(gathering, value)) for name, law in found.items()}
    return Units(blocks, blocks.levels if blocks.are_used else frozenset(), values, duals, gathering)


def _given(lasting: tuple[str, ...], value: Expr) -> Expr:
    def change(node: Expr) -> Expr | None:
        return Parameter(node.component, node.part, node.shape) if isinstance(node, State) and node.component in lasting else None

    return replace(value, change) if lasting else value


def memory_order(reached: Dependencies) -> Sequence[str]:
    """Each unit after those it reads, cycles apart; otherwise as they run. Who reads another reaches more units than that one."""
    return sorted(reached, key=lambda name: len(reached[name] - {name}))


def cycle(reached: Dependencies, name: str) -> tuple[str, ...]:
    """The other units that need a unit and that it needs."""
    return tuple(other for other in reached if other != name and other in reached[name] and name in reached[other])
