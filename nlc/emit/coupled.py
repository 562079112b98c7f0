"""States that move as one, or several writes a token, in their affine normal form -> the streams of the form that runs them in chunks.

state_i,t = sum_j decay_ij,t state_j,t-1 + sum_m weight_im,t write_m,t key_m,t^T
write_m,t = value_m,t - sum_j weight'_jm,t state_j,t-1 erase_m,t
"""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from functools import cached_property

from nlc.emit.chunked import ChunkedState, Stream
from nlc.emit.chunks import is_shared, numbered
from nlc.emit.factors import Factors
from nlc.emit.names import LocalNames
from nlc.ir.affine import CoupledLaw, CoupledRead, CoupledWrite
from nlc.ir.algebra import MINUS_ONE, Expr, is_number
from nlc.ir.build import add, full, scale
from nlc.ir.program import Form, MemoryProgram

ROLES = ("key", "value", "erase", "query", "read", "reads", "write")
OTHERS = (
    "after before chunks erases keys kept last leading moves n one overlap past scores seen shares states steady streams values whole zero"
)
WORDS = frozenset({*ROLES, *OTHERS.split()})
"""The variables of a method, which no state and no factor of a decay is called."""


@dataclass(frozen=True, slots=True)
class Erase:
    """What one write erases: minus the states, each times its weight, at a vector."""

    write: int
    weights: tuple[Expr, ...]
    vector: Expr


@dataclass(frozen=True)
class Coupled:
    """Some memories in chunks: who reads them, and their normal form."""

    memory: MemoryProgram
    law: CoupledLaw

    @cached_property
    def states(self) -> tuple[ChunkedState, ...]:
        """What they carry."""
        names = self._free_names()
        parts = ((state, ".".join(filter(None, (state.component, state.part)))) for state in self.law.states)
        return tuple(ChunkedState(names.new(name), state.component, state.part) for state, name in parts)

    @cached_property
    def factors(self) -> Factors:
        """The scalars of the decays and weights, by name."""
        scalars = (*(entry for row in self.moves for entry in row), *(weight for erase in self.erases for weight in erase.weights))
        return Factors.of(scalars, self._free_names(*(state.role for state in self.states)))

    def _free_names(self, *taken: str) -> LocalNames:
        count = max(len(self.law.writes), len(self.erases), len(self.queries), len(self.memory.reads))
        return LocalNames((*taken, *WORDS, *(f"{role}_{number + 1}" for role in ROLES for number in range(count))))

    @property
    def moves(self) -> tuple[tuple[Expr, ...], ...]:
        """How much of each old state, and of each write, is in each new state."""
        written = ([write.weights[place] for write in self.law.writes] for place in range(len(self.law.states)))
        return tuple((*row, *weights) for row, weights in zip(self.law.decays, written, strict=True))

    @cached_property
    def erases(self) -> tuple[Erase, ...]:
        """What the writes read, those of one write together that have the same weights."""
        return tuple(erase for number, write in enumerate(self.law.writes) for erase in _erases(number, write))

    @property
    def is_vector(self) -> bool:
        """Whether the states are vectors, or numbers, which are run as vectors of one entry."""
        return len(self.law.shape) < 2

    @property
    def is_number(self) -> bool:
        return not self.law.shape

    @property
    def is_triangular(self) -> bool:
        return self.law.has_reads

    @property
    def gathered(self) -> dict[str, int]:
        """The roles, of more than two writes that all do the same, which come together as one argument, and of how many streams."""
        count, erases = len(self.law.writes), [erase.write for erase in self.erases]
        is_alike = not self.is_vector and count > 2 and erases in ([], list(range(count)))
        return dict.fromkeys(("key", "value", *(("erase",) if erases else ())), count) if is_alike else {}

    @property
    def roles(self) -> tuple[tuple[str, str], ...]:
        """The arguments of the method for streams, each with its type."""
        alone = ((stream.role, "Tensor") for stream in self.streams if stream.role.rpartition("_")[0] not in self.gathered)
        return (*alone, *((f"{role}s", "tuple[Tensor, ...]") for role in self.gathered))

    @property
    def is_steady(self) -> bool:
        """Whether all tokens share the decays of states and the weights of writes."""
        return all(is_shared(entry) for row in self.moves for entry in row)

    @cached_property
    def queries(self) -> tuple[Expr, ...]:
        """The vectors at which others read."""
        return tuple(dict.fromkeys(read.vector for read in self.memory.reads if read.vector is not None))

    @cached_property
    def seen(self) -> tuple[int, ...]:
        """The places of the states that are read at tokens; of all, where the shares of one chunk serve all chunks."""
        if self.is_steady:
            return tuple(range(len(self.states)))
        read = {self.place(state.component, state.part) for state in self.memory.reads}
        erased = {place for erase in self.erases for place, weight in enumerate(erase.weights) if not is_number(weight, 0)}
        return tuple(sorted(read | erased)) or (0,)

    def place(self, component: str, part: str) -> int:
        """Which of the states a tensor is."""
        return [(state.component, state.part) for state in self.law.states].index((component, part))

    @property
    def streams(self) -> tuple[Stream, ...]:
        """The arguments of the method, but for the states."""
        factors = [Stream(name, value) for value, name in self.factors.names.items()]
        return (
            *factors,
            *_streams("key", [write.along for write in self.law.writes if write.along is not None]),
            *self._given,
            *_streams("erase", [erase.vector for erase in self.erases]),
            *_streams("query", self.queries),
        )

    @property
    def _given(self) -> tuple[Stream, ...]:
        """What the writes are given."""
        nothing = full(0, self.law.shape[:1])
        return tuple(_streams("value", [nothing if write.given is None else write.given for write in self.law.writes]))

    @property
    def moving(self) -> tuple[str, ...]:
        """The roles that are cut in chunks: not the factors of decays, which are multiplied before, unless an erase needs them."""
        needed = {name for erase in self.erases for weight in erase.weights for name in self.factors.within(weight)}
        given = {stream.role for stream in self._given}
        moving = tuple(stream.role for stream in self.streams if stream.value.shape or stream.role in needed | given)
        return tuple(role for role in moving if role.rpartition("_")[0] not in self.gathered)


def is_coupled(memory: MemoryProgram) -> bool:
    """Whether a memory has one of these forms."""
    return memory.form in (Form.STACKED_PREFIX_SUM, Form.STACKED_TRIANGULAR)


def coupled(memory: MemoryProgram) -> Coupled:
    """The streams of memories that have one of these forms."""
    assert memory.classified.coupled is not None, memory
    return Coupled(memory, memory.classified.coupled)


def _streams(role: str, values: Sequence[Expr]) -> Iterator[Stream]:
    return (Stream(f"{role}{numbered(number, len(values))}", value) for number, value in enumerate(values))


def _erases(number: int, write: CoupledWrite) -> Iterator[Erase]:
    alike: dict[tuple[Expr, ...], list[CoupledRead]] = {}
    for read in write.reads:
        alike.setdefault(read.weights, []).append(read)
    for weights, reads in alike.items():
        yield Erase(number, weights, scale(MINUS_ONE, add(*(scale(read.coefficient, read.vector) for read in reads))))
