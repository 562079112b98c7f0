"""A memory with one decay for each channel -> the method that runs it in chunks, whose decays are multiplied by halves."""

from __future__ import annotations

from nlc.emit.chunks import Chunked, docstring, numbered, read_views, signature
from nlc.emit.form_views import HalvesReadView, HalvesView, MatrixHalvesView, OverlapView, ReadView, VectorHalvesView, WriteView
from nlc.emit.render import render


def halves_method(form: Chunked, local: str) -> str:
    """The method's text."""
    return render(_vector_view(form, local) if form.is_vector else _matrix_view(form, local))


def halves_helpers(forms: tuple[Chunked, ...]) -> tuple[str, ...]:
    """The functions that the methods of these memories call."""
    halved = [form for form in forms if form.is_halved]
    if not halved:
        return ()
    return (render(HalvesView(any(not form.is_vector for form in halved), any(form.is_vector for form in halved))),)


def _vector_view(form: Chunked, local: str) -> VectorHalvesView:
    reads = read_views(form)
    return VectorHalvesView(
        signature=signature(form, local),
        docstring=docstring(form),
        columns=tuple(read.column for read in reads),
        reads=reads,
        results=_results(reads),
    )


def _matrix_view(form: Chunked, local: str) -> MatrixHalvesView:
    reads = read_views(form)
    keys = tuple(f"key{numbered(place, len(form.law.writes))}" for place in range(len(form.law.writes)))
    values = tuple(key.replace("key", "value") for key in keys)
    overlaps = _overlaps(form, reads, keys)
    made = [name for overlap in overlaps for name in overlap.targets.split(", ") if name != "_"]
    written = ("write",) if form.is_triangular else values
    return MatrixHalvesView(
        signature=signature(form, local),
        docstring=docstring(form),
        streams=", ".join(stream.role for stream in form.streams if stream.role != "decay"),
        overlaps=overlaps,
        pieces=", ".join((*made, *values)),
        columns=tuple(read.column for read in reads),
        writes=tuple(WriteView(f"{key}_to_end", value) for key, value in zip(keys, written, strict=True)),
        reads=tuple(_read(read, keys, written) for read in reads),
        is_triangular=form.is_triangular,
        written=" + ".join(f"{value}.mT @ {key}_to_end" for key, value in zip(keys, written, strict=True)),
        results=_results(reads) if form.is_triangular else _results_of_all_chunks(reads),
    )


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
            own = f"{attention} = {attention} + torch.diag_embed(({read.query} * {key}).sum(-1))  # what a token writes, it reads whole"
            is_new = not read.diagonal
            query = f"decay * {read.query}" if is_new else read.query
            found.append(OverlapView(", ".join(once(name) for name in targets), query, key, (own,) if is_new else ()))
    if not found:  # nothing reads the memory, which moves all the same
        found = [OverlapView(", ".join(once(name) for name in ("_", "_", f"{key}_to_end", "kept")), key, key, ()) for key in keys]
    return tuple(found)


def _read(read: ReadView, keys: tuple[str, ...], values: tuple[str, ...]) -> HalvesReadView:
    attentions = tuple(WriteView(_attention(read, key), value) for key, value in zip(keys, values, strict=True))
    return HalvesReadView(f"{read.query}_from_start", read.name, read.column, attentions)


def _attention(read: ReadView, key: str) -> str:
    """`attention`, with the numbers of query and key if there are several."""
    return f"attention{read.query.removeprefix('query')}{key.removeprefix('key')}"


def _results_of_all_chunks(reads: tuple[ReadView, ...]) -> str:
    """Reads that are (copies, chunks, tokens, size)."""
    joined = (f"_joined([{read.name}.flatten(1, 2)], leading)[:, :time]" for read in reads)
    return ", ".join((*joined, "memory.view(*leading, *memory.shape[1:])"))


def _results(reads: tuple[ReadView, ...]) -> str:
    return ", ".join((*(f"_joined({read.column}, leading)[:, :time]" for read in reads), "memory.view(*leading, *memory.shape[1:])"))
