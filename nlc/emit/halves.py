"""A memory with one decay for each channel -> the method that runs it in chunks, whose decays are multiplied by halves."""

from __future__ import annotations

from collections.abc import Iterator, Sequence

from nlc.emit.chunked import Chunked
from nlc.emit.chunks import docstring, joined, numbered, opening, read_views, signature, whole_memory
from nlc.emit.form_views import HalvesReadView, HalvesView, MatrixHalvesView, OverlapView, ReadView, VectorHalvesView, WriteView
from nlc.emit.layout import WIDTH, Lines, assignment, block, loop_over, packed, returned, side_by_side, unpacked
from nlc.emit.render import render


def halves_method(form: Chunked, local: str) -> str:
    """The method's text."""
    return render(_vector_view(form, local) if form.is_vector else _matrix_view(form, local))


def halves_helpers(forms: tuple[Chunked, ...]) -> tuple[str, ...]:
    """The functions that the methods of these memories call."""
    halved = [form for form in forms if form.is_halved]
    if not halved:
        return ()
    matrices = [form for form in halved if not form.is_vector]
    return (render(HalvesView(bool(matrices), any(map(_has_rows, matrices)), len(matrices) < len(halved))),)


def _has_rows(form: Chunked) -> bool:
    """Whether a token has several writes that are solved for."""
    return len(_solved(form)) > 1


def _solved(form: Chunked) -> tuple[int, ...]:
    """The places of the writes that read the state: those of a chunk are the unknowns of one system."""
    return tuple(place for place, write in enumerate(form.law.writes) if write.reads)


def _known(form: Chunked) -> tuple[str, ...]:
    """The numbers, in the names of their roles, of writes that are known beside those that are solved for."""
    solved, count = _solved(form), len(form.law.writes)
    return tuple(numbered(place, count) for place in range(count) if place not in solved) if solved else ()


def _unknown(form: Chunked) -> str:
    """The number, in the names of its roles, of what is solved for; none of several, which stand one after another."""
    solved = _solved(form)
    return numbered(solved[0], len(form.law.writes)) if len(solved) == 1 else ""


def _vector_view(form: Chunked, local: str) -> VectorHalvesView:
    reads = read_views(form)
    return VectorHalvesView(
        signature=signature(form, local),
        docstring=docstring(form),
        opening=opening(form),
        columns=tuple(read.column for read in reads),
        reads=reads,
        returned=_returned(form, reads),
    )


def _matrix_view(form: Chunked, local: str) -> MatrixHalvesView:
    reads, known = read_views(form), _known(form)
    keys = (f"key{_unknown(form)}",) if form.is_triangular else _of_writes(form, "key")
    values = tuple(key.replace("key", "value") for key in keys)
    overlaps = _overlaps(form, reads, keys)
    made = [name for overlap in overlaps for name in overlap.targets.split(", ") if name != "_"]
    sums = (*(_seen(read) for read in reads), "added") if known else ()
    pieces = (*made, *values, *sums)
    targets, unpacked_pieces = loop_over(pieces, "chunks", 8)
    written = ("write",) if form.is_triangular else values
    return MatrixHalvesView(
        signature=signature(form, local),
        docstring=docstring(form),
        opening=opening(form),
        gathered=(*_stretched(form), *_gathered(form)),
        overlaps=overlaps,
        known=block([*_known_lines(form, reads, known)]),
        chunks=_chunks(pieces),
        targets=targets,
        unpacked=unpacked_pieces,
        columns=tuple(read.column for read in reads),
        writes=tuple(WriteView(f"{key}_to_end", value) for key, value in zip(keys, written, strict=True)),
        reads=tuple(_read(read, keys, written, has_known=bool(known)) for read in reads),
        is_triangular=form.is_triangular,
        right=f"torch.baddbmm({values[0]}, erase{_unknown(form)}_from_start, memory.mT, alpha=-1)",
        kept="torch.addcmul(added, kept, memory)" if known else "kept * memory",
        written=" + ".join(f"{value}.mT @ {key}_to_end" for key, value in zip(keys, written, strict=True)),
        returned=_returned(form, reads) if form.is_triangular else _returned_of_all_chunks(form, reads),
    )


def _chunks(pieces: Sequence[str]) -> Lines:
    """The lines that take what was made for all chunks apart."""
    line = f"chunks = zip(*(x.unbind(1) for x in ({side_by_side(pieces)})), strict=True)"
    if len(line) + 8 <= WIDTH:
        return (line,)
    return *packed("made", pieces, 8), "chunks = zip(*(x.unbind(1) for x in made), strict=True)"


def _known_lines(form: Chunked, reads: tuple[ReadView, ...], known: tuple[str, ...]) -> Iterator[Lines]:
    """What the known writes come to in every chunk: for those that are solved for, for the reads, and for the state."""
    value, erase = f"value{_unknown(form)}", f"erase{_unknown(form)}"
    for number in known:
        key, given = f"key{number}", f"value{number}"
        yield (f"found, _, {key}_to_end, _ = _overlaps({erase}, {key}, decay)",)
        yield (f"{value} = {value} - found @ {given}{FOUND}",)
        for read in reads:
            attention = _attention(read, key)
            yield (f"{attention}, *_ = _overlaps({_asked(read)}, {key}, decay)",)
            if not read.diagonal:
                yield (_own_of_one(attention, read.query, key),)
            yield (_more(_seen(read), f"{attention} @ {given}", is_first=number == known[0]),)
        yield (_more("added", f"{given}.mT @ {key}_to_end", is_first=number == known[0]),)


def _more(name: str, value: str, *, is_first: bool) -> str:
    return f"{name} = {value}" if is_first else f"{name} = {name} + {value}"


def _seen(read: ReadView) -> str:
    """What a read sees of the known writes of its chunk."""
    return f"known{read.query.removeprefix('query')}"


def _asked(read: ReadView) -> str:
    """A query as it sees the token before; one that reads after the write is decayed by its own token too."""
    return read.query if read.diagonal else f"decay * {read.query}"


def _of_writes(form: Chunked, role: str) -> tuple[str, ...]:
    """The names of one role of every write."""
    count = len(form.law.writes)
    return tuple(f"{role}{numbered(place, count)}" for place in range(count))


def _gathered(form: Chunked) -> Lines:
    """The lines that put the writes of a token that are solved for one after another."""
    if not _has_rows(form):
        return ()
    numbers = [numbered(place, len(form.law.writes)) for place in _solved(form)]
    keys, values, erases = (tuple(f"{role}{number}" for number in numbers) for role in ("key", "value", "erase"))
    stacks = {"key": "keys", "value": f"({', '.join(values)})", "erase": f"({', '.join(erases)})"}
    lines = [assignment(name, [f"torch.stack({parts}, -2).flatten(-3, -2)"], 8) for name, parts in stacks.items()]
    return *packed("keys", keys, 8), *block(lines)


def _overlaps(form: Chunked, reads: tuple[ReadView, ...], keys: tuple[str, ...]) -> tuple[OverlapView, ...]:
    """Every query against every key; whatever comes out twice is taken once."""
    taken: set[str] = set()

    def once(*names: str) -> str:
        new = ", ".join("_" if name in taken else name for name in names)
        taken.update(names)
        return new

    found = []
    if form.is_triangular:
        (key,), erase = keys, f"erase{_unknown(form)}"
        found.append(OverlapView(once("overlap", f"{erase}_from_start", f"{key}_to_end", "kept"), erase, key, ()))
    for read in reads:
        for key in keys:
            attention = _attention(read, key)
            own = () if read.diagonal else _own(form, attention, read.query, key)
            found.append(OverlapView(once(attention, f"{read.query}_from_start", f"{key}_to_end", "kept"), _asked(read), key, own))
    if not found:  # nothing reads the memory, which moves all the same
        found = [OverlapView(once("_", "_", f"{key}_to_end", "kept"), key, key, ()) for key in keys]
    return tuple(found)


def _read(read: ReadView, keys: tuple[str, ...], values: tuple[str, ...], *, has_known: bool) -> HalvesReadView:
    attentions = tuple(WriteView(_attention(read, key), value) for key, value in zip(keys, values, strict=True))
    asked = f"{read.query}_from_start"
    start = f"torch.baddbmm({_seen(read)}, {asked}, memory.mT)" if has_known else f"{asked} @ memory.mT"
    return HalvesReadView(asked, start, read.name, read.column, attentions)


BECAUSE = "  # what a token writes, it reads whole"
FOUND = "  # what is known of what is erased"


def _own(form: Chunked, attention: str, query: str, key: str) -> Lines:
    """The lines that add what a query sees of what its own token writes."""
    if not _has_rows(form):
        return (_own_of_one(attention, query, key),)
    own = f"own = torch.stack([torch.diag_embed(({query} * x).sum(-1)) for x in keys], -1)"
    return own, f"{attention} = {attention} + own.flatten(-2){BECAUSE}"


def _own_of_one(attention: str, query: str, key: str) -> str:
    return f"{attention} = {attention} + torch.diag_embed(({query} * {key}).sum(-1)){BECAUSE}"


def _stretched(form: Chunked) -> Lines:
    """The lines that cut the streams into stretches."""
    roles = [stream.role for stream in form.streams if stream.role != "decay"]
    listed = ", ".join(roles)
    cut = f"{listed} = (_stretches(x, self.chunk, 0.0) for x in ({listed}))"
    if len(cut) + 8 <= WIDTH:
        return (cut,)
    return *packed("streams", roles, 8), *unpacked(roles, "(_stretches(x, self.chunk, 0.0) for x in streams)", 8)


def _attention(read: ReadView, key: str) -> str:
    """`attention`, with the numbers of query and key if there are several."""
    return f"attention{read.query.removeprefix('query')}{key.removeprefix('key')}"


def _returned_of_all_chunks(form: Chunked, reads: tuple[ReadView, ...]) -> Lines:
    """Reads that are (copies, chunks, tokens, size)."""
    return returned((*(f"{joined(form, f'[{read.name}.flatten(1, 2)]')}[:, :time]" for read in reads), whole_memory(form)), 8)


def _returned(form: Chunked, reads: tuple[ReadView, ...]) -> Lines:
    return returned((*(f"{joined(form, read.column)}[:, :time]" for read in reads), whole_memory(form)), 8)
