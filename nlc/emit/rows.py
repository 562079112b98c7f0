"""Memories that are kept and erased alike -> one taller matrix: what does not depend on the rows is made once for all of them."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import replace

from nlc.emit.chunked import Chunked
from nlc.ir.algebra import Named, contains
from nlc.ir.dims import Dim


def stacked_rows(forms: tuple[Chunked, ...], size: Callable[[Dim], str]) -> tuple[Chunked, ...]:
    """The forms; of those with the same decays, keys and erases one has the others above it that nothing reads in a block."""
    alike: dict[tuple[object, ...], list[Chunked]] = {}
    for form in forms:
        if _has_rows(form):
            alike.setdefault(_transition(form), []).append(form)
    below: dict[str, tuple[Chunked, ...]] = {}
    gone: set[str] = set()
    for group in alike.values():
        last = next((form for form in group if form.memory.reads), group[-1])
        above = tuple(form for form in group if form is not last and not form.memory.reads and not _reads_others(form))
        below[last.law.component] = above
        gone.update(form.law.component for form in above)
    kept = (form for form in forms if form.law.component not in gone)
    return tuple(_under(form, below[form.law.component], size) if below.get(form.law.component) else form for form in kept)


def _under(form: Chunked, above: tuple[Chunked, ...], size: Callable[[Dim], str]) -> Chunked:
    """The form with the rows of others above its own."""
    values = tuple((item.law.component, item.stream("value")) for item in above)
    streams = tuple(replace(stream, above=values) if stream.role == "value" else stream for stream in form.streams)
    rows = size(form.law.shape[0])
    last = f"-{rows}:" if rows.isdigit() else f"-({rows}) :" if " " in rows else f"-{rows} :"
    return replace(form, streams=streams, above=above, rows=last)


def _has_rows(form: Chunked) -> bool:
    """Whether it is a matrix with one write a token that is read by vectors alone."""
    whole = any(read.is_whole for read in form.memory.reads)
    return len(form.law.writes) == 1 and not (form.is_vector or form.is_halved or whole)


def _transition(form: Chunked) -> tuple[object, ...]:
    """Whatever does not depend on the rows."""
    return (form.memory.form, form.law.shape[1:], *(stream for stream in form.streams if stream.role in ("decay", "key", "erase")))


def _reads_others(form: Chunked) -> bool:
    """Whether it has to wait for what another memory gives."""
    return any(contains(stream.value, lambda node: isinstance(node, Named)) for stream in form.streams)
