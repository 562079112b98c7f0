"""A memory that runs in chunks -> what a token of one copy of it costs: operations, bytes and the state, in chunks and token by token.

What is counted are the products of matrices and the systems that are solved, a multiplication and an addition as two operations, and
the numbers that are moved: streams and reads once a token, the states in and out once a chunk or once a token. With s states of
(rows, columns), w writes, e erases and r reads a token at p vectors, and the n = w C writes of a chunk of C tokens, a token takes

    2 s rows columns (e + r + w)                   what is read of the states at the start, and what is carried on
    2 n columns (e + p) + 2 n rows r + w n rows    overlaps and scores, what is read of the writes, and the system

in chunks, and the first line token by token. By halves, overlaps and scores are (C - 1) / 2 C of that; several states are mixed once a
chunk, at 2 s^2 rows columns. The shares that mix them are left out: below 1 % at the usual sizes.
"""

from __future__ import annotations

from dataclasses import dataclass
from fractions import Fraction

from nlc.ir.affine import AffineLaw, CoupledLaw
from nlc.ir.dims import Shape
from nlc.ir.model import Model
from nlc.ir.program import Form, MemoryProgram

BYTES = 4
"""Of a number in float32."""

HALVED = frozenset({Form.HALVED_PREFIX_SUM, Form.HALVED_TRIANGULAR})
STACKED = frozenset({Form.STACKED_PREFIX_SUM, Form.STACKED_TRIANGULAR})


@dataclass(frozen=True, slots=True)
class Work:
    """What a token of one copy of a memory costs; exact fractions, since a chunk's costs are shared by its tokens."""

    operations: Fraction
    bytes_moved: Fraction


@dataclass(frozen=True, slots=True)
class Counts:
    """How often a token of a memory does what; `vectors` are those at which others read, of stacked states the distinct ones.

    `whole` counts reads of the whole state.
    """

    rows: int
    columns: int
    states: int
    writes: int
    erases: int
    reads: int
    vectors: int
    whole: int = 0

    @property
    def state_numbers(self) -> int:
        """What is carried from token to token."""
        return self.states * self.rows * self.columns

    @property
    def state_bytes(self) -> int:
        return BYTES * self.state_numbers


def counts_of(model: Model, memory: MemoryProgram) -> Counts:
    """The counts at the sizes that the spec gives."""
    law = memory.classified.coupled if memory.form in STACKED else memory.classified.affine
    assert law is not None, memory
    rows, columns = default_sizes(model, law.shape)
    writes, whole = len(law.writes), sum(read.is_whole for read in memory.reads)
    reads = len(memory.reads) - whole
    if isinstance(law, AffineLaw):
        return Counts(rows, columns, 1, writes, writes * _erases(law), reads, reads, whole)
    return Counts(rows, columns, len(law.states), writes, writes * _erases(law), reads, len({read.vector for read in memory.reads}))


def default_sizes(model: Model, shape: Shape) -> tuple[int, int]:
    """Rows and columns at the default sizes; a vector has one column, a number one row too."""
    known = {dim.name: dim.default for dim in model.dims}
    for _ in model.dims:
        known |= {dim.name: dim.definition.size(known) for dim in model.dims if dim.definition is not None}
    rows, columns, *_ = (*(dim.size(known) for dim in shape), 1, 1)
    return rows, columns


def _erases(law: AffineLaw | CoupledLaw) -> int:
    """How many vectors a write erases along: of one state they are added up first, of several those with the same weights are."""
    if isinstance(law, AffineLaw):
        return int(any(write.reads for write in law.writes))
    return max((len({read.weights for read in write.reads}) for write in law.writes), default=0)


def work_in_chunks(counts: Counts, form: Form, chunk: int) -> Work:
    """In chunks of so many tokens."""
    written = counts.writes * chunk
    pairs = Fraction(chunk - 1, 2 * chunk) if form in HALVED else Fraction(1)
    scores = pairs * (2 * written * counts.columns * (counts.erases + counts.vectors))
    read = 2 * written * counts.rows * (counts.reads + counts.whole * counts.columns)
    solved = counts.writes * written * counts.rows if counts.erases else 0
    mixed = Fraction(2 * counts.states * counts.state_numbers, chunk) if counts.states > 1 else 0
    return Work(_with_states(counts) + scores + read + solved + mixed, _moved(counts) + Fraction(2 * counts.state_bytes, chunk))


def work_by_token(counts: Counts) -> Work:
    """By the law itself, token by token."""
    return Work(Fraction(_with_states(counts)), Fraction(_moved(counts) + 2 * counts.state_bytes))


def _with_states(counts: Counts) -> int:
    return 2 * counts.state_numbers * (counts.erases + counts.reads + counts.writes)


def _moved(counts: Counts) -> int:
    """Bytes of a token's streams and reads."""
    along = counts.columns * (counts.writes + counts.erases + counts.vectors)
    return BYTES * (along + counts.rows * (counts.writes + counts.reads + counts.whole * counts.columns))
