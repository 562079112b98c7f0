"""Every form rule has its proof: claims by induction over the tokens of a chunk, for all sizes and lengths, which `explain` names."""

from __future__ import annotations

import pytest

from nlc import pipeline
from nlc.schedule.describe import program_text
from nlc.schedule.rules import FORM_RULES
from nlc.schedule.rules.proofs import CATALOGUE, FORMS, proofs_text
from tests.architecture.modules import ROOT

THE_LAW_ITSELF = "recurrence"


@pytest.fixture(scope="module")
def verdicts() -> dict[tuple[str, str], str]:
    files = {file: pipeline.verify_claims(ROOT / file).verdicts for file in (FORMS, CATALOGUE)}
    return {(file, verdict.id): verdict.verdict for file, found in files.items() for verdict in found}


def test_every_rule_names_claims_and_every_one_is_proved(verdicts: dict[tuple[str, str], str]) -> None:
    assert {rule.name for rule in FORM_RULES if not rule.proofs} == {THE_LAW_ITSELF}
    named = {proof for rule in FORM_RULES for proof in rule.proofs}
    assert {proof: verdicts.get(proof) for proof in named if verdicts.get(proof) not in ("proved", "proved-if")} == {}


def test_no_rule_names_a_claim_twice() -> None:
    assert all(len(set(rule.proofs)) == len(rule.proofs) for rule in FORM_RULES)


@pytest.mark.parametrize("spec", ["delta_rule", "linear_attention", "titans_linear", "titans", "kimi_delta_attention", "softmax_attention"])
def test_explain_names_the_proof_of_the_form_taken(spec: str) -> None:
    program = pipeline.compile_program(ROOT / "specs" / "architectures" / f"{spec}.yaml")
    taken = {decision.rule for decision in program.decisions if decision.taken}
    proofs = [proofs_text(rule.proofs) for rule in FORM_RULES if rule.name in taken and rule.proofs]
    assert proofs
    assert all(f"proved for all sizes and lengths: {proof}" in program_text(program) for proof in proofs)
