"""Who verifies the prover, by machine: every mutant drawn changes what is said of some claim, or a row says why it does not."""

from __future__ import annotations

import pytest

from tests.mutation.prover import caught_by
from tests.mutation.prover_drawn import MODULES, SURVIVORS, drawn_mutants

pytestmark = [pytest.mark.slow, pytest.mark.filterwarnings("ignore")]  # a warning that a mutant causes is not what catches it


def test_every_drawn_mutant_is_caught_or_has_a_reason() -> None:
    drawn = list(drawn_mutants())
    assert {module for module, _ in drawn} == set(MODULES)
    survivors = [(module, mutant) for module, mutant in drawn if not caught_by(module, mutant.text)]
    listed = [(row, [mutant for module, mutant in survivors if row.covers(module, mutant)]) for row in SURVIVORS]
    told = {mutant.diff for _, found in listed for mutant in found}
    assert [f"{module}, {mutant.diff}" for module, mutant in survivors if mutant.diff not in told] == [], "write a claim, or a reason"
    assert [row for row, found in listed if not found] == [], "these are caught now, or no longer drawn: remove their rows"
