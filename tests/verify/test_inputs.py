"""What is drawn as evidence: sizes that expose mistakes, special values, every shape case, and the same again for one seed."""

from __future__ import annotations

from dataclasses import replace
from fractions import Fraction

import pytest
import torch

from nlc.ir.dims import Dim
from nlc.ir.model import DimDeclaration, HyperparameterDeclaration, InputStream, Model
from nlc.verify.inputs import PARAMETER_SHAPES, SHAPE_CASES, SMALL_CHUNK, Case, draw, draw_steps, small_sizes
from tests import models

MANY = Case(name="many tokens", chunks=30, extra=0)
HEADS, D_MODEL = Dim.named("heads"), Dim.named("d_model")


def layer() -> Model:
    dims = (
        DimDeclaration(name="d_model", default=256),
        DimDeclaration(name="heads", default=4),
        DimDeclaration(name="d_head", default=64, definition=D_MODEL / HEADS),
    )
    stream = InputStream(name="x", shape=(D_MODEL / Dim.number(2),))
    return replace(models.delta_rule(), dims=dims, inputs=(stream,), components=(), outputs=())


def test_sizes_are_small_and_all_different() -> None:
    assert small_sizes(models.delta_rule()) == {"heads": 2, "d_k": 5, "d_v": 3}


def test_sizes_divide_where_the_model_divides() -> None:
    sizes = small_sizes(layer())
    assert sizes["d_head"] * sizes["heads"] == sizes["d_model"]
    assert sizes["d_model"] % 2 == 0
    assert len(set(sizes.values())) == 3


def test_sizes_that_cannot_be_small_are_the_defaults() -> None:
    dims = (DimDeclaration(name="d", default=74), DimDeclaration(name="e", default=2, definition=Dim.named("d") / Dim.number(37)))
    assert small_sizes(replace(models.delta_rule(), dims=dims, inputs=(), components=())) == {"d": 74, "e": 2, "heads": 2}


def test_vectors_have_norm_about_one_and_scalars_fill_their_range_to_the_ends() -> None:
    model = models.gated_delta_rule()
    wide = tuple(replace(item, low=Fraction(-1), high=Fraction(3)) if item.name == "alpha" else item for item in model.inputs)
    drawn = draw(replace(model, inputs=wide), MANY, 4)
    assert abs(float(drawn.inputs["k"].square().sum(-1).mean()) - 1) < 0.2
    for name, low, high in (("beta", 0.0, 1.0), ("alpha", -1.0, 3.0)):
        values = drawn.inputs[name]
        assert (float(values.min()), float(values.max())) == (low, high)
        assert 0.1 < float((values == low).double().mean()) < 0.25
        assert 0.1 < float((values == high).double().mean()) < 0.25
        assert float(((values > low) & (values < high)).double().mean()) > 0.5


@pytest.mark.parametrize(("low", "high", "range_"), [(2, None, (2, 3)), (None, 2, (1, 2))])
def test_an_open_side_is_one_away(low: int | None, high: int | None, range_: tuple[int, int]) -> None:
    ends = [None if end is None else Fraction(end) for end in (low, high)]
    model = replace(models.delta_rule(), inputs=(InputStream(name="s", shape=(), low=ends[0], high=ends[1]),))
    values = draw(model, MANY, 4).inputs["s"]
    assert (float(values.min()), float(values.max())) == range_


def test_without_edges_no_scalar_is_on_an_end() -> None:
    values = draw(models.delta_rule(), MANY, 4, edges=False).inputs["beta"]
    assert 0 < float(values.min()) < float(values.max()) < 1


def test_the_cases_cover_the_lengths_and_batches() -> None:
    drawn = [draw(models.delta_rule(), case, 64) for case in SHAPE_CASES]
    c = SMALL_CHUNK
    assert {item.tokens for item in drawn} == {0, 1, c - 1, c, c + 1, 2 * c + 1, 65}
    assert {item.batch for item in drawn} == {0, 1, 3}
    assert {item.chunk for item in drawn} == {c, 64}
    assert {item.state is None for item in drawn} == {True, False}
    for item in drawn:
        assert item.inputs["k"].shape == (item.batch, item.tokens, 2, 5)
        assert item.state is None or item.state["memory"].shape == (item.batch, 2, 3, 5)


def test_one_seed_gives_one_draw_and_leaves_torch_s_own_alone() -> None:
    torch.manual_seed(0)
    before = torch.get_rng_state()
    first, again, other = (draw(models.delta_rule(), MANY, 4, seed=seed).inputs["k"] for seed in (3, 3, 4))
    assert torch.equal(first, again)
    assert not torch.equal(first, other)
    assert torch.equal(before, torch.get_rng_state())


def test_hyperparameters_vary_from_their_defaults() -> None:
    defaults = {"a": Fraction(2), "zero": Fraction(0), "b": Fraction(2)}
    numbers = tuple(HyperparameterDeclaration(name=name, default=default) for name, default in defaults.items())
    model = replace(models.delta_rule(), hyperparameters=numbers)
    assert draw(model, MANY, 4).hyperparameters == {"a": 2.0, "zero": 0.0, "b": 2.0}
    assert draw(model, replace(MANY, varied=True), 4).hyperparameters == {"a": 1.5, "zero": 0.125 / 1.125, "b": 1.2}


@pytest.mark.parametrize("schedule", [False, True])
def test_optimizer_steps(schedule: bool) -> None:
    drawn = draw_steps(models.momentum(), 5, seed=0, schedule=schedule)
    assert [tuple(tensor.shape) for tensor in drawn.weights] == list(PARAMETER_SHAPES)
    assert len(drawn.gradients) == len(drawn.hyperparameters) == 5
    rates = {numbers["learning_rate"] for numbers in drawn.hyperparameters}
    assert len(rates) == (5 if schedule else 1)
    assert 0.01 not in rates
