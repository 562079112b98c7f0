"""The laws of memories of several tensors, word for word; that they are right is what the squares of tests/verify show."""

from __future__ import annotations

from nlc.derive import derive_laws
from nlc.ir.law import Laws
from nlc.ir.show import expression_text
from nlc.order import order_levels
from tests.resolve.specs import resolve


def laws(**changes: str) -> Laws:
    return derive_laws(order_levels(resolve(**changes)))


def lines(**changes: str) -> list[str]:
    return [f"{equation.name} = {expression_text(equation.value)}" for law in laws(**changes).laws for equation in law.equations]


def test_the_law_of_a_network_is_backpropagation() -> None:
    level = "keys: k\n    values: v\n    retention: alpha\n    gradient_at: retained"
    assert lines(memory="mlp(d_k, 2, 8, d_v, activation = tanh)", objective="l2", level=level) == [
        "retained_W1 = alpha * prev(memory.W1)",
        "retained_W2 = alpha * prev(memory.W2)",
        "retained_W3 = alpha * prev(memory.W3)",
        "layer_1 = retained_W1 @ k",
        "activation_1 = tanh(layer_1)",
        "layer_2 = retained_W2 @ activation_1",
        "activation_2 = tanh(layer_2)",
        "prediction = retained_W3 @ activation_2",
        "error = prediction - v",
        "slope_2 = 1 - activation_2 ** 2",
        "local_surprise_2 = transpose(retained_W3) @ error * slope_2",
        "slope_1 = 1 - activation_1 ** 2",
        "local_surprise_1 = transpose(retained_W2) @ local_surprise_2 * slope_1",
        "gradient_W1 = outer(local_surprise_1, k)",
        "gradient_W2 = outer(local_surprise_2, activation_1)",
        "gradient_W3 = outer(error, activation_2)",
        "memory.W1 = retained_W1 - beta * gradient_W1",
        "memory.W2 = retained_W2 - beta * gradient_W2",
        "memory.W3 = retained_W3 - beta * gradient_W3",
    ]


def test_a_switch_needs_no_slope() -> None:
    found = lines(memory="mlp(d_k, 2, d_v, activation = relu)", objective="dot", level="keys: k\n    values: v")
    assert found[:3] == [
        "layer = prev(memory.W1) @ k",
        "activation = relu(layer)",
        "local_surprise = -where(layer > 0, transpose(prev(memory.W2)) @ v, 0)",
    ]


def test_without_keys_the_layers_are_those_of_the_objective() -> None:
    found = lines(memory="mlp(d_k, 2, d_v, activation = exp)", objective="0.5 * norm2(memory(k))")
    assert found == [
        "layer = prev(memory.W1) @ k",
        "activation = exp(layer)",
        "local_surprise = transpose(prev(memory.W2)) @ (prev(memory.W2) @ activation) * activation",
        "gradient_W1 = outer(local_surprise, k)",
        "gradient_W2 = outer(prev(memory.W2) @ activation, activation)",
        "memory.W1 = prev(memory.W1) - beta * gradient_W1",
        "memory.W2 = prev(memory.W2) - beta * gradient_W2",
    ]


def test_an_activation_may_end_the_read_and_stand_on_a_tensor_itself() -> None:
    top = "define:\n  gated: {states: {V: [d_v, d_k], c: [d_v]}, read: (x) -> tanh(sigmoid(c) * (V @ x))}"
    assert lines(top=top, memory="gated", objective="l2", level="keys: k\n    values: v")[:8] == [
        "activation_1 = sigmoid(prev(memory.c))",
        "layer_2 = activation_1 * (prev(memory.V) @ k)",
        "prediction = tanh(layer_2)",
        "error = prediction - v",
        "slope_2 = 1 - prediction ** 2",
        "local_surprise_2 = error * slope_2",
        "gradient_V = outer(local_surprise_2 * activation_1, k)",
        "gradient_c = local_surprise_2 * (prev(memory.V) @ k) * (activation_1 * (1 - activation_1))",
    ]


def test_a_rate_that_takes_more_than_a_product_to_say_is_said_once() -> None:
    rate = "sigmoid(sum(prev(memory)(k)))"
    (law,) = laws(memory="mlp(d_k, 2, d_v)", objective="norm2(memory(k))", optimizer=f"gradient_descent({rate})").laws
    found = [(item.name, expression_text(item.value), item.rule) for item in law.equations]
    assert [item for item in found if "rate" in item[1]] == [
        ("memory.W1", "prev(memory.W1) - memory_rate * gradient_W1", "explicit gradient step"),
        ("memory.W2", "prev(memory.W2) - memory_rate * gradient_W2", "explicit gradient step"),
    ]
    assert ("memory_rate", "sigmoid(sum(prev(memory.W2) @ activation))", "learning rate") in found
    assert {rule for name, _, rule in found if name.startswith("gradient")} == {"adjoint of the layers"}


def test_a_tensor_that_the_objective_leaves_alone_is_kept() -> None:
    top = "define:\n  affine: {states: {V: [d_v, d_k], c: [d_v]}, read: (x) -> V @ x + c}"
    (law,) = laws(top=top, memory="affine", objective="inner(memory.c, v)", level="retention: 0.5").laws
    assert [(equation.name, expression_text(equation.value), equation.rule) for equation in law.equations] == [
        ("memory.V", "0.5 * prev(memory.V)", "the objective does not depend on it"),
        ("memory.c", "0.5 * prev(memory.c) - beta * v", "explicit gradient step on dot(memory.c, v)"),
    ]


def test_an_inlined_optimizer_has_a_law_for_each_tensor() -> None:
    level = "keys: k\n    values: v"
    found = lines(memory="mlp(d_k, 2, d_v)", objective="l2", level=level, optimizer="momentum(learning_rate = beta, decay = 0.5)")
    assert found[-4:] == [
        "momentum.W1 = 0.5 * prev(memory.momentum.W1) - beta * gradient_W1",
        "momentum.W2 = 0.5 * prev(memory.momentum.W2) - beta * gradient_W2",
        "memory.W1 = prev(memory.W1) + memory.momentum.W1",
        "memory.W2 = prev(memory.W2) + memory.momentum.W2",
    ]
