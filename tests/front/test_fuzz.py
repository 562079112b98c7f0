"""Whatever the text, the front end gives a program or diagnostics, soon, and never anything else."""

from __future__ import annotations

from hypothesis import HealthCheck, given, settings

from tests.front.compiling import assert_well_told, diagnostics_of
from tests.front.strategies import mutated_specs, random_specs
from tests.timing import is_in_time

LONGEST = 0.1
"""Seconds of processor time for one small text, on the machine of tests/timing.py."""

SLOW_TO_DRAW = (HealthCheck.too_slow, HealthCheck.data_too_large)


def assert_survives(text: str) -> None:
    for diagnostic in diagnostics_of(text):
        assert_well_told(diagnostic)
    assert is_in_time(LONGEST, lambda: diagnostics_of(text))


@settings(max_examples=400, suppress_health_check=SLOW_TO_DRAW)
@given(mutated_specs())
def test_mutated_specs(text: str) -> None:
    assert_survives(text)


@settings(max_examples=150, suppress_health_check=SLOW_TO_DRAW)
@given(random_specs())
def test_random_specs(text: str) -> None:
    assert_survives(text)
