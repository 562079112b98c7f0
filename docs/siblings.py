"""The claims about sibling models -> their page: section by section what equals what, what does not, and how far apart it is."""

from __future__ import annotations

from collections import Counter
from collections.abc import Iterator
from pathlib import Path

from docs.errata import block, plain
from nlc import pipeline
from nlc.verify.verdict import Verdict

SIBLINGS = Path("claims") / "siblings.yaml"

ROUNDING = 1e-13
"""Gaps of float64 below this are sums of roundings."""


def siblings_page(root: Path) -> Iterator[str]:
    """The page, part by part."""
    report = pipeline.verify_claims(root / SIBLINGS)
    counts = Counter(verdict.verdict for verdict in report.verdicts)
    found = ", ".join(f"{count} {word}" for word, count in sorted(counts.items()))
    yield f"# How the siblings are related\n\n{report.says}\n\n"
    yield f"`nlc verify {SIBLINGS.as_posix()}` decides {len(report.verdicts)} claims: {found}.\n"
    for name, says, verdicts in report.sections:
        yield f"\n## {name}\n\n{plain(says)}\n"
        for verdict in verdicts:
            yield from _claim(verdict)


def _claim(verdict: Verdict) -> Iterator[str]:
    instead = f" (see `{verdict.instead}`)" if verdict.instead else ""
    cited = f", from {', '.join(verdict.cites)}" if verdict.cites else ""
    yield f"\n**{verdict.verdict}**: {plain(verdict.claim)}{instead} (`{verdict.id}`{cited})\n\n"
    yield block(verdict.text)
    if verdict.verdict in ("refuted", "proved-if"):
        yield "\n" + block(verdict.detail)
    if verdict.finding.table is not None:
        yield f"\n| {verdict.finding.table.parameter} | gap |\n|---|---|\n"
        yield from (f"| {value} | {_gap(gap)} |\n" for value, gap in verdict.finding.table.rows)


def _gap(gap: float | None) -> str:
    """A gap in two digits, which no processor prints otherwise: near ROUNDING each has digits of its own."""
    return "undefined" if gap is None else "within rounding" if 0 < gap < ROUNDING else f"{gap:.2g}"
