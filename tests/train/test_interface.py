from __future__ import annotations

from dataclasses import replace
from fractions import Fraction

from nlc.ir.dims import Dim
from nlc.ir.model import TOKEN, Clock, DimDeclaration, Family, HyperparameterDeclaration, InputStream, Model
from nlc.train.interface import RETENTION_START, MemoryInput, memory_interface
from nlc.train.settings import TrainSettings, memory_settings
from tests.models import delta_rule, gated_delta_rule

SETTINGS = TrainSettings(d_model=64, heads=4)


def inputs(model: Model) -> dict[str, MemoryInput]:
    return {item.name: item for item in memory_interface(model, SETTINGS, {}).inputs}


def test_dims_are_the_width_of_a_head() -> None:
    interface = memory_interface(delta_rule(), SETTINGS, {})
    assert interface.arguments == {"d_k": 16, "d_v": 16}
    assert [(item.name, item.axes, item.shape) for item in interface.inputs] == [
        ("q", (4,), (16,)), ("k", (4,), (16,)), ("v", (4,), (16,)), ("beta", (4,), ()),
    ]  # fmt: skip
    assert [(item.name, item.axes, item.shape) for item in interface.outputs] == [("y", (4,), (16,))]


def test_chosen_sizes_come_first_and_go_to_the_constructor() -> None:
    interface = memory_interface(delta_rule(), SETTINGS, {"d_k": 8, "chunk": 32})
    assert interface.arguments == {"d_k": 8, "d_v": 16, "chunk": 32}
    assert [item.shape for item in interface.inputs] == [(8,), (8,), (16,), ()]


def test_what_a_memory_is_applied_to_is_an_address() -> None:
    assert {name: item.is_address for name, item in inputs(delta_rule()).items()} == {"q": True, "k": True, "v": False, "beta": False}


def test_a_scalar_of_unknown_range_is_between_0_and_1() -> None:
    beta = inputs(delta_rule())["beta"]
    assert (beta.low, beta.high, beta.start) == (0, 1, 0.5)


def test_a_declared_range_is_kept() -> None:
    model = delta_rule()
    ranged = replace(model.inputs[3], low=Fraction(1, 2), high=None)
    beta = inputs(replace(model, inputs=(*model.inputs[:3], ranged)))["beta"]
    assert (beta.low, beta.high) == (0.5, None)


def test_a_retention_starts_near_1() -> None:
    found = inputs(gated_delta_rule())
    assert found["alpha"].start == RETENTION_START
    assert found["beta"].start == 0.5


def test_derived_dims_and_other_axes_and_faster_streams_have_sizes() -> None:
    model = delta_rule()
    twice = DimDeclaration(name="twice", default=0, definition=Dim.number(2) * Dim.named("d_k"))
    pairs = InputStream(name="p", shape=(Dim.named("twice"),), axes=("heads", "groups"), every=Clock(Family.TOKEN, TOKEN.period / 3))
    wider = replace(model, dims=(*model.dims, twice), inputs=(*model.inputs, pairs))
    found = memory_interface(wider, SETTINGS, {"groups": 2}).inputs[-1]
    assert (found.axes, found.shape) == ((3, 4, 2), (16,))  # 64 over 4 heads and 2 groups: heads of 8, twice that is 16


def test_hyperparameters_and_further_axes_can_be_set() -> None:
    model = replace(delta_rule(), axes=("heads", "groups"), hyperparameters=(HyperparameterDeclaration(name="scale", default=Fraction(1)),))
    assert [item.name for item in memory_settings(model, has_chunk=False)] == ["d_k", "d_v", "groups", "scale"]
    assert memory_interface(model, SETTINGS, {"scale": 0.5}).arguments == {"d_k": 16, "d_v": 16, "scale": 0.5}
