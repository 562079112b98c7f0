"""Several reads of a memory in a short chunk -> lines that make them at once, their queries one after another in one product."""

from __future__ import annotations

from collections.abc import Sequence

from nlc.emit.chunked import Chunked
from nlc.emit.form_views import ReadView
from nlc.emit.layout import Lines


def together(form: Chunked, reads: Sequence[ReadView], write: str) -> Lines:
    """The lines; none where reads are better made one by one: in chunks of their own length a product costs more than its call."""
    are_alike = len({(read.decays, read.diagonal) for read in reads}) == 1 and not any(read.whole for read in reads)
    if not form.in_blocks or form.above or len(form.law.writes) > 1 or len(reads) < 2 or not are_alike:
        return ()
    queries, first = f"({', '.join(read.query for read in reads)})", reads[0]
    scores = f"(x @ key.mT).tril({first.diagonal})"
    asked, scores = (
        (f"[{first.decays.kept} * x for x in {queries}]", f"{first.decays.within} * {scores}") if form.has_decay else (queries, scores)
    )
    return (
        f"asked = torch.cat({asked}, 1)",
        f"attention = torch.cat([{scores} for x in {queries}], 1)",
        f"{', '.join(read.name for read in reads)} = torch.baddbmm(asked @ memory.mT, attention, {write}).chunk({len(reads)}, 1)",
        *(f"{read.column}.append({read.name})" for read in reads),
    )
