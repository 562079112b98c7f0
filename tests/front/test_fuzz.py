"""Whatever the text, the front end gives a program or diagnostics, soon, and never anything else."""

from __future__ import annotations

from hypothesis import HealthCheck, given, settings

from tests.front.compiling import assert_well_told, timed
from tests.front.strategies import mutated_specs, random_specs

LONGEST = 0.5
"""Seconds of processor time for one small text, with room for a busy machine; nearly all take a hundredth of it."""

BOUNDED = settings(max_examples=250, suppress_health_check=[HealthCheck.too_slow, HealthCheck.data_too_large])


def assert_survives(text: str) -> None:
    diagnostics, seconds = timed(text)
    for diagnostic in diagnostics:
        assert_well_told(diagnostic)
    assert seconds < LONGEST


@BOUNDED
@given(mutated_specs())
def test_mutated_specs(text: str) -> None:
    assert_survives(text)


@BOUNDED
@given(random_specs())
def test_random_specs(text: str) -> None:
    assert_survives(text)
