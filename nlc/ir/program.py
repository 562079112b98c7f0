"""What is to be emitted, all choices made: state, timetable, a form for every memory, and why each form was or was not taken."""

from __future__ import annotations

from dataclasses import dataclass
from enum import Enum
from typing import Literal

from nlc.ir.affine import Classified, OutputRead
from nlc.ir.algebra import Expr, Hyperparameter, Parameter, State, When, walk
from nlc.ir.attention import WindowLaw
from nlc.ir.dims import Shape
from nlc.ir.dual import DualLaw
from nlc.ir.law import Law, Laws, Reset
from nlc.ir.model import HyperparameterDeclaration, Model
from nlc.ir.network import Layer
from nlc.ir.recents import Convolve


class Form(Enum):
    """How a memory is computed over a whole sequence."""

    RECURRENCE = "recurrence"
    PREFIX_SUM = "chunked prefix sum"
    TRIANGULAR = "triangular chunks"
    HALVED_PREFIX_SUM = "prefix sum by halves"
    HALVED_TRIANGULAR = "triangular chunks by halves"
    STACKED_PREFIX_SUM = "stacked prefix sum"
    STACKED_TRIANGULAR = "stacked triangular chunks"
    BLOCKS = "sums over blocks"
    DUAL = "dual form"
    ATTENTION = "scaled dot-product attention"
    WINDOW_TABLE = "a table of queries and data"

    @property
    def is_chunked(self) -> bool:
        """Whether a memory of this form runs chunk by chunk."""
        return self not in (Form.RECURRENCE, Form.BLOCKS, Form.DUAL, Form.ATTENTION, Form.WINDOW_TABLE)


@dataclass(frozen=True, slots=True)
class Decision:
    """One form rule tried for one component: taken or not, and the condition that settled it, in a sentence."""

    component: str
    rule: str
    taken: bool
    because: str
    cites: tuple[str, ...] = ()


@dataclass(frozen=True, slots=True)
class StateSlot:
    """One carried tensor. `name` is its key in the emitted state dict: the component's name, with `.part` if it has several.

    A slot that `counts` is a single whole number; all others have one value for each sequence and axis, or
    for each sequence when it `is_whole`. It starts from `start`, or zeros.
    """

    name: str
    component: str
    part: str
    shape: Shape
    counts: bool = False
    start: Expr | None = None
    window: int | Literal["all"] | None = None
    is_whole: bool = False


@dataclass(frozen=True, slots=True)
class MemoryProgram:
    """One memory over a sequence, or several that move as one: normal form, chosen form, and the reads that others make of it.

    `component` is the last of the `members` to run. The expressions in the normal form, and the vectors of `reads`, are over inputs,
    hyperparameters, states that are steady in a block, and `Named` reads of memories that come earlier in the program. `dual` is the
    law that the dual form runs, `window` that of a level that is solved over one.
    """

    component: str
    form: Form
    classified: Classified
    reads: tuple[OutputRead, ...]
    members: tuple[str, ...]
    dual: DualLaw | None = None
    window: WindowLaw | None = None

    @property
    def takes_chunk(self) -> bool:
        """Whether it runs chunk by chunk: in a form of chunks, or as attention, whose window slides."""
        return self.form.is_chunked or (self.form is Form.ATTENTION and self.window is not None and self.window.slides)

    @property
    def title(self) -> str:
        """What it is called where it is shown."""
        return " and ".join(filter(None, (", ".join(self.members[:-1]), self.members[-1])))


@dataclass(frozen=True, slots=True)
class Blocks:
    """How a sequence is cut when something moves, is held or starts again every so many tokens: a block ends where a period may end.

    `tokens` is the length of a block, the greatest common divisor of all periods: 0 when there is none, and 1 when every token may end
    one. Inside a block of several tokens the levels of `levels`, which have a period, and everything in `kept` stay as they are; `laws`
    are the laws of those levels over streams, `Named` reads of the others' memories, and states. If not 0, `alone` says after how many
    tokens one is a block of its own: where a level starts from what others become at that token, the others run first.
    """

    tokens: int = 0
    levels: frozenset[str] = frozenset()
    kept: frozenset[tuple[str, str]] = frozenset()
    laws: tuple[Law, ...] = ()
    alone: int = 0

    @property
    def are_used(self) -> bool:
        return self.tokens > 1

    def is_steady(self, node: Expr) -> bool:
        """Whether the node is a state that every token of a block finds as the first one does."""
        if not self.are_used or not isinstance(node, State) or node.when is not When.PREVIOUS:
            return False
        return node.component in self.levels or (node.component, node.part) in self.kept


NO_BLOCKS = Blocks()
"""A system without periods."""


@dataclass(frozen=True, slots=True)
class Program:
    """A whole system. For an optimizer `memories` is empty: its laws run once a step.

    `outputs` give each output as an expression over inputs, hyperparameters, `Named` reads and states that are steady in a block; they
    are used when every memory has a parallel form, or there is none and older values of streams are carried (`is_parallel`), block after
    block when something has a period (`is_in_blocks`). Otherwise the whole system runs token by token, by its laws. `parameters` are the
    tensors of slow levels, `training` the programs of the optimizers that move them; `chunk_because` says why a chunk is as long as it is.
    Of a model there is nothing but its own parameters, its training and the programs of its `layers`, in the order of its network's models.
    """

    laws: Laws
    slots: tuple[StateSlot, ...]
    timetable: tuple[tuple[str, tuple[str, ...]], ...]
    memories: tuple[MemoryProgram, ...]
    outputs: tuple[tuple[str, Expr], ...]
    decisions: tuple[Decision, ...]
    chunk: int
    chunk_because: str = ""
    blocks: Blocks = NO_BLOCKS
    parameters: tuple[StateSlot, ...] = ()
    training: tuple[Program, ...] = ()
    layers: tuple[Program, ...] = ()

    @property
    def model(self) -> Model:
        return self.laws.order.model

    @property
    def hyperparameters(self) -> tuple[HyperparameterDeclaration, ...]:
        """What the compiled code may be given: not the counts of periods, which were read when the spec was compiled."""
        numbers = (value for item in self.model.training for _, value in item.numbers)
        parts = self.model.network.placed if self.model.network is not None else ()
        bound = (value for part, _ in parts if isinstance(part, Layer) for _, value in part.arguments)
        evaluated = (*self.laws.values, *self.laws.values_between, *self._starts, *numbers, *bound)
        read = {node.name for value in evaluated for node in walk(value) if isinstance(node, Hyperparameter)}
        return tuple(item for item in self.model.hyperparameters if item.name in read)

    @property
    def _starts(self) -> tuple[Expr, ...]:
        return tuple(slot.start for slot in (*self.slots, *self.parameters) if slot.start is not None)

    def is_kernel(self, slot: StateSlot) -> bool:
        """Whether streams are convolved with a slow level, which adds up over its rows, not over its columns."""
        tensor = Parameter(slot.component, slot.part, slot.shape)
        return any(isinstance(node, Convolve) and node.kernel == tensor for value in self.laws.values for node in walk(value))

    @property
    def has_chunk(self) -> bool:
        """Whether something runs chunk by chunk, so that the length of a chunk is a choice."""
        return self.is_parallel and any(memory.takes_chunk for memory in self.memories)

    @property
    def is_parallel(self) -> bool:
        if not self.memories:
            return not self.model.fast and bool(self.slots)
        return all(memory.form is not Form.RECURRENCE for memory in self.memories)

    @property
    def is_in_blocks(self) -> bool:
        return self.is_parallel and self.blocks.are_used

    @property
    def mixes_pasts(self) -> bool:
        """Whether a level in the dual form has the past of another in it, as a memory has that of its momentum."""
        laws = (memory.dual for memory in self.memories if memory.dual is not None)
        return any(len(law.sources(component)) > 1 for law in laws for component in law.components)

    @property
    def starts(self) -> tuple[tuple[Reset, ...], ...]:
        """What starts again where a block begins: first what does before any memory runs, then for each what does when it has run.

        A start waits for the memories whose new states it reads, and for whatever starts before it and is read by it.
        """
        runs = {name: place for place, memory in enumerate(self.memories, start=1) for name in memory.members}
        places: list[int] = []
        of_state: dict[Expr, int] = {}
        for item in self.laws.resets:
            read = [node for node in (item.state, *walk(item.value)) if isinstance(node, State)]
            places.append(max(of_state.get(node, 0) if node.when is When.PREVIOUS else runs[node.component] for node in read))
            of_state[item.state] = places[-1]
        by_place = range(len(self.memories) + 1)
        return tuple(tuple(item for item, own in zip(self.laws.resets, places, strict=True) if own == place) for place in by_place)

    @property
    def chunked(self) -> tuple[MemoryProgram, ...]:
        """The memories that run in chunks: those of a parallel system that move at every token, but for the dual form."""
        return tuple(memory for memory in self.memories if memory.form.is_chunked) if self.is_parallel else ()

    @property
    def at_once(self) -> tuple[MemoryProgram, ...]:
        """What is computed at all tokens together, in order: memories in chunks, and levels that are solved over a window."""
        return tuple(memory for memory in self.memories if memory.form not in (Form.BLOCKS, Form.DUAL)) if self.is_parallel else ()
