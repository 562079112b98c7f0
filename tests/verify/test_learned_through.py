"""What slower levels learn through: learned starts, and updates that are followed in full, for so many, or not at all."""

from __future__ import annotations

import pytest
import torch
from torch import Tensor

from nlc import pipeline
from nlc.verify.load import load_source
from nlc.verify.squares import all_squares, check_squares
from tests.emit.systems import program_from
from tests.rows import rows

SPEC = """
nlc: 1
name: Learner
dims: {d: 4}
axes: [heads]
inputs: {x: [d], beta: []}
hyperparameters: {rate: 0.05}
levels:
  project: {memory: 'matrix(d, d)', every: step}
  memory:
    memory: matrix(d, d)
    keys: l2_normalise(x)
    values: project(x)
    objective: l2
    optimizer: gradient_descent(beta)
    every: token
outputs: {y: memory(x)}
outer: {objective: task, optimizer: 'heavy_ball(learning_rate = rate, decay = 0.9)'}
"""

CHANGES = {
    "a learned start": "    init: learned\n",
    "full": "    backprop: full\n",
    "none": "    backprop: none\n",
    "truncated": "    backprop: truncated(2 updates)\n",
    "truncated with periods": "    backprop: truncated(2 updates)\n    reduce: mean\n    every: 2 tokens\n",
    "a learned start that is begun again": "    init: learned\n    reset: 4 tokens\n",
    "a learned start, no updates followed": "    init: learned\n    backprop: none\n",
}


def spec(change: str) -> str:
    text = SPEC.replace("    every: token\n", "") if "every:" in change else SPEC
    place = "    optimizer: gradient_descent(beta)\n"
    return text.replace(place, place + change)


@pytest.mark.parametrize("name", rows(CHANGES, ("a learned start", "truncated")))
def test_every_square_closes(name: str) -> None:
    program = program_from(spec(CHANGES[name]))
    squares = check_squares(program, pipeline.emit(program))
    assert [square.text for square in squares if not square.closed] == []


def test_a_learned_start_is_a_parameter_that_its_optimizers_move() -> None:
    module = load_source(pipeline.emit(program_from(spec(CHANGES["a learned start"]))), "Learner")
    layer = module.Learner().double()
    optimizer = module.optimizers(layer)
    assert sorted(dict(layer.named_parameters())) == ["memory_start", "project"]
    x, beta = torch.randn(2, 5, 3, 4, dtype=torch.float64), torch.rand(2, 5, 3, dtype=torch.float64)
    before = {name: value.clone() for name, value in layer.named_parameters()}
    for _ in range(2):
        optimizer.zero_grad()
        layer(x=x, beta=beta)[0].square().mean().backward()
        optimizer.step()
    assert all(bool((value != before[name]).any()) for name, value in layer.named_parameters())


def gradients(change: str) -> tuple[Tensor, Tensor]:
    """Of the projection, and of the last output alone, over six tokens."""
    torch.manual_seed(0)
    layer = load_source(pipeline.emit(program_from(spec(change))), "Learner").Learner().double()
    x, beta = torch.randn(1, 6, 1, 4, dtype=torch.float64), torch.full((1, 6, 1), 0.5, dtype=torch.float64)
    x.requires_grad_()
    layer(x=x, beta=beta)[0][:, -1].square().sum().backward()
    assert x.grad is not None
    whole = torch.zeros(4, 4) if layer.project.grad is None else layer.project.grad
    return whole, x.grad[0, :, 0].abs().sum(-1)


def test_none_follows_no_update_and_truncated_so_many() -> None:
    """Through the state, an output learns from all tokens, from none but its own, or from those since the state was last cut off."""
    assert bool((gradients("    backprop: full\n")[1] > 0).all())
    whole, by_token = gradients("    backprop: none\n")
    assert not whole.any()
    assert (by_token > 0).tolist() == [False] * 5 + [True]
    assert bool(gradients("    backprop: full\n")[0].any())
    assert (gradients("    backprop: truncated(4 updates)\n")[1] > 0).tolist() == [False] * 4 + [True] * 2


def test_a_start_learns_from_the_slope_where_updates_have_led() -> None:
    """First order: with no update followed, a learned start gets the gradient by the moved state, times what was retained of it."""
    text = spec("    init: learned\n    backprop: none\n    retention: 0.5\n")
    layer = load_source(pipeline.emit(program_from(text)), "Learner").Learner().double()
    x, beta = torch.randn(1, 3, 1, 4, dtype=torch.float64), torch.full((1, 3, 1), 0.5, dtype=torch.float64)
    y, _ = layer(x=x, beta=beta)
    y[:, -1].sum().backward()
    assert layer.memory_start.grad is not None
    torch.testing.assert_close(layer.memory_start.grad, 0.5**3 * torch.ones(4, 1, dtype=torch.float64) @ x[0, -1])


@pytest.mark.parametrize("change", rows(["none", "truncated"], []))
def test_a_module_that_follows_more_than_it_should_is_found(change: str) -> None:
    program = program_from(spec(CHANGES[change]))
    text = pipeline.emit(program)
    assert ".detach()" in text
    wrong = [square for square in all_squares(program, text.replace(".detach()", "")) if not square.closed]
    assert {square.quantity for square in wrong} <= {"gradients", "parameters"}
    assert wrong
