"""A program in blocks -> the method that runs the tokens of one: memories that move at each, then sums and laws of those with a period."""

from __future__ import annotations

from collections import Counter
from collections.abc import Iterator
from dataclasses import dataclass, field, replace

from nlc.emit.block_printer import BlockPrinter, as_before, is_new_read, is_over_streams
from nlc.emit.dual import Dual
from nlc.emit.forward import ChunkedForm, Tokens, chunked_form, form_slots, leading_text, output_lines, run_form
from nlc.emit.layout import Lines, assignment, block, indented
from nlc.emit.names import LocalNames
from nlc.emit.parameters import read_parameters
from nlc.emit.pieces import Piece
from nlc.emit.position import position_lines
from nlc.emit.recents import laid_out
from nlc.emit.render import render
from nlc.emit.scope import BLOCK_LENGTH, Sequence, converted, define, indices, input_values, previous, printer_of, sizes, state_dtype
from nlc.emit.steps import kept_text, returned
from nlc.emit.sums import over_block
from nlc.emit.uses import Uses, find_uses, is_gathered, sum_terms, written_out
from nlc.emit.views import BlockHelpersView, BlockView
from nlc.ir.algebra import Expr, Input, MatMul, Named, State, When, children, contains, walk
from nlc.ir.build import add, replace as replaced
from nlc.ir.dual import DualLaw
from nlc.ir.law import Equation, Law
from nlc.ir.program import MemoryProgram, StateSlot


def block_method(sequence: Sequence, forms: tuple[ChunkedForm, ...]) -> str:
    """The method's text."""
    result = f"tuple[{sequence.output_type}, {sequence.state_type}]"
    signature = sequence.signature("_block", state=f"state: {sequence.state_type}", result=result)
    return render(BlockView(signature, _body(sequence, forms)))


def block_helpers(method: str) -> str:
    """The functions that the method of a block calls."""
    return render(BlockHelpersView("_read(" in method, "_outer_sum(" in method, "_moved_at_end(" in method))


def _body(sequence: Sequence, forms: tuple[ChunkedForm, ...]) -> Lines:
    names, like = LocalNames((*sequence.inputs, "state")), sequence.like.name
    variables = sizes(sequence, names)
    block_ = Block(sequence, names, leading_text(sequence, variables), f"{like}.shape[1]")
    dtype = names.new("dtype")
    inside = [
        (f"{dtype} = {like}.dtype",),
        *converted(sequence, state_dtype(sequence), time=True),
        *block_.known(),
        *block_.moved(forms, dtype),
    ]
    body = (f"with _full_precision({like}):", *indented(block(inside)))
    is_sized = any(f"expand({variables.batch}, " in line for line in body)
    return (*block(variables.lines), *body) if is_sized else body


@dataclass(frozen=True, slots=True)
class Block:
    """The tokens of a block in the making: `leading` are the sizes of (batch, time, *axes), `tokens` is that of time.

    `values` are the variables over all tokens and of what they share, `at_end` those at the last token; `written` are the abbreviations
    of one law written out, `carried` the older values of streams as the next block finds them.
    """

    sequence: Sequence
    names: LocalNames
    leading: str
    tokens: str
    values: dict[Expr, str] = field(default_factory=dict)
    at_end: dict[Expr, str] = field(default_factory=dict)
    written: dict[Expr, Expr] = field(default_factory=dict)
    carried: dict[str, str] = field(default_factory=dict)

    def known(self) -> Iterator[Lines]:
        """Parameters, axes, the position, previous inputs and abbreviations."""
        sequence, names, values = self.sequence, self.names, self.values
        first = sequence.program.slots[0]
        values.update(previous(sequence, "state") | input_values(sequence))
        yield from read_parameters(sequence, state_dtype(sequence), names, values)
        yield from indices(sequence, names, sequence.carried("state", first.component, first.part), values)
        yield from position_lines(sequence, names, values, self.tokens)
        yield from laid_out(sequence, names, values, "state", self.leading, self.carried)
        yield from define(sequence, names, values)
        self.at_end.update(
            (node, _last(text) if contains(node, lambda part: isinstance(part, Input)) else text) for node, text in values.items()
        )
        values[BLOCK_LENGTH] = self.at_end[BLOCK_LENGTH] = self.tokens
        yield from self._shared_reads()

    def _shared_reads(self) -> Iterator[Lines]:
        """What several expressions read of a level that is steady, at a vector over streams."""
        program = self.sequence.program
        streams = (stream.value for memory in program.chunked for stream in chunked_form(memory).streams)
        equations = (equation.value for law in program.blocks.laws for equation in law.equations)
        values = (*streams, *equations, *(value for _, value in program.outputs))
        read = Counter(node for value in values for node in walk(as_before(value)))
        said = {equation.value for law in program.blocks.laws for equation in law.equations}
        for node, count in read.items():
            match node:
                case MatMul(State(component) as state, vector) if (
                    count > 1 and node not in said and program.blocks.is_steady(state) and is_over_streams(vector)
                ):
                    terms = self._printer().terms(node)
                    local = self.values[node] = self.names.new(f"{component}_read")
                    self.at_end[node] = _last(local)
                    yield assignment(local, terms, 12)

    def moved(self, forms: tuple[ChunkedForm, ...], dtype: str) -> Iterator[Lines]:
        """Memory after memory, law after law, the outputs, and what is returned."""
        program = self.sequence.program
        outputs = {name: self.names.new(name) for name, _ in program.outputs}
        for memory in program.memories:
            form = next((item for item in forms if item.memory == memory), None)
            if memory.dual is not None:
                yield from self._dual(memory, memory.dual, outputs)
            elif form is not None:
                slots = form_slots(self.sequence, form)
                before = [self.values[_state(slot, When.PREVIOUS)] for slot in slots]
                after: dict[Expr, str] = {_state(slot, When.CURRENT): self.names.new(slot.name) for slot in slots}
                self.at_end.update(after)
                yield from run_form(self._tokens(), form, before, after.values(), outputs)
            for read in memory.reads:
                known = Named(read.name, read.shape)
                self.at_end[known] = _last(self.values[known])
        for law in program.blocks.laws:
            yield from self._law(law)
        yield from output_lines(self._tokens(), outputs)
        kept = {item.name: self.carried.get(item.name) or kept_text(self.sequence, item, self.at_end) for item in program.laws.kept}
        state = {slot.name: kept.get(slot.name) or self.at_end[_state(slot, When.CURRENT)] for slot in program.slots}
        yield from returned(self.sequence, outputs, state, dtype)

    def _dual(self, memory: MemoryProgram, law: DualLaw, outputs: dict[str, str]) -> Iterator[Lines]:
        """A memory in the dual form; the names of its law are its own."""
        own = replace(self, values=dict(self.values))
        yield from Dual(own._tokens(), law).lines(memory, outputs)
        self.values.update((known, own.values[known]) for read in memory.reads for known in [Named(read.name, read.shape)])
        states = (_state(slot, When.CURRENT) for slot in self.sequence.program.slots if slot.component in law.components)
        self.at_end.update((state, own.values[state]) for state in states if state in own.values)

    def _tokens(self) -> Tokens:
        return Tokens(self.sequence, self.names, self.values, self.leading, self._printer(), printer_of(self.sequence, self.at_end))

    def _printer(self) -> BlockPrinter:
        plain = printer_of(self.sequence, self.values)
        return BlockPrinter(
            plain.leaf,
            plain.like,
            plain.bare,
            plain.known,
            at_end=printer_of(self.sequence, self.at_end),
            tokens=self.tokens,
            has_axes=bool(self.sequence.model.axes),
        )

    # --- the laws of levels with a period ------------------------------------------------------------------------------

    def _law(self, law: Law) -> Iterator[Lines]:
        """Its abbreviations over all tokens, sums of gradients, and the new states if a period ends."""
        own = replace(self, values=dict(self.values), at_end=dict(self.at_end), written={})
        equations = written_out(law.equations)
        uses = find_uses(law.component, equations)
        for equation in equations:
            yield from own._equation(law.component, equation, uses)
        self.at_end.update((node, text) for node, text in own.at_end.items() if isinstance(node, State) or children(node))
        self.values.update((node, text) for node, text in own.values.items() if children(node))

    def _equation(self, component: str, equation: Equation, uses: Uses) -> Iterator[Lines]:
        name, named = equation.name, Named(equation.name, equation.value.shape)
        if name not in uses:
            return
        yield from self._new_reads(equation.value if name in uses.at_every_token or name in uses.summed else named)
        local = self.names.new(name, component)
        self.at_end[named] = local
        if name in uses.at_every_token:
            terms = self._printer().terms(equation.value)
            whole = replaced(equation.value, self.written.get)
            self.written[named] = whole
            for node in (named, whole) if children(whole) else (named,):
                self.values[node], self.at_end[node] = local, _last(local)
        elif name in uses.summed:
            terms = self._sum(component, equation)
        else:
            terms = printer_of(self.sequence, self.at_end).terms(equation.value)
        if equation.part is not None:
            owner = equation.owner or component
            self.at_end[State(owner, equation.part, equation.value.shape, When.CURRENT)] = local
            if not self.sequence.spans_axes(equation.value):
                terms = (f"({' '.join(terms)}).expand_as({self.sequence.carried('state', owner, equation.part)})",)
        yield assignment(local, terms, 12)

    def _new_reads(self, value: Expr) -> Iterator[Lines]:
        """What levels that move at this block's end give, at its last token by their new states: a line each."""
        if value in self.values:
            return
        if not is_new_read(value) or len(value.shape) > 1:
            for child in children(value):
                yield from self._new_reads(child)
            return
        source = next(part.component for part in walk(value) if isinstance(part, State) and part.when is When.CURRENT)
        terms = self._printer().terms(value)
        self.values[value] = self.names.new(f"{source.replace('.', '_')}_seen")
        yield assignment(self.values[value], terms, 12)

    def _sum(self, component: str, equation: Equation) -> tuple[str, ...]:
        """The sum over the block, added to what was gathered before it; sums that have a name are not taken again."""
        printer, at_end = self._printer(), printer_of(self.sequence, self.at_end)
        pieces: dict[Expr, Piece] = {}

        def named(node: Expr) -> Expr:
            name = Named(f"sum {len(pieces)}", node.shape)
            pieces[name] = printer.summed(node)
            return name

        is_known = [
            is_gathered(term, equation.owner or component, equation.part) or (isinstance(term, Named) and term not in self.values)
            for term in sum_terms(equation.value)
        ]
        sums = (term if known else over_block(term, named) for term, known in zip(sum_terms(equation.value), is_known, strict=True))
        return replace(at_end, leaf=lambda node: pieces.get(node) or at_end.leaf(node)).terms(add(*sums))


def _state(slot: StateSlot, when: When) -> State:
    return State(slot.component, slot.part, slot.shape, when)


def _last(text: str) -> str:
    """What a stream is at the last token."""
    return text.replace("[:, :-1]", "[:, -2]") if text.endswith("[:, :-1]") else f"{text}[:, -1]"
