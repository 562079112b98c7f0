"""The catalogue of claims -> the page of errata: what the paper prints, what holds, and the numbers that show it."""

from __future__ import annotations

import textwrap
from collections import Counter
from collections.abc import Iterator
from pathlib import Path

from nlc import pipeline
from nlc.verify.verdict import Verdict

CATALOGUE = Path("claims") / "nested_learning.yaml"
PAPERS = (("nl", "The arXiv version", "2512.24695"), ("nl-neurips", "The NeurIPS version", "camera-ready"))
WRONG = ("refuted", "ill-typed")


def errata_page(root: Path) -> Iterator[str]:
    """The page, part by part."""
    verdicts = pipeline.verify_claims(root / CATALOGUE).verdicts
    by_id = {verdict.id: verdict for verdict in verdicts if verdict.id}
    counts = Counter(verdict.verdict for verdict in verdicts)
    found = ", ".join(f"{count} {word}" for word, count in sorted(counts.items()))
    yield "# Errata of Nested Learning\n\n"
    yield f"`nlc verify claims/nested_learning.yaml` decides {len(verdicts)} claims of the paper and about it: {found}.\n"
    yield "This page lists those printed equations and statements that do not hold, with what holds in their place and the smallest\n"
    yield "numbers found for which the two sides differ. The evidence for each is shown by\n"
    yield "`nlc verify --explain ID claims/nested_learning.yaml`.\n"
    for paper, title, which in PAPERS:
        yield f"\n## {title} ({which})\n"
        for verdict in verdicts:
            if verdict.verdict in WRONG and any(cite.partition(":")[0] == paper for cite in verdict.cites):
                yield from _erratum(verdict, by_id.get(verdict.instead), paper)
    yield "\n## All claims\n\n| id | verdict | claim | from |\n|---|---|---|---|\n"
    for verdict in verdicts:
        yield f"| `{verdict.id}` | {verdict.verdict} | {plain(verdict.claim)} | {', '.join(verdict.cites)} |\n"


def _erratum(verdict: Verdict, instead: Verdict | None, paper: str) -> Iterator[str]:
    places = ", ".join(cite.partition(":")[2] or "text" for cite in verdict.cites if cite.partition(":")[0] == paper)
    yield f"\n### {places}: {plain(verdict.claim)}\n\nWhat is said, which is **{verdict.verdict}** (`{verdict.id}`):\n\n"
    yield block(verdict.text)
    yield f"\n{'Why' if verdict.verdict == 'ill-typed' else 'How the sides differ, and where'}:\n\n"
    yield block(verdict.detail)
    if instead is not None:
        condition = f" if {' and '.join(instead.conditions)}" if instead.conditions else ""
        yield f"\nWhat holds instead: {plain(instead.claim)} (`{instead.id}`, {instead.verdict}{plain(condition)}):\n\n"
        yield block(instead.text)


def block(text: str) -> str:
    """Text in a block of its own, on lines of 110."""
    lines = textwrap.wrap(text, 110, break_long_words=False, break_on_hyphens=False)
    return "```text\n" + "".join(f"{line}\n" for line in lines) + "```\n"


def plain(text: str) -> str:
    """Text in which Markdown sees no table, link or emphasis."""
    return text.replace("|", "\\|").replace("*", "\\*").replace("_", "\\_")
