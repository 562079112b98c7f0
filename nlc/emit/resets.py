"""The resets of a program -> the lines of `step` that start states again before a token."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass, field

from nlc.emit.layout import Lines, assignment
from nlc.emit.names import LocalNames
from nlc.emit.recents import read_at_a_part
from nlc.emit.scope import Sequence, input_values, printer_of
from nlc.ir.algebra import Expr
from nlc.ir.law import Reset


@dataclass(slots=True)
class Resets:
    """The resets that have not been written yet; `position` is the variable with the number of this token."""

    sequence: Sequence
    position: str
    waiting: list[Reset] = field(default_factory=list)

    def ready(self, names: LocalNames, values: dict[Expr, str]) -> Iterator[Lines]:
        """A line for each of them whose value reads what is known by now; `values` learns the variables of the states."""
        waiting, self.waiting = self.waiting, []
        for item in waiting:
            if all(source in values for source in item.sources) and not item.waits(self.waiting):
                yield from self._lines(item, names, values)
            else:
                self.waiting.append(item)

    def _lines(self, item: Reset, names: LocalNames, values: dict[Expr, str]) -> Iterator[Lines]:
        """The state as the token finds it; that of a level that moves in parts starts from what flows in at the first of them."""
        seen, old = values, values[item.state]
        if self.sequence.model.is_parted(item.state.component):
            seen = values | input_values(self.sequence, part="0")
            yield from read_at_a_part(self.sequence, names, seen, "0", [item.value])
        local = names.new(f"{item.name}.{'detached' if item.is_cut_off else 'start'}")
        printer = printer_of(self.sequence, seen)
        values[item.state] = local
        text = f"{old}.detach()" if item.is_cut_off else printer.number(item.value) or printer.text(item.value)
        if item.period == 1 and not item.is_cut_off:
            yield assignment(local, [f"({text}).expand_as({old})" if not self.sequence.spans_axes(item.value) else text], 12)
        else:
            yield assignment(local, [f"torch.where({self._is_first(item)}, {text}, {old})"], 12)

    def _is_first(self, item: Reset) -> str:
        """Whether a new period begins with this token."""
        if not item.period:
            return f"{self.position} == 1"
        seen = f"({self.position} - 1) % {item.within}" if item.within else f"({self.position} - 1)"
        first = f"{seen} % {item.period} == 0"
        return first if item.at_start else f"({self.position} > 1) & ({first})"
