"""The bound for rounding: it grows with ticks and sizes, is tight enough to be useful, and loose enough to be true."""

from __future__ import annotations

from functools import partial

import pytest
import torch

from nlc.ir.model import Model
from nlc.verify.bounds import ROUNDINGS, magnitude, rounding_bound
from nlc.verify.inputs import SHAPE_CASES
from nlc.verify.judge import judge
from nlc.verify.observe import GRADIENTS, OUTPUTS, Pair, Seen, observe
from nlc.verify.run_law import run_laws
from nlc.verify.run_program import run_program
from nlc.verify.square import Square
from tests import models
from tests.derive import systems
from tests.verify.programs import program_of


def test_the_bound_is_a_few_roundings_per_tick() -> None:
    eps = torch.finfo(torch.float64).eps
    assert rounding_bound(torch.float64, 9, 5, 2.0) == ROUNDINGS * eps * 14 * 2
    assert rounding_bound(torch.float64, 9, 5, 0.0) == 0
    assert rounding_bound(torch.float32, 9, 5, 1.0) > 1e8 * rounding_bound(torch.float64, 9, 5, 1.0)
    assert ROUNDINGS <= 8


def test_magnitude() -> None:
    assert magnitude([torch.tensor([1.0, -3.0]), torch.zeros(0)]) == 3
    assert magnitude([]) == 0


def quotients(model: Model, seed: int) -> list[float]:
    """Error over bound of the program's form against the oracle, in every shape case and quantity."""
    program = program_of(model)
    found = []
    for case in SHAPE_CASES:
        view = judge(program, case, seed)
        assert isinstance(view.wanted, Seen)
        drawn = view.drawn
        system = partial(run_program, program, sizes=drawn.sizes, hyperparameters=drawn.hyperparameters, chunk=drawn.chunk)
        pair = Pair("oracle", "program", case.name, drawn.tokens, max(drawn.sizes.values()))
        squares = list(pair.compare(view.wanted, observe(system, drawn)))
        assert [square for square in squares if not square.closed] == []
        found += [square.error / square.bound for square in squares if square.bound]
    return found


@pytest.mark.parametrize(
    "model", [models.linear_attention(), models.gated_delta_rule(), systems.two_memories()], ids=lambda item: item.name
)
def test_right_forms_use_a_part_of_the_bound_and_a_real_one(model: Model) -> None:
    """Rounding shows (some error is more than a hundredth of its bound), and always fits."""
    largest = max(max(quotients(model, seed)) for seed in (11, 12, 13))
    assert 0.01 < largest < 0.6


def relative_slip(size: float) -> Square:
    """A system whose state is off by one part in 1/size, at the last token only."""
    program = program_of(models.delta_rule())
    view = judge(program, SHAPE_CASES[6], 3)
    drawn = view.drawn
    assert isinstance(view.wanted, Seen)
    laws = partial(run_laws, program.laws, sizes=drawn.sizes, hyperparameters=drawn.hyperparameters)

    def slipped(inputs: dict[str, torch.Tensor], state: dict[str, torch.Tensor] | None) -> tuple[object, object]:
        outputs, final = laws(inputs, state)
        return outputs, {name: tensor * (1 + size) for name, tensor in final.items()}

    seen = observe(slipped, drawn)  # type: ignore[arg-type]
    return list(Pair("oracle", "slipped", "", drawn.tokens, 5).compare(view.wanted, seen))[1]


def test_an_error_of_some_hundred_roundings_is_seen() -> None:
    eps = torch.finfo(torch.float64).eps
    assert not relative_slip(200 * eps).closed
    assert relative_slip(eps).closed


def test_a_gradient_that_is_zero_may_be_what_rounding_leaves() -> None:
    """Terms that cancel leave a rounding in another order of sums, and no more than that."""
    nothing = {"k": torch.zeros(3, dtype=torch.float64)}
    pair = Pair("oracle", "forward", "one token", 1, 3)
    assert pair.closeness(GRADIENTS, nothing, {"k": nothing["k"] + 1e-17}, 1.0).closed
    assert not pair.closeness(GRADIENTS, nothing, {"k": nothing["k"] + 1e-14}, 1.0).closed
    assert not pair.closeness(OUTPUTS, nothing, {"k": nothing["k"] + 1e-17}, 1.0).closed


def test_what_is_zero_everywhere_must_be_exactly_zero() -> None:
    pair = Pair("left", "right", "", 3, 3)
    zero, dust, one = torch.zeros(3), torch.full((3,), 1e-30), torch.ones(3)
    assert not pair.closeness("state", {"a": zero, "b": one}, {"a": dust, "b": one}, 1.0).closed
    assert pair.closeness("state", {"a": one}, {"a": one + dust}, 1.0).closed


@pytest.mark.parametrize(
    ("found", "says"),
    [
        ({"a": torch.tensor([1.0, float("nan")])}, "a is off by inf"),
        ({"a": torch.ones(2, 1)}, "a is (2, 1), not (2)"),
        ({"b": torch.ones(2)}, "there are b where a should be"),
    ],
)
def test_no_numbers_wrong_shapes_and_wrong_names_never_close(found: dict[str, torch.Tensor], says: str) -> None:
    square = Pair("left", "right", "", 3, 3).closeness("outputs", {"a": torch.ones(2)}, found, 1.0)
    assert not square.closed
    assert square.detail.startswith(says)
