"""From the laws of an architecture to its memories over a sequence: their order, reads, normal forms and chosen forms."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, replace

from nlc.ir.affine import Classified, OutputRead
from nlc.ir.algebra import Expr, Parameter, State, Tick, When, contains, walk
from nlc.ir.build import replace as replaced
from nlc.ir.law import Laws
from nlc.ir.model import Model
from nlc.ir.program import NO_BLOCKS, Blocks, Decision, MemoryProgram
from nlc.schedule.blocks import across_axes, block_law, find_blocks, late_starts
from nlc.schedule.choose import choose_form
from nlc.schedule.inline import inlined
from nlc.schedule.reads import ReadBook, read_names, states_read, whole_reads
from nlc.schedule.rules import Candidate
from nlc.schedule.transition import classify, classify_together

Dependencies = Mapping[str, frozenset[str]]


@dataclass(frozen=True, slots=True)
class Memories:
    """The memories in an order in which each needs only reads of earlier ones, the outputs over those reads, and the blocks."""

    candidates: tuple[Candidate, ...]
    outputs: tuple[tuple[str, Expr], ...]
    blocks: Blocks


@dataclass(frozen=True, slots=True)
class Scheduled:
    """A form for every memory, the outputs over the memories' reads, every decision, and the blocks."""

    memories: tuple[MemoryProgram, ...] = ()
    outputs: tuple[tuple[str, Expr], ...] = ()
    decisions: tuple[Decision, ...] = ()
    blocks: Blocks = NO_BLOCKS


def schedule_memories(laws: Laws) -> Scheduled:
    """Every memory gets a form by the table of rules."""
    memories = find_memories(laws)
    chosen = [(candidate, *choose_form(candidate)) for candidate in memories.candidates]
    programs = tuple(MemoryProgram(item.component, form, item.classified, item.reads) for item, form, _ in chosen)
    return Scheduled(programs, memories.outputs, tuple(decision for _, _, tried in chosen for decision in tried), memories.blocks)


def find_memories(laws: Laws) -> Memories:
    """The facts about every memory that decide its form: first those that move at every token, then those with a period."""
    model, blocks = laws.order.model, find_blocks(laws)
    gathering, late = tuple(law.component for law in laws.endings), late_starts(laws)
    across = across_axes(laws) if blocks.are_used else ()
    slow = blocks.levels if blocks.are_used else frozenset()
    values = {
        law.component: tuple(_given(gathering, inlined(law, state.part)) for state in model.component(law.component).states)
        for law in laws.laws
        if law.component not in gathering
    }
    moving = {name: states_read(*new, but=blocks) for name, new in values.items() if name not in slow}
    reached = _reached({name: sources - {name} for name, sources in moving.items()})
    order = _memory_order(reached)
    book = ReadBook(_words(laws, slow), blocks)
    streams = {name: tuple(book.take(value, name) for value in values[name]) for name in order}
    outputs = tuple((output.name, book.take(_given(gathering, output.value), None)) for output in laws.outputs)
    slow_laws = tuple(block_law(law, book) for law in laws.laws if law.component in slow)
    readers = (
        *((name, value) for name, new in streams.items() for value in new),
        *((law.component, equation.value) for law in slow_laws for equation in law.equations),
        *((f"the output {name}", value) for name, value in outputs),
    )
    reads = {name: tuple(read for read in book.reads if read.component == name) for name in order}
    tokens = 0 if gathering else blocks.tokens  # a sum until the end of the sequence has no period to divide
    whole_tokens = _whole_tokens(laws) if model.updates_per_tick > 1 else ""
    candidates = (
        Candidate(
            classified=_classified(model, name, streams[name], moving[name]),
            clock=laws.law(name).clock,
            reads=reads[name],
            whole_reads=whole_reads(readers, name, blocks),
            coupled_with=_cycle(reached, name),
            is_counted=any(contains(value, lambda node: isinstance(node, Tick)) for value in values[name]),
            later_reads=_later(reads[name], {read.name for earlier in order[:place] for read in reads[earlier]}),
            block=tokens,
            whole_tokens=whole_tokens,
            gathering=gathering,
            late_starts=late,
            across_axes=across,
        )
        for place, name in enumerate(order)
    )
    slower = (
        Candidate(
            _classified(model, law.component, values[law.component], states_read(*values[law.component])),
            law.clock,
            block=tokens,
            whole_tokens=whole_tokens,
            gathering=gathering,
            late_starts=late,
            across_axes=across,
        )
        for law in slow_laws
    )
    return Memories((*candidates, *slower), outputs, replace(blocks, laws=slow_laws))


def _given(lasting: tuple[str, ...], value: Expr) -> Expr:
    """The value, in which levels that stay as they are until the sequence ends are given like parameters."""

    def change(node: Expr) -> Expr | None:
        return Parameter(node.component, node.part, node.shape) if isinstance(node, State) and node.component in lasting else None

    return replaced(value, change) if lasting else value


def _whole_tokens(laws: Laws) -> str:
    """What a system of several updates a token does once a token, other than to emit what it reads then; empty when there is nothing."""
    model = laws.order.model
    slower = [law.component for law in laws.laws if not model.is_parted(law.component)]
    if slower:
        return f"{' and '.join(slower)} {'moves' if len(slower) == 1 else 'move'}"
    if any(isinstance(node, State) and node.when is When.PREVIOUS for output in laws.outputs for node in walk(output.value)):
        return "states before the token are read"
    return "previous values of streams are kept" if laws.kept else ""


def _later(reads: Sequence[OutputRead], known: set[str]) -> tuple[OutputRead, ...]:
    return tuple(read for read in reads if read.vector is not None and not read_names(read.vector) <= known)


def _classified(model: Model, name: str, new: Sequence[Expr], sources: frozenset[str]) -> Classified:
    component = model.component(name)
    states = [State(name, declared.part, declared.shape, When.PREVIOUS) for declared in component.states]
    partners = [other.name for other in model.components if other.name in sources and (other.host == name or other.name == component.host)]
    return classify(new[0], states[0], partners) if len(states) == 1 else classify_together(new, states, partners)


def _reached(reads: Dependencies) -> Dependencies:
    """Every memory that a memory's law needs, directly or through others."""
    reached = dict(reads)
    for _ in reads:
        reached = {name: sources.union(*(reached[source] for source in sources)) for name, sources in reached.items()}
    return reached


def _cycle(reached: Dependencies, name: str) -> tuple[str, ...]:
    return tuple(other for other in reached if other != name and other in reached[name] and name in reached[other])


def _memory_order(reached: Dependencies) -> Sequence[str]:
    """Each memory after those it reads, cycles apart; otherwise as they run. Who reads another reaches more memories than that one."""
    return sorted(reached, key=lambda name: len(reached[name] - {name}))


def _words(laws: Laws, slow: frozenset[str]) -> frozenset[str]:
    """What a read must not be called."""
    model = laws.order.model
    equations = (equation.name for law in laws.laws if law.component in slow for equation in law.equations)
    outputs, inputs = (output.name for output in model.outputs), (stream.name for stream in model.inputs)
    numbers, dims = (item.name for item in model.hyperparameters), (dim.name for dim in model.dims)
    return frozenset((*outputs, *inputs, *numbers, *dims, *equations, *(component.name for component in model.components)))
