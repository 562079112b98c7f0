"""Turns what was explained, verified and trained into one page of HTML that needs nothing but itself."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from html import escape
from pathlib import Path

from nlc.train.files import write_whole

GOOD, PLAIN, BAD = "good", "plain", "bad"

VERDICT_KINDS: tuple[tuple[str, str], ...] = (
    ("proved", GOOD),
    ("proved-if", GOOD),
    ("tested", GOOD),
    ("measured", PLAIN),
    ("interpretive", PLAIN),
    ("form-only", PLAIN),
    ("refuted", PLAIN),
    ("ill-typed", PLAIN),
    ("unknown", BAD),
    ("not as expected", BAD),
)
"""How each verdict is coloured. A refutation is evidence like any other: it is bad only when a spec expected something else."""

STYLE = """
:root{--ink:#17202a;--soft:#5b6773;--line:#dfe4e9;--paper:#fff;--panel:#f6f8fa;--good:#1a7f4b;--bad:#b3261e}
@media(prefers-color-scheme:dark){:root{--ink:#e6eaee;--soft:#9aa5b1;--line:#333c46;--paper:#14181d;--panel:#1c2229;--good:#5fd19a;--bad:#ff8a80}}
body{margin:0;background:var(--paper);color:var(--ink);font:16px/1.55 system-ui,'Segoe UI',Helvetica,Arial,sans-serif}
main{max-width:54rem;margin:0 auto;padding:2.5rem 1.25rem 4rem}
h1{font-size:1.9rem;margin:0 0 .5rem}h2{font-size:1.3rem;margin:3rem 0 .25rem;padding-top:1.5rem;border-top:1px solid var(--line)}
p{margin:.25rem 0 1rem}.soft{color:var(--soft)}a{color:inherit}
table{border-collapse:collapse;width:100%;margin:1rem 0}
th,td{text-align:left;padding:.4rem .75rem .4rem 0;border-bottom:1px solid var(--line);vertical-align:top}
th{font-weight:600;color:var(--soft);font-size:.85rem}
pre{background:var(--panel);padding:1rem;border-radius:6px;overflow-x:auto;font:13px/1.5 ui-monospace,Consolas,monospace}
.verdict{display:inline-block;border:1px solid currentColor;border-radius:999px;white-space:nowrap}
.verdict{padding:0 .6rem;margin:0 .35rem .25rem 0;font-size:.85rem}
figure{margin:1rem 0}
.good{color:var(--good)}.bad{color:var(--bad)}.plain{color:var(--soft)}
dl{display:grid;grid-template-columns:max-content 1fr;gap:.2rem 1.25rem;margin:1rem 0}dt{color:var(--soft)}dd{margin:0}
svg{max-width:100%;height:auto;border-radius:6px}
"""


@dataclass(frozen=True, slots=True, kw_only=True)
class ReportSection:
    """One spec, or one run, of a report; what is empty is left out.

    `explanation` is plain text with its lines kept; `verdicts` are (verdict, count); `facts` are (name, value);
    `picture` is an SVG written by nlc, taken as it is.
    """

    title: str
    says: str = ""
    explanation: str = ""
    verdicts: tuple[tuple[str, int], ...] = ()
    facts: tuple[tuple[str, str], ...] = ()
    picture: str = ""


def write_report(path: Path, sections: Sequence[ReportSection], *, title: str = "nlc report", says: str = "") -> None:
    """Write the report as one HTML file, whole or not at all; raises CompileError when the system refuses."""
    write_whole(path, report_html(sections, title=title, says=says).encode())


def report_html(sections: Sequence[ReportSection], *, title: str, says: str) -> str:
    """The page: a table of contents with the verdicts, then a part for each section."""
    parts = [
        "<!doctype html>",
        '<html lang="en"><head><meta charset="utf-8"><meta name="viewport" content="width=device-width,initial-scale=1">',
        f"<title>{escape(title)}</title><style>{STYLE}</style></head><body><main>",
        f"<h1>{escape(title)}</h1>",
        *_paragraph(says),
        *_contents(sections),
        *(part for number, section in enumerate(sections, start=1) for part in _section(number, section)),
        "</main></body></html>",
    ]
    return "\n".join(parts) + "\n"


def _contents(sections: Sequence[ReportSection]) -> Iterator[str]:
    yield "<table><thead><tr><th>Part</th><th>What it says</th><th>Verdicts</th></tr></thead><tbody>"
    for number, section in enumerate(sections, start=1):
        link = f'<a href="#part-{number}">{escape(section.title)}</a>'
        yield f"<tr><td>{link}</td><td>{escape(section.says)}</td><td>{_verdicts(section)}</td></tr>"
    yield "</tbody></table>"


def _section(number: int, section: ReportSection) -> Iterator[str]:
    yield f'<section id="part-{number}"><h2>{escape(section.title)}</h2>'
    yield from _paragraph(section.says)
    if section.verdicts:
        yield f"<p>{_verdicts(section)}</p>"
    if section.facts:
        yield "<dl>" + "".join(f"<dt>{escape(name)}</dt><dd>{escape(value)}</dd>" for name, value in section.facts) + "</dl>"
    if section.picture:
        yield f"<figure>{section.picture}</figure>"
    if section.explanation:
        yield f"<pre>{escape(section.explanation)}</pre>"
    yield "</section>"


def _paragraph(text: str) -> Iterator[str]:
    if text:
        yield f'<p class="soft">{escape(text)}</p>'


def _verdicts(section: ReportSection) -> str:
    kinds = dict(VERDICT_KINDS)
    marks = (f'<span class="verdict {kinds.get(name, PLAIN)}">{count} {escape(name)}</span>' for name, count in section.verdicts)
    return "".join(marks)
