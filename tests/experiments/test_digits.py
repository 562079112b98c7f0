"""docs/experiments/digits.* say what the command finds."""

from __future__ import annotations

from dataclasses import astuple

import pytest

from experiments import digits
from experiments.digits import PAGE, SEEDS, Run, as_json, chosen, drawing, emitted, from_json, page, run

RESULTS = from_json(PAGE.with_suffix(".json").read_text())


def test_the_page_and_the_picture_are_made_of_the_numbers_beside_them() -> None:
    assert PAGE.with_suffix(".json").read_text() == as_json(RESULTS)
    assert PAGE.read_text() == page(RESULTS)
    assert PAGE.with_suffix(".svg").read_text() == drawing(RESULTS)
    assert [item.optimizer for item in RESULTS] == list(digits.OPTIMIZERS)
    assert [item.rate for item in RESULTS] == [chosen(item.tuning) for item in RESULTS]


@pytest.mark.parametrize("name", ["gradient_descent", "feature_momentum", "dgd"])
def test_a_run_gives_its_numbers_again(name: str) -> None:
    (item,) = (item for item in RESULTS if item.optimizer == name)
    again = run(emitted(name), item.rate, SEEDS[0])
    assert astuple(again) == pytest.approx(astuple(item.runs[0]), rel=1e-6)
    assert astuple(run(emitted(name), item.rate, SEEDS[1])) != pytest.approx(astuple(item.runs[0]), rel=1e-6)


def test_diverged_runs_are_never_chosen() -> None:
    good = Run(1.0, 1.0, 1.0, 0.5)
    assert chosen([digits.DIVERGED, good, *[digits.DIVERGED] * (len(digits.RATES) - 2)]) == digits.RATES[1]
