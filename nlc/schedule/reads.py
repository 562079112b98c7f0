"""Reads of one memory by others, as streams: each distinct `state @ vector`, or whole state, gets a name for its value at every token."""

from __future__ import annotations

from collections.abc import Collection, Sequence
from dataclasses import dataclass, field, replace as with_changes

from nlc.ir.affine import OutputRead
from nlc.ir.algebra import Expr, MatMul, Named, State, When, children, walk
from nlc.ir.build import matmul, rebuild, replace
from nlc.ir.dims import Shape
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
        match node:
            case MatMul(State(component) as state, vector) if component not in own and len(vector.shape) == 1:
                known = self.take(vector, own)
                if self._moves(state) and not states_read(known, but=self.blocks):
                    return self._named(state, known)
                return matmul(state, known)
            case State(component, shape=shape) if component not in own and self._moves(node) and self._may_be_whole(shape):
                return self._named(node, None)
        parts = children(node)
        new = tuple(self.take(part, own) for part in parts)
        return node if new == parts else rebuild(node, new)

    def take_output(self, node: Expr, *, in_parts: bool) -> Expr:
        """The same of an output: in a system of several updates a token, an older state is the one before the token."""
        if not in_parts:
            return self.take(node)

        def before(part: Expr) -> Expr | None:
            return with_changes(part, when=When.HELD) if isinstance(part, State) and part.when is When.PREVIOUS else None

        taken = self.take(replace(node, before))
        held = (read.when is When.HELD for read in self.reads)
        self.reads = [
            with_changes(read, when=When.PREVIOUS, before_token=True) if is_held else read
            for read, is_held in zip(self.reads, held, strict=True)
        ]
        return taken

    def _may_be_whole(self, shape: Shape) -> bool:
        """Whether a state is a stream as it is: at most a vector, or a matrix in a system without periods, with all tokens at once."""
        return len(shape) < 2 or (len(shape) == 2 and not self.blocks.tokens)

    def _moves(self, state: State) -> bool:
        """Whether a state is that of a memory that moves at every token."""
        return not self.blocks.are_used or (state.component not in self.blocks.levels and not self.blocks.is_steady(state))

    def _named(self, state: State, vector: Expr | None) -> Named:
        for read in self.reads:
            when = When.HELD if read.before_token else read.when
            if (read.component, read.part, when, read.vector) == (state.component, state.part, state.when, vector):
                return Named(read.name, read.shape)
        shape = state.shape if vector is None else state.shape[:1]
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


def whole_reads(
    readers: Sequence[tuple[str, Expr]], members: Collection[str], blocks: Blocks = NO_BLOCKS, reads: Sequence[OutputRead] = ()
) -> tuple[str, ...]:
    """Who else, of the named expressions, reads these components other than as state @ vector; `reads` are those that were taken out."""
    whole = {read.name for read in reads if read.is_whole}
    found = ((name, states_read(value, but=blocks), read_names(value)) for name, value in readers if name not in members)
    asking = (name for name, components, names in found if not components.isdisjoint(members) or not names.isdisjoint(whole))
    return tuple(dict.fromkeys(asking))


def read_names(node: Expr) -> frozenset[str]:
    """The names of the reads in an expression."""
    return frozenset(part.name for part in walk(node) if isinstance(part, Named))


def states_read(*nodes: Expr, but: Blocks = NO_BLOCKS) -> frozenset[str]:
    """The components whose state some expressions read, but for what is steady in a block."""
    return frozenset(part.component for node in nodes for part in walk(node) if isinstance(part, State) and not but.is_steady(part))
