"""A memory in its affine normal form -> the method that runs it in chunks, and the call of that method with its streams.

    memory_t = decay_t memory_{t-1} + write_t key_t^T,      write_t = value_t - memory_{t-1} erase_t

All reads of one write are one: sum_j coefficient_j (S @ vector_j) = -S @ erase with erase = -sum_j coefficient_j vector_j.
"""

from __future__ import annotations

from dataclasses import dataclass

from nlc.emit.layout import Lines, call
from nlc.emit.render import render
from nlc.emit.views import MatrixChunksView, ReadView, VectorChunksView, WriteView
from nlc.ir.affine import AffineLaw, OutputRead, Write
from nlc.ir.algebra import MINUS_ONE, Expr, When, is_number
from nlc.ir.build import add, full, scale
from nlc.ir.program import Form, MemoryProgram


@dataclass(frozen=True, slots=True)
class Stream:
    """What one role of the form is at every token, as an expression; `role` is the name of the method's argument."""

    role: str
    value: Expr


@dataclass(frozen=True, slots=True)
class Chunked:
    """One memory in chunks: its streams, whether it has decays and reads its old state, and who reads it."""

    memory: MemoryProgram
    law: AffineLaw
    streams: tuple[Stream, ...]

    @property
    def is_vector(self) -> bool:
        return len(self.law.shape) == 1

    @property
    def has_decay(self) -> bool:
        return any(stream.role == "decay" for stream in self.streams)

    @property
    def is_halved(self) -> bool:
        """Whether its decays, one for each channel, are multiplied by halves."""
        return self.memory.form in (Form.HALVED_PREFIX_SUM, Form.HALVED_TRIANGULAR)

    @property
    def is_triangular(self) -> bool:
        return any(stream.role == "erase" for stream in self.streams)


def chunked(memory: MemoryProgram) -> Chunked:
    """The streams of a memory that has a parallel form."""
    law = memory.classified.affine
    assert law is not None, memory
    streams = _vector_streams(law) if len(law.shape) == 1 else _matrix_streams(memory, law)
    return Chunked(memory, law, streams)


def method_name(local: str) -> str:
    """The method that runs the memory whose variable is `local`."""
    return f"_{local}_in_chunks"


def chunk_method(form: Chunked, local: str) -> str:
    """The method's text."""
    return render(_vector_view(form, local) if form.is_vector else _matrix_view(form, local))


def _decay(decay: Expr) -> tuple[Stream, ...]:
    return () if is_number(decay, 1) else (Stream("decay", decay),)


def _vector_streams(law: AffineLaw) -> tuple[Stream, ...]:
    """A vector's reads of itself are scalars times it: they belong to the decay. Its givens are added up."""
    kept = [read.coefficient for write in law.writes for read in write.reads]
    given = [write.given for write in law.writes if write.given is not None]
    return (*_decay(add(law.decay, *kept)), Stream("value", add(*given) if given else full(0, law.shape)))


def _matrix_streams(memory: MemoryProgram, law: AffineLaw) -> tuple[Stream, ...]:
    writes = [stream for number, write in enumerate(law.writes) for stream in _write(write, law, numbered(number, len(law.writes)))]
    queries = [Stream(f"query{numbered(number, len(memory.reads))}", _query(read)) for number, read in enumerate(memory.reads)]
    return (*_decay(law.decay), *writes, *queries)


def _write(write: Write, law: AffineLaw, number: str) -> tuple[Stream, ...]:
    assert write.along is not None, write
    given = full(0, law.shape[:1]) if write.given is None else write.given
    streams = (Stream(f"key{number}", write.along), Stream(f"value{number}", given))
    if not write.reads:
        return streams
    erase = scale(MINUS_ONE, add(*(scale(read.coefficient, read.vector) for read in write.reads)))
    return (*streams, Stream("erase", erase))


def _query(read: OutputRead) -> Expr:
    assert read.vector is not None, read
    return read.vector


def numbered(number: int, count: int) -> str:
    """What tells one of several apart in a name; nothing when there is one."""
    """What is appended to a name of which there are several."""
    return "" if count == 1 else f"_{number + 1}"


# --- views -------------------------------------------------------------------------------------------------------


def _matrix_view(form: Chunked, local: str) -> MatrixChunksView:
    reads = read_views(form)
    count = len(form.law.writes)
    value = "write" if form.is_triangular else "value"
    roles = [stream.role for stream in form.streams]
    return MatrixChunksView(
        signature=signature(form, local),
        docstring=docstring(form),
        streams=", ".join(roles),
        targets=", ".join(roles),
        columns=tuple(read.column for read in reads),
        writes=tuple(WriteView(f"key{numbered(number, count)}", f"{value}{numbered(number, count)}") for number in range(count)),
        reads=reads,
        has_decay=form.has_decay,
        is_triangular=form.is_triangular,
        factors=_factors(form),
        results=_results(reads),
    )


def _factors(form: Chunked) -> tuple[str, ...]:
    """The decays that a token sees: without its own before the write, with its own after it."""
    whens = {read.when for read in form.memory.reads}
    before, after = form.is_triangular or When.PREVIOUS in whens, When.CURRENT in whens
    if not form.has_decay or not (before or after):
        return ()
    if before and after:
        return ("before, after = products[:, :-1], products[:, 1:]  # up to each token, without and with its own decay",)
    return ("before = products[:, :-1]",) if before else ("after = products[:, 1:]",)


def _vector_view(form: Chunked, local: str) -> VectorChunksView:
    reads = read_views(form)
    roles = ", ".join(stream.role for stream in form.streams)
    return VectorChunksView(
        signature=signature(form, local),
        docstring=docstring(form),
        streams=roles if form.has_decay else f"{roles},",
        targets=roles if form.has_decay else f"({roles},)",
        columns=tuple(read.column for read in reads),
        reads=reads,
        has_decay=form.has_decay,
        results=_results(reads),
    )


def read_views(form: Chunked) -> tuple[ReadView, ...]:
    """The reads of a memory, as the templates see them."""
    """The reads of a memory, with the names that its method gives them."""
    count = len(form.memory.reads)
    return tuple(_read(read, numbered(number, count)) for number, read in enumerate(form.memory.reads))


def _read(read: OutputRead, number: str) -> ReadView:
    is_new = read.when is When.CURRENT
    return ReadView(
        query=f"query{number}",
        name=f"read{number}",
        column=f"reads{number}",
        products="after" if is_new else "before",
        diagonal="" if is_new else "-1",
        states="1:" if is_new else ":-1",
    )


def _results(reads: tuple[ReadView, ...]) -> str:
    return ", ".join((*(f"_joined({read.column}, leading)" for read in reads), "memory.view(*leading, *memory.shape[1:])"))


def signature(form: Chunked, local: str) -> Lines:
    """The first lines of the method that runs a memory in chunks."""
    """The first lines of the method: streams and state in, reads and state out."""
    result = ", ".join(["Tensor"] * (len(form.memory.reads) + 1))
    result = f"tuple[{result}]" if form.memory.reads else result
    arguments = ["self", *(f"{stream.role}: Tensor" for stream in form.streams), "memory: Tensor"]
    return call(f"def {method_name(local)}", arguments, f" -> {result}:", 4)


def docstring(form: Chunked) -> Lines:
    """The form in a sentence, then what its roles are."""
    kept = "decay_t memory_{t-1}" if form.has_decay else "memory_{t-1}"
    count = len(form.law.writes)
    if form.is_vector:
        law = f"memory_t = {kept} + value_t"
    elif form.is_triangular:
        law = f"memory_t = {kept} + write_t key_t^T with write_t = value_t - memory_{{t-1}} erase_t"
    else:
        numbers = [numbered(number, count) for number in range(count)]
        law = " + ".join((f"memory_t = {kept}", *(f"value{number}_t key{number}_t^T" for number in numbers)))
    lines = [f"{law}, chunk by chunk.", "", "        Streams are (batch, time, *axes, size), a scalar one with size 1."]
    if form.is_triangular:
        lines += [
            "        Inside a chunk the writes read one another:",
            f"            write_t + sum over s < t of {'decays ' if form.has_decay else ''}(erase_t . key_s) write_s"
            f" = value_t - {'decays ' if form.has_decay else ''}memory erase_t",
        ]
    return tuple(lines)
