"""A memory in the dual form -> the lines of a block: what is written, what is left of it at each token, reads, and the states after it.

What is left is (copies, n + 1, n + 1): entry [t, s] is the share that a level has at token t of what was given at token s; row and
column 0 are the start of the block.
"""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass, field

from nlc.emit.forward import Tokens
from nlc.emit.layout import Lines, assignment, call
from nlc.emit.render import render
from nlc.emit.views import DualHelpersView
from nlc.ir.affine import OutputRead
from nlc.ir.algebra import Expr, Named, State, When, is_number
from nlc.ir.dims import Shape
from nlc.ir.dual import DualLaw, Flow, GivenWrite
from nlc.ir.law import held_of
from nlc.ir.program import MemoryProgram, StateSlot

Shapes = Mapping[tuple[str, str], Shape]
"""The shape of every tensor, by component and part."""


def dual_helpers(methods: str, *, are_mixed: bool) -> str:
    """The functions that a block with dual forms calls; `are_mixed` where some tensor has more than its own past in it."""
    before = "before=True" in methods
    wrap, unwrap = ("\n    ", "\n") if before and are_mixed else ("", "")
    return render(
        DualHelpersView(
            reads="_read_matrix(" in methods,
            matrices="_moved_matrix(" in methods,
            vectors="_moved_vector(" in methods,
            before=before,
            are_mixed=are_mixed,
            rows="rows" if before else "1:",
            starts="starts: list[tuple[Tensor, Tensor]]" if are_mixed else "start: tuple[Tensor, Tensor]",
            what="starts" if are_mixed else "a start",
            before_argument=", before: bool = False" if before else "",
            wrap=wrap,
            unwrap=unwrap,
        )
    )


@dataclass(frozen=True, slots=True)
class Dual:
    """One law over the tokens of a block in the making; `left` are the variables of what is left, `written` those of writes.

    `are_mixed` where some tensor of the module, in this law or another, has more than its own past in it: the helpers take lists of starts.
    """

    tokens: Tokens
    law: DualLaw
    are_mixed: bool
    left: dict[tuple[str, str], str] = field(default_factory=dict)
    written: dict[GivenWrite, tuple[str, str | None]] = field(default_factory=dict)

    def lines(self, memory: MemoryProgram, slots: Sequence[StateSlot], as_they_are: Mapping[Expr, str]) -> Iterator[Lines]:
        """What is known at every token, then reads and new states; the values of `tokens` learn what they are called."""
        shapes = {(slot.component, slot.part): slot.shape for slot in slots}
        for equation in self.law.equations:
            yield self._line(equation.name, equation.value, memory.component)
        for flow in self.law.flows:
            yield from self._left(flow)
        for write in self.law.writes:
            yield from self._write(write)
        for read in memory.reads:
            known = Named(read.name, read.shape)
            self.tokens.values[known] = as_they_are.get(known) or self.tokens.names.new(read.name)
            yield self._read(self.tokens.values[known], read, shapes)
        for slot in slots:
            if slot.component in self.law.components and held_of(slot.part) is None:
                yield self._state(slot, shapes)

    def _line(self, word: str, value: Expr, owner: str) -> Lines:
        """A value at every token under a name, unless it has one."""
        terms, known = self._terms(value), Named(word, value.shape)
        if len(terms) == 1 and terms[0].isidentifier():
            self.tokens.values[known] = terms[0]
            return ()
        local = self.tokens.values[known] = self.tokens.names.new(word, owner)
        return assignment(local, terms, self.tokens.indent)

    def _terms(self, value: Expr) -> tuple[str, ...]:
        printer = self.tokens.printer
        if self.tokens.spans(value):
            return printer.terms(value)
        return (f"{printer.atom(value)}.expand({self.tokens.leading}{', -1' * len(value.shape)})",)

    def _variable(self, word: str, value: Expr) -> tuple[str, list[Lines]]:
        """What a value is called, and the line that calls it so if nothing did."""
        terms = self._terms(value)
        if len(terms) == 1 and terms[0].isidentifier():
            return terms[0], []
        local = self.tokens.names.new(word)
        return local, [assignment(local, terms, self.tokens.indent)]

    def _left(self, flow: Flow) -> Iterator[Lines]:
        """What is left of a level's own past, and of what it has from others."""
        own = _word(flow.component)
        kept = self.left[flow.component, flow.component] = self.tokens.names.new(f"{own}_kept")
        yield (f"{kept} = _kept({' '.join(self._terms(flow.decay))})",)
        for source in self.law.sources(flow.component)[1:]:
            terms = []
            for feed in (feed for feed in flow.feeds if (feed.source, source) in self.left):
                rows = "1:" if feed.when is When.CURRENT else ":-1"
                share = f"{self.left[feed.source, source]}[..., {rows}, :]"
                if not is_number(feed.coefficient, 1):
                    share = f"({' '.join(self._terms(feed.coefficient))})[..., None] * {share}"
                    share = f"({share})"
                terms.append(f"{kept}[..., 1:] @ {share}")
            local = self.left[flow.component, source] = self.tokens.names.new(f"{own}_of_{_word(source)}")
            yield assignment(local, [terms[0], *(f"+ {term}" for term in terms[1:])], self.tokens.indent)

    def _write(self, write: GivenWrite) -> Iterator[Lines]:
        word = f"{write.part or _word(write.component)}_write"
        known = next((self.written[other][0] for other in self.written if other.value == write.value), None)
        value, lines = (known, []) if known else self._variable(word, write.value)
        yield from lines
        along = None
        if write.along is not None:
            along, lines = self._variable(f"{word}_along", write.along)
            yield from lines
        self.written[write] = value, along

    def _read(self, target: str, read: OutputRead, shapes: Shapes) -> Lines:
        """One read at every token."""
        before = [] if read.when is When.CURRENT else ["before=True"]
        starts, writes = self._reaching(read.component, read.part, shapes)
        if read.vector is None:
            return call(f"{target} = _moved_vector", [starts, writes, *before], "", self.tokens.indent)
        query = " ".join(self._terms(read.vector))
        return call(f"{target} = _read_matrix", [query, starts, writes, *before], "", self.tokens.indent)

    def _state(self, slot: StateSlot, shapes: Shapes) -> Lines:
        """One tensor after the block."""
        starts, writes = self._reaching(slot.component, slot.part, shapes)
        target = self.tokens.names.new(".".join(filter(None, (_word(slot.component), slot.part))), slot.component)
        self.tokens.values[State(slot.component, slot.part, slot.shape, When.CURRENT)] = target
        if len(slot.shape) == 1:
            return call(f"{target} = _moved_vector", [starts, writes], "[:, -1]", self.tokens.indent)
        return call(f"{target} = _moved_matrix", [starts, writes], "", self.tokens.indent)

    def _reaching(self, component: str, part: str, shapes: Shapes) -> tuple[str, str]:
        """The starts (or the one), and the writes, that a tensor is made of, each with what is left of it."""
        starts, writes = [], []
        for source in self.law.sources(component):
            left = self.left[component, source]
            starts.append(f"({left}, {self.tokens.values[State(source, part, shapes[source, part], When.PREVIOUS)]})")
            for write in (item for item in self.law.writes if (item.component, item.part) == (source, part)):
                value, along = self.written[write]
                writes.append(f"({left}, {value})" if along is None else f"({left}, {along}, {value})")
        return f"[{', '.join(starts)}]" if self.are_mixed else starts[0], f"[{', '.join(writes)}]"


def _word(component: str) -> str:
    """What a level is called inside its unit."""
    return component.rpartition(".")[2]
