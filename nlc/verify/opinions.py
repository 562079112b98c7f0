"""Verdicts -> the same verdicts, each proof looked at again by a checker that shares no code with the prover."""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from dataclasses import replace
from typing import Any, Protocol

from nlc.verify.proofs import Step
from nlc.verify.serial import node_json
from nlc.verify.verdict import SecondOpinion, Verdict


class Look(Protocol):
    """What the checker found: at how many places, what is wrong there, or why there is no place."""

    @property
    def places(self) -> int: ...

    @property
    def problem(self) -> str: ...

    @property
    def obstacle(self) -> str: ...


Checker = Callable[[Sequence[Mapping[str, Any]]], Look]
"""The steps of a proof as JSON to what was found of them."""


def with_second_opinion(verdict: Verdict, look: Checker) -> Verdict:
    """The verdict with the checker's opinion of its proof; where the two disagree nothing is known."""
    if not concludes(verdict):
        return verdict
    found = look([step_json(step) for step in verdict.trace])
    if found.problem:
        detail = f"the prover shows it and the second checker does not ({found.problem}): one of the two is wrong"
        return replace(verdict, finding=replace(verdict.finding, verdict="unknown", detail=detail))
    return replace(verdict, second=SecondOpinion(found.places, found.obstacle))


def concludes(verdict: Verdict) -> bool:
    """Whether a proof shows that two sides are equal, or compare as claimed; of what is refuted, that the sides are equal after all."""
    if verdict.finding.order is not None or verdict.counterexample is not None:
        return False
    return verdict.verdict in ("proved", "proved-if", "refuted") and any(step.kind == "conclusion" for step in verdict.trace)


def step_json(step: Step) -> dict[str, Any]:
    """One step of a proof as the checker reads it."""
    left, right = (*step.sides, None, None)[:2]
    return {
        "kind": step.kind,
        "text": [step.before, step.after],
        "rule": step.rule,
        "cites": list(step.cites),
        "left": node_json(left) if left is not None else None,
        "right": node_json(right) if right is not None else None,
    }
