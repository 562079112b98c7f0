"""A verdict -> the evidence for a reader: the proof step by step, or the numbers of the counterexample to try by hand."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from textwrap import wrap

from nlc.citations import resolve_citation, resolve_citations
from nlc.verify.counterexample import Counterexample
from nlc.verify.proofs import SAME, Step
from nlc.verify.verdict import Verdict

WIDTH = 110


def matching(verdicts: Sequence[Verdict], wanted: str) -> tuple[Verdict, ...]:
    """The claims that are meant: the one with this id, else those that say it."""
    exact = tuple(verdict for verdict in verdicts if verdict.id == wanted)
    return exact or tuple(verdict for verdict in verdicts if wanted.lower() in verdict.claim.lower())


def explanation(verdict: Verdict) -> Iterator[str]:
    """The evidence, line by line."""
    name = f"{verdict.spec}, {verdict.id}" if verdict.id else verdict.spec
    yield from _paragraph(f"{name}: {verdict.claim}")
    yield ""
    yield from _paragraph(verdict.text, "    ")
    for paper in resolve_citations(verdict.cites):
        yield from _paragraph(paper, "    from ")
    yield ""
    expected = "" if verdict.as_expected else f", where {verdict.expected} was expected"
    yield f"{verdict.verdict}{expected}, by {verdict.method}"
    yield from _paragraph(verdict.detail, "    ")
    for condition in verdict.conditions:
        yield from _paragraph(condition, "    if ")
    if verdict.finding.table is not None:
        yield from _paragraph(verdict.finding.table.text, "    ")
    if verdict.verdict in ("proved", "proved-if", "form-only", "ill-typed") and verdict.trace:
        yield from _proof(verdict.trace)
    if verdict.second is not None:
        yield from ("", *_paragraph(verdict.second.text[:1].upper() + verdict.second.text[1:] + "."))
    evidence = verdict.finding.evidence
    if evidence is not None and evidence.counterexample is not None:
        yield from _counterexample(evidence.counterexample)


def _proof(trace: Sequence[Step]) -> Iterator[str]:
    yield ""
    yield "The proof:"
    told = [step for step in trace if step.kind != "conclusion" and step.rule != SAME]
    for number, step in enumerate(told, start=1):
        yield ""
        yield from _paragraph(step.before, f"{number:>3}. ")
        yield from _paragraph(step.after, "     = ")
        sources = "; ".join(filter(None, (resolve_citation(key) for key in step.cites)))
        yield from _paragraph(f"{step.rule}{f' ({sources})' if sources else ''}", "     by ")


def _counterexample(found: Counterexample) -> Iterator[str]:
    yield ""
    yield "To try by hand:"
    sizes = ", ".join(f"{name} = {size}" for name, size in found.sizes)
    if sizes:
        yield f"    {sizes}"
    for name, value in found.values:
        yield f"    {name} = {str(value.nested).replace(chr(39), '')}"
    yield from _paragraph(found.quantity, "    what is compared: ")
    for side, value in (("left", found.left), ("right", found.right)):
        yield f"    on the {side}: {str(value.nested).replace(chr(39), '')}"


def _paragraph(text: str, indent: str = "") -> list[str]:
    return wrap(text, WIDTH, initial_indent=indent, subsequent_indent=" " * len(indent), break_long_words=False, break_on_hyphens=False)
