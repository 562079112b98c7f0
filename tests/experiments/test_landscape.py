"""docs/experiments/landscape.* say what the command finds."""

from __future__ import annotations

import pytest

from experiments import landscape
from experiments.landscape import LANDSCAPES, METHODS, PAGE, SETTINGS, SHIFTS, drawing, emitted, from_json, page, plain_steps_of, steps_of

RESULTS = from_json(PAGE.with_suffix(".json").read_text())
SAMPLE = ((0.03, 0.8), (0.03, 0.9), (0.05, 0.99))


def test_the_page_and_the_picture_are_made_of_the_numbers_beside_them() -> None:
    assert PAGE.read_text() == page(RESULTS)
    assert PAGE.with_suffix(".svg").read_text().splitlines()[:3] == drawing(RESULTS).splitlines()[:3]


@pytest.mark.parametrize("method", METHODS)
def test_the_first_landscape_gives_the_numbers_again(method: str, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(landscape, "LAST", 150)
    expected = dict(zip(SETTINGS, RESULTS.steps[0][method], strict=True))
    found = steps_of(emitted(method), LANDSCAPES[0], SAMPLE)
    assert found == tuple(expected[setting] for setting in SAMPLE)
    assert plain_steps_of(method, LANDSCAPES[0], SAMPLE) == tuple((steps[0],) for steps in found)


def test_plain_loops_differ_only_where_steps_depend_on_rounding() -> None:
    plain, starts = RESULTS.by_hand, range(len(SHIFTS))
    for place in range(len(LANDSCAPES)):
        for method in METHODS:
            solved = [RESULTS.solved(place, method, start) for start in starts]
            best = [found[0] for found in (RESULTS.best(place, method, start) for start in starts) if found is not None]
            own = plain.best(place, method)
            assert min(solved) <= plain.solved(place, method) <= max(solved)
            assert not best if own is None else min(best) <= own[0] <= max(best)


def test_the_delta_needs_fewer_steps_and_no_printed_form_arrives_where_steps_do_not_depend_on_rounding() -> None:
    best = {method: [found and found[0] for found in (RESULTS.best(place, method) for place in range(3))] for method in METHODS}
    assert best["delta"] == [57, 56, 220]
    assert best["heavy ball"][:2] == [82, 194]
    assert best["delta as Eq. 49 prints it"] == best["delta, not clamped"] == [None] * 3
    assert [RESULTS.solved(place, "delta") for place in range(3)] == [34, 23, 10]
