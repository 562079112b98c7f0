"""From the laws of an architecture to its memories over a sequence: their order, reads, normal forms and chosen forms."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass

from nlc.ir.affine import Classified
from nlc.ir.algebra import Expr, State, When
from nlc.ir.law import Laws
from nlc.ir.model import Model
from nlc.ir.program import Decision, MemoryProgram
from nlc.schedule.choose import choose_form
from nlc.schedule.inline import inlined
from nlc.schedule.reads import ReadBook, read_names, states_read, whole_reads
from nlc.schedule.rules import Candidate
from nlc.schedule.transition import classify

Dependencies = Mapping[str, frozenset[str]]


@dataclass(frozen=True, slots=True)
class Memories:
    """The memories in an order in which each needs only reads of earlier ones, the outputs over those reads, and the decisions."""

    programs: tuple[MemoryProgram, ...]
    outputs: tuple[tuple[str, Expr], ...]
    decisions: tuple[Decision, ...]


def schedule_memories(laws: Laws) -> Memories:
    """A form for every memory, chosen by the table of rules."""
    model = laws.order.model
    values = {law.component: inlined(law, model.component(law.component).states[0].part) for law in laws.laws}
    reached = _reached({name: states_read(value) - {name} for name, value in values.items()})
    order = _memory_order(reached)
    book = ReadBook(_words(model))
    streams = {name: book.take(values[name], name) for name in order}
    outputs = tuple((output.name, book.take(output.value, None)) for output in laws.outputs)
    readers = (*streams.items(), *((f"the output {name}", value) for name, value in outputs))

    programs: list[MemoryProgram] = []
    decisions: list[Decision] = []
    known: set[str] = set()
    for name in order:
        reads = tuple(read for read in book.reads if read.component == name)
        classified = _classified(model, name, streams[name], states_read(values[name]))
        candidate = Candidate(
            classified=classified,
            clock=laws.law(name).clock,
            reads=reads,
            whole_reads=whole_reads(readers, name),
            coupled_with=_cycle(reached, name),
            later_reads=tuple(read for read in reads if read.vector is not None and not read_names(read.vector) <= known),
        )
        form, tried = choose_form(candidate)
        programs.append(MemoryProgram(name, form, classified, reads))
        decisions.extend(tried)
        known |= {read.name for read in reads}
    return Memories(tuple(programs), outputs, tuple(decisions))


def _classified(model: Model, name: str, value: Expr, sources: frozenset[str]) -> Classified:
    component = model.component(name)
    (declared,) = component.states
    partners = [other.name for other in model.components if other.name in sources and (other.host == name or other.name == component.host)]
    return classify(value, State(name, declared.part, declared.shape, When.PREVIOUS), partners)


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


def _words(model: Model) -> frozenset[str]:
    """What a read must not be called."""
    outputs, inputs = (output.name for output in model.outputs), (stream.name for stream in model.inputs)
    numbers, dims = (item.name for item in model.hyperparameters), (dim.name for dim in model.dims)
    return frozenset((*outputs, *inputs, *numbers, *dims, *(component.name for component in model.components)))
