"""A memory in its affine normal form -> the method that runs it in chunks, and the call of that method with its streams.

    memory_t = decay_t memory_{t-1} + write_t key_t^T,      write_t = value_t - memory_{t-1} erase_t

All reads of one write are one: sum_j coefficient_j (S @ vector_j) = -S @ erase with erase = -sum_j coefficient_j vector_j. What value and
erase = rate_t key_t have in common, a chunk multiplies by itself: a rate is a number a token, and its products with all tokens need not be
made. An erase that has the decay as a factor reads the decayed state without it.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import replace
from types import MappingProxyType

from nlc.emit.chunked import Chunked, Stream
from nlc.emit.factors import factored, without_factor
from nlc.emit.form_views import DecaysView, MatrixChunksView, ReadView, VectorChunksView, WholeView, WriteView
from nlc.emit.layout import WIDTH, Lines, call, loop_over, packed, returned, side_by_side
from nlc.emit.prose import wrapped
from nlc.emit.render import render
from nlc.emit.together import together
from nlc.ir.affine import AffineLaw, OutputRead, Write
from nlc.ir.algebra import MINUS_ONE, ONE, Expr, Input, Named, Scale, When, contains, is_number
from nlc.ir.build import add, full, scale
from nlc.ir.program import Form, MemoryProgram


def chunked(memory: MemoryProgram, *, in_blocks: bool = False) -> Chunked:
    """The streams of a memory that has a parallel form; those of a block, which is short, are made for all blocks at once."""
    law = memory.classified.affine
    assert law is not None, memory
    streams = _vector_streams(law) if len(law.shape) < 2 else _matrix_streams(memory, law)
    form = Chunked(memory, law, streams)
    if memory.form is not Form.TRIANGULAR or all(stream.role != "erase" for stream in streams):
        return form
    form = _reading_decayed(form)
    return form if in_blocks else _with_rate(form)


def _reading_decayed(form: Chunked) -> Chunked:
    """The form with the decay taken out of its erase, if it is a factor of that."""
    erase = form.stream("erase")
    by, vector = (erase.by, erase.x) if isinstance(erase, Scale) else (ONE, erase)
    rest = without_factor(by, form.law.decay) if form.has_decay else None
    return form if rest is None else replace(form.with_stream("erase", scale(rest, vector)), reads_decayed=True)


def _with_rate(form: Chunked) -> Chunked:
    """The form with what changes from token to token and is a factor of value and erase as a stream, if the erase is then the key."""
    value, erase, key = (form.stream(role) for role in ("value", "erase", "key"))
    match value, erase:
        case Scale(rate, what), Scale(by, vector) if by == rate and vector == key and not is_shared(rate):
            others = [stream for stream in form.with_stream("value", what).streams if stream.role != "erase"]
            first = int(form.has_decay)
            return replace(form, streams=(*others[:first], Stream("rate", rate), *others[first:]))
    return form


def method_name(local: str) -> str:
    """The method that runs the memory whose variable is `local`."""
    return f"_{local}_in_chunks"


def chunk_method(form: Chunked, local: str) -> str:
    """The method's text."""
    return render(_vector_view(form, local) if form.is_vector else _matrix_view(form, local))


def _decay(decay: Expr) -> tuple[Stream, ...]:
    return () if is_number(decay, 1) else (Stream("decay", decay, is_shared(decay)),)


def is_shared(value: Expr) -> bool:
    """Whether all tokens share a value."""
    return not contains(value, lambda node: isinstance(node, Input | Named))


def _vector_streams(law: AffineLaw) -> tuple[Stream, ...]:
    """A vector's reads of itself are scalars times it: they belong to the decay. Its givens are added up."""
    kept = [read.coefficient for write in law.writes for read in write.reads]
    given = [write.given for write in law.writes if write.given is not None]
    return (*_decay(add(law.decay, *kept)), Stream("value", add(*given) if given else full(0, law.shape)))


def _matrix_streams(memory: MemoryProgram, law: AffineLaw) -> tuple[Stream, ...]:
    writes = [stream for number, write in enumerate(law.writes) for stream in _write(write, law, numbered(number, len(law.writes)))]
    queries = (Stream(f"query{numbered(number, len(memory.reads))}", vector) for number, vector in enumerate(_vectors(memory)) if vector)
    return (*_decay(law.decay), *writes, *queries)


def _write(write: Write, law: AffineLaw, number: str) -> tuple[Stream, ...]:
    assert write.along is not None, write
    given = full(0, law.shape[:1]) if write.given is None else factored(write.given)
    streams = (Stream(f"key{number}", write.along), Stream(f"value{number}", given))
    if not write.reads:
        return streams
    erase = scale(MINUS_ONE, add(*(scale(read.coefficient, read.vector) for read in write.reads)))
    return (*streams, Stream(f"erase{number}", erase))


def _vectors(memory: MemoryProgram) -> tuple[Expr | None, ...]:
    """What a memory is read with; None where the whole of it is read."""
    return tuple(read.vector for read in memory.reads)


def numbered(number: int, count: int) -> str:
    """What is appended to a name of which there are several; nothing when there is one."""
    return "" if count == 1 else f"_{number + 1}"


# --- views -------------------------------------------------------------------------------------------------------


def _matrix_view(form: Chunked, local: str) -> MatrixChunksView:
    reads = read_views(form)
    count = len(form.law.writes)
    value = "write" if form.is_triangular else "value"
    targets, pieces = loop_over(form.moving, "chunks", 8)
    at_once = together(form, reads, value)
    return MatrixChunksView(
        signature=signature(form, local),
        docstring=docstring(form),
        opening=opening(form),
        chunks=_chunks(form),
        targets=targets,
        columns=tuple(read.column for read in reads),
        writes=tuple(WriteView(f"key{numbered(number, count)}", f"{value}{numbered(number, count)}") for number in range(count)),
        together=at_once,
        reads=() if at_once else reads,
        has_decay=form.has_decay,
        is_triangular=form.is_triangular,
        prelude=_steady_products(form),
        factors=(*pieces, *_products(form), *(("erase = rate * key",) if form.has_rate else ())),
        value="rate * value" if form.has_rate else "value",
        old=_decays(form, "after" if form.reads_decayed else "before"),
        last=LAST_OF_STEADY if form.is_steady else LAST,
        returned=_returned(form, reads),
    )


def _chunks(form: Chunked) -> Lines:
    """The lines that cut the streams into chunks."""
    line = f"chunks = zip(*(_pieces(x, self.chunk) for x in ({side_by_side(form.moving)})), strict=True)"
    if len(line) + 8 <= WIDTH:
        return (line,)
    return *packed("streams", form.moving, 8), "chunks = zip(*(_pieces(x, self.chunk) for x in streams), strict=True)"


LAST = DecaysView("products[:, -1:, :1]", "products[:, -1, 1:, None]")
LAST_OF_STEADY = DecaysView("products[:, n : n + 1, :1]", "products[:, n, 1 : n + 1, None]")
"""The decays up to the last token of a chunk; where every token has the same decay, `products` are those of the longest chunk."""

ROWS: Mapping[str, str] = MappingProxyType({"before": ":-1", "after": "1:"})
"""Which rows of the products a token sees: without its own decay before its write, with it afterwards."""


def _sides(form: Chunked) -> tuple[str, ...]:
    """The decays that some read or write sees."""
    whens = {read.when for read in form.memory.reads}
    writes = {"before": form.is_triangular and not form.reads_decayed, "after": form.reads_decayed}
    needed = {"before": writes["before"] or When.PREVIOUS in whens, "after": writes["after"] or When.CURRENT in whens}
    return tuple(side for side, is_needed in needed.items() if is_needed) if form.has_decay else ()


def _decays(form: Chunked, side: str) -> DecaysView:
    if form.is_steady:
        return DecaysView(f"kept_{side}[:, :n]", f"{side}[:, :n, :n]")
    return DecaysView(f"kept_{side}", side)


def _steady_products(form: Chunked) -> tuple[str, ...]:
    """The products of the longest chunk, cut before the loop into what is multiplied in it."""
    if not form.is_steady:
        return ()
    cuts = [
        f"kept_{side}, {side} = products[:, {ROWS[side]}, :1].contiguous(), products[:, {ROWS[side]}, 1:].contiguous()"
        for side in _sides(form)
    ]
    return (f"products = {steady_products(form.streams[1].role)}", *cuts)


def steady_products(role: str) -> str:
    """The products of one decay for all tokens, as many as a chunk has; `role` is a stream (batch, time, ...)."""
    return f"_decay_products(decay.flatten(0, -2).unsqueeze(1).expand(-1, min(self.chunk, {role}.shape[1]), -1))"


def _products(form: Chunked) -> tuple[str, ...]:
    """The products of the decays of one chunk, as its reads and writes see them."""
    if not form.has_decay:
        return ()
    if form.is_steady:
        return (f"n = {form.streams[1].role}.shape[1]",)
    cuts = (f"kept_{side}, {side} = products[:, {ROWS[side]}, :1], products[:, {ROWS[side]}, 1:]" for side in _sides(form))
    return ("products = _decay_products(decay)", *cuts)


def _vector_view(form: Chunked, local: str) -> VectorChunksView:
    reads = read_views(form)
    roles = ", ".join(form.moving)
    is_alone = len(form.moving) == 1
    return VectorChunksView(
        signature=signature(form, local),
        docstring=docstring(form),
        opening=opening(form),
        streams=f"{roles}," if is_alone else roles,
        targets=f"({roles},)" if is_alone else roles,
        columns=tuple(read.column for read in reads),
        reads=reads,
        prelude=(f"products = {steady_products('value')}",) if form.is_steady else (),
        has_decay=form.has_decay,
        products="products[:, : value.shape[1] + 1, : value.shape[1] + 1]" if form.is_steady else "_decay_products(decay)",
        returned=_returned(form, reads),
    )


def read_views(form: Chunked) -> tuple[ReadView, ...]:
    """The reads of a memory, with the names that its method gives them."""
    count = len(form.memory.reads)
    return tuple(_read(form, read, numbered(number, count)) for number, read in enumerate(form.memory.reads))


def _read(form: Chunked, read: OutputRead, number: str) -> ReadView:
    is_new = read.when is When.CURRENT
    return ReadView(
        query=f"query{number}",
        name=f"read{number}",
        column=f"reads{number}",
        decays=_decays(form, "after" if is_new else "before"),
        diagonal="" if is_new else "-1",
        states="1:" if is_new else ":-1",
        whole=_whole(form, read) if read.is_whole else None,
        memory=f"memory[:, {form.rows}]" if form.above else "memory",
        columns=f"[..., {form.rows}]" if form.above else "",
    )


def _whole(form: Chunked, read: OutputRead) -> WholeView:
    """The state at every token; a token sees its own write when it reads after it."""
    diagonal = "0" if read.when is When.CURRENT else "-1"
    key = f"key{numbered(0, len(form.law.writes))}"
    if not form.has_decay:
        return WholeView("memory.flatten(1).unsqueeze(1)", f"{key}.new_ones(len({key}), {key}.shape[1], {key}.shape[1]).tril({diagonal})")
    decays = _decays(form, "after" if read.when is When.CURRENT else "before")
    return WholeView(f"{decays.kept} * memory.flatten(1).unsqueeze(1)", f"{decays.within}.tril({diagonal})")


def _returned(form: Chunked, reads: tuple[ReadView, ...]) -> Lines:
    """Everything that the method returns; whole states get their own dims back."""
    columns = [
        f"torch.unflatten({column}, -1, memory.shape[1:])" if read.whole else column
        for read in reads
        for column in [joined(form, read.column)]
    ]
    return returned((*columns, whole_memory(form)), 8)


def opening(form: Chunked) -> Lines:
    """The line that makes one dim of batch and axes, if there is more than one; a number becomes a vector of one entry."""
    if form.is_number:
        return ("memory = memory.unsqueeze(-1)",) if form.in_blocks else ("leading, memory = memory.shape, memory.reshape(-1, 1)",)
    if form.in_blocks:
        return ()
    rank = len(form.law.shape)
    return (f"leading, memory = memory.shape[:-{rank}], memory.flatten(0, -{rank + 1})",)


def joined(form: Chunked, pieces: str) -> str:
    """What a read was in all chunks."""
    whole = f"_joined({pieces})" if form.in_blocks else f"_joined({pieces}, leading)"
    return f"{whole}.squeeze(-1)" if form.is_number else whole


def whole_memory(form: Chunked) -> str:
    """The memory after the last chunk, with the dims that it came with."""
    if form.is_number:
        return "memory.squeeze(-1)" if form.in_blocks else "memory.view(leading)"
    return "memory" if form.in_blocks else "memory.view(*leading, *memory.shape[1:])"


def signature(form: Chunked, local: str) -> Lines:
    """The first lines of the method that runs a memory in chunks: streams and state in, reads and state out."""
    result = ", ".join(["Tensor"] * (len(form.memory.reads) + 1))
    result = f"tuple[{result}]" if form.memory.reads else result
    arguments = ["self", *(f"{stream.role}: Tensor" for stream in form.streams), "memory: Tensor"]
    return call(f"def {method_name(local)}", arguments, f" -> {result}:", 4)


def docstring(form: Chunked) -> Lines:
    """The form in a sentence, then what its roles are."""
    kept = "decay_t memory_{t-1}" if form.has_decay else "memory_{t-1}"
    count, value = len(form.law.writes), "write" if form.is_triangular else "value"
    written = (f"{value}{number}_t key{number}_t^T" for number in (numbered(number, count) for number in range(count)))
    law = " + ".join((f"memory_t = {kept}", *(("value_t",) if form.is_vector else written)))
    each = f"write_t = {_told(form, 'decay_t memory_{t-1}' if form.reads_decayed else 'memory_{t-1}')}"
    if form.is_triangular and count == 1:
        law += f" with {each}"
    streams, steady = ("(copies, tokens, size)", "(copies, 1)") if form.in_blocks else ("(batch, time, *axes, size)", "(batch, *axes, 1)")
    said = f"{law}, chunk by chunk."
    lines = (
        [said]
        if len(said) <= 128
        else ["Several writes a token, chunk by chunk.", "", *(f"            {line}" for line in wrapped(law, 120))]
    )
    lines += ["", f"        Streams are {streams}, a scalar one with size 1."]
    if form.above:
        others = ", ".join(item.memory.title for item in form.above)
        text = f"The last rows of memory and value are those of {form.memory.title}, above them are those of {others}."
        lines += [f"        {line}" for line in wrapped(text, 128)]
    if form.is_steady:
        lines += [f"        The decay, {steady}, is that of every token: its products are made once."]
    if form.is_triangular:
        decays = "decays " if form.has_decay else ""
        erased, rate = ("key", "rate_t ") if form.has_rate else ("erase", "")
        lines += [
            "        Inside a chunk the writes read one another:"
            if count == 1
            else f"        Each {each}; the writes read those of earlier tokens:",
            f"            write_t + {rate}sum over s < t of {decays}({erased}_t . key_s) write_s = {_told(form, f'{decays}memory')}",
        ]
    return tuple(lines)


def _told(form: Chunked, state: str) -> str:
    """What a write is that reads a state of this name, for readers."""
    return f"rate_t (value_t - {state} key_t)" if form.has_rate else f"value_t - {state} erase_t"
