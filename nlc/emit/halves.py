"""A memory with one decay for each channel -> the method that runs it in chunks, whose decays are multiplied by halves."""

from __future__ import annotations

from nlc.emit.chunked import Chunked
from nlc.emit.chunks import docstring, joined, numbered, opening, read_views, signature, whole_memory
from nlc.emit.form_views import HalvesReadView, HalvesView, MatrixHalvesView, OverlapView, ReadView, VectorHalvesView, WriteView
from nlc.emit.layout import WIDTH, Lines, assignment, block, packed, unpacked
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
    """Whether a token has several writes that are told in one system."""
    return form.is_triangular and len(form.law.writes) > 1


def _vector_view(form: Chunked, local: str) -> VectorHalvesView:
    reads = read_views(form)
    return VectorHalvesView(
        signature=signature(form, local),
        docstring=docstring(form),
        opening=opening(form),
        columns=tuple(read.column for read in reads),
        reads=reads,
        results=_results(form, reads),
    )


def _matrix_view(form: Chunked, local: str) -> MatrixHalvesView:
    reads = read_views(form)
    keys = ("key",) if form.is_triangular else _of_writes(form, "key")
    values = tuple(key.replace("key", "value") for key in keys)
    overlaps = _overlaps(form, reads, keys)
    made = [name for overlap in overlaps for name in overlap.targets.split(", ") if name != "_"]
    written = ("write",) if form.is_triangular else values
    return MatrixHalvesView(
        signature=signature(form, local),
        docstring=docstring(form),
        opening=opening(form),
        gathered=(*_stretched(form), *_gathered(form)),
        overlaps=overlaps,
        pieces=", ".join((*made, *values)),
        columns=tuple(read.column for read in reads),
        writes=tuple(WriteView(f"{key}_to_end", value) for key, value in zip(keys, written, strict=True)),
        reads=tuple(_read(read, keys, written) for read in reads),
        is_triangular=form.is_triangular,
        written=" + ".join(f"{value}.mT @ {key}_to_end" for key, value in zip(keys, written, strict=True)),
        results=_results(form, reads) if form.is_triangular else _results_of_all_chunks(form, reads),
    )


def _of_writes(form: Chunked, role: str) -> tuple[str, ...]:
    """The names of one role of every write."""
    count = len(form.law.writes)
    return tuple(f"{role}{numbered(place, count)}" for place in range(count))


def _gathered(form: Chunked) -> Lines:
    """The lines that put the writes of a token one after another; a write that reads nothing erases nothing."""
    if not _has_rows(form):
        return ()
    streams = {stream.role for stream in form.streams}
    keys, values = _of_writes(form, "key"), _of_writes(form, "value")
    erases = [erase if erase in streams else f"torch.zeros_like({key})" for erase, key in zip(_of_writes(form, "erase"), keys, strict=True)]
    stacks = {"key": "keys", "value": f"({', '.join(values)})", "erase": f"({', '.join(erases)})"}
    lines = [assignment(name, [f"torch.stack({parts}, -2).flatten(-3, -2)"], 8) for name, parts in stacks.items()]
    return *packed("keys", keys, 8), *block(lines)


def _overlaps(form: Chunked, reads: tuple[ReadView, ...], keys: tuple[str, ...]) -> tuple[OverlapView, ...]:
    """Every query against every key; whatever comes out twice is taken once."""
    taken: set[str] = set()

    def once(name: str) -> str:
        new = "_" if name in taken else name
        taken.add(name)
        return new

    found = []
    if form.is_triangular:
        (key,) = keys
        found.append(
            OverlapView(", ".join(once(name) for name in ("overlap", "erase_from_start", f"{key}_to_end", "kept")), "erase", key, ())
        )
    for read in reads:
        for key in keys:
            attention = _attention(read, key)
            targets = (attention, f"{read.query}_from_start", f"{key}_to_end", "kept")
            is_new = not read.diagonal
            query = f"decay * {read.query}" if is_new else read.query
            own = _own(form, attention, read.query, key) if is_new else ()
            found.append(OverlapView(", ".join(once(name) for name in targets), query, key, own))
    if not found:  # nothing reads the memory, which moves all the same
        found = [OverlapView(", ".join(once(name) for name in ("_", "_", f"{key}_to_end", "kept")), key, key, ()) for key in keys]
    return tuple(found)


def _read(read: ReadView, keys: tuple[str, ...], values: tuple[str, ...]) -> HalvesReadView:
    attentions = tuple(WriteView(_attention(read, key), value) for key, value in zip(keys, values, strict=True))
    return HalvesReadView(f"{read.query}_from_start", read.name, read.column, attentions)


def _own(form: Chunked, attention: str, query: str, key: str) -> Lines:
    """The lines that add what a query sees of what its own token writes."""
    because = "  # what a token writes, it reads whole"
    if not _has_rows(form):
        return (f"{attention} = {attention} + torch.diag_embed(({query} * {key}).sum(-1)){because}",)
    own = f"own = torch.stack([torch.diag_embed(({query} * x).sum(-1)) for x in keys], -1)"
    return own, f"{attention} = {attention} + own.flatten(-2){because}"


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


def _results_of_all_chunks(form: Chunked, reads: tuple[ReadView, ...]) -> str:
    """Reads that are (copies, chunks, tokens, size)."""
    return ", ".join((*(f"{joined(form, f'[{read.name}.flatten(1, 2)]')}[:, :time]" for read in reads), whole_memory(form)))


def _results(form: Chunked, reads: tuple[ReadView, ...]) -> str:
    return ", ".join((*(f"{joined(form, read.column)}[:, :time]" for read in reads), whole_memory(form)))
