"""The levels that move at the ends of periods, over the tokens of one block: their laws at every token, as they stand, summed plainly.

States are (batch, *axes, *shape), and at every token (batch, *axes, time, *shape): that is how laws are evaluated here, gradients of all
tokens too. Whatever is not gathered is what it is at the last token.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, field
from itertools import pairwise

import torch
from torch import Tensor

from nlc.ir import algebra
from nlc.ir.algebra import Add, Due, Expr, State, When
from nlc.ir.build import add
from nlc.ir.law import POSITION, PREVIOUS, RECENT, Law, Reset
from nlc.ir.model import Family
from nlc.ir.program import Program
from nlc.verify.run_law import is_first

Slot = tuple[str, str]
Stream = Callable[[Expr], Tensor]
"""Gives the value of an expression at every token of the block."""


@dataclass(frozen=True, slots=True)
class Block:
    """The states as its tokens find them, some of which start again; `new` fills up with those after its last token."""

    program: Program
    before: dict[Slot, Tensor]
    new: dict[Slot, Tensor] = field(default_factory=dict)

    def leaf(self, node: Expr, leading: tuple[int, ...]) -> Tensor:
        """A state, at every token as its reader sees it; which tokens end a period; the count of an update."""
        time, tokens = len(leading) - 1, leading[-1]
        seen = self.before[POSITION, ""]
        match node:
            case State(component, part, when=When.PREVIOUS):
                of_rounds = (component, part) not in self.before
                return (self.new if of_rounds else self.before)[component, part].unsqueeze(time)
            case State(component, part):
                if (component, part) not in self.before:
                    return self.new[component, part].unsqueeze(time)
                old, new = (states[component, part].unsqueeze(time) for states in (self.before, self.new))
                return torch.cat([old] * (tokens - 1) + [new], time)
            case Due(period):
                return (seen + 1 + torch.arange(tokens)) % period == 0
            case algebra.Tick(component):
                return self._count(component)
        raise ValueError(f"no state: {node}")

    def begin(self, starts: Sequence[Reset], stream: Stream, moved: Mapping[Slot, Tensor]) -> None:
        """Starts states again if a period begins with this block, from the first token's values; `moved` has the memories that have run."""
        self.new.update(moved)
        for item in starts:
            slot, rank = (item.state.component, item.state.part), len(item.state.shape)
            again = self.before[slot].detach() if item.is_cut_off else stream(item.value).select(-1 - rank, 0)
            self.before[slot] = torch.where(is_first(item, self.before[POSITION, ""]), again, self.before[slot])

    def end(self, stream: Stream, reads: dict[str, Tensor], states: Mapping[Slot, Tensor], tokens: int) -> dict[Slot, Tensor]:
        """All states after the last of the block's tokens; `states` has the memories that move at each, `reads` what is read of them."""
        self.new.update(states)
        for law in self.program.blocks.laws:
            self._run(law, stream, reads)
        for item in self.program.laws.kept:
            if item.component == POSITION:
                self.new[POSITION, ""] = self.before[POSITION, ""] + tokens
            elif item.component not in (PREVIOUS, RECENT) and item.window is None:
                self.new[item.component, item.part] = self._last(stream(item.value), len(item.value.shape))
        return {slot: value for slot, value in self.new.items() if slot in self.before}

    def _run(self, law: Law, stream: Stream, reads: dict[str, Tensor]) -> None:
        known = dict(reads)
        for equation in (*law.opening, *(law.round * law.rounds)):
            slot = (equation.owner or law.component, equation.part or "")
            rank = len(equation.value.shape)
            if equation.part is not None and slot in self.program.blocks.kept:
                added = stream(_without(equation.value, State(*slot, equation.value.shape, When.PREVIOUS)))
                reads[equation.name] = added.cumsum(-1 - rank) + self.before[slot].unsqueeze(-1 - rank)
            else:
                reads[equation.name] = stream(equation.value)
            if equation.starts is not None:
                self.new[law.component, equation.starts] = self._last(reads[equation.name], rank)
            if equation.part is not None:
                self.new[slot] = self._last(reads[equation.name], rank)
        reads.clear()
        reads.update(known)

    @staticmethod
    def _last(value: Tensor, rank: int) -> Tensor:
        return value.select(-1 - rank, -1)

    def _count(self, component: str) -> Tensor:
        """Updates since the last reset, the one at the end of this period included: the same for all tokens of a block."""
        declared, seen = self.program.model.component(component), self.before[POSITION, ""]
        if declared.reset is not None and declared.reset.family is Family.TOKEN:
            seen = seen % int(declared.reset.period)
        like = next(value for value in self.before.values() if value.is_floating_point())
        return (seen // int(declared.every.period) + 1).to(like.dtype)


def _without(sum_: Expr, term: Expr) -> Expr:
    """What a new datum adds to the sum of those before it."""
    assert isinstance(sum_, Add)
    assert term in sum_.terms
    return add(*(other for other in sum_.terms if other != term))


def stretches(program: Program, states: Mapping[Slot, Tensor], time: int) -> list[slice]:
    """All tokens; of a program in blocks those of each: a block ends with every token whose number the length of a block divides.

    It also ends with every token that is a block of its own.
    """
    if not program.is_in_blocks or not time:
        return [slice(0, time)]
    before = int(states[POSITION, ""])
    tokens, alone = program.blocks.tokens, program.blocks.alone
    ends = [t for t in range(1, time) if (before + t) % tokens == 0 or (alone and (before + t - 1) % alone == 0)] + [time]
    return [slice(start, end) for start, end in pairwise([0, *ends])]
