"""Who verifies the prover: every seeded mistake in it changes the verdict on some claim whose verdict is known."""

from __future__ import annotations

from collections import Counter

import pytest

from nlc import pipeline
from tests.architecture.modules import ROOT
from tests.mutation.prover import ProverMutant, battery, caught_by, edited, mutated, verdict_on
from tests.mutation.prover_mutants import MUTANTS, SURVIVORS

SHARP = ROOT / "tests" / "verify" / "sharp_claims.yaml"


def test_sharp_claims_have_the_verdicts_expected() -> None:
    assert [(item.claim, item.verdict) for item in pipeline.verify_claims(SHARP).verdicts if not item.as_expected] == []


def test_there_are_mistakes_of_every_part() -> None:
    parts = Counter(mutant.module for mutant in MUTANTS)
    assert {"normal_form", "polynomial", "products", "quotients", "inverses", "assumptions", "stacks", "signs"} <= set(parts)
    assert {"relations", "twins", "same_as", "proofs", "given"} <= set(parts), "induction and the decision itself"
    assert len({(mutant.module, mutant.before, mutant.after) for mutant in MUTANTS}) == len(MUTANTS)


FEW = MUTANTS[::4]
"""Those that are tried where time is short."""


@pytest.mark.parametrize(
    "mutant",
    [pytest.param(mutant, id=f"{mutant.module}: {mutant.says}", marks=[] if mutant in FEW else [pytest.mark.slow]) for mutant in MUTANTS],
)
def test_a_mistake_of_the_prover_is_caught(mutant: ProverMutant) -> None:
    assert caught_by(mutant.module, edited(mutant)), "no claim notices: write one into sharp_claims.yaml"


@pytest.mark.slow
@pytest.mark.parametrize(("mutant", "reason"), SURVIVORS, ids=lambda item: item.says if isinstance(item, ProverMutant) else "")
def test_a_survivor_is_no_longer_one_when_a_claim_tells_it(mutant: ProverMutant, reason: str) -> None:
    assert reason
    assert not caught_by(mutant.module, edited(mutant)), "it is caught now: move it into MUTANTS"


def test_the_prover_is_put_back() -> None:
    laws, claim, expected = battery()[0]
    mutant = next(mutant for mutant in MUTANTS if mutant.says == "differences are sums")
    with mutated(mutant.module, edited(mutant)):
        assert verdict_on(laws, claim) != expected
    assert verdict_on(laws, claim) == expected


def test_an_edit_that_changes_nothing_is_no_mutant() -> None:
    with (
        pytest.raises(AssertionError, match="changes nothing"),
        mutated("polynomial", edited(ProverMutant("polynomial", "value * coefficient", "(value) * coefficient", ""))),
    ):
        pass
