"""Reads of one memory by others, as streams: each distinct `state @ vector` gets a name that stands for its value at every token."""

from __future__ import annotations

from collections.abc import Collection, Sequence
from dataclasses import dataclass, field

from nlc.ir.affine import OutputRead
from nlc.ir.algebra import Expr, MatMul, Named, State, children, walk
from nlc.ir.build import rebuild
from nlc.ir.program import NO_BLOCKS, Blocks


@dataclass(slots=True)
class ReadBook:
    """The reads found so far, and the words that their names must avoid.

    States that are steady in a block are no streams: reads of them stay as they are.
    """

    taken: frozenset[str]
    blocks: Blocks = NO_BLOCKS
    reads: list[OutputRead] = field(default_factory=list)

    def take(self, node: Expr, own: Collection[str] = ()) -> Expr:
        """The expression with the reads of all memories but those that move as one with the reader replaced by their names."""
        parts = children(node)
        new = tuple(self.take(part, own) for part in parts)
        if new != parts:
            node = rebuild(node, new)
        match node:
            case MatMul(State(component) as state, vector) if component not in own and len(vector.shape) == 1:
                return self._named(state, vector) if self._moves(state) and not states_read(vector, but=self.blocks) else node
            case State(component, shape=(_,)) if component not in own and self._moves(node):
                return self._named(node, None)
        return node

    def _moves(self, state: State) -> bool:
        """Whether a state is that of a memory that moves at every token."""
        return not self.blocks.are_used or (state.component not in self.blocks.levels and not self.blocks.is_steady(state))

    def _named(self, state: State, vector: Expr | None) -> Named:
        for read in self.reads:
            if (read.component, read.part, read.when, read.vector) == (state.component, state.part, state.when, vector):
                return Named(read.name, read.shape)
        shape = state.shape[:1]
        read = OutputRead(self._fresh_name(state.component), state.component, state.part, vector, state.when, shape)
        self.reads.append(read)
        return Named(read.name, shape)

    def _fresh_name(self, component: str) -> str:
        stem = f"{component.replace('.', '_')}_read"
        taken = self.taken | {read.name for read in self.reads}
        name, number = stem, 1
        while name in taken:
            number += 1
            name = f"{stem}_{number}"
        return name


def whole_reads(readers: Sequence[tuple[str, Expr]], members: Collection[str], blocks: Blocks = NO_BLOCKS) -> tuple[str, ...]:
    """Who else, of the named expressions (reads taken out), still reads these components: other than as state @ vector, that is."""
    found = ((name, states_read(value, but=blocks)) for name, value in readers if name not in members)
    return tuple(dict.fromkeys(name for name, components in found if not components.isdisjoint(members)))


def read_names(node: Expr) -> frozenset[str]:
    """The names of the reads in an expression."""
    return frozenset(part.name for part in walk(node) if isinstance(part, Named))


def states_read(*nodes: Expr, but: Blocks = NO_BLOCKS) -> frozenset[str]:
    """The components whose state some expressions read, but for what is steady in a block."""
    return frozenset(part.component for node in nodes for part in walk(node) if isinstance(part, State) and not but.is_steady(part))
