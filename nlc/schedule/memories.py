"""From the laws of an architecture to its memories over a sequence: their order, reads, normal forms and chosen forms."""

from __future__ import annotations

from collections.abc import Collection, Mapping, Sequence
from dataclasses import dataclass, replace

from nlc.ir.affine import Classified, OutputRead, Transition
from nlc.ir.algebra import Expr, Input, Parameter, Position, State, Tick, When, contains, walk
from nlc.ir.attention import WindowLaw
from nlc.ir.build import replace as replaced
from nlc.ir.dual import DualLaw
from nlc.ir.law import PREVIOUS, RECENT, Law, Laws, written_out
from nlc.ir.model import Model
from nlc.ir.program import NO_BLOCKS, Blocks, Decision, Form, MemoryProgram
from nlc.schedule.attention import classify_window, window_law, window_values
from nlc.schedule.blocks import across_axes, block_law, find_blocks, late_starts, start_sources
from nlc.schedule.choose import choose_form
from nlc.schedule.dual_law import find_dual_law
from nlc.schedule.groups import Group, after_reads, over_old_states, state_groups
from nlc.schedule.inline import inlined
from nlc.schedule.reads import ReadBook, read_names, states_read, whole_reads
from nlc.schedule.rules import Candidate
from nlc.schedule.transition import classify, classify_together


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
        MemoryProgram(
            item.component, form, item.classified, item.reads, item.members, item.dual_law if form is Form.DUAL else None, item.window
        )
        for item, form, _ in chosen
    )
    return Scheduled(programs, memories.outputs, tuple(decision for _, _, tried in chosen for decision in tried), memories.blocks)


def find_memories(laws: Laws) -> Memories:
    """The facts about every memory that decide its form: first those that move at every token, then those with a period.

    Memories that move as one are one candidate.
    """
    blocks, gathering = find_blocks(laws), tuple(law.component for law in laws.endings)
    slow = blocks.levels if blocks.are_used else frozenset()
    values = _new_states(laws, gathering)
    groups = state_groups({name: new for name, new in values.items() if name not in slow}, blocks)
    book = ReadBook(_words(laws, slow), blocks)
    streams = {name: tuple(book.take(value, members) for value in values[name]) for members in groups for name in members}
    duals = {members: _over_reads(find_dual_law(laws, members, blocks), book, gathering) for members in groups}
    in_parts = laws.order.model.updates_per_tick > 1
    outputs = tuple((output.name, book.take_output(_given(gathering, output.value), in_parts=in_parts)) for output in laws.outputs)
    slow_laws = tuple(block_law(law, book) for law in laws.laws if law.component in slow)
    readers = (
        *((name, value) for name, new in streams.items() for value in new),
        *((law.component, equation.value) for law in slow_laws for equation in law.equations),
        *((f"the output {name}", value) for name, value in outputs),
    )
    facts = _Facts(laws, blocks, gathering, values, duals, book, readers)
    candidates: list[Candidate] = []
    known: set[str] = set()
    for members in after_reads(groups, book.reads, streams, start_sources(laws)):
        candidates.append(facts.candidate(members, streams, known))
        known.update(read.name for read in facts.reads(members))
    slower = (facts.slower(law) for law in slow_laws)
    return Memories((*candidates, *slower), outputs, replace(blocks, laws=slow_laws))


def _new_states(laws: Laws, gathering: tuple[str, ...]) -> Mapping[str, tuple[Expr, ...]]:
    """What the law of every level evaluates, over states and streams: its new tensors, or all of a law over a window."""
    return {
        law.component: tuple(_given(gathering, value) for value in _values(laws, law))
        for law in laws.laws
        if law.component not in gathering
    }


def _values(laws: Laws, law: Law) -> tuple[Expr, ...]:
    component = laws.order.model.component(law.component)
    if component.is_solved:
        return window_values(laws, law)
    starts = (written_out(item.value, law) for item in law.equations if item.starts is not None)
    return (*(inlined(law, state.part) for state in component.states), *starts)


def _over_reads(law: DualLaw | str | None, book: ReadBook, gathering: tuple[str, ...]) -> DualLaw | str | None:
    """The law with the reads of other memories by name."""
    return law.over(lambda value: book.take(_given(gathering, value))) if isinstance(law, DualLaw) else law


@dataclass(frozen=True, slots=True)
class _Facts:
    """What decides about a form, of memories whose reads are in the book.

    `values` are the new states of all levels, `duals` the linear laws of groups, or why there is none, `readers` all expressions, with
    who reads them.
    """

    laws: Laws
    blocks: Blocks
    gathering: tuple[str, ...]
    values: Mapping[str, tuple[Expr, ...]]
    duals: Mapping[Group, DualLaw | str | None]
    book: ReadBook
    readers: tuple[tuple[str, Expr], ...]

    def candidate(self, members: Group, streams: Mapping[str, Sequence[Expr]], known: Collection[str]) -> Candidate:
        """Memories that move at every token, as one; `known` are the reads of those before them."""
        window, dual, later = self._window(members, streams), self.duals[members], _later(self.reads(members), known)
        classified = self._class(members, streams) if window is None else classify_window(window, members[-1])
        if isinstance(dual, DualLaw) and (dual.has_norm or later or not classified.has_form):
            classified, later = _told_by_layers(members), _later(self.reads(members), known, is_own_known=True)
        return replace(
            self._of_system(members, classified),
            reads=self.reads(members),
            whole_reads=whole_reads(self.readers, members, self.blocks, self.reads(members)),
            is_counted=self._asks_places or any(contains(value, _is_tick) for name in members for value in self.values[name]),
            later_reads=later,
            dual=dual,
            window=window,
        )

    def _class(self, members: Group, streams: Mapping[str, Sequence[Expr]]) -> Classified:
        """The class of memories; a level of several rounds a token is no linear function of what it starts from."""
        rounds = next((name for name in members if name in self.laws.in_rounds), None)
        if rounds is None:
            return _classified(self._model, members, streams)
        because = f"{rounds} starts again at every token, and what it comes to in its rounds is not affine in that"
        return Classified(members[-1], Transition.NONLINEAR, None, because)

    def _window(self, members: Group, streams: Mapping[str, Sequence[Expr]]) -> WindowLaw | None:
        """The law of a level that is solved over a window, the first of some memories if several are."""
        solved = next((name for name in members if self._model.component(name).is_solved), None)
        return None if solved is None else window_law(self.laws, self.laws.law(solved), streams[solved])

    @property
    def _asks_places(self) -> bool:
        """Whether blocks would have to know the places of their tokens."""
        return self.blocks.tokens > 0 and any(isinstance(node, Position) for value in self.laws.values for node in walk(value))

    def slower(self, law: Law) -> Candidate:
        """A memory that moves at the ends of periods."""
        name, sources = law.component, states_read(*self.values[law.component])
        levels = (item for item in self._model.components if name == item.host or item.name == self._model.component(name).host)
        partners = " and ".join(item.name for item in levels if item.name in sources)
        if not partners:
            return self._of_system((name,), _classified(self._model, (name,), self.values))
        because = f"it reads the state of {partners}, with which it moves as one"
        return self._of_system((name,), Classified(name, Transition.COMPANION, None, because))

    def reads(self, members: Group) -> tuple[OutputRead, ...]:
        """What is read of some memories."""
        return tuple(read for read in self.book.reads if read.component in members)

    @property
    def _model(self) -> Model:
        return self.laws.order.model

    def _of_system(self, members: Group, classified: Classified) -> Candidate:
        """What is known of them without their reads."""
        return Candidate(
            classified=classified,
            clock=max((self.laws.law(name).clock for name in members), key=lambda clock: clock.period),
            members=members,
            block=0 if self.gathering else self.blocks.tokens,  # a sum until the end of the sequence has no period to divide
            whole_tokens=_whole_tokens(self.laws, self.book.reads, self.readers),
            gathering=self.gathering,
            late_starts=late_starts(self.laws, self.blocks),
            across_axes=across_axes(self.laws) if self.blocks.are_used else (),
        )


def _is_tick(node: Expr) -> bool:
    return isinstance(node, Tick)


def _given(lasting: tuple[str, ...], value: Expr) -> Expr:
    """The value, in which levels that stay as they are until the sequence ends are given like parameters."""

    def change(node: Expr) -> Expr | None:
        return Parameter(node.component, node.part, node.shape) if isinstance(node, State) and node.component in lasting else None

    return replaced(value, change) if lasting else value


def _whole_tokens(laws: Laws, reads: Sequence[OutputRead], readers: Sequence[tuple[str, Expr]]) -> str:
    """What a system of several updates a token does once a token, other than to emit what it reads then; empty when there is nothing.

    A state before the token is read where the vector is the same for all updates.
    """
    model = laws.order.model
    if model.updates_per_tick == 1:
        return ""
    slower = [law.component for law in laws.laws if not model.is_parted(law.component)]
    if slower:
        return f"{' and '.join(slower)} {'moves' if len(slower) == 1 else 'move'}"
    asked = [read.vector for read in reads if read.before_token and read.vector is not None]
    unread = any(isinstance(node, State) and node.when is When.HELD for _, value in readers for node in walk(value))
    if unread or any(model.values_per_tick(vector) > 1 or read_names(vector) for vector in asked):
        return "states before the token are read"
    parted = {stream.name for stream in model.inputs if stream.is_parted}
    if any(isinstance(node, Input) and node.delayed and node.name in parted for output in laws.outputs for node in walk(output.value)):
        return "values of streams before the token are read"
    counted = any(item.component not in (PREVIOUS, RECENT) for item in laws.kept)
    return "what lasts from token to token is kept" if counted else ""


def _later(reads: Sequence[OutputRead], known: Collection[str], *, is_own_known: bool = False) -> tuple[OutputRead, ...]:
    """The reads whose vectors are not known before the memory runs; with `is_own_known` it runs read after read."""
    seen, later = set(known), []
    for read in reads:
        if read.vector is not None and not read_names(read.vector) <= seen:
            later.append(read)
        if is_own_known:
            seen.add(read.name)
    return tuple(later)


def _told_by_layers(members: Group) -> Classified:
    """Memories whose gradients are told layer by layer: what is written takes several lines to say, which their form says once."""
    moves = f"the states of {' and '.join(members)} move as one, by" if len(members) > 1 else "it moves by"
    return Classified(members[-1], Transition.DENSE, None, f"{moves} gradients at a held state, which are told layer by layer")


def _classified(model: Model, members: Group, streams: Mapping[str, Sequence[Expr]]) -> Classified:
    """The class of one memory, or of several that move as one."""
    if len(members) == 1 and len(streams[members[0]]) == 1:
        return classify(streams[members[0]][0], _states(model, members[0], When.PREVIOUS)[0])
    new = over_old_states(members, streams, {name: _states(model, name, When.CURRENT) for name in members})
    return classify_together(new, [state for name in members for state in _states(model, name, When.PREVIOUS)])


def _states(model: Model, name: str, when: When) -> tuple[State, ...]:
    return tuple(State(name, declared.part, declared.shape, when) for declared in model.component(name).states)


def _words(laws: Laws, slow: frozenset[str]) -> frozenset[str]:
    """What a read must not be called."""
    model = laws.order.model
    equations = (equation.name for law in laws.laws if law.component in slow for equation in law.equations)
    outputs, inputs = (output.name for output in model.outputs), (stream.name for stream in model.inputs)
    numbers, dims = (item.name for item in model.hyperparameters), (dim.name for dim in model.dims)
    return frozenset((*outputs, *inputs, *numbers, *dims, *equations, *(component.name for component in model.components)))
