"""The shipped optimizers as they are committed: equal to torch's where torch has them, to references where it has not."""

from __future__ import annotations

import copy
from collections.abc import Callable, Mapping
from pathlib import Path
from typing import Any

import pytest
import torch
from torch import Tensor, nn

from nlc import pipeline
from nlc.diagnostics import CompileError
from nlc.verify.load import load_source

GENERATED = Path(__file__).resolve().parents[2] / "generated" / "optimizers"
SPECS = GENERATED.parents[1] / "specs" / "optimizers"
STEPS = 200
SHAPES = ((6, 4), (4, 6), (7,), (3, 2, 2), ())
MATRICES = ((6, 4), (4, 6), (5, 5), (6, 4))

Make = Callable[[list[nn.Parameter]], torch.optim.Optimizer]


def shipped(name: str) -> Any:
    """The class of a committed module."""
    module = load_source((GENERATED / f"{name}.py").read_text())
    return getattr(module, module.__all__[0])


TORCH: Mapping[str, Make] = {
    "gradient_descent": lambda weights: torch.optim.SGD(weights, lr=0.01),
    "heavy_ball": lambda weights: torch.optim.SGD(weights, lr=0.01, momentum=0.9),
    "nesterov": lambda weights: torch.optim.SGD(weights, lr=0.01, momentum=0.9, nesterov=True),
    "adam": lambda weights: torch.optim.Adam(weights, lr=1e-3),
    "adamw": lambda weights: torch.optim.AdamW(weights, lr=1e-3, weight_decay=0.01),
    "rmsprop": lambda weights: torch.optim.RMSprop(weights, lr=0.01, alpha=0.99, eps=1e-8),
    "adagrad": lambda weights: torch.optim.Adagrad(weights, lr=0.01, eps=1e-10),
}
"""Torch's optimizer at the defaults of the spec."""


def drawn(shapes: tuple[tuple[int, ...], ...], seed: int = 0) -> list[nn.Parameter]:
    generator = torch.Generator().manual_seed(seed)
    return [nn.Parameter(torch.randn(shape, generator=generator, dtype=torch.float64)) for shape in shapes]


def trained(optimizer: torch.optim.Optimizer, weights: list[nn.Parameter], steps: int = STEPS, seed: int = 1) -> None:
    """Steps along gradients of a noisy quadratic, under a schedule of the learning rate."""
    generator = torch.Generator().manual_seed(seed)
    scheduler = torch.optim.lr_scheduler.CosineAnnealingLR(optimizer, STEPS, eta_min=1e-5)
    for _ in range(steps):
        for weight in weights:
            noise = torch.randn(weight.shape, generator=generator, dtype=torch.float64)
            weight.grad = (weight.detach() + noise).to(weight.dtype)
        optimizer.step()
        scheduler.step()


def gap(ours: list[nn.Parameter], theirs: list[nn.Parameter]) -> float:
    """The distance of all parameters, relative to their norm."""
    one, other = (torch.cat([weight.detach().flatten() for weight in weights]) for weights in (ours, theirs))
    return float((one - other).norm() / other.norm())


@pytest.mark.parametrize("name", TORCH)
def test_200_scheduled_steps_equal_those_of_torch(name: str) -> None:
    ours, theirs = drawn(SHAPES), drawn(SHAPES)
    trained(shipped(name)(ours), ours)
    trained(TORCH[name](theirs), theirs)
    assert gap(ours, theirs) < 1e-12


def test_the_gap_would_show_another_epsilon() -> None:
    ours, theirs = drawn(SHAPES), drawn(SHAPES)
    trained(shipped("adam")(ours, eps=1e-7), ours)
    trained(TORCH["adam"](theirs), theirs)
    assert gap(ours, theirs) > 1e-10


# --- Muon ----------------------------------------------------------------------------------------------------------------


def newton_schulz(matrix: Tensor, steps: int = 5) -> Tensor:
    """The quintic iteration as Jordan et al. print it, in the dtype of the matrix."""
    x = matrix / (matrix.norm() + 1e-7)
    for _ in range(steps):
        gram = x @ x.T
        x = 3.4445 * x + (-4.7750 * gram + 2.0315 * gram @ gram) @ x
    return x


def test_muon_equals_a_reference_in_float64() -> None:
    ours, theirs = drawn(MATRICES), drawn(MATRICES)
    optimizer, momenta = shipped("muon")(ours, learning_rate=0.02, decay=0.95), [torch.zeros_like(weight) for weight in theirs]
    generator = torch.Generator().manual_seed(3)
    for _ in range(50):
        for one, other, momentum in zip(ours, theirs, momenta, strict=True):
            gradient = torch.randn(one.shape, generator=generator, dtype=torch.float64)
            one.grad = gradient
            momentum.mul_(0.95).add_(gradient)
            other.data.sub_(0.02 * newton_schulz(momentum))
        optimizer.step()
    assert gap(ours, theirs) < 1e-12


def test_muon_equals_torchs_to_the_rounding_of_bfloat16() -> None:
    """Torch's Muon averages the gradients and takes products in bfloat16, whatever it is given."""
    ours, theirs = drawn(MATRICES), drawn(MATRICES)
    first = shipped("muon")(ours, learning_rate=0.02, decay=0.95)
    second = torch.optim.Muon(theirs, lr=0.02, momentum=0.95, nesterov=False, weight_decay=0.0, adjust_lr_fn="original")
    before = [weight.detach().clone() for weight in ours]
    for one, other in zip(ours, theirs, strict=True):
        one.grad = torch.randn(one.shape, generator=torch.Generator().manual_seed(5), dtype=torch.float64)
        other.grad = one.grad.clone()
    first.step()
    second.step()
    for one, other, start in zip(ours, theirs, before, strict=True):
        scale = max(1.0, one.shape[0] / one.shape[1]) ** 0.5  # torch's own factor for tall matrices
        moved, expected = start - one.detach(), (start - other.detach()) / scale
        assert float((moved - expected).norm() / moved.norm()) < 0.05


def test_newton_schulz_brings_singular_values_together() -> None:
    (weight,) = weights = drawn(((8, 20),))
    optimizer = shipped("muon")(weights, learning_rate=1.0)
    start, weight.grad = weight.detach().clone(), torch.randn(8, 20, dtype=torch.float64)
    optimizer.step()
    values = torch.linalg.svdvals(start - weight.detach())
    assert 0.6 < float(values.min()) <= float(values.max()) < 1.3


def test_products_may_be_taken_in_another_dtype() -> None:
    exact, coarse = drawn(MATRICES), drawn(MATRICES)
    trained(shipped("muon")(exact), exact, 3)
    trained(shipped("muon")(coarse, matmul_dtype=torch.bfloat16), coarse, 3)
    assert 1e-6 < gap(coarse, exact) < 1e-2


@pytest.mark.parametrize("name", ["muon", "m3", "m3_guarded", "delta_momentum_matrix"])
@pytest.mark.parametrize("shape", [(3,), (2, 2, 2), ()])
def test_optimizers_of_matrices_name_the_parameter_that_is_none(name: str, shape: tuple[int, ...]) -> None:
    with pytest.raises(ValueError, match=r"moves matrices, not parameter 1 of shape"):
        shipped(name)([nn.Parameter(torch.ones(2, 2)), nn.Parameter(torch.ones(shape))])
    with pytest.raises(ValueError, match=r"not parameter head\.bias of shape"):
        shipped(name)([("body", nn.Parameter(torch.ones(2, 2))), ("head.bias", nn.Parameter(torch.ones(shape)))])


# --- M3 ------------------------------------------------------------------------------------------------------------------


def m3_by_hand(weight: Tensor, gradients: list[Tensor], period: int = 8) -> Tensor:
    """Algorithm 1 of the paper, printed sums and all."""
    fast, slow, square, slow_direction = (torch.zeros_like(weight) for _ in range(4))
    gathered: list[Tensor] = []
    for step, gradient in enumerate(gradients):
        if step % period == 0 and step:
            slow = slow + 0.9 * torch.stack(gathered).sum(0)
            slow_direction, gathered = newton_schulz(slow), []
        gathered.append(gradient)
        fast = fast + 0.9 * gradient
        square = square + 0.999 * gradient**2
        direction = m3_direction(fast) + 0.5 * (m3_direction(slow) if step >= period else slow_direction)
        weight = weight - 0.02 * direction / (square.sqrt() + 1e-8)
    return weight


def m3_direction(matrix: Tensor) -> Tensor:
    """Newton-Schulz with the epsilon of the spec."""
    x = matrix / (matrix.norm() + 1e-8)
    for _ in range(5):
        gram = x @ x.T
        x = 3.4445 * x + (-4.7750 * gram + 2.0315 * gram @ gram) @ x
    return x


@pytest.mark.parametrize("steps", [7, 8, 9, 20])
def test_m3_is_algorithm_1_and_uses_the_slow_momentum_one_step_after_it_moved(steps: int) -> None:
    (weight,) = weights = drawn(((4, 6),))
    start, optimizer = weight.detach().clone(), shipped("m3")(weights)
    generator = torch.Generator().manual_seed(9)
    gradients = [torch.randn(4, 6, generator=generator, dtype=torch.float64) for _ in range(steps)]
    for gradient in gradients:
        weight.grad = gradient
        optimizer.step()
    assert torch.allclose(weight.detach(), m3_by_hand(start, gradients), rtol=1e-10, atol=1e-10)


# --- what every one of them keeps ------------------------------------------------------------------------------------------


ALL = tuple(sorted(path.stem for path in GENERATED.glob("*.py")))


@pytest.mark.parametrize("name", ALL)
@pytest.mark.parametrize("cut", [3, 8, 13])
def test_a_state_saved_anywhere_in_a_period_continues_to_the_bit(name: str, cut: int) -> None:
    ours, theirs = drawn(MATRICES), drawn(MATRICES)
    first, second = shipped(name)(ours), shipped(name)(theirs)
    for optimizer, weights in ((first, ours), (second, theirs)):
        moved(optimizer, weights, 0, cut)
    again = [nn.Parameter(weight.detach().clone()) for weight in theirs]
    restored = shipped(name)(again)
    restored.load_state_dict(copy.deepcopy(second.state_dict()))
    moved(first, ours, cut, 20)
    moved(restored, again, cut, 20)
    assert all(torch.equal(one, other) for one, other in zip(ours, again, strict=True))


def moved(optimizer: torch.optim.Optimizer, weights: list[nn.Parameter], first: int, last: int) -> None:
    for step in range(first, last):
        generator = torch.Generator().manual_seed(step)
        for weight in weights:
            weight.grad = torch.randn(weight.shape, generator=generator, dtype=torch.float64)
        optimizer.step()


@pytest.mark.parametrize("name", ["adam", "m3"])
def test_parameters_count_their_own_steps(name: str) -> None:
    """One that misses some steps moves as it would by itself."""
    together, alone = drawn(MATRICES[:2]), drawn(MATRICES[:2])
    joint = shipped(name)(together)
    apart = [shipped(name)([weight]) for weight in alone]
    for step in range(12):
        for place, weight in enumerate(together):
            has_gradient = place == 0 or step % 3 == 0
            gradient = torch.randn(weight.shape, generator=torch.Generator().manual_seed(step), dtype=torch.float64)
            weight.grad = alone[place].grad = gradient if has_gradient else None
            if has_gradient:
                apart[place].step()
        joint.step()
    assert gap(together, alone) < 1e-14


@pytest.mark.parametrize("name", ALL)
def test_bfloat16_parameters_have_float32_state(name: str) -> None:
    weights = [nn.Parameter(torch.randn(4, 6, generator=torch.Generator().manual_seed(0)).bfloat16())]
    optimizer = shipped(name)(weights)
    trained(optimizer, weights, 10)
    assert weights[0].dtype is torch.bfloat16
    assert {value.dtype for value in optimizer.state[weights[0]].values() if isinstance(value, Tensor)} <= {torch.float32}


@pytest.mark.parametrize(
    ("old", "new", "what"),
    [
        ("reset: step", "reset: 4 steps", "start again after several steps in an optimizer of matrices"),
        ("inner(weights, orthogonalised)", "inner(weights, orthogonalised) * sqrt(rows(weights))", "sizes of matrices"),
    ],
)
def test_what_matrices_lack_is_refused_by_name(old: str, new: str, what: str, tmp_path: Path) -> None:
    spec = tmp_path / "muon.yaml"
    text = (SPECS / "muon.yaml").read_text()
    assert old in text
    spec.write_text(text.replace(old, new))
    with pytest.raises(CompileError, match=what):
        pipeline.emit(pipeline.compile_program(spec))
