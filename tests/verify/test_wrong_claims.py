"""Who verifies the verifier: a table of wrong claims, each of which the normal form, exact numbers and the second checker must refuse."""

from __future__ import annotations

from collections.abc import Mapping
from pathlib import Path
from typing import Any

import pytest

from docs.wrong_claims import caught_by, is_equality
from nlc import pipeline
from nlc.replay.check import seal_of

TABLE = Path(__file__).parent / "wrong_claims.yaml"
LEAST = 80
INEXACT = {"chain rule without the slope", "chain rule without the layer", "softmax with a fixed normaliser"}
"""Claims about functions without rational values, some of whose counterexamples are in floats."""


@pytest.fixture(scope="module")
def certificate() -> Mapping[str, Any]:
    return pipeline.certificate(TABLE, pipeline.verify_claims(TABLE))


def test_every_wrong_claim_is_refuted_with_numbers(certificate: Mapping[str, Any]) -> None:
    claims = certificate["claims"]
    assert len(claims) >= LEAST
    assert [(claim["says"], claim["verdict"]) for claim in claims if claim["verdict"] != "refuted"] == []
    assert all(" is " in claim["detail"] for claim in claims)


@pytest.mark.slow
def test_every_layer_catches_something_that_no_other_of_its_kind_does(certificate: Mapping[str, Any]) -> None:
    """A wrong equation is caught three times, by means that share nothing; a wrong inequality twice."""
    assert {len(caught_by(claim)) for claim in certificate["claims"] if is_equality(claim)} == {3}
    assert {caught_by(claim) for claim in certificate["claims"] if not is_equality(claim)} == {("signs of terms", "exact numbers")}


def test_the_second_checker_finds_the_same_counterexamples(certificate: Mapping[str, Any]) -> None:
    assert pipeline.replay(certificate) == ()
    exact = [claim for claim in certificate["claims"] if claim["proof"]["shows"] == "difference"]
    assert len(exact) >= LEAST - 10


def test_the_second_checker_refuses_them_as_proofs(certificate: Mapping[str, Any]) -> None:
    """Modulo the prime, at random places, the sides of an equation that does not hold are not equal."""
    equations = [claim for claim in certificate["claims"] if is_equality(claim)]
    assert len(equations) >= LEAST - 10
    for claim in equations:
        steps = [step for step in claim["proof"]["steps"] if step["kind"] != "equality"]
        proved = {**claim, "verdict": "proved", "proof": {"steps": steps, "counterexample": None, "shows": "equality"}}
        forged = {**certificate, "claims": [proved]}
        forged["seal"] = seal_of(forged)
        assert any("does not hold" in problem for problem in pipeline.replay(forged)), claim["says"]
