"""The laws of models built by hand, word for word, and against autograd on the objective."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from dataclasses import replace

import pytest
import torch

from nlc.derive import derive_laws, laws_text
from nlc.derive.settle import settle
from nlc.ir.algebra import HALF, Expr, Gradient, Hyperparameter, Input, Named, State, StopGradient, When, walk
from nlc.ir.build import add, dot, matmul, negate, scale, subtract
from nlc.ir.model import Clock, Component, Family, GradientDescent, GradientPoint, InputStream, Model
from nlc.ir.show import expression_text
from nlc.order import order_levels
from tests import models
from tests.derive import systems
from tests.derive.hand import order_of
from tests.derive.numeric import evaluate, random_tensor, run_law
from tests.models import D_V, MATRIX, memory_state, stream

DELTA = ("prediction = prev(memory) @ k", "error = prediction - v", "gradient = outer(error, k)")

TEXTS: Mapping[Callable[[], Model], tuple[str, ...]] = {
    models.linear_attention: ("memory = prev(memory) + outer(v, k)", "y = memory @ q"),
    models.delta_rule: (*DELTA, "memory = prev(memory) - beta * gradient", "y = memory @ q"),
    models.gated_delta_rule: (
        "retained = alpha * prev(memory)",
        "prediction = retained @ k",
        "error = prediction - v",
        "gradient = outer(error, k)",
        "memory = retained - beta * gradient",
        "y = memory @ q",
    ),
    models.gated_linear_memory: ("memory = alpha * prev(memory) + outer(v, k)", "y = memory @ q"),
    models.delta_rule_with_momentum: (
        *DELTA,
        "momentum = 0.9 * prev(memory.momentum) - beta * gradient",
        "memory = prev(memory) + memory.momentum",
        "y = memory @ q",
    ),
    models.momentum: ("momentum = decay * prev(momentum) - learning_rate * gradient", "weights = prev(weights) + momentum"),
    models.heavy_ball: ("momentum = decay * prev(momentum) + gradient", "weights = prev(weights) - learning_rate * momentum"),
    systems.robust_memory: (
        "prediction = prev(memory) @ k",
        "error = prediction - v",
        "surprise = tanh(error)",
        "gradient = outer(surprise, k)",
        "memory = prev(memory) - beta * gradient",
        "y = memory @ q",
    ),
    systems.huber_memory: (
        "prediction = prev(memory) @ k",
        "error = prediction - v",
        "surprise = where(norm(error) < delta, error, delta * (error / where(norm(error) > 0, norm(error), 1)))",
        "gradient = outer(surprise, k)",
        "memory = prev(memory) - beta * gradient",
        "y = memory @ q",
    ),
    systems.ridge_memory: (
        "prediction = prev(memory) @ k",
        "error = prediction - v",
        "gradient = ridge * prev(memory) + outer(error, k)",
        "memory = prev(memory) - beta * gradient",
        "y = memory @ q",
    ),
    systems.separate_read_and_write: (
        "retained = alpha * prev(memory)",
        "surprise = beta * (retained @ p - v)",
        "gradient = outer(surprise, k)",
        "memory = retained - gradient",
        "y = memory @ q",
    ),
    systems.decayed_after_the_gradient: (*DELTA, "memory = alpha * prev(memory) - beta * gradient", "y = memory @ q"),
    systems.two_writes: (
        "gradient = outer(prev(memory) @ k - v, k) + outer(prev(memory) @ p - v, p)",
        "memory = prev(memory) - beta * gradient",
        "y = memory @ q",
    ),
    systems.vector_memory: ("error = prev(mean) - v", "mean = prev(mean) - beta * error", "y = mean"),
    systems.momentum_in_linear_attention: (
        "gradient = -outer(v, k)",
        "momentum = prev(memory.momentum) - beta * gradient",
        "memory = alpha * prev(memory) + memory.momentum",
        "y = memory @ q",
    ),
    systems.gated_delta_rule_with_momentum: (
        "retained = alpha * prev(memory)",
        "prediction = retained @ k",
        "error = prediction - v",
        "gradient = outer(error, k)",
        "momentum = prev(memory.momentum) - beta * gradient",
        "retained = alpha * prev(memory)",
        "memory = retained + memory.momentum",
        "y = memory @ q",
    ),
    systems.moments: (
        "moment_gradient = prev(moment) - gradient * gradient",
        "moment = prev(moment) - rate * moment_gradient",
        "weights_gradient = sqrt(moment)",
        "weights = prev(weights) - rate * weights_gradient",
    ),
}


def lines(model: Model) -> tuple[str, ...]:
    laws = derive_laws(order_levels(model))
    equations = [equation for law in laws.laws for equation in law.equations] + list(laws.outputs)
    return tuple(f"{equation.name} = {expression_text(equation.value)}" for equation in equations)


@pytest.mark.parametrize("make", TEXTS, ids=lambda make: make.__name__)
def test_word_for_word(make: Callable[[], Model]) -> None:
    assert lines(make()) == TEXTS[make]


def step_by_autograd(component: Component, leaves: Mapping[Expr, torch.Tensor]) -> torch.Tensor:
    """retained - rate * autograd's gradient: the meaning of a level, with nothing derived."""
    assert isinstance(component.optimizer, GradientDescent)
    (declared,) = component.states
    state = State(component.name, declared.part, declared.shape, When.PREVIOUS)
    retained = leaves[state]
    for retention in component.retention:
        retained = evaluate(retention, leaves) * retained
    point = retained if component.gradient_at is GradientPoint.RETAINED else leaves[state]
    point = point.detach().requires_grad_()
    objective = evaluate(component.objective, {**leaves, replace(state, when=When.FITTED): point})
    (slope,) = torch.autograd.grad(objective, point)
    return retained - evaluate(component.optimizer.rate, leaves) * slope


@pytest.mark.parametrize("make", systems.ONE_LEVEL, ids=lambda make: make.__name__)
@pytest.mark.parametrize("seed", range(3))
def test_moves_as_autograd_says(make: Callable[[], Model], seed: int) -> None:
    model = make()
    (component,) = model.components
    generator = torch.Generator().manual_seed(seed)
    inputs: list[Expr] = [Input(item.name, item.shape) for item in model.inputs]
    numbers: list[Expr] = [Hyperparameter(item.name) for item in model.hyperparameters]
    states: list[Expr] = [State(component.name, "", component.states[0].shape, When.PREVIOUS)]
    leaves = {leaf: random_tensor(leaf.shape, generator) for leaf in (*inputs, *numbers, *states)}
    (law,) = derive_laws(order_levels(model)).laws
    assert torch.allclose(run_law(law, leaves), step_by_autograd(component, leaves), rtol=1e-12, atol=1e-13)


@pytest.mark.parametrize("make", TEXTS, ids=lambda make: make.__name__)
def test_laws_are_settled_and_single_assignment(make: Callable[[], Model]) -> None:
    for law in derive_laws(order_levels(make())).laws:
        known: set[str] = set()
        for equation in law.equations:
            nodes = list(walk(equation.value))
            assert {node.name for node in nodes if isinstance(node, Named)} <= known
            assert not any(isinstance(node, StopGradient) or (isinstance(node, State) and node.when is When.FITTED) for node in nodes)
            assert equation.name not in known
            known.add(equation.name)
        assert law.equations[-1].part == ""
        assert all(equation.rule for equation in law.equations)


def test_a_stream_may_be_called_error() -> None:
    model = models.delta_rule()
    named = replace(model, inputs=(*model.inputs, InputStream(name="error", shape=(D_V,))))
    assert lines(named)[1:3] == ("memory_error = prediction - v", "gradient = outer(memory_error, k)")


def test_the_error_is_found_the_other_way_round_too() -> None:
    flipped = subtract(stream("v"), systems.PREDICTION)
    model = systems.with_memory(models.memory(scale(HALF, dot(flipped, flipped)), stream("beta")))
    assert lines(model) == TEXTS[models.delta_rule]


def test_a_gradient_that_is_an_error_is_not_named_twice() -> None:
    mean = systems.vector_memory().components[0]
    like = mean.states[0].shape
    follows = negate(dot(State("mean", "", like, When.FITTED), State("mean.momentum", "", like)))
    objective = dot(State("mean.momentum", "", like, When.FITTED), Gradient("mean", "", like))
    inner = replace(mean, name="mean.momentum", host="mean", objective=objective, follows=objective, prediction=None, value=None)
    model = replace(systems.vector_memory(), components=(inner, replace(mean, follows=follows)))
    assert lines(model)[:2] == ("error = prev(mean) - v", "momentum = prev(mean.momentum) - beta * error")


def test_the_step_of_an_inlined_optimizer_starts_from_the_retained_state() -> None:
    host = models.gated_delta_rule().components[0]
    follows = dot(memory_state(When.FITTED), Gradient("memory", "", MATRIX))
    model = replace(models.gated_delta_rule(), components=(replace(host, follows=follows),))
    assert lines(model) == TEXTS[models.gated_delta_rule]


def test_the_objective_is_said_once() -> None:
    rules = [equation.rule for equation in derive_laws(order_levels(systems.robust_memory())).laws[0].equations]
    assert rules == [
        "read at the key",
        "objective sum(log(cosh(memory @ k - v)))",
        "gradient by the prediction",
        "adjoint of apply",
        "explicit gradient step",
    ]


def test_the_text_has_columns_rules_and_sources() -> None:
    model = replace(models.delta_rule(), cites=("nl:eq-65",))
    assert laws_text(derive_laws(order_levels(model))).splitlines() == [
        "memory, every token",
        "    prediction  = prev(memory) @ k                  [read at the key]",
        "    error       = prediction - v                    [objective 0.5 * norm2(memory @ k - v)]",
        "    gradient    = outer(error, k)                   [adjoint of apply] calculus",
        "    memory      = prev(memory) - beta * gradient    [explicit gradient step] nl:eq-65",
        "outputs, after the updates",
        "    y           = memory @ q                        [read after the write]",
    ]


def test_a_long_equation_moves_only_its_own_rule() -> None:
    text = laws_text(derive_laws(order_levels(systems.huber_memory())))
    assert "    gradient    = outer(surprise, k)                [adjoint of apply] calculus" in text.splitlines()


def test_reads_of_other_levels_follow_the_clocks() -> None:
    chunk = Clock(Family.TOKEN, Clock(Family.TOKEN).period * 16)
    slow = replace(models.memory(models.dot_objective(), stream("beta")), name="slow", every=chunk)
    order = order_of(replace(models.delta_rule(), components=(*models.delta_rule().components, slow)))
    both = add(matmul(memory_state(When.CURRENT), stream("k")), matmul(State("slow", "", MATRIX), stream("k")))
    assert expression_text(settle(order, "memory", both)) == "prev(memory) @ k + prev(slow) @ k"
    assert expression_text(settle(order, "slow", both)) == "memory @ k + prev(slow) @ k"
    assert expression_text(settle(order, None, both)) == "memory @ k + prev(slow) @ k"


def test_an_output_before_the_write_says_so() -> None:
    before, after = (matmul(memory_state(when), stream("q")) for when in (When.PREVIOUS, When.CURRENT))
    model = systems.with_memory(models.delta_rule().components[0], before, add(before, after), stream("v"))
    outputs = derive_laws(order_levels(model)).outputs
    assert [output.rule for output in outputs] == ["read before the write", "read before and after the write", "no state is read"]


def test_deriving_twice_gives_equal_laws() -> None:
    assert derive_laws(order_levels(models.gated_delta_rule())) == derive_laws(order_levels(models.gated_delta_rule()))
