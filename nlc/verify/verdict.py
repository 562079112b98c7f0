"""What was found about a claim, and how that compares with what its spec expects."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any, Literal as OneOf

from nlc.verify.counterexample import Search
from nlc.verify.measure import Table
from nlc.verify.proofs import Step

VerdictWord = OneOf[
    "proved", "proved-if", "form-only", "refuted", "ill-typed", "tested", "measured", "unknown", "interpretive"
]  # fmt: skip
"""The words of design.md section 7."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Finding:
    """A verdict and its evidence: `conditions` are what a `proved-if` needs, `order` is what an order follows from."""

    verdict: VerdictWord
    method: str
    detail: str
    conditions: tuple[str, ...] = ()
    trace: tuple[Step, ...] = ()
    evidence: Search | None = None
    table: Table | None = None
    order: Mapping[str, Any] | None = None


@dataclass(frozen=True, slots=True)
class SecondOpinion:
    """What the second checker, which computes modulo a prime, found of a proof: at how many places every step holds, or the obstacle."""

    places: int
    obstacle: str = ""

    @property
    def text(self) -> str:
        if not self.places:
            return f"not looked at by the second checker: {self.obstacle}"
        places = "1 random place" if self.places == 1 else f"{self.places} random places"
        return f"looked at again by the second checker, modulo a prime of 61 bits: every step holds at {places}"


@dataclass(frozen=True, slots=True, kw_only=True)
class Verdict:
    """A claim of a spec with what was found about it."""

    spec: str
    claim: str
    text: str
    expected: str
    finding: Finding
    cites: tuple[str, ...] = ()
    id: str = ""
    instead: str = ""
    second: SecondOpinion | None = None

    @property
    def verdict(self) -> VerdictWord:
        return self.finding.verdict

    @property
    def method(self) -> str:
        return self.finding.method

    @property
    def detail(self) -> str:
        return self.finding.detail

    @property
    def conditions(self) -> tuple[str, ...]:
        return self.finding.conditions

    @property
    def trace(self) -> tuple[Step, ...]:
        return self.finding.trace

    @property
    def counterexample(self) -> dict[str, object] | None:
        """The smallest counterexample, ready for JSON."""
        evidence = self.finding.evidence
        return evidence.counterexample.as_json() if evidence is not None and evidence.counterexample is not None else None

    @property
    def as_expected(self) -> bool:
        """Whether the verdict is the word expected, with the trends; `expect: tested` accepts `proved` too, which is stronger."""
        word, table = expected_word(self.expected), self.finding.table
        if word == "measured" == self.verdict and table is not None:
            return set(expected_conditions(self.expected)) <= set(table.trends)
        return self.verdict == word or (word == "tested" and self.verdict == "proved")

    def as_json(self) -> dict[str, object]:
        """The certificate's entry."""
        evidence = self.finding.evidence
        return {
            "spec": self.spec,
            "id": self.id,
            "claim": self.claim,
            "text": self.text,
            "verdict": self.verdict,
            "expected": self.expected,
            "as_expected": self.as_expected,
            "method": self.method,
            "detail": self.detail,
            "conditions": list(self.conditions),
            "second_opinion": {"places": self.second.places, "obstacle": self.second.obstacle} if self.second is not None else None,
            "counterexample": self.counterexample,
            "measured": self.finding.table.as_json() if self.finding.table is not None else None,
            "samples": evidence.as_json() if evidence is not None else None,
            "trace": [str(step) for step in self.trace],
            "cites": list(self.cites),
        }


def expected_word(expect: str) -> str:
    """The verdict in an `expect:`, which may go on with conditions: `proved-if beta1 == beta2`."""
    return expect.split(maxsplit=1)[0] if expect.strip() else "proved"


def expected_conditions(expect: str) -> tuple[str, ...]:
    """The conditions in an `expect:`, joined there by `and`."""
    _, _, rest = expect.strip().partition(" ")
    return tuple(part.strip() for part in rest.split(" and ") if part.strip())
