"""The seeded wrong claims -> their page: which layer of the verifier catches which, and at what sizes."""

from __future__ import annotations

from collections import Counter
from collections.abc import Iterator, Mapping
from itertools import groupby
from pathlib import Path
from typing import Any

from docs.errata import plain
from nlc import pipeline
from nlc.replay.check import look

WRONG_CLAIMS = Path("tests") / "verify" / "wrong_claims.yaml"
LAYERS = ("normal form", "signs of terms", "exact numbers", "floats", "second checker")

Claim = Mapping[str, Any]


def wrong_claims_page(root: Path) -> Iterator[str]:
    """The page, part by part."""
    path = root / WRONG_CLAIMS
    certificate = pipeline.certificate(path, pipeline.verify_claims(path))
    rows = [(claim, caught_by(claim)) for claim in certificate["claims"]]
    counts = Counter(layer for _, layers in rows for layer in layers)
    yield "# Which layer catches which mistake\n\n"
    yield f"`{WRONG_CLAIMS.as_posix()}` has {len(rows)} claims that are all wrong: mistakes that people make with update rules, chunks,\n"
    yield "gradients, assumptions and sizes, some of which hold at size 1, for one token, or for matrices that commute. `nlc verify`\n"
    yield "refutes every one.\n\n"
    yield "| layer | what it does | caught |\n|---|---|---|\n"
    for layer, does in DOES.items():
        yield f"| {layer} | {does} | {counts[layer]} |\n"
    for section, group in groupby(rows, key=lambda row: str(row[0]["section"])):
        yield f"\n## {section}\n\n| mistake | smallest counterexample at | caught by |\n|---|---|---|\n"
        for claim, layers in group:
            yield f"| {plain(claim['says'])} | {_sizes(claim)} | {', '.join(layers)} |\n"


DOES: Mapping[str, str] = {
    "normal form": "the normal forms of the two sides differ, for all sizes at once",
    "signs of terms": "the signs of the terms do not show the inequality",
    "exact numbers": "a search over the smallest sizes finds fractions at which the sides differ; the second checker computes them again",
    "floats": "the same in floating point, where a function has no rational values",
    "second checker": "called a proof, the equation does not hold at random places modulo a prime of 61 bits",
}
"""What each layer does."""


def caught_by(claim: Claim) -> tuple[str, ...]:
    """The layers that catch a wrong claim, each by its own means."""
    is_equation = is_equality(claim)
    steps = [step for step in claim["proof"]["steps"] if step["kind"] != "equality"]
    return (
        "normal form" if is_equation else "signs of terms",
        "exact numbers" if claim["proof"]["counterexample"] is not None else "floats",
        *(["second checker"] if is_equation and look(steps).problem else []),
    )


def is_equality(claim: Claim) -> bool:
    """Whether its sides were claimed to be equal."""
    return any(step["kind"] == "conclusion" and "sign" not in step["rule"] for step in claim["proof"]["steps"])


def _sizes(claim: Claim) -> str:
    found = claim["proof"]["counterexample"]
    if found is None:
        return "floats"
    return ", ".join(f"{name} = {size}" for name, size in found["dims"].items()) or "numbers alone"
