"""Every form rule has its proof: claims in claims/forms.yaml, by induction over the tokens of a chunk, for all sizes and lengths."""

from __future__ import annotations

from collections.abc import Mapping
from types import MappingProxyType

from nlc import pipeline
from nlc.schedule.rules import FORM_RULES
from tests.architecture.modules import ROOT

PREFIX_SUM = ("prefix_sum_start", "prefix_sum_step", "prefix_sum_step_with_decay", "prefix_sum_output")
TRIANGULAR = ("triangular_step", "triangular_step_with_decay", "triangular_step_separate_vectors", "triangular_output")
COUPLED = ("coupled_step_of_momentum", "coupled_step_of_memory")
GATHERED = ("gathered_step", "gathered_errors")

PROOFS: Mapping[str, tuple[str, ...]] = MappingProxyType(
    {
        "prefix-sum": PREFIX_SUM,
        "triangular-chunks": TRIANGULAR,
        "halved-prefix-sum": (*PREFIX_SUM, "prefix_sum_step_by_channel"),
        "halved-triangular-chunks": (*TRIANGULAR, "prefix_sum_step_by_channel"),
        "stacked-prefix-sum": (*PREFIX_SUM, *COUPLED),
        "stacked-triangular-chunks": (*TRIANGULAR, *COUPLED),
        "dual-form": ("dual_gradient", "dual_step", "dual_output"),
        "blocks": GATHERED,
        "attention": ("softmax_attention", "nadaraya_watson"),
        "window-table": GATHERED,
    }
)
"""The claims that prove the identity of each rule."""

THE_LAW_ITSELF = {"recurrence"}


def test_every_rule_has_claims_and_every_claim_is_proved() -> None:
    files = ("forms", "nested_learning")
    verdicts = [verdict for name in files for verdict in pipeline.verify_claims(ROOT / "claims" / f"{name}.yaml").verdicts]
    assert all(verdict.as_expected for verdict in verdicts)
    found = {verdict.id: verdict.verdict for verdict in verdicts}
    assert {name for names in PROOFS.values() for name in names if found.get(name) not in ("proved", "proved-if")} == set()
    assert {rule.name for rule in FORM_RULES} <= {*PROOFS, *THE_LAW_ITSELF}, "write the proof of the new rule into claims/forms.yaml"
