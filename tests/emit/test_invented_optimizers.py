"""Optimizers that nobody published, from a spec to a `torch.optim.Optimizer`: they compile, verify, and do what their words say."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import pytest
import torch
from torch import Tensor, nn

from nlc.cli import main
from nlc.pipeline import compile_file
from nlc.verify.load import load_source

AGREEMENT = """
nlc: 1
name: AgreementMomentum
kind: optimizer
says: A momentum that keeps its past as far as the new gradient agrees with it.
inputs: {gradient: like(weights)}
hyperparameters: {learning_rate: 0.05, decay: 0.9, eps: 1e-12}
let:
  agreement: PRODUCT / (norm(prev(momentum)) * norm(gradient) + eps)
levels:
  momentum:
    memory: like(weights)
    objective: -inner(momentum, gradient)
    retention: decay * sigmoid(agreement)
    optimizer: gradient_descent(1)
    every: step
  weights:
    objective: inner(weights, DIRECTION)
    optimizer: gradient_descent(learning_rate)
    every: step
claims:
  - says: what is kept depends on how the two agree
    prove: momentum == decay * sigmoid(agreement) * prev(momentum) + gradient
  - says: momentum is faster than the weights
    order: momentum > weights
"""

TENSORS = ((3, 4), (5,), ())
MATRICES = ((3, 4), (4, 3), (3, 4))


def written(tmp_path: Path, product: str, direction: str) -> Path:
    path = tmp_path / "agreement_momentum.yaml"
    path.write_text(AGREEMENT.replace("PRODUCT", product).replace("DIRECTION", direction))
    return path


def drawn(shapes: tuple[tuple[int, ...], ...], seed: int) -> list[Tensor]:
    generator = torch.Generator().manual_seed(seed)
    return [torch.randn(shape, generator=generator, dtype=torch.float64) for shape in shapes]


def moved(optimizer_class: Any, shapes: tuple[tuple[int, ...], ...]) -> list[Tensor]:
    weights = [nn.Parameter(start) for start in drawn(shapes, 0)]
    optimizer = optimizer_class(weights)
    for step in range(1, 6):
        for weight, gradient in zip(weights, drawn(shapes, step), strict=True):
            weight.grad = gradient
        optimizer.step()
    return [weight.detach() for weight in weights]


def by_hand(shapes: tuple[tuple[int, ...], ...], is_over_all: bool) -> list[Tensor]:
    """The same steps; the product of momentum and gradient is taken over all tensors, or over each."""
    weights, momenta = drawn(shapes, 0), [torch.zeros(shape, dtype=torch.float64) for shape in shapes]
    for step in range(1, 6):
        gradients = drawn(shapes, step)
        products = [(momentum * gradient).sum() for momentum, gradient in zip(momenta, gradients, strict=True)]
        for place, (momentum, gradient) in enumerate(zip(list(momenta), gradients, strict=True)):
            product = sum(products) if is_over_all else products[place]
            agreement = product / (momentum.norm() * gradient.norm() + 1e-12)
            momenta[place] = 0.9 * torch.sigmoid(agreement) * momentum + gradient
            weights[place] = weights[place] - 0.05 * momenta[place]
    return weights


@pytest.mark.parametrize(
    ("product", "direction", "shapes", "is_over_all"),
    [
        ("inner(prev(momentum), gradient)", "momentum", TENSORS, True),
        ("inner(prev(momentum), gradient)", "momentum * (rows(weights) / rows(weights))", MATRICES, False),
    ],
    ids=["tensors", "matrices"],
)
def test_retention_by_agreement(
    product: str, direction: str, shapes: tuple[tuple[int, ...], ...], is_over_all: bool, tmp_path: Path
) -> None:
    spec = written(tmp_path, product, direction)
    assert main(["build", str(spec), "-o", str(tmp_path)]) == 0
    assert main(["verify", str(spec), "-o", str(tmp_path)]) == 0
    assert main(["verify", str(written(tmp_path, product, f"-1 * {direction}")), "-o", str(tmp_path)]) == 1
    ours = moved(compile_file(written(tmp_path, product, direction)).load().AgreementMomentum, shapes)
    assert all(torch.allclose(one, other, rtol=1e-12, atol=1e-12) for one, other in zip(ours, by_hand(shapes, is_over_all), strict=True))


def test_elements_of_lists_have_names_of_their_own(tmp_path: Path) -> None:
    """In a comprehension no variable is called as the list that it comes from, nor as a hyperparameter."""
    text = AGREEMENT.replace("PRODUCT", "inner(prev(momentum), gradient)").replace("DIRECTION", "momentum")
    text = text.replace("decay: 0.9", "m: 0.9").replace("decay * ", "m * ")
    (tmp_path / "agreement_momentum.yaml").write_text(text)
    source = compile_file(tmp_path / "agreement_momentum.yaml").source
    assert "for mo, g in zip(momentum, gradient, strict=True)" in source
    ours = moved(load_source(source).AgreementMomentum, TENSORS)
    assert all(torch.allclose(one, other, rtol=1e-12, atol=1e-12) for one, other in zip(ours, by_hand(TENSORS, True), strict=True))
