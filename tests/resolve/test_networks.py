"""Memories of several tensors: networks, what their read must use, and optimizers over all of their tensors."""

from __future__ import annotations

from pathlib import Path

import pytest

from nlc.diagnostics import CompileError
from nlc.ir.dims import shape_text
from nlc.ir.model import Model
from nlc.ir.show import expression_text
from nlc.parse import parse_file
from nlc.resolve import resolve_model
from tests.resolve.specs import resolve, spec_text

NETWORK = {"memory": "mlp(d_k, 4 * d_k, d_v)", "objective": "-inner(memory(k), v)"}


def code_of(**changes: str) -> str:
    with pytest.raises(CompileError) as caught:
        resolve(**changes)
    return caught.value.diagnostics[0].code


@pytest.mark.parametrize(
    ("memory", "shapes", "read"),
    [
        ("mlp(d_k, d_v)", {"": "matrix (d_v, d_k)"}, "memory @ q"),
        ("mlp(d_k, 4 * d_k, d_v)", {"W1": "matrix (4 * d_k, d_k)", "W2": "matrix (d_v, 4 * d_k)"}, "memory.W2 @ gelu(memory.W1 @ q)"),
        (
            "mlp(d_k, 2, d, d_v, activation = tanh)",
            {"W1": "matrix (2, d_k)", "W2": "matrix (d, 2)", "W3": "matrix (d_v, d)"},
            "memory.W3 @ tanh(memory.W2 @ tanh(memory.W1 @ q))",
        ),
    ],
)
def test_a_network_has_a_matrix_for_each_layer(memory: str, shapes: dict[str, str], read: str) -> None:
    model = resolve(memory=memory)
    assert {state.part: shape_text(state.shape) for state in model.components[0].states} == shapes
    assert expression_text(model.outputs[0].value) == read


@pytest.mark.parametrize(
    ("memory", "code"),
    [
        ("mlp()", "NLC205"),
        ("mlp(d_k)", "NLC205"),
        (f"mlp({', '.join(['d_k'] * 18)})", "NLC205"),
        ("mlp(d_k, 2, d_v, activation = 2)", "NLC235"),
        ("mlp(d_k, 2, d_v, activation = dot)", "NLC235"),
        ("mlp(d_k, 2, d_v, depth = 3)", "NLC213"),
        ("mlp(d_k, 0.5, d_v)", "NLC208"),
        ("mlp(d_k, 2, d)", "NLC202"),
    ],
)
def test_networks_of_another_form_are_refused(memory: str, code: str) -> None:
    assert code_of(memory=memory) == code


def test_a_definition_may_take_the_name() -> None:
    top = "define:\n  mlp: {parameters: [a, b], states: {V: [b, a], c: [b]}, read: (x) -> V @ x + c}"
    assert expression_text(resolve(top=top, memory="'mlp(d_k, d_v)'").outputs[0].value) == "memory.V @ q + memory.c"


def test_a_state_that_the_read_never_uses_is_refused() -> None:
    top = "define:\n  affine: {states: {V: [d_v, d_k], c: [d_v]}, read: (x) -> sum(V) * tanh(-V @ x)}"
    assert code_of(top=top, memory="affine") == "NLC242"


def test_tensors_are_told_apart_by_name() -> None:
    assert expression_text(resolve(**NETWORK, output="memory.W1 @ q").outputs[0].value) == "memory.W1 @ q"
    assert code_of(**NETWORK, output="memory.W3 @ q") == "NLC237"
    assert code_of(**NETWORK, output="memory @ q") == "NLC230"


# --- optimizers over several tensors -----------------------------------------------------------------------------

OPTIMIZER = """\
nlc: 1
name: Custom
kind: optimizer
inputs: {{gradient: like(weights)}}
levels:
  average:
    memory: {memory}
    objective: {fit}
    retention: {retention}
    optimizer: gradient_descent({rate})
    every: step
  weights:
    objective: {objective}
    optimizer: gradient_descent(1)
    every: step
"""


def served(
    folder: Path,
    *,
    memory: str = "like(weights)",
    retention: str = "0.5",
    rate: str = "0.1",
    objective: str = "inner(weights, average)",
    fit: str = "0.5 * norm2(average - gradient)",
) -> Model:
    """A network with an optimizer of its own."""
    text = OPTIMIZER.format(memory=memory, retention=retention, rate=rate, objective=objective, fit=fit)
    (folder / "optimizers").mkdir()
    (folder / "optimizers" / "custom.yaml").write_text(text)
    path = folder / "network.yaml"
    path.write_text(spec_text(**NETWORK, optimizer="custom"))
    return resolve_model(parse_file(path))


def test_an_optimizer_has_a_state_for_each_tensor(tmp_path: Path) -> None:
    inner, host = served(tmp_path, retention="1 - 0.5 / (1 + inner(gradient, gradient))").components
    assert inner.states == host.states
    assert expression_text(inner.objective) == (
        "0.5 * (norm2(memory.average.W1 - gradient(memory.W1)) + norm2(memory.average.W2 - gradient(memory.W2)))"
    )
    assert expression_text(host.follows) == "dot(memory.W1, memory.average.W1) + dot(memory.W2, memory.average.W2)"
    sums = "1 - 0.5 / (1 + norm2(gradient(memory.W1)) + norm2(gradient(memory.W2)))"
    assert [expression_text(kept) for kept in inner.retention] == [sums, sums]


def test_norms_are_of_one_tensor_and_elementwise_operations_of_each(tmp_path: Path) -> None:
    _, host = served(tmp_path, objective="inner(weights, maximum(average, 0) / (1 + norm(average)))").components
    assert expression_text(host.follows) == " + ".join(
        f"dot(memory.{part}, maximum(memory.average.{part}, 0) / (1 + norm(memory.average.{part})))" for part in ("W1", "W2")
    )


@pytest.mark.parametrize("rate", ["1 / (1 + norm(gradient))", "gradient ** 2"])
def test_a_rate_that_differs_from_tensor_to_tensor_is_marked(tmp_path: Path, rate: str) -> None:
    inner, _ = served(tmp_path, rate=rate).components
    assert [what for what, _ in inner.unsupported] == ["an optimizer whose step differs from tensor to tensor"]


def test_a_level_of_an_optimizer_with_another_shape_is_marked(tmp_path: Path) -> None:
    objective = "inner(weights, gradient) * (1 + sum(average))"
    inner, host = served(tmp_path, memory="vector(3)", fit="norm2(average) * norm2(gradient)", objective=objective).components
    assert [what for what, _ in inner.unsupported] == ["an optimizer with a memory of its own shape"]
    assert [state.part for state in host.states] == ["W1", "W2"]
