"""What is to be emitted, all choices made: state, timetable, a form for every memory, and why each form was or was not taken."""

from __future__ import annotations

from dataclasses import dataclass
from enum import Enum

from nlc.ir.affine import Classified, OutputRead
from nlc.ir.algebra import Expr, Hyperparameter, walk
from nlc.ir.dims import Shape
from nlc.ir.law import Laws
from nlc.ir.model import HyperparameterDeclaration, Model


class Form(Enum):
    """How a memory is computed over a whole sequence."""

    RECURRENCE = "recurrence"
    PREFIX_SUM = "chunked prefix sum"
    TRIANGULAR = "triangular chunks"
    HALVED_PREFIX_SUM = "prefix sum by halves"
    HALVED_TRIANGULAR = "triangular chunks by halves"


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
    is_whole: bool = False


@dataclass(frozen=True, slots=True)
class MemoryProgram:
    """One memory over a sequence: its normal form, its chosen form, and the reads that others make of it.

    The expressions in `classified.affine`, and the vectors of `reads`, are over inputs, hyperparameters and `Named` reads of
    memories that come earlier in the program.
    """

    component: str
    form: Form
    classified: Classified
    reads: tuple[OutputRead, ...]


@dataclass(frozen=True, slots=True)
class Program:
    """A whole system. For an optimizer `memories` is empty: its laws run once a step.

    `outputs` give each output as an expression over inputs, hyperparameters and `Named` reads; they are used when every memory has a
    parallel form (`is_parallel`). Otherwise the whole system runs token by token, by its laws. `parameters` are the tensors of slow
    levels, `training` the programs of the optimizers that move them.
    """

    laws: Laws
    slots: tuple[StateSlot, ...]
    timetable: tuple[tuple[str, tuple[str, ...]], ...]
    memories: tuple[MemoryProgram, ...]
    outputs: tuple[tuple[str, Expr], ...]
    decisions: tuple[Decision, ...]
    chunk: int
    parameters: tuple[StateSlot, ...] = ()
    training: tuple[Program, ...] = ()

    @property
    def model(self) -> Model:
        return self.laws.order.model

    @property
    def hyperparameters(self) -> tuple[HyperparameterDeclaration, ...]:
        """What the compiled code may be given: not the counts of periods, which were read when the spec was compiled."""
        if not self.laws.kept and self.model.updates_per_tick == 1:
            return self.model.hyperparameters
        numbers = (value for item in self.model.training for _, value in item.numbers)
        read = {
            node.name for value in (*self.laws.values, *self._starts, *numbers) for node in walk(value) if isinstance(node, Hyperparameter)
        }
        return tuple(item for item in self.model.hyperparameters if item.name in read)

    @property
    def _starts(self) -> tuple[Expr, ...]:
        return tuple(slot.start for slot in (*self.slots, *self.parameters) if slot.start is not None)

    @property
    def is_parallel(self) -> bool:
        return bool(self.memories) and all(memory.form is not Form.RECURRENCE for memory in self.memories)
