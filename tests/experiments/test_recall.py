"""docs/experiments/recall.* say what the command finds."""

from __future__ import annotations

import pytest
import torch

from experiments import recall
from experiments.recall import PAGE, PARAMETERS, as_json, chosen, drawing, fitting, from_json, page, parameters, run, sequences

RESULTS = from_json(PAGE.with_suffix(".json").read_text())


def test_the_page_and_the_picture_are_made_of_the_numbers_beside_them() -> None:
    assert PAGE.with_suffix(".json").read_text() == as_json(RESULTS)
    assert PAGE.read_text() == page(RESULTS)
    assert PAGE.with_suffix(".svg").read_text() == drawing(RESULTS)
    assert [item.rate for item in RESULTS] == [chosen(item.tuning) for item in RESULTS]
    assert {item.model for item in RESULTS} <= set(recall.MODELS)


@pytest.mark.parametrize("name", ["transformer", "hope"])
def test_models_have_as_many_parameters_as_the_page_says(name: str) -> None:
    (item,) = (item for item in RESULTS if item.model == name)
    assert (item.size, item.parameters) == (fitting(name), parameters(name, fitting(name)))
    assert abs(item.parameters - PARAMETERS) < 0.01 * PARAMETERS


def test_a_sequence_asks_for_every_key_that_it_gave() -> None:
    tokens, values = sequences(50, torch.Generator().manual_seed(0))
    for row, answers in zip(tokens.tolist(), values.tolist(), strict=True):
        given = dict(zip(row[: 2 * recall.PAIRS : 2], row[1 : 2 * recall.PAIRS : 2], strict=True))
        assert len(given) == recall.PAIRS and [given[key] for key in row[2 * recall.PAIRS :]] == answers
        assert all(key < recall.VOCABULARY // 2 <= value for key, value in given.items())


@pytest.mark.slow
def test_a_run_gives_its_numbers_again() -> None:
    (item,) = (item for item in RESULTS if item.model == "deltanet")
    assert run("deltanet", item.rate, recall.SEEDS[0]).accuracy == pytest.approx(item.runs[0].accuracy, abs=0.02)
