"""What torch's training loops ask of an optimizer, of every shipped one: groups, closures, schedules, compilation, memory."""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path

import pytest
import torch
from torch import Tensor, nn
from torch._dynamo.testing import CompileCounter  # type: ignore[attr-defined]

from nlc.pipeline import compile_file
from tests.emit.test_shipped_optimizers import ALL, MATRICES, drawn, gap, given_data, moved, shipped

SPECS = Path(__file__).resolve().parents[2] / "specs"
STEPS = 20


@pytest.fixture
def _compiled_anew() -> Iterator[None]:
    torch._dynamo.reset()
    yield
    torch._dynamo.reset()


@pytest.mark.parametrize("name", ALL)
def test_groups_move_with_their_own_rates(name: str) -> None:
    together, slow, fast, alike = drawn(MATRICES), drawn(MATRICES), drawn(MATRICES), drawn(MATRICES)
    joint = shipped(name)([{"params": together[:2]}, {"params": together[2:], "learning_rate": 0.003}], learning_rate=0.002)
    moved(joint, together, 0, STEPS)
    moved(shipped(name)(slow[:2], learning_rate=0.002), slow, 0, STEPS)
    moved(shipped(name)(fast[2:], learning_rate=0.003), fast, 0, STEPS)
    moved(shipped(name)([{"params": alike[:2]}, {"params": alike[2:]}], learning_rate=0.002), alike, 0, STEPS)
    assert gap(together, slow[:2] + fast[2:]) < 1e-14
    assert gap(together, alike) > 1e-9


@pytest.mark.parametrize("name", ALL)
def test_a_closure_computes_the_gradients_of_its_step(name: str) -> None:
    ours, theirs = drawn(MATRICES), drawn(MATRICES)
    optimizer, other = shipped(name)(ours), shipped(name)(theirs)

    def loss(weights: list[nn.Parameter]) -> Tensor:
        for weight in weights:
            weight.grad = None
        value = torch.stack([weight.square().sum() for weight in weights]).sum()
        value.backward()  # type: ignore[no-untyped-call]
        given_data(optimizer if weights is ours else other)
        return value

    for _ in range(3):
        before = float(sum(weight.detach().square().sum() for weight in ours))
        assert optimizer.step(lambda: float(loss(ours).detach())) == pytest.approx(before)
        loss(theirs)
        other.step()
    assert all(torch.equal(one, two) for one, two in zip(ours, theirs, strict=True))


@pytest.mark.parametrize("name", ALL)
def test_schedulers_set_the_rate_of_each_step(name: str) -> None:
    ours, theirs = drawn(MATRICES), drawn(MATRICES)
    optimizer, other = shipped(name)(ours, learning_rate=0.01), shipped(name)(theirs, learning_rate=0.01)
    scheduler = torch.optim.lr_scheduler.ExponentialLR(optimizer, gamma=0.9)
    for step in range(STEPS):
        moved(optimizer, ours, step, step + 1)
        scheduler.step()
        moved(other, theirs, step, step + 1)
        other.param_groups[0]["lr"] *= 0.9
    assert gap(ours, theirs) < 1e-13


@pytest.mark.usefixtures("_compiled_anew")
@pytest.mark.parametrize("name", ["adam", "adamw", "heavy_ball", "muon", "m3", "dgd"])
def test_steps_compile_whole_and_not_again_at_every_step(name: str) -> None:
    ours, theirs = drawn(MATRICES), drawn(MATRICES)
    optimizer, other = shipped(name)(ours), shipped(name)(theirs)
    graphs = CompileCounter()
    compiled = torch.compile(optimizer.step, backend=graphs, fullgraph=True)
    for step in range(STEPS):
        for weights in (ours, theirs):
            generator = torch.Generator().manual_seed(step)
            for weight in weights:
                weight.grad = torch.randn(weight.shape, generator=generator, dtype=torch.float64)
        given_data(optimizer)
        given_data(other)
        compiled()
        other.step()
    assert gap(ours, theirs) < 1e-14
    assert graphs.frame_count <= 4, "one for the first step, one for its number as a constant, and one or two for any number"


LIKE_THE_WEIGHTS = {
    **dict.fromkeys(("gradient_descent", "delta_gradient_descent", "dgd", "dgd_of_samples", "dmgd"), 0),
    **dict.fromkeys(("adam", "adamw", "preconditioned_momentum"), 2),
    **dict.fromkeys(("m3", "m3_guarded"), 4),
}
"""How many tensors like the weights the equations of an optimizer need; one where it is not listed. M3's: the fast and the slow momentum,
the squares, and the gradients since the slow one last moved."""


@pytest.mark.parametrize("name", ALL)
def test_state_is_what_the_equations_need(name: str) -> None:
    """Besides the number of steps, and the network of a deep momentum, nothing else."""
    weights = drawn(MATRICES)
    optimizer = shipped(name)(weights)
    moved(optimizer, weights, 0, 3)
    for weight in weights:
        sizes = [value.numel() for value in optimizer.state[weight].values() if isinstance(value, Tensor)]
        network = [16 * weight.shape[1]] * 2 if name == "dmgd" else []
        assert sizes == [weight.numel()] * LIKE_THE_WEIGHTS.get(name, 1) + network


@pytest.mark.parametrize("name", ["adam", "m3"])
def test_one_that_began_later_moves_once_a_step(name: str) -> None:
    """Also when it stands before the others, whose count is then what its own becomes."""
    together, alone = drawn(MATRICES[:2]), drawn(MATRICES[:2])
    joint, apart = shipped(name)(together), [shipped(name)([weight]) for weight in alone]
    for step in range(4):
        for place, weight in enumerate(together):
            gradient = torch.randn(weight.shape, generator=torch.Generator().manual_seed(step), dtype=torch.float64)
            weight.grad = alone[place].grad = gradient if place == 1 or step > 0 else None
            if weight.grad is not None:
                apart[place].step()
        joint.step()
    assert gap(together, alone) < 1e-14
    assert [joint.state[weight]["step"] for weight in together] == [3, 4]


# --- dims --------------------------------------------------------------------------------------------------------------------


def test_a_dim_is_chosen_where_the_optimizer_is_made(tmp_path: Path) -> None:
    """For all parameters or for a group: as if the spec had that size."""
    weights, alike = drawn(MATRICES), drawn(MATRICES)
    ours = shipped("dmgd")([{"params": weights[:2]}, {"params": weights[2:], "hidden": 5}], hidden=3)
    (tmp_path / "dmgd.yaml").write_text((SPECS / "optimizers" / "dmgd.yaml").read_text())
    three, five = (compile_file(tmp_path / "dmgd.yaml", hidden=size).load().DMGD for size in (3, 5))
    for optimizer, moving in ((ours, weights), (three(alike[:2]), alike), (five(alike[2:]), alike)):
        moved(optimizer, moving, 0, STEPS)
    assert all(torch.equal(one, two) for one, two in zip(weights, alike, strict=True))
    assert [tuple(ours.state[weight]["momentum.W1"].shape) for weight in weights] == [(3, 4), (3, 6), (5, 5), (5, 4)]


@pytest.mark.parametrize("size", [0, -1, 2.0, 1.5, True, "3", None])
def test_what_is_no_size_is_refused(size: object) -> None:
    with pytest.raises(ValueError, match="hidden must be a"):
        shipped("dmgd")(drawn(MATRICES), hidden=size)
    with pytest.raises(ValueError, match="hidden must be a"):
        shipped("dmgd")([{"params": drawn(MATRICES), "hidden": size}])


DERIVED = """
nlc: 1
name: Factored
kind: optimizer
says: A momentum kept as two factors, of which one has twice as many rows.
dims: {half: 2, whole: 2 * half}
inputs: {gradient: like(weights)}
hyperparameters: {learning_rate: 0.1}
levels:
  basis:
    memory: matrix(whole, columns(weights))
    init: eye
    objective: 0.5 * norm2(gradient @ transpose(basis)) / half
    optimizer: gradient_descent(learning_rate)
    every: step
  weights:
    objective: inner(weights, gradient @ transpose(basis) @ basis) / whole
    optimizer: gradient_descent(learning_rate)
    every: step
"""


def test_sizes_that_follow_from_a_dim_follow_it(tmp_path: Path) -> None:
    (tmp_path / "factored.yaml").write_text(DERIVED)
    (weight,) = weights = drawn(((3, 5),))
    start, basis = weight.detach().clone(), torch.eye(6, 5, dtype=torch.float64)
    moved(compile_file(tmp_path / "factored.yaml").load().Factored(weights, half=3), weights, 0, STEPS)
    for step in range(STEPS):
        gradient = torch.randn(3, 5, generator=torch.Generator().manual_seed(step), dtype=torch.float64)
        basis = basis - 0.1 * basis @ gradient.T @ gradient / 3
        start = start - 0.1 * gradient @ basis.T @ basis / 6
    assert gap(weights, [nn.Parameter(start)]) < 1e-13
