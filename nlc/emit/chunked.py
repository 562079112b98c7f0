"""What a memory in chunks is to the emitter: its streams, what it carries, and what its form has."""

from __future__ import annotations

from dataclasses import dataclass, replace

from nlc.ir.affine import AffineLaw
from nlc.ir.algebra import Expr
from nlc.ir.program import Form, MemoryProgram


@dataclass(frozen=True, slots=True)
class Stream:
    """What one role of the form is at every token, as an expression; `role` is the name of the method's argument.

    One that `is_steady` is a decay that all tokens share, so that its products are made once. `above` are the values of memories whose rows
    stand above those of this one.
    """

    role: str
    value: Expr
    is_steady: bool = False
    above: tuple[tuple[str, Expr], ...] = ()


@dataclass(frozen=True, slots=True)
class ChunkedState:
    """A carried tensor: the name of the method's argument, and whose it is."""

    role: str
    component: str
    part: str


@dataclass(frozen=True, slots=True)
class Chunked:
    """One memory in chunks: its streams, whether it has decays and reads its old state, and who reads it.

    `in_blocks`: batch and axes are one dim of copies already. `above` are memories whose rows stand above its own, the last `rows`:
    the same is done to them. `reads_decayed`: writes read what the decay of their own token has left of the state.
    """

    memory: MemoryProgram
    law: AffineLaw
    streams: tuple[Stream, ...]
    in_blocks: bool = False
    above: tuple[Chunked, ...] = ()
    rows: str = ""
    reads_decayed: bool = False

    def stream(self, role: str) -> Expr:
        """What a role is at every token."""
        return next(stream.value for stream in self.streams if stream.role == role)

    def with_stream(self, role: str, value: Expr) -> Chunked:
        """The form with something else in a role."""
        return replace(self, streams=tuple(replace(item, value=value) if item.role == role else item for item in self.streams))

    @property
    def states(self) -> tuple[ChunkedState, ...]:
        """What it carries."""
        return (*(state for form in self.above for state in form.states), ChunkedState("memory", self.law.component, self.law.part))

    @property
    def is_vector(self) -> bool:
        """Whether it is a vector, or a number, which is run as a vector of one entry."""
        return len(self.law.shape) < 2

    @property
    def is_number(self) -> bool:
        return not self.law.shape

    @property
    def has_decay(self) -> bool:
        return any(stream.role == "decay" for stream in self.streams)

    @property
    def has_rate(self) -> bool:
        """Whether a chunk multiplies values and keys by a rate."""
        return any(stream.role == "rate" for stream in self.streams)

    @property
    def is_steady(self) -> bool:
        """Whether every token has the same decay."""
        return any(stream.is_steady for stream in self.streams)

    @property
    def moving(self) -> tuple[str, ...]:
        """The roles that change from token to token."""
        return tuple(stream.role for stream in self.streams if not stream.is_steady)

    @property
    def is_halved(self) -> bool:
        """Whether its decays, one for each channel, are multiplied by halves."""
        return self.memory.form in (Form.HALVED_PREFIX_SUM, Form.HALVED_TRIANGULAR)

    @property
    def is_triangular(self) -> bool:
        return any(write.reads for write in self.law.writes) and not self.is_vector
