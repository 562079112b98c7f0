"""From the laws of an architecture to its memories over a sequence: their order, reads, normal forms and chosen forms."""

from __future__ import annotations

from collections.abc import Collection, Iterator, Sequence
from dataclasses import dataclass, replace

from nlc.ir.affine import Classified, OutputRead, Transition
from nlc.ir.algebra import Expr, State, Tick, When, contains, walk
from nlc.ir.dual import DualLaw
from nlc.ir.law import Law, Laws
from nlc.ir.model import Model
from nlc.ir.program import NO_BLOCKS, Blocks, Decision, Form, MemoryProgram
from nlc.schedule.blocks import block_law, find_blocks, late_starts
from nlc.schedule.choose import choose_form
from nlc.schedule.reads import ReadBook, read_names, states_read, whole_reads
from nlc.schedule.rules import Candidate
from nlc.schedule.transition import classify, classify_together
from nlc.schedule.units import Units, cycle, find_units, memory_order


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
    programs = tuple(
        MemoryProgram(item.component, form, item.classified, item.reads, _dual(item) if form is Form.DUAL else None)
        for item, form, _ in chosen
    )
    return Scheduled(programs, memories.outputs, tuple(decision for _, _, tried in chosen for decision in tried), memories.blocks)


def _dual(candidate: Candidate) -> DualLaw | None:
    """The law that a memory runs, for itself and the levels of its optimizer."""
    return candidate.dual if candidate.leads and isinstance(candidate.dual, DualLaw) else None


def find_memories(laws: Laws) -> Memories:
    """The facts about every memory that decide its form: first those that move at every token, then those with a period."""
    blocks = find_blocks(laws)
    units = find_units(laws, blocks)
    reached = units.reached()
    order = memory_order(reached)
    book = ReadBook(_words(laws, units), blocks)
    taken = {name: law.over(lambda value: book.take(value, None)) for name in order if (law := units.law(name))}
    streams = {
        name: taken[name].values if name in taken else tuple(book.take(value, name) for value in units.values[name]) for name in order
    }
    outputs = tuple((output.name, book.take(units.given(output.value), None)) for output in laws.outputs)
    slow_laws = tuple(block_law(law, book) for law in laws.laws if law.component in units.slow)
    readers = (
        *((name, value) for name, new in streams.items() for value in new),
        *((law.component, equation.value) for law in slow_laws for equation in law.equations),
        *((f"the output {name}", value) for name, value in outputs),
    )
    facts = _Facts(laws, units, book, readers)
    candidates: list[Candidate] = []
    known: set[str] = set()
    for name in order:
        candidate = facts.candidate(name, taken.get(name), streams[name], cycle(reached, name), known)
        known.update(read.name for read in facts.reads(name))
        candidates.extend(facts.followers(candidate))
        candidates.append(candidate)
    slower = (facts.slower(law, units.values[law.component]) for law in slow_laws)
    return Memories((*candidates, *slower), outputs, replace(blocks, laws=slow_laws))


def _told_by_layers(name: str) -> Classified:
    """A single tensor whose gradient goes through a norm: what is written takes several lines to say, which its form says once."""
    return Classified(name, Transition.DENSE, None, "its gradient goes through a norm, and is told layer by layer")


@dataclass(frozen=True, slots=True)
class _Facts:
    """What decides about a form, of memories whose reads are in the book; `readers` are all expressions, with who reads them."""

    laws: Laws
    units: Units
    book: ReadBook
    readers: tuple[tuple[str, Expr], ...]

    def candidate(
        self, name: str, dual: DualLaw | None, streams: tuple[Expr, ...], coupled: tuple[str, ...], known: Collection[str]
    ) -> Candidate:
        """A memory that moves at every token; `known` are the reads of those before it."""
        values, blocks, reads = self.units.values[name], self.units.blocks, self.reads(name)
        is_one = dual is not None and len(values) == len(dual.flows) == 1
        candidate = Candidate(
            classified=_told_by_layers(name) if is_one else self._classified(name, values if dual else streams),
            clock=self.laws.law(name).clock,
            reads=reads,
            whole_reads=tuple(reader for member in self.units.members(name) for reader in whole_reads(self.readers, member, blocks)),
            coupled_with=coupled,
            is_counted=any(contains(value, lambda node: isinstance(node, Tick)) for value in values),
            later_reads=_later(reads, known, is_own_known=dual is not None),
            dual=dual or self.units.duals.get(name),
        )
        return self.alike(candidate)

    def followers(self, leader: Candidate) -> Iterator[Candidate]:
        """The levels of an optimizer that move with a memory by one law."""
        for name in self.units.members(leader.component)[:-1]:
            together = Classified(name, Transition.COMPANION, None, f"it moves as one with {leader.component}, by one linear law")
            yield replace(leader, classified=together, reads=(), leads=False)

    def slower(self, law: Law, values: tuple[Expr, ...]) -> Candidate:
        """A memory that moves at the ends of periods."""
        classified = _classified(self.laws.order.model, law.component, values, states_read(*values))
        return self.alike(Candidate(classified, law.clock))

    def alike(self, candidate: Candidate) -> Candidate:
        """The candidate with what is the same for all of a system."""
        gathering = self.units.gathering
        tokens = 0 if gathering else self.units.blocks.tokens  # a sum until the end of the sequence has no period to divide
        late = late_starts(self.laws)
        return replace(candidate, block=tokens, whole_tokens=_whole_tokens(self.laws), gathering=gathering, late_starts=late)

    def reads(self, name: str) -> tuple[OutputRead, ...]:
        """What is read of a unit."""
        return tuple(read for read in self.book.reads if self.units.leader(read.component) == name)

    def _classified(self, name: str, values: Sequence[Expr]) -> Classified:
        return _classified(self.laws.order.model, name, values, states_read(*self.units.values[name], but=self.units.blocks))


def _whole_tokens(laws: Laws) -> str:
    """What a system of several updates a token does once a token, other than to emit what it reads then; empty when there is nothing."""
    model = laws.order.model
    if model.updates_per_tick == 1:
        return ""
    slower = [law.component for law in laws.laws if not model.is_parted(law.component)]
    if slower:
        return f"{' and '.join(slower)} {'moves' if len(slower) == 1 else 'move'}"
    if any(isinstance(node, State) and node.when is When.PREVIOUS for output in laws.outputs for node in walk(output.value)):
        return "states before the token are read"
    return "previous values of streams are kept" if laws.kept else ""


def _later(reads: Sequence[OutputRead], known: Collection[str], *, is_own_known: bool) -> tuple[OutputRead, ...]:
    """The reads whose vectors are not known before the memory runs; with `is_own_known` it runs read after read."""
    seen, later = set(known), []
    for read in reads:
        if read.vector is not None and not read_names(read.vector) <= seen:
            later.append(read)
        if is_own_known:
            seen.add(read.name)
    return tuple(later)


def _classified(model: Model, name: str, new: Sequence[Expr], sources: frozenset[str]) -> Classified:
    component = model.component(name)
    states = [State(name, declared.part, declared.shape, When.PREVIOUS) for declared in component.states]
    partners = [other.name for other in model.components if other.name in sources and (other.host == name or other.name == component.host)]
    return classify(new[0], states[0], partners) if len(states) == 1 else classify_together(new, states, partners)


def _words(laws: Laws, units: Units) -> frozenset[str]:
    """What a read must not be called."""
    model = laws.order.model
    equations = (equation.name for law in laws.laws if law.component in units.slow for equation in law.equations)
    duals = (equation.name for name in units.duals if (law := units.law(name)) for equation in law.equations)
    outputs, inputs = (output.name for output in model.outputs), (stream.name for stream in model.inputs)
    numbers, dims = (item.name for item in model.hyperparameters), (dim.name for dim in model.dims)
    return frozenset((*outputs, *inputs, *numbers, *dims, *equations, *duals, *(component.name for component in model.components)))
