"""docs/experiments/continual.* say what the command finds."""

from __future__ import annotations

import pytest
import torch

from experiments.continual import EVERY, METHODS, PAGE, PERIODS, SEEDS, as_json, chosen, drawing, from_json, made, page, run

RESULTS = from_json(PAGE.with_suffix(".json").read_text())


def test_the_page_and_the_picture_are_made_of_the_numbers_beside_them() -> None:
    assert PAGE.with_suffix(".json").read_text() == as_json(RESULTS)
    assert PAGE.read_text() == page(RESULTS)
    assert PAGE.with_suffix(".svg").read_text() == drawing(RESULTS)
    assert [item.method for item in RESULTS] == list(METHODS)
    assert [item.rate for item in RESULTS] == [chosen(item.tuning) for item in RESULTS]
    assert len({item.parameters for item in RESULTS}) == 1


@pytest.mark.parametrize("name", METHODS)
def test_a_run_begins_with_its_numbers_again(name: str) -> None:
    (item,) = (item for item in RESULTS if item.method == name)
    again = run(name, item.rate, SEEDS[0], steps=3 * EVERY)
    assert again.first == pytest.approx(item.runs[0].first[:3], abs=1e-5)
    assert again.second == pytest.approx(item.runs[0].second[:3], abs=1e-5)


def test_every_method_moves_what_it_says_when_it_says() -> None:
    x = torch.randn(4, 1, 16, dtype=torch.float64)
    moved: dict[str, list[list[float]]] = {}
    for name in METHODS:
        network, levels = made(name, 1e-3)
        steps = []
        for _ in range(PERIODS[1]):
            before = {key: weight.detach().clone() for key, weight in network.named_parameters()}
            levels.zero_grad()
            network(x=x)[0].square().mean().backward()
            levels.step()
            now = {key: weight.detach() for key, weight in network.named_parameters() if key.endswith("W1")}
            steps.append([float((weight - before[key]).abs().max()) for key, weight in now.items()])
        moved[name] = steps
    assert [[size > 0 for size in step] for step in moved["cms"]] == [[True, False, False]] * 7 + [[True, True, False]]
    assert moved["rates"][0] == pytest.approx([1e-3 / period for period in PERIODS], rel=1e-2)
    assert all(size == pytest.approx(1e-3, rel=1e-2) for size in (*moved["chain"][0], *moved["mlp"][0]))
