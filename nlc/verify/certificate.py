"""Verdicts -> a certificate: what was found, with proofs and counterexamples in a form that a second checker can replay; and its page."""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from typing import Any

from nlc.citations import resolve_citations
from nlc.verify.counterexample import Counterexample
from nlc.verify.opinions import step_json
from nlc.verify.serial import node_json
from nlc.verify.verdict import Verdict

DOMAIN = "all sizes of the dims, all real values; hyperparameters are positive, inputs in their declared ranges"

NOT_VERIFIED = (
    "that a claim says in the language what its author means",
    "rounding: claims are about real numbers, and what modules compute is compared with bounds in the squares",
    "torch, its kernels and compilers, and the hardware",
)

TRUSTED_BASE = (
    "nlc/replay: the checker, Python and its integers, for every equation and counterexample that it replays",
    "nlc/parse and nlc/resolve: the reading of claims into expressions",
    "nlc/order: the clocks of levels, and whose new state each of them reads, which orders follow from",
    "nlc/derive: the laws of levels, which the squares of `nlc verify` compare with automatic differentiation",
)


def claims_part(verdicts: Sequence[Verdict]) -> dict[str, Any]:
    """The part of a certificate that is about claims, which is the same on every machine."""
    return {
        "claims": [_claim(verdict) for verdict in verdicts],
        "not_verified": [*NOT_VERIFIED, *_undecided(verdicts)],
        "trusted_base": list(TRUSTED_BASE),
    }


def tables(verdicts: Sequence[Verdict]) -> dict[str, Any]:
    """The gaps that claims measure, which is in floating point, by the claim's id or words."""
    found = {verdict.id or verdict.claim: verdict.finding.table.as_json() for verdict in verdicts if verdict.finding.table is not None}
    return {"gaps": found} if found else {}


def _undecided(verdicts: Sequence[Verdict]) -> Iterator[str]:
    for verdict in verdicts:
        if verdict.verdict in ("tested", "measured", "unknown"):
            yield f"{verdict.id or verdict.claim}: {verdict.verdict}, {verdict.detail}"
        if verdict.second is not None and verdict.second.obstacle:
            yield f"{verdict.id or verdict.claim}: not replayed, {verdict.second.obstacle}"


def _claim(verdict: Verdict) -> dict[str, Any]:
    evidence = verdict.finding.evidence
    found = evidence.counterexample if evidence is not None else None
    return {
        "id": verdict.id,
        "section": verdict.spec,
        "says": verdict.claim,
        "text": verdict.text,
        "verdict": verdict.verdict,
        "expected": verdict.expected,
        "method": verdict.method,
        "domain": DOMAIN if verdict.verdict in ("proved", "proved-if") else "",
        "conditions": list(verdict.conditions),
        "detail": verdict.detail,
        "cites": list(verdict.cites),
        "proof": {
            "shows": _shows(verdict),
            "steps": [step_json(step) for step in verdict.trace],
            "places": verdict.second.places if verdict.second is not None else 0,
            "counterexample": _counterexample(found) if found is not None and found.exact else None,
            "order": verdict.finding.order,
            **({"not_replayed": verdict.second.obstacle} if verdict.second is not None and verdict.second.obstacle else {}),
        },
    }


def _shows(verdict: Verdict) -> str:
    """What can be replayed: that the sides of the conclusion are equal, or that they are not, or an order of levels; nothing else is."""
    if verdict.finding.order is not None:
        return "order"
    if verdict.counterexample is not None:
        return "difference" if verdict.counterexample["exact"] else ""
    return "equality" if verdict.second is not None and verdict.second.places else ""


def _counterexample(found: Counterexample) -> dict[str, Any]:
    return {
        "dims": dict(found.sizes),
        "values": [
            {"leaf": node_json(leaf), "entries": [str(entry) for entry in value.entries]}
            for leaf, (_, value) in zip(found.leaves, found.values, strict=True)
        ],
        "quantity": found.quantity,
        "left": [str(entry) for entry in found.left.entries],
        "right": [str(entry) for entry in found.right.entries],
    }


def page(certificate: Mapping[str, Any]) -> str:
    """The certificate as a page of Markdown."""
    return "\n".join(_page(certificate)) + "\n"


def _page(certificate: Mapping[str, Any]) -> Iterator[str]:
    identity = certificate["identity"]
    yield f"# Certificate of {identity['name']}"
    yield ""
    yield f"About `{identity['file']}`, sha256 `{identity['sha256']}`, by nlc {identity['nlc']}. Seal `{certificate['seal']}`."
    yield "`nlc verify --replay` computes every equation of the proofs below again, modulo a prime of 61 bits, and every"
    yield "counterexample in fractions."
    for claim in certificate["claims"]:
        yield from ("", f"## {claim['id'] or claim['says']}", "", claim["says"], "", f"    {claim['text']}", "")
        yield f"**{claim['verdict']}** (expected: {claim['expected']}), by {claim['method']}. {claim['domain']}".rstrip()
        yield from (f"- condition: {condition}" for condition in claim["conditions"])
        yield from (f"- from {paper}" for paper in resolve_citations(claim["cites"]))
        yield from ("", f"    {claim['detail']}")
        steps = [step for step in claim["proof"]["steps"] if step["kind"] != "conclusion"]
        if claim["verdict"] in ("proved", "proved-if") and steps:
            yield ""
            yield from (f"{number}. `{step['text'][0]} = {step['text'][1]}`: {step['rule']}" for number, step in enumerate(steps, start=1))
        if claim["proof"]["places"]:
            yield from ("", f"Every step holds at {claim['proof']['places']} random places modulo a prime of 61 bits.")
    for title, key in (("Not verified", "not_verified"), ("What has to be trusted", "trusted_base")):
        yield from ("", f"## {title}", "")
        yield from (f"- {item}" for item in certificate[key])
