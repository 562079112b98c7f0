"""A program in blocks -> what its `forward` computes of the streams before it cuts them in blocks, what a block computes, and what is left.

What is made of streams and parameters alone is made once for all tokens; a block gets it as a stream. Inside a block all axes are one dim
of copies, so a read that joins an axis, and what parameters make of reads, waits until the last block is done.
"""

from __future__ import annotations

from dataclasses import dataclass, replace

from nlc.emit.chunked import Stream
from nlc.emit.forward import ChunkedForm
from nlc.emit.names import LocalNames
from nlc.emit.position import before_name
from nlc.emit.scope import Sequence, used_axes
from nlc.ir.algebra import Constant, Due, Expr, Input, Join, MatMul, Named, Parameter, Scale, Split, State, Tick, children, contains, walk
from nlc.ir.attention import WindowLaw
from nlc.ir.build import rebuild, replace as replaced
from nlc.ir.dual import DualLaw
from nlc.ir.law import POSITION, PREVIOUS, RECENT, WORD, Kept, Law, Reset, used_definitions, written_out
from nlc.ir.program import Blocks, MemoryProgram
from nlc.ir.recents import Convolve, Delay, Recent


@dataclass(frozen=True, slots=True)
class Given:
    """What a block is given of its tokens: `name` is the stream that the block reads, `value` what it is over the spec's streams.

    What is not `timed` is the same at all tokens.
    """

    name: str
    value: Expr
    timed: bool

    @property
    def stream(self) -> Input:
        return Input(self.name, self.value.shape)


@dataclass(frozen=True, slots=True)
class Hoisted:
    """What is `given` to a block, what a block computes of it, and the outputs.

    A block has forms with their streams, dual laws, windows, laws of levels with a period, kept values and `results`; an output is over the
    spec's streams and the results' names. `words` are the spec's for what a block reads of steady levels, shorter ones first; `starts` are
    the program's.
    """

    given: tuple[Given, ...]
    forms: tuple[tuple[ChunkedForm, tuple[Stream, ...]], ...]
    duals: tuple[MemoryProgram, ...]
    laws: tuple[Law, ...]
    kept: tuple[tuple[Kept, Expr], ...]
    results: tuple[tuple[str, Expr], ...]
    outputs: tuple[tuple[str, Expr], ...]
    words: tuple[tuple[str, Expr], ...] = ()
    windows: tuple[WindowLaw, ...] = ()
    starts: tuple[tuple[Reset, ...], ...] = ()

    def dual(self, component: str) -> MemoryProgram | None:
        """A memory in the dual form."""
        return next((memory for memory in self.duals if memory.component == component), None)

    def window(self, component: str) -> WindowLaw | None:
        """A level that is solved over a window."""
        return next((law for law in self.windows if law.component == component), None)


def hoisted(sequence: Sequence, forms: tuple[ChunkedForm, ...]) -> Hoisted:
    """The parts of a program in blocks."""
    program, book = sequence.program, _Book(sequence)
    results = {name: value for name, value in program.outputs if not _waits(value)}
    outputs = {name: Named(name, value.shape) if name in results else book.after(value, name, results) for name, value in program.outputs}
    parts = (
        tuple((form, book.streams(form)) for form in forms),
        tuple(book.dual(memory, memory.dual) for memory in program.memories if memory.dual is not None),
        tuple(book.law(law) for law in program.blocks.laws),
        tuple((item, book.take(item.value)) for item in program.laws.kept if _is_held(item)),
        tuple((name, book.take(value)) for name, value in results.items()),
    )
    windows = tuple(memory.window.over(book.take) for memory in program.memories if memory.window is not None)
    words = dict.fromkeys(
        (item.name, book.take(value))
        for law in program.laws.laws
        for item in law.equations
        if item.rule == WORD and _is_steady(program.blocks, value := written_out(item.value, law))
    )
    shorter_first = sorted(words, key=lambda item: sum(1 for _ in walk(item[1])))
    starts = tuple(tuple(replace(item, value=book.take(item.value)) for item in items) for items in program.starts)
    return Hoisted(book.all_given(), *parts, tuple(outputs.items()), tuple(shorter_first), windows, starts)


def _is_held(item: Kept) -> bool:
    """Whether what is kept stays as it is until a period ends."""
    return item.component not in (POSITION, PREVIOUS, RECENT) and item.window is None


def index_names(sequence: Sequence) -> tuple[str, ...]:
    """The arguments of a block that are the indices of its copies."""
    names = LocalNames(sequence.inputs)
    return tuple(names.new(f"{axis}_index") for axis in used_axes(sequence))


class _Book:
    """What a block is given so far, each value once."""

    def __init__(self, sequence: Sequence) -> None:
        self.sequence = sequence
        reads = (read.name for memory in sequence.program.chunked for read in memory.reads)
        self.names = LocalNames((*sequence.inputs, "state", before_name(sequence), *index_names(sequence), *reads))
        self.definitions = {item.value: item.name for item in used_definitions(sequence.program.laws)}
        self.given: dict[Expr, Given] = {}

    def take(self, value: Expr) -> Expr:
        """The expression over what a block is given: streams, abbreviations, and what parameters make of streams."""
        return replaced(value, self._stream)

    def streams(self, form: ChunkedForm) -> tuple[Stream, ...]:
        """The streams of a form, given whole wherever they can be."""

        def over_given(stream: Stream) -> Stream:
            is_given = _is_over_streams(stream.value) and not isinstance(stream.value, Input) and not stream.is_steady
            above = tuple((name, self.take(value)) for name, value in stream.above)
            return replace(stream, value=self._give(stream.value, stream.role) if is_given else self.take(stream.value), above=above)

        return tuple(over_given(stream) for stream in form.streams)

    def dual(self, memory: MemoryProgram, law: DualLaw) -> MemoryProgram:
        """A memory in the dual form, over what a block is given."""
        reads = tuple(replace(read, vector=read.vector and self.take(read.vector)) for read in memory.reads)
        return replace(memory, reads=reads, dual=law.over(self.take))

    def law(self, law: Law) -> Law:
        """A law over what a block is given."""
        return replace(law, equations=tuple(replace(item, value=self.take(item.value)) for item in law.equations))

    def after(self, node: Expr, output: str, results: dict[str, Expr]) -> Expr:
        """What remains of an output when the last block is done; `results` learns what it needs of each block."""
        if not _moves(node):
            return node
        if not _waits(node) or any(len(part.shape) > 1 and _moves(part) for part in children(node)):
            known = next((name for name, value in results.items() if value == node), None)
            name = known or (node.name if isinstance(node, Named) else self.names.new(f"{output}_inside"))
            results[name] = node
            return Named(name, node.shape)
        return rebuild(node, tuple(self.after(part, output, results) for part in children(node)))

    def all_given(self) -> tuple[Given, ...]:
        """What a block is given, streams first; at least one of these, since the tokens have to be counted."""
        if not any(item.timed for item in self.given.values()):
            like = self.sequence.like
            self._give(Input(like.name, like.shape), like.name)
        names = self.sequence.inputs

        def place(item: Given) -> tuple[bool, int]:
            return not item.timed, names.index(item.name) if item.name in names else len(names)

        return tuple(sorted(self.given.values(), key=place))

    def _stream(self, node: Expr) -> Expr | None:
        if isinstance(node, Input):
            return self._give(node, f"earlier_{node.name}" if node.delayed else node.name)
        if is_split_parameter(node):
            return self._give(node, next(f"{part.component}_split" for part in walk(node) if isinstance(part, Parameter)))
        if not _is_over_streams(node):
            return None
        if node in self.definitions:
            return self._give(node, self.definitions[node])
        is_dear = contains(node, lambda part: isinstance(part, Parameter | Split | Join | Delay | Convolve))
        if is_dear and not (isinstance(node, Scale) and isinstance(node.by, Constant)):
            return self._give(node, _word(node))
        return None

    def _give(self, node: Expr, word: str) -> Input:
        if node not in self.given:
            clocks = {stream.name: stream.is_of_sequence for stream in self.sequence.model.inputs}
            timed = any(isinstance(part, Input) and not clocks[part.name] for part in walk(node))
            is_stream = isinstance(node, Input) and not node.delayed
            self.given[node] = Given(word if is_stream else self.names.new(self.definitions.get(node, word)), node, timed)
        return self.given[node].stream


def _word(node: Expr) -> str:
    """What a value of streams is called that is made once for all blocks."""
    for part in walk(node):
        match part:
            case Parameter(component):
                return f"{component}_read"
            case Delay(Recent(Input(name))):
                return f"delayed_{name}"
            case Convolve(Input(name)):
                return f"convolved_{name}"
    return "shared"


def is_split_parameter(node: Expr) -> bool:
    """Whether a value is a part of a parameter for each place along an axis, which the one dim of copies hides inside a block."""
    return isinstance(node, Split) and not _moves(node) and not contains(node, lambda part: isinstance(part, Input))


def _is_over_streams(node: Expr) -> bool:
    """Whether a value is made of streams, and of nothing that changes from block to block; a matrix only if it is one of the past."""
    is_given = len(node.shape) < 2 or isinstance(node, Delay)
    return is_given and contains(node, lambda part: isinstance(part, Input)) and not _moves(node)


def _is_steady(blocks: Blocks, node: Expr) -> bool:
    """Whether a value is no matrix, and made of streams and of levels that are steady in a block."""
    states = [part for part in walk(node) if isinstance(part, State | Named | Tick | Due)]
    return len(node.shape) < 2 and bool(states) and all(blocks.is_steady(part) for part in states)


def _moves(node: Expr) -> bool:
    """Whether a value needs what is known inside a block alone."""
    return contains(node, lambda part: isinstance(part, State | Named | Tick | Due))


def _waits(node: Expr) -> bool:
    """Whether a value joins places along an axis, or has parameters multiply what a block reads."""
    match node:
        case Join(x):
            return _moves(x)
        case MatMul(left, right) if contains(left, lambda part: isinstance(part, Parameter)) and not _moves(left):
            return _moves(right)
    return any(_waits(child) for child in children(node))
