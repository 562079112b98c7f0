"""Weights that change nothing, in exact arithmetic or in the evidence drawn: no square opens for them, and wrong steps are still found."""

from __future__ import annotations

from collections.abc import Callable, Iterable
from pathlib import Path

import pytest

from nlc.pipeline import compile_program, emit
from nlc.verify.exact_squares import exact_squares
from nlc.verify.load import load_source
from nlc.verify.network_squares import network_squares
from nlc.verify.optimizer_contract import optimizer_contract
from nlc.verify.optimizer_squares import NOTHING_COMES
from nlc.verify.square import Square
from nlc.verify.squares import all_squares
from nlc.verify.training_squares import training_squares

FORGOTTEN = """
nlc: 1
name: Shifted
says: A softmax forgets what is added to all of its entries, so that the shift has a gradient of rounding alone.
dims: {d: 6}
inputs: {x: [d]}
levels:
  project: {memory: "matrix(d, d)", every: step}
  shift: {memory: vector(d), every: step}
outputs: {y: softmax(project(x) + sum(shift))}
outer: {objective: task, optimizer: adamw(0.01)}
"""

LATE = """
nlc: 1
name: Late
says: A slow level that is used when the first 64 tokens are over, and shorter sequences never meet it.
dims: {d: 6}
inputs: {x: [d]}
levels:
  project: {memory: "matrix(d, d)", every: step}
  target: {memory: "matrix(d, d)", every: step}
  memory:
    memory: matrix(d, d)
    objective: -dot(memory(x), project(x))
    optimizer: gradient_descent(1)
    every: token
  late:
    memory: matrix(d, d)
    objective: -dot(late(x), target(x))
    optimizer: gradient_descent(1)
    every: 64 tokens
outputs: {y: memory(x) + late(x)}
outer: {objective: task, optimizer: adamw(0.01)}
"""

MODEL = """
nlc: 1
name: Small
kind: model
dims: {vocabulary: 16, d: 6}
inputs: {tokens: integer(vocabulary)}
network:
  - embed: vocabulary -> d
  - residual: [rms_norm, layer]
  - head
outer: {objective: cross_entropy, optimizer: adamw(0.01), every: step}
"""

SLOW_PRODUCTS = """
nlc: 1
name: SlowProducts
kind: optimizer
inputs: {gradient: like(weights)}
hyperparameters: {learning_rate: 0.05, period: 4, eps: 1e-8, iterations: 3}
levels:
  slow:
    memory: like(weights)
    objective: -inner(slow, gradient)
    optimizer: gradient_descent(1)
    every: period steps
  direction:
    memory: like(weights)
    init: slow / (norm(slow) + eps)
    reset: step
    objective: spectral_quintic
    optimizer: gradient_descent(1)
    every: step / iterations
  weights:
    objective: inner(weights, direction)
    optimizer: gradient_descent(learning_rate)
    every: step
"""


def open_squares(path: Path, wrong: tuple[str, str] = ("", "")) -> list[str]:
    """The open ones among those that a weight without effect may open."""
    program = compile_program(path)
    text = emit(program)
    assert wrong[0] in text
    module = load_source(text.replace(*wrong), program.model.name)
    made = getattr(module, program.model.name)
    squares: dict[str, Callable[[], Iterable[Square]]] = {
        "architecture": lambda: (*training_squares(program, module, made), *exact_squares(program, made)),
        "model": lambda: network_squares(program, module),
        "optimizer": lambda: optimizer_contract(program, made),
    }
    return [square.text for square in squares[program.model.kind]() if not square.closed]


def written(folder: Path, layer: str, model: str = "") -> Path:
    for name, text in (("layer", layer), ("model", model)):
        (folder / f"{name}.yaml").write_text(text)
    return folder / ("model.yaml" if model else "layer.yaml")


@pytest.mark.parametrize("model", ["", MODEL], ids=["layer", "model"])
@pytest.mark.parametrize("layer", [FORGOTTEN, LATE], ids=["forgotten", "late"])
def test_no_square_opens(layer: str, model: str, tmp_path: Path) -> None:
    assert open_squares(written(tmp_path, layer, model)) == []


@pytest.mark.parametrize("model", ["", MODEL], ids=["layer", "model"])
def test_a_wrong_step_beside_such_a_weight_opens_one(model: str, tmp_path: Path) -> None:
    """Of the others only the optimizer's own decay is off, by a part in a hundred thousand of a step."""
    wrong = ("learning_rate * weight_decay)", "learning_rate * weight_decay * 1.00001)")
    assert any("parameters" in text for text in open_squares(written(tmp_path, FORGOTTEN, model), wrong))


def test_products_of_a_level_that_moves_late_are_waited_for(tmp_path: Path) -> None:
    assert open_squares(written(tmp_path, SLOW_PRODUCTS)) == []


BY_LENGTH = """
nlc: 1
name: ByLength
kind: optimizer
inputs: {gradient: like(weights)}
levels:
  weights:
    objective: inner(weights, gradient / DIVISOR)
    optimizer: gradient_descent(0.1)
    every: step
"""


@pytest.mark.parametrize(("divisor", "is_judged"), [("norm(gradient)", False), ("(norm(gradient) + 1e-8)", True)])
def test_steps_of_zero_gradients_are_judged_unless_the_spec_divides_by_zero(divisor: str, is_judged: bool, tmp_path: Path) -> None:
    path = tmp_path / "spec.yaml"
    path.write_text(BY_LENGTH.replace("DIVISOR", divisor))
    program = compile_program(path)
    squares = list(all_squares(program, emit(program)))
    assert all(square.closed for square in squares)
    assert any(square.case == NOTHING_COMES and square.applies for square in squares) is is_judged
    assert any(square.case == NOTHING_COMES and not square.applies for square in squares) is not is_judged
