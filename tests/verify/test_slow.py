"""Slow levels in numbers: parameters in every square, split and join, training against its oracle, and mutants of modules that train."""

from __future__ import annotations

from dataclasses import replace

import pytest
import torch
from torch import Tensor

from nlc import pipeline
from nlc.ir.algebra import Join, Named, Split
from nlc.ir.dims import Dim
from nlc.ir.model import STEP, Clock, Family, Model, Training
from nlc.ir.program import Program
from nlc.verify.claims import decide_claims
from nlc.verify.evaluate import Evaluator
from nlc.verify.inputs import Case, draw, moving
from nlc.verify.oracle import OracleError, run_oracle, run_oracle_steps
from nlc.verify.oracle_training import Batch, run_oracle_training, task_loss
from nlc.verify.oracle_values import Arithmetic
from nlc.verify.squares import all_squares, check_squares
from tests import models
from tests.emit.systems import program_from
from tests.rows import rows
from tests.verify.programs import assert_close
from tests.verify.slow_systems import GATED, LAYER, NESTED, PERIODS, RECURRENT

EVIDENCE = Case(name="nine tokens", chunks=2, extra=1)
SYSTEMS = {"layer": LAYER, "periods": PERIODS, "gated": GATED, "recurrent": RECURRENT, "nested": NESTED}


@pytest.mark.parametrize("name", rows(SYSTEMS, ("layer", "periods")))
def test_every_square_of_a_right_module_closes(name: str) -> None:
    program = program_from(SYSTEMS[name])
    squares = check_squares(program, pipeline.emit(program))
    assert [square.text for square in squares if not square.closed] == []
    seen = {(square.name, square.quantity) for square in squares}
    assert ("oracle = optimizers", "parameters") in seen
    assert ("spec = module", "slow levels") in seen


def test_gradients_in_the_slow_levels_are_compared() -> None:
    """A law that stops the gradient of a slow level differs from the oracle in nothing else."""
    program = program_from(LAYER)
    text = pipeline.emit(program).replace("in (self.project_q,", "in (self.project_q.detach(),")
    opened = {(square.name, square.quantity) for square in check_squares(program, text) if not square.closed}
    assert {name for name, quantity in opened if quantity == "gradients"} == {
        *(f"oracle = {way}" for way in ("forward", "forward_by_token", "step")),
        *(f"exact numbers = {way}" for way in ("forward", "forward_by_token", "step", "forward in pieces")),
    }
    assert all(quantity in ("gradients", "parameters") for _, quantity in opened)


# --- the oracle --------------------------------------------------------------------------------------------------


def by_hand(x: Tensor, weights: dict[str, Tensor], heads: int) -> Tensor:
    """Linear attention between projections, over (batch, time, d_model)."""
    batch, time, _ = x.shape
    query, key, value = ((x @ weights[f"project_{name}"].T).view(batch, time, heads, -1).transpose(1, 2) for name in "qkv")
    read = (query @ key.mT).tril() @ value
    return read.transpose(1, 2).reshape(batch, time, -1) @ weights["project_out"].T


def test_the_oracle_of_a_layer_is_the_layer_written_by_hand() -> None:
    model = program_from(LAYER).model
    drawn = draw(model, EVIDENCE, 4)
    weights = {name: tensor.clone().requires_grad_() for name, tensor in drawn.parameters.items()}
    outputs, final = run_oracle(model, drawn.inputs, drawn.sizes, drawn.hyperparameters, None, weights)
    wanted = by_hand(drawn.inputs["x"], weights, drawn.sizes["heads"])
    assert final.keys() == {"memory"}
    slopes = [torch.autograd.grad(y.sin().sum(), list(weights.values()), retain_graph=True) for y in (outputs["y"], wanted)]
    assert_close([outputs["y"], *slopes[0]], [wanted, *slopes[1]])


def test_a_slow_level_without_a_value_is_refused() -> None:
    model = program_from(LAYER).model
    drawn = draw(model, EVIDENCE, 4)
    given = {name: tensor for name, tensor in drawn.parameters.items() if name != "project_k"}
    with pytest.raises(OracleError, match="no value is given for the slow level project_k"):
        run_oracle(model, drawn.inputs, drawn.sizes, drawn.hyperparameters, None, given)


def test_frozen_levels_are_drawn_and_do_not_move() -> None:
    model = program_from(PERIODS).model
    assert draw(model, EVIDENCE, 4).parameters.keys() == {"every_step", "summed", "averaged", "frozen"}
    assert moving(model) == ("every_step", "summed", "averaged")


AXES = ("rows", "columns")
SIZES = {"rows": 2, "columns": 3, "d": 12, "e": 4}


@pytest.mark.parametrize("axis", AXES)
@pytest.mark.parametrize("time", [(), (5,)])
@pytest.mark.parametrize("scalars", [False, True])
def test_split_gives_each_place_its_piece_and_join_is_its_inverse(axis: str, time: tuple[int, ...], scalars: bool) -> None:
    """For the oracle and for the evaluator of laws, whose leading dims may end with time."""
    other = next(name for name in AXES if name != axis)
    count = SIZES[axis]
    size = 1 if scalars else 4
    leading = {axis: 1, other: SIZES[other]}
    x = torch.randn(7, leading["rows"], leading["columns"], *time, count * size, dtype=torch.float64)
    piece = () if scalars else (Dim.named("e"),)
    whole = Named("x", (Dim.named("d"),))
    split = Split(whole, axis, piece)
    joined = Join(split, axis, whole.shape)
    places = {name: place - len(AXES) - len(time) for place, name in enumerate(AXES)}
    sizes = {**SIZES, "d": count * size}

    def evaluate(node: Split | Join) -> list[Tensor]:
        values = [Evaluator(sizes, x, lambda _: x, places=places)(node)]
        if not time:
            arithmetic = Arithmetic(sizes, (), x, AXES)
            values.append(arithmetic.value(node, lambda child: x if child == whole else arithmetic.value(child, lambda _: x)))
        return values

    for value in evaluate(split):
        assert value.shape == (7, 2, 3, *time, *(() if scalars else (4,)))
        for place in range(count):
            wanted = x[..., place * size : (place + 1) * size].select(1 + AXES.index(axis), 0)
            found = value.select(1 + AXES.index(axis), place)
            assert torch.equal(found.unsqueeze(-1) if scalars else found, wanted)
    assert all(torch.equal(value, x) for value in evaluate(joined))


def test_the_split_of_what_has_no_leading_dims() -> None:
    bias = torch.arange(6.0)
    split = Split(Named("bias", (Dim.named("d"),)), "rows", (Dim.named("e"),))
    wanted = bias.view(2, 1, 3)
    assert torch.equal(Evaluator(SIZES, bias, lambda _: bias, places={"rows": -2, "columns": -1})(split), wanted)
    assert torch.equal(Arithmetic(SIZES, (), bias, AXES).value(split, lambda _: bias), wanted)


# --- the oracle of training --------------------------------------------------------------------------------------


def batches_of(model: Model, steps: int) -> tuple[list[Batch], dict[str, Tensor]]:
    drawn = [draw(model, Case(name="", chunks=1, extra=0), 4, seed=seed) for seed in range(steps)]
    generator = torch.Generator().manual_seed(9)
    shapes = {
        output.name: run_oracle(model, drawn[0].inputs, drawn[0].sizes, drawn[0].hyperparameters, None, drawn[0].parameters)[0][
            output.name
        ].shape
        for output in model.outputs
    }
    targets = [{name: torch.randn(shape, dtype=torch.float64, generator=generator) for name, shape in shapes.items()} for _ in drawn]
    return [Batch(item.inputs, target) for item, target in zip(drawn, targets, strict=True)], dict(drawn[0].parameters)


def test_training_a_layer_is_torch_s_sgd_with_momentum() -> None:
    model = program_from(LAYER).model
    batches, start = batches_of(model, 5)
    sizes = draw(model, EVIDENCE, 4).sizes
    found = run_oracle_training(model, batches, sizes, {"rate": 0.3}, start)
    weights = {name: tensor.clone().requires_grad_() for name, tensor in start.items()}
    reference = torch.optim.SGD(weights.values(), lr=0.3, momentum=0.9)
    for batch, after in zip(batches, found.parameters, strict=True):
        reference.zero_grad()
        task_loss({"y": by_hand(batch.inputs["x"], weights, sizes["heads"])}, batch.targets).backward()  # type: ignore[no-untyped-call]
        reference.step()
        assert_close([after[name] for name in weights], [tensor.detach() for tensor in weights.values()])


@pytest.mark.parametrize("reduce", ["sum", "mean"])
def test_a_slower_level_takes_the_gradients_of_its_period_at_once(reduce: str) -> None:
    program = program_from(PERIODS)
    descent = next(item for item in program.model.training if item.levels == ("summed",))
    slow = Training(optimizer=descent.optimizer, numbers=descent.numbers, levels=("summed",), every=Clock(Family.STEP, STEP.period * 3))
    model = replace(program.model, training=(replace(slow, reduce=reduce),))  # type: ignore[arg-type]
    batches, start = batches_of(model, 7)
    found = run_oracle_training(model, batches, draw(model, EVIDENCE, 4).sizes, {"rate": 0.5}, start)
    weights = start["summed"]
    for step, (after, _) in enumerate(zip(found.parameters, found.gradients, strict=True), 1):
        if step % 3 == 0:
            total = torch.stack([slopes["summed"] for slopes in found.gradients[step - 3 : step]]).sum(0)
            weights = weights - 0.5 * total / (3 if reduce == "mean" else 1)
        assert_close([after["summed"]], [weights])
        assert all(torch.equal(after[name], start[name]) for name in ("every_step", "averaged", "frozen"))


def test_steps_one_at_a_time_are_the_steps_at_once() -> None:
    model = models.momentum()
    weights = [torch.randn(2, 3, dtype=torch.float64)]
    gradients = [[torch.randn(2, 3, dtype=torch.float64)] for _ in range(4)]
    numbers = {"learning_rate": 0.1, "decay": 0.5}
    wanted, _ = run_oracle_steps(model, weights, gradients, [numbers] * 4)
    now, state = list(weights), dict[str, list[Tensor]]()
    for step, gradient in enumerate(gradients):
        now, state = run_oracle_steps(model, now, [gradient], [numbers], state, step)
    assert_close(now, wanted)


# --- mutants -----------------------------------------------------------------------------------------------------


def opened(program: Program, text: str) -> str:
    """The first square that does not close, and what it compares."""
    found = next((square for square in all_squares(program, text) if not square.closed), None)
    return f"{found.name}: {found.quantity}" if found else "nothing"


CLEARING = "if self.steps % period == 0:\n                optimizer.zero_grad()"
SLOWER = "Descent([module.summed], learning_rate=module.rate), "
HEADS = "torch.unflatten(x @ project_q.mT, -1, (self.heads, -1))"
INTERLEAVED = "torch.unflatten(x @ project_q.mT, -1, (-1, self.heads)).mT"

TRAINING = "oracle = optimizers: parameters"
FORWARD = "oracle = forward: outputs"
MUTANTS: dict[str, tuple[str, str, str, str]] = {
    "momentum forgotten": (LAYER, "torch._foreach_mul_(momentum, decay)", "torch._foreach_mul_(momentum, 0.0)", TRAINING),
    "rate of the optimizer's default": (LAYER, "learning_rate=module.rate,", "", TRAINING),
    "number written into the code": (LAYER, "learning_rate=module.rate,", "learning_rate=0.05,", TRAINING),
    "a level left out": (LAYER, "module.project_v, ", "", TRAINING),
    "gradients added up over steps": (LAYER, CLEARING, "pass", TRAINING),
    "a level of two steps at every step": (PERIODS, f"{SLOWER}2,", f"{SLOWER}1,", TRAINING),
    "a level of two steps at every fourth": (PERIODS, f"{SLOWER}2,", f"{SLOWER}4,", TRAINING),
    "updates at the start of a period": (PERIODS, "self.steps = 0", "self.steps = 1", TRAINING),
    "gradients of half a period": (PERIODS, CLEARING, "optimizer.zero_grad()", TRAINING),
    "sums where there should be means": (PERIODS, "gradient.div_(period)", "pass", TRAINING),
    "a frozen level changed": (PERIODS, "    return LevelOptimizers(", "    module.frozen.mul_(2)\n    return LevelOptimizers(", TRAINING),
    "steps not in the state_dict": (PERIODS, 'self.steps = state_dict["steps"]', "pass", TRAINING),
    "pending gradients not in the state_dict": (PERIODS, "x.grad = None if gradient is None else", "x.grad = None and", TRAINING),
    "states of optimizers not in the state_dict": (LAYER, "optimizer.load_state_dict(state)", "pass", TRAINING),
    "interleaved heads": (LAYER, HEADS, INTERLEAVED, FORWARD),
    "heads joined in another order": (LAYER, "memory_read.flatten(-2)", "memory_read.mT.flatten(-2)", FORWARD),
    "a projection transposed": (LAYER, "x @ project_k.mT", "x @ project_k", FORWARD),
    "a parameter in the dtype of the inputs": (
        LAYER,
        "project_q, project_k, project_v = (weight.to(wide) for weight in",
        "project_q, project_k, project_v = (weight.to(dtype).to(wide) for weight in",
        "oracle = forward in bfloat16: final state",
    ),
    "a parameter of another name": (LAYER, "project_v", "projection_v", FORWARD),
    "a parameter too many": (
        LAYER,
        "self.reset_parameters()\n",
        "self.more = nn.Parameter(torch.ones(2)); self.reset_parameters()\n",
        "spec = module: slow levels",
    ),
    "a frozen level with gradients": (PERIODS, "requires_grad=False", "requires_grad=True", "spec = module: slow levels"),
    "another start": (
        PERIODS,
        "nn.init.constant_(self.averaged, ",
        "nn.init.constant_(self.averaged, 1 + ",
        "spec = module: start of slow levels",
    ),
    "a state_dict of fewer levels loaded": (
        LAYER,
        'state_dict["optimizers"], strict=True',
        'state_dict["optimizers"]',
        "contract = optimizers: refusal of a state_dict['optimizers'] that is too short",
    ),
    "a level that does not start again": (NESTED, "yield module.fast, module.medium", "yield module.slow, module.slow", TRAINING),
    "a level that starts again too often": (NESTED, "steps % 4", "steps % 2", TRAINING),
    "the faster level starts again first": (NESTED, "in self.restarts(self.steps):", "in [*self.restarts(self.steps)][::-1]:", TRAINING),
    "a start before the levels move": (NESTED, "self.restarts(self.steps)", "self.restarts(self.steps + 1)", TRAINING),
    "an optimizer that remembers": (NESTED, "optimizer.state.pop(parameter, None)", "pass", TRAINING),
    "a number started again from another": (NESTED, "torch.full_like(module.scale, module.rate)", "2 * module.scale", TRAINING),
    "no optimizers": (LAYER, "def optimizers(module", "def some_optimizers(module", "text = module: import"),
}


QUICK = (
    "a level of two steps at every step",
    "a projection transposed",
    "gradients added up over steps",
    "heads joined in another order",
    "momentum forgotten",
    "no optimizers",
)


@pytest.mark.parametrize("name", rows(MUTANTS, QUICK))
def test_mutants_of_modules_that_train_are_caught(name: str) -> None:
    spec, old, new, wanted = MUTANTS[name]
    program = program_from(spec)
    text = pipeline.emit(program)
    assert old in text
    assert opened(program, text.replace(old, new)) == wanted


@pytest.mark.slow
def test_a_level_that_moves_when_it_is_not_due_is_named() -> None:
    program = program_from(PERIODS)
    text = pipeline.emit(program)
    squares = check_squares(program, text.replace(f"{SLOWER}2,", f"{SLOWER}1,"))
    (square,) = (square for square in squares if square.quantity == "levels that are not due")
    assert square.detail == "summed moves at step 1"


CLAIMS = (
    LAYER
    + """
claims:
  - says: the slow levels stay as they are while the memory moves
    prove: memory == prev(memory) + outer(split(project_v(x), heads), split(prev(project_k)(x), heads))
  - says: a factor is noticed
    prove: memory == prev(memory) + 2 * outer(split(project_v(x), heads), split(project_k(x), heads))
    expect: refuted
  - says: split is linear
    prove: split(x + x, heads) == 2 * split(x, heads)
    expect: tested
"""
)


def test_claims_about_slow_levels_and_pieces_are_decided() -> None:
    program = program_from(CLAIMS)
    verdicts = decide_claims(program.laws, lambda model: pipeline.derive(pipeline.order(model)))
    assert [verdict for verdict in verdicts if not verdict.as_expected] == []
