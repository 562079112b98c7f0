"""Coupled and decoupled retention: where the gradient is taken matters to an objective exactly when its gradient reads the memory."""

from __future__ import annotations

from pathlib import Path

import pytest

from nlc import pipeline
from nlc.ir.model import SameAsClaim
from nlc.verify.same_as import decide_same_as

COUPLED = """
nlc: 1
name: Coupled
extends: architectures/{original}
levels: {{memory: {{gradient_at: {point}}}}}
claims:
  - says: it does not matter whether the gradient sees the memory before or after it forgets
    same_as: architectures/{original}
"""


@pytest.mark.parametrize(
    ("original", "point", "verdict"),
    [
        ("retention", "retained", "proved"),
        ("gated_linear_attention", "retained", "proved"),
        ("gated_delta_rule", "previous", "refuted"),
    ],
)
def test_only_a_gradient_that_reads_the_memory_sees_the_retention(tmp_path: Path, original: str, point: str, verdict: str) -> None:
    path = tmp_path / "coupled.yaml"
    path.write_text(COUPLED.format(original=original, point=point))
    model = pipeline.resolve(pipeline.parse(path))
    claim = model.claims[-1]
    assert isinstance(claim, SameAsClaim)
    laws = [pipeline.derive(pipeline.order(system)) for system in (model, claim.other)]
    assert decide_same_as(claim, *laws).verdict == verdict
