"""A program in blocks -> the method that runs the tokens of one: memories that move at each, then sums and laws of those with a period."""

from __future__ import annotations

from collections import Counter
from collections.abc import Iterable, Iterator
from dataclasses import dataclass, field, replace

from nlc.emit.apart import Apart
from nlc.emit.attention import kept_after
from nlc.emit.block_memories import moved_memory
from nlc.emit.block_printer import BlockPrinter, FusingPrinter, as_before, block_leaf, is_new_read, is_over_streams, varies
from nlc.emit.forward import Tokens
from nlc.emit.fused import BatchedProduct
from nlc.emit.held import held_alike, returned_held, returned_in_full
from nlc.emit.hoisting import Hoisted, index_names
from nlc.emit.layout import WIDTH, Lines, assignment, block, call
from nlc.emit.names import LocalNames
from nlc.emit.parameters import read_used
from nlc.emit.pieces import Piece
from nlc.emit.position import before_name, block_position_lines, block_start, needs_a_token
from nlc.emit.render import render
from nlc.emit.rounds import round_variable, rounds
from nlc.emit.scope import BLOCK_LENGTH, Sequence, previous, state_dtype, used_axes
from nlc.emit.steps import hidden_layers
from nlc.emit.sums import over_block
from nlc.emit.uses import Uses, find_uses, gathered_in_place, is_gathered, sum_terms, written_out
from nlc.emit.views import BlockView
from nlc.ir.algebra import Due, Expr, Index, Input, MatMul, Named, Outer, State, When, children, contains, walk
from nlc.ir.build import add, replace as replaced
from nlc.ir.law import Equation, Kept, Law
from nlc.ir.program import StateSlot


def block_methods(sequence: Sequence, parts: Hoisted) -> tuple[str, ...]:
    """The method's text, and those of levels that stand apart in it."""
    streams = [f"{item.name}: Tensor" for item in parts.given if item.timed]
    steady = [f"{name}: Tensor" for name in (*(item.name for item in parts.given if not item.timed), *index_names(sequence))]
    result = ", ".join(["Tensor"] * len(parts.results) + ["dict[str, Tensor]"])
    result = f"tuple[{result}]" if parts.results else result
    carried = ["state: dict[str, Tensor]", f"{before_name(sequence)}: int"]
    signature = call("def _block", ["self", *streams, "*", *steady, *carried], f" -> {result}:", 4)
    lines, apart = _body(sequence, parts)
    return render(BlockView(signature, lines)), *(item.text for item in apart.methods)


def _body(sequence: Sequence, parts: Hoisted) -> tuple[Lines, Apart]:
    like = next(item.name for item in parts.given if item.timed)
    names = LocalNames((*(item.name for item in parts.given), *index_names(sequence), "state", before_name(sequence)))
    block_ = Block(sequence, parts, names, like)
    return block([*block_.known(), *block_.moved()]), block_.apart


@dataclass(frozen=True, slots=True)
class Block:
    """The tokens of a block in the making: streams are (copies, tokens, *shape), states (copies, *shape); `like` is a stream.

    `values` are the variables over all tokens and of what they share, `at_end` those at the last token; `written` are the abbreviations
    of one law written out. Of the streams in `totals` a block has the sums over its tokens.
    """

    sequence: Sequence
    parts: Hoisted
    names: LocalNames
    like: str
    values: dict[Expr, str] = field(default_factory=dict)
    at_end: dict[Expr, str] = field(default_factory=dict)
    written: dict[Expr, Expr] = field(default_factory=dict)
    totals: frozenset[str] = frozenset()
    apart: Apart = field(default_factory=Apart)

    @property
    def tokens(self) -> str:
        return f"{self.like}.shape[1]"

    @property
    def _timed(self) -> frozenset[Expr]:
        """The streams that have a dim of tokens."""
        return frozenset(item.stream for item in self.parts.given if item.timed)

    @property
    def is_told(self) -> bool:
        """Whether levels are told the slopes of a loss: then a block is read first, learned from later, and its states have begun."""
        return bool(self.sequence.model.slopes)

    def known(self) -> Iterator[Lines]:
        """States, parameters, what is given, the position, and what several expressions read."""
        sequence, names, values, at_end = self.sequence, self.names, self.values, self.at_end
        values.update(previous(sequence, "state"))
        starts = (item.value for items in self.parts.starts for item in items if needs_a_token(item.value))
        yield from read_used(sequence, (*self._expressions(), *starts), state_dtype(sequence), names, values)
        if self.parts.laws or not self.is_told:
            yield from block_position_lines(sequence, names, values, self.tokens)
        values[BLOCK_LENGTH] = self.tokens
        at_end.update(values)
        for item in self.parts.given:
            values[item.stream], at_end[item.stream] = item.name, item.name if item.name in self.totals else f"{item.name}[:, -1]"
        for axis, name in zip(used_axes(sequence), index_names(sequence), strict=True):
            values[Index(axis)], at_end[Index(axis)] = f"{name}[:, None]", name
        yield from self._begun(0)

    def _begun(self, ran: int) -> Iterator[Lines]:
        """What starts again when so many memories have run, then what several expressions read of levels that have started by then."""
        starts = self.parts.starts[ran] if self.parts.starts else ()
        for item in starts:
            first = {node: text for node, text in self.at_end.items() if not children(node)}
            first |= {given.stream: f"{given.name}[:, 0]" for given in self.parts.given}
            start, line = block_start(self.sequence, self.names, item, self.values[item.state], first)
            self.values[item.state] = self.at_end[item.state] = start
            yield line
        if starts or not ran:
            waiting: set[Expr] = {item.state for later in self.parts.starts[ran + 1 :] for item in later}
            yield from self._words(waiting)
            yield from self._shared_reads(waiting)

    def _words(self, waiting: set[Expr]) -> Iterator[Lines]:
        """The spec's words for what levels that are steady give at every token."""
        used = {node for value in self._expressions() for node in walk(value)}
        for name, value in self.parts.words:
            if value in used and value not in self.values and waiting.isdisjoint(walk(value)):
                terms = self.printer().terms(value)
                local = self.values[value] = self.names.new(name)
                self.at_end[value] = _last(local)
                yield assignment(local, terms, 8)

    def _expressions(self) -> Iterator[Expr]:
        """Whatever a block computes."""
        yield from (value for _, streams in self.parts.forms for stream in streams for _, value in stream.above)
        yield from (stream.value for _, streams in self.parts.forms for stream in streams)
        yield from (value for memory in self.parts.duals if memory.dual is not None for value in memory.dual.values)
        yield from (read.vector for memory in self.parts.duals for read in memory.reads if read.vector is not None)
        yield from (value for law in self.parts.windows for value in law.values)
        yield from (equation.value for law in self.parts.laws for equation in law.equations)
        yield from (value for _, value in (*self.parts.kept, *self.parts.results))

    def _shared_reads(self, waiting: set[Expr]) -> Iterator[Lines]:
        """What several expressions read of a level that is steady, at a vector over streams."""
        blocks = self.sequence.program.blocks
        words: dict[Expr, Expr] = {value: Named(name, value.shape) for name, value in self.parts.words if value in self.values}
        read = Counter(node for value in self._expressions() for node in walk(replaced(as_before(value), words.get)))
        known = {equation.value for law in self.parts.laws for equation in law.equations} | self.values.keys()
        for node, count in read.items():
            match node:
                case MatMul(State(component) as state, vector) if (
                    count > 1 and node not in known and state not in waiting and blocks.is_steady(state) and is_over_streams(vector)
                ):
                    terms = self.printer().terms(node)
                    local = self.values[node] = self.names.new(f"{component}_read")
                    self.at_end[node] = _last(local)
                    yield assignment(local, terms, 8)

    def moved(self) -> Iterator[Lines]:
        """Memory after memory, law after law, the results, and what is returned."""
        program = self.sequence.program
        results = [(self.names.new(name), value) for name, value in self.parts.results]
        as_they_are: dict[Expr, str] = {value: local for local, value in results if isinstance(value, Named)}
        for ran, memory in enumerate(program.memories, start=1):
            yield from moved_memory(self, memory, as_they_are)
            for read in memory.reads:
                known = Named(read.name, read.shape)
                self.at_end[known] = _last(self.values[known])
            yield from self._begun(ran)
        for law in self.parts.laws:
            yield from self._law(law)
        yield from self.found(results)
        kept = {item.name: self._kept(item, value) for item, value in self.parts.kept}
        kept |= kept_after(self.sequence, self.values, self.tokens)
        outside = {item.name for item in program.laws.kept} - set(kept)
        inside = [slot for slot in program.slots if slot.name not in outside and not self.apart.carries(slot.name)]
        state = {slot.name: kept.get(slot.name) or self.at_end[_state(slot, When.CURRENT)] for slot in inside}
        result = "".join(f"{local}, " for local, _ in results)
        alike = held_alike(self.sequence)
        if alike is None:
            yield from returned_in_full(result, state, WIDTH - 8, self.apart.more)
            return
        due = self.values[Due(alike.period, self.sequence.model.unit)]
        held = f'new if {due} else state[f"{{name}}.{alike.part}"]'
        yield from returned_held(self.sequence, self.names, result, state, alike.part, held, WIDTH - 8, self.apart.more)

    def found(self, results: Iterable[tuple[str, Expr]]) -> Iterator[Lines]:
        """What a block gives at every token, each value in its variable."""
        for local, value in results:
            if self.values.get(value) != local:
                over = yield from hidden_layers(self.names, self.values, self.printer(), local, value, 8)
                yield assignment(local, self.over_tokens(over, self._spans_tokens(value)), 8)

    def _kept(self, item: Kept, value: Expr) -> str:
        """What is carried beside the states, after the block's last token."""
        printer = self._at_end_printer()
        if _spans_copies(value):
            return printer.text(value)
        return f"{printer.atom(value)}.expand_as({self.sequence.carried('state', item.component, item.part)})"

    def over_tokens(self, value: Expr, is_whole: bool | None = None) -> tuple[str, ...]:
        """The terms of a value, at every token; `is_whole` says whether it has the dim of time, where its text does not."""
        printer = self.printer()
        if self._spans_tokens(value) if is_whole is None else is_whole:
            return printer.terms(value)
        return (f"{printer.atom(value)}.expand({self.like}.shape[0], {self.tokens}{', -1' * len(value.shape)})",)

    def _spans_tokens(self, node: Expr) -> bool:
        """Whether a value surely has the dim of time: it reads a memory that moves at every token, or a stream."""
        timed = self._timed
        return contains(node, lambda part: isinstance(part, Named) or part in timed)

    def _varies(self, node: Expr) -> bool:
        """Whether a value may change from token to token: not by streams of one value for the whole sequence."""
        return varies(node, frozenset(item.name for item in self.parts.given if not item.timed))

    def as_tokens(self) -> Tokens:
        leading = f"{self.like}.shape[0], {self.tokens}"
        return Tokens(self.names, self.values, leading, self.printer(), self._at_end_printer(), self._spans_tokens, 8)

    def printer(self) -> BlockPrinter:
        known = {node: variable for node, variable in self.values.items() if children(node)}
        return BlockPrinter(
            lambda node: block_leaf(node, self.values),
            self.like,
            known=known,
            dim=self.sequence.size,
            at_end=self._at_end_printer(),
            tokens=self.tokens,
            timed=self._timed,
            totals=self.totals,
        )

    def _at_end_printer(self) -> FusingPrinter:
        return self._at_end_printer_of(self.at_end)

    def _at_end_printer_of(self, values: dict[Expr, str]) -> FusingPrinter:
        known = {node: variable for node, variable in values.items() if children(node)}
        return FusingPrinter(lambda node: block_leaf(node, values), self.like, known=known, dim=self.sequence.size)

    # --- the laws of levels with a period ------------------------------------------------------------------------------

    def _law(self, law: Law) -> Iterator[Lines]:
        """Its abbreviations over all tokens, sums of gradients, and the new states if a period ends."""
        own = replace(self, values=dict(self.values), at_end=dict(self.at_end), written={})
        in_rounds = {item.name for item in law.round} if law.rounds > 1 else set()
        equations = gathered_in_place(law.component, written_out(law.equations, self._varies, in_rounds))
        told = replace(law, equations=equations)
        uses = find_uses(law.component, told.equations)
        for equation in told.opening if in_rounds else told.equations:
            yield from own._equation(law.component, equation, uses, own._started(told, equation))
        if in_rounds:
            yield from rounds(told, own._times(law), self.names, own.at_end, own._at_end_printer_of, 8)
        self.at_end.update((node, text) for node, text in own.at_end.items() if isinstance(node, State) or children(node))
        self.values.update((node, text) for node, text in own.values.items() if children(node))

    def _started(self, law: Law, equation: Equation) -> str | None:
        """What a tensor that starts with this equation is called in the rounds; None for any other equation."""
        if equation.starts is None:
            return None
        state, self.at_end[state] = round_variable(law, equation, self.names)
        return self.at_end[state]

    def _times(self, law: Law) -> str:
        """How many rounds there are: none where no period ends."""
        due = Due(int(law.clock.period), self.sequence.model.unit)
        return f"{law.rounds} if {self.values[due]} else 0" if due in self.values else str(law.rounds)

    def _equation(self, component: str, equation: Equation, uses: Uses, target: str | None = None) -> Iterator[Lines]:
        name, named = equation.name, Named(equation.name, equation.value.shape)
        if name not in uses:
            return
        yield from self._new_reads(equation.value if name in uses.at_every_token or name in uses.summed else named)
        local = target or self.names.new(name, component)
        self.at_end[named] = local
        if name in uses.at_every_token:
            terms = self.printer().terms(equation.value)
            whole = replaced(equation.value, self.written.get)
            self.written[named] = whole
            for node in (named, whole) if children(whole) else (named,):
                self.values[node], self.at_end[node] = local, _last(local)
        elif name in uses.summed:
            terms = self._sum(component, equation)
        else:
            terms = self._at_end_printer().terms(equation.value)
        if equation.part is not None:
            owner = equation.owner or component
            self.at_end[State(owner, equation.part, equation.value.shape, When.CURRENT)] = local
            if not _spans_copies(equation.value):
                terms = (f"({' '.join(terms)}).expand_as({self.sequence.carried('state', owner, equation.part)})",)
        yield assignment(local, terms, 8)

    def _new_reads(self, value: Expr) -> Iterator[Lines]:
        """What levels that move at this block's end give, at its last token by their new states: a line each."""
        if value in self.values:
            return
        if not is_new_read(value) or len(value.shape) > 1:
            for child in children(value):
                yield from self._new_reads(child)
            return
        source = next(part.component for part in walk(value) if isinstance(part, State) and part.when is When.CURRENT)
        terms = self.printer().terms(value)
        self.values[value] = self.names.new(f"{source.replace('.', '_')}_seen")
        yield assignment(self.values[value], terms, 8)

    def _sum(self, component: str, equation: Equation) -> tuple[str, ...]:
        """The sum over the block, added to what was gathered before it; sums that have a name are not taken again."""
        printer, at_end = self.printer(), self._at_end_printer()
        pieces: dict[Expr, Piece] = {}
        products: dict[Expr, BatchedProduct] = {}

        def named(node: Expr) -> Expr:
            name = Named(f"sum {len(pieces)}", node.shape)
            if isinstance(node, Outer):
                products[name] = printer.product(node)
            pieces[name] = printer.summed(node)
            return name

        is_known = [
            is_gathered(term, equation.owner or component, equation.part) or (isinstance(term, Named) and term not in self.values)
            for term in sum_terms(equation.value)
        ]
        sums = tuple(
            term if known else over_block(term, named, self._varies)
            for term, known in zip(sum_terms(equation.value), is_known, strict=True)
        )
        if len(sums) == 2 and is_known[0] and sums[1] in products:
            return (products[sums[1]].added_to(at_end.whole(sums[0])).text,)
        return replace(at_end, leaf=lambda node: pieces.get(node) or at_end.leaf(node)).terms(add(*sums))


def _state(slot: StateSlot, when: When) -> State:
    return State(slot.component, slot.part, slot.shape, when)


def _spans_copies(value: Expr) -> bool:
    """Whether a value at the last token has the dim of copies."""
    return contains(value, lambda node: isinstance(node, State | Named | Input | Index))


def _last(text: str) -> str:
    """What a stream is at the last token."""
    return f"{text}[:, -1]"
