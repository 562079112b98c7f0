"""Levels as written -> components: optimizers inlined, clocks read, choices kept for the later stages."""

from __future__ import annotations

from fractions import Fraction

import pytest

from nlc.diagnostics import CompileError
from nlc.ir.algebra import Gradient
from nlc.ir.model import Clock, Family, GradientDescent, GradientPoint
from nlc.ir.show import expression_text
from tests import models
from tests.resolve.specs import resolve


def test_an_optimizer_spec_becomes_nested_levels() -> None:
    model = resolve(optimizer="momentum(learning_rate = beta, decay = alpha)", level="retention: 0.5")
    inner, host = model.components
    assert (inner.name, inner.host, host.name) == ("memory.momentum", "memory", "memory")
    assert inner.states == host.states
    assert isinstance(inner.optimizer, GradientDescent) and expression_text(inner.optimizer.rate) == "beta"
    assert [expression_text(item) for item in inner.retention] == ["alpha"]
    assert Gradient("memory", "", host.states[0].shape) in (getattr(inner.objective, "right", None), getattr(inner.objective, "left", None))
    assert expression_text(host.follows) == "-dot(memory, memory.momentum)"
    assert [expression_text(item) for item in host.retention] == ["0.5"]
    assert host.optimizer_name == "momentum"


def test_unbound_hyperparameters_of_an_optimizer_keep_their_defaults() -> None:
    inner, _ = resolve(optimizer="momentum(beta)").components
    assert [expression_text(item) for item in inner.retention] == ["0.9"]


def test_an_optimizer_steps_on_the_clock_of_its_host() -> None:
    inner, host = resolve(optimizer="optimizers/momentum", every="16 tokens").components
    assert inner.every == host.every == Clock(Family.TOKEN, Fraction(16))


def test_bindings_are_checked() -> None:
    for optimizer, code in (("momentum(beta, rate, alpha)", "NLC205"), ("momentum(beta, learning_rate = rate)", "NLC239")):
        with pytest.raises(CompileError) as caught:
            resolve(optimizer=optimizer)
        assert caught.value.diagnostics[0].code == code


@pytest.mark.parametrize(
    ("every", "clock"),
    [
        ("always", Clock(Family.ALWAYS)),
        ("token", Clock(Family.TOKEN)),
        ("token / 2", Clock(Family.TOKEN, Fraction(1, 2))),
        ("token / period", Clock(Family.TOKEN, Fraction(1, 8))),
        ("16 tokens", Clock(Family.TOKEN, Fraction(16))),
        ("period tokens", Clock(Family.TOKEN, Fraction(8))),
        ("(period tokens) / 4", Clock(Family.TOKEN, Fraction(2))),
        ("sequence", Clock(Family.SEQUENCE)),
        ("step / 5", Clock(Family.STEP, Fraction(1, 5))),
        ("step", Clock(Family.STEP)),
        ("1 step", Clock(Family.STEP)),
        ("10 steps", Clock(Family.STEP, Fraction(10))),
        ("never", Clock(Family.NEVER)),
    ],
)
def test_clocks(every: str, clock: Clock) -> None:
    (component,) = resolve(every=every).components
    assert component.every == clock


def test_choices_are_kept() -> None:
    (component,) = resolve(level="gradient_at: hold(8 tokens)\n    reduce: mean\n    window: 4 tokens\n    reset: sequence").components
    assert (component.gradient_at, component.gradient_period) == (GradientPoint.HELD, 8)
    assert (component.reduce, component.window, component.reset) == ("mean", 4, Clock(Family.SEQUENCE))


@pytest.mark.parametrize(("window", "reset", "tokens"), [("all", 8, 8), ("16 tokens", 8, 8), ("4 tokens", 8, 4)])
def test_a_window_reaches_no_further_than_its_segment(window: str, reset: int, tokens: int) -> None:
    (component,) = resolve(
        memory="vector(d_v)",
        objective="sum(exp(dot(k, now(q))) * norm2(v - memory), over = window)",
        level=f"window: {window}\n    reset: {reset} tokens",
        optimizer="closed_form",
        every="always",
        output="memory",
    ).components
    assert (component.window, component.segment) == (tokens, reset)


def test_library_objectives_are_their_text() -> None:
    by_name = resolve(objective="l2", level="keys: k\n    values: v")
    in_words = resolve(objective="0.5 * norm2(memory(k) - v)")
    assert by_name.components[0].objective == in_words.components[0].objective


def test_definitions_of_a_spec() -> None:
    define = """define:
  shifted:
    states: {W: [d_v, d_k]}
    read: (x) -> 2 * W @ x
  fit:
    parameters: [scale]
    objective: scale * norm2(prediction - value)"""
    model = resolve(top=define, memory="shifted", objective="fit(0.5)", level="keys: k\n    values: v")
    (output,) = model.outputs
    assert expression_text(output.value) == "2 * (memory @ q)"
    assert expression_text(model.components[0].objective) == "0.5 * norm2(2 * (memory @ k) - v)"


def test_the_models_built_by_hand_are_what_resolve_builds() -> None:
    expected = models.memory(models.l2_objective(), models.stream("beta"))
    (component,) = resolve(objective="0.5 * norm2(memory(key) - value)", level="keys: k\n    values: v").components
    for field in ("states", "objective", "follows", "optimizer", "every", "key", "value", "prediction"):
        assert getattr(component, field) == getattr(expected, field), field
