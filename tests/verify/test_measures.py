"""Claims that measure: gaps by a hyperparameter of this spec or of the other, their trends, and tables that certificates leave open."""

from __future__ import annotations

from fractions import Fraction
from pathlib import Path

import pytest

from nlc import pipeline
from nlc.diagnostics import CompileError
from nlc.verify.explain import explanation
from nlc.verify.measure import Table
from nlc.verify.verdict import Verdict

SECTION = """
nlc: 1
kind: claims
name: Trial
sections:
  - name: Trial
    dims: {{d: 4}}
    inputs: {{q: [d], k: [d]}}
    hyperparameters: {{scale: 1, shift: 1}}
    claims:
      - says: a trial
        id: trial
        prove: {prove}
        measure: gap by scale in {values}
        expect: {expect}
"""


def section(folder: Path, prove: str, values: str = "[1, 1/8, 1/64]", expect: str = "measured") -> Path:
    path = folder / "trial.yaml"
    path.write_text(SECTION.format(prove=prove, values=values, expect=expect))
    return path


def verdict(path: Path) -> Verdict:
    (found,) = (item for item in pipeline.claims_of(path) if item.finding.table is not None)
    return found


def table(found: Verdict) -> Table:
    assert found.finding.table is not None
    return found.finding.table


SERIES = (
    ("1", 1),
    ("1 + scale * dot(q, k)", 2),
    ("1 + scale * dot(q, k) + (scale * dot(q, k)) ** 2 / 2", 3),
)
"""Truncated series of an exponential, with the order of what is left out."""


@pytest.mark.parametrize(("series", "order"), SERIES)
def test_the_order_of_a_truncated_series_is_found(series: str, order: int, tmp_path: Path) -> None:
    prove = f"exp(scale * dot(q, k)) == {series}"
    assert verdict(section(tmp_path, prove, expect=f"measured rising and order {order}")).as_expected
    assert not verdict(section(tmp_path, prove, expect=f"measured order {order + 1}")).as_expected
    assert not verdict(section(tmp_path, prove, expect="measured falling")).as_expected


def test_equal_sides_have_no_gap_and_no_trend(tmp_path: Path) -> None:
    found = verdict(section(tmp_path, "scale * dot(q, k) == dot(k, scale * q)", "[1, 2, 4]"))
    assert all(gap is not None and gap < 1e-15 for _, gap in table(found).rows)
    assert verdict(section(tmp_path, "scale == scale + shift", "[1, 2, 4]", "measured falling")).as_expected


def test_a_side_that_is_undefined_has_no_gap(tmp_path: Path) -> None:
    found = verdict(section(tmp_path, "1 / scale == 1 + scale", "[0, 1]"))
    assert table(found).rows == ((Fraction(0), None), (Fraction(1), 0.5))
    assert "0: undefined, 1: 0.5" in table(found).text
    assert table(found).trends == ()


def test_a_claim_that_is_decided_has_its_table_too(tmp_path: Path) -> None:
    found = verdict(section(tmp_path, "exp(scale) == 1 + scale", expect="refuted"))
    assert (found.verdict, found.as_expected) == ("refuted", True)
    assert any("gap by scale: 1: 0.36, 1/8:" in line for line in explanation(found))


def test_the_certificate_seals_no_measured_number(tmp_path: Path) -> None:
    path = section(tmp_path, "exp(scale) == 1 + scale")
    certificate = pipeline.certificate(path, pipeline.verify_claims(path))
    assert certificate["measured"]["gaps"]["trial"]["rows"][0][0] == "1"
    assert "0.36" not in str(certificate["claims"])
    assert pipeline.replay(certificate) == ()


OWN = """
nlc: 1
name: Trial
extends: architectures/ttt_linear_plain
claims:
  - says: held gradients drift
    same_as: architectures/{other}
    where: {{beta: learning_rate{more}}}
    measure: gap by period in [1, 2, 8]
    expect: measured rising
"""

OTHER = """
nlc: 1
name: Trial
extends: architectures/delta_rule
claims:
  - says: held gradients drift
    same_as: architectures/ttt_linear_plain
    where: {learning_rate: beta}
    measure: gap by period in [1, 2, 8]
    expect: measured rising
"""


@pytest.mark.parametrize("text", [OWN.format(other="delta_rule", more=""), OWN.format(other="gated_delta_rule", more=", alpha: 1"), OTHER])
def test_a_period_of_either_spec_is_measured_by(text: str, tmp_path: Path) -> None:
    path = tmp_path / "trial.yaml"
    path.write_text(text)
    found = verdict(path)
    assert found.as_expected
    (_, first), (_, second), (_, third) = table(found).rows
    assert first is not None and second is not None and third is not None
    assert first < 1e-14, "with periods of one token both are the same rule"
    assert 0.01 < second < third


IN_A_SECTION = """
nlc: 1
kind: claims
name: Trial
sections:
  - name: Trial
    extends: architectures/ttt_linear_per_token
    claims:
      - says: held gradients drift
        same_as: architectures/ttt_linear_plain
        measure: gap by period in [1, 8]
        expect: measured rising
"""


def test_a_section_is_measured_by_the_other_spec(tmp_path: Path) -> None:
    """A section is no file of its own, and has no variants; the other spec's hyperparameter of the same name varies."""
    path = tmp_path / "trial.yaml"
    path.write_text(IN_A_SECTION)
    assert verdict(path).as_expected
    path.write_text(
        IN_A_SECTION.replace("same_as: architectures/ttt_linear_plain", "same_as: architectures/delta_rule\n        where: {beta: 1}")
    )
    with pytest.raises(CompileError, match="NLC810"):
        pipeline.claims_of(path)


def test_a_rate_of_either_system_is_measured_by(tmp_path: Path) -> None:
    """Momentum and heavy ball are the same at every constant rate; without decay in one of them they are not."""
    path = tmp_path / "trial.yaml"
    claim = "{says: it, same_as: optimizers/heavy_ball, with: {decay: 0}, measure: 'gap by learning_rate in [0.01, 0.1]'}"
    path.write_text(f"nlc: 1\nname: Trial\nextends: optimizers/momentum\nclaims: [{claim}]\n")
    assert verdict(path).finding.table is not None
    assert "rising" in table(verdict(path)).trends
    path.write_text(f"nlc: 1\nname: Trial\nextends: optimizers/momentum\nclaims: [{claim.replace('with: {decay: 0}, ', '')}]\n")
    assert all(gap is not None and gap < 1e-14 for _, gap in table(verdict(path)).rows)
