"""The oracle against formulas worked out by hand, its semantics read by read, and its isolation."""

from __future__ import annotations

import ast
import subprocess
import sys
from collections.abc import Callable
from dataclasses import replace
from pathlib import Path

import pytest
import torch
from torch import Tensor

from nlc.ir.algebra import HALF, MINUS_ONE, ONE, Constant, Divide, Dot, Expr, Input, Norm, State, When
from nlc.ir.build import add, dot, matmul, scale, subtract
from nlc.ir.model import (
    STEP,
    TOKEN,
    Clock,
    Component,
    Family,
    GradientDescent,
    GradientPoint,
    InputStream,
    Model,
    Output,
    StateDeclaration,
)
from nlc.verify import oracle
from nlc.verify.oracle import OracleError, run_oracle, run_oracle_steps
from tests import models
from tests.derive import systems
from tests.models import MATRIX, memory, memory_state, stream
from tests.verify.programs import SIZES, assert_close, drawn

Inputs = dict[str, Tensor]
Move = Callable[[Tensor, Inputs], Tensor]


def column(matrix: Tensor, vector: Tensor) -> Tensor:
    return torch.einsum("bhvk,bhk->bhv", matrix, vector)


def product(left: Tensor, right: Tensor) -> Tensor:
    return torch.einsum("bhv,bhk->bhvk", left, right)


def over(scalar: Tensor) -> Tensor:
    return scalar[..., None, None]


def delta(state: Tensor, now: Inputs) -> Tensor:
    return over(now["beta"]) * product(column(state, now["k"]) - now["v"], now["k"])


HAND: dict[str, Move] = {
    "LinearAttention": lambda state, now: state + product(now["v"], now["k"]),
    "DeltaRule": lambda state, now: state - delta(state, now),
    "GatedDeltaRule": lambda state, now: over(now["alpha"]) * state - delta(over(now["alpha"]) * state, now),
    "GatedLinearMemory": lambda state, now: over(now["alpha"]) * state + product(now["v"], now["k"]),
}


def by_hand(move: Move, inputs: Inputs, state: Tensor) -> tuple[Tensor, Tensor]:
    outputs = []
    for t in range(inputs["q"].shape[1]):
        now = {name: x[:, t] for name, x in inputs.items()}
        state = move(state, now)
        outputs.append(column(state, now["q"]))
    return torch.stack(outputs, 1), state


def random_state(seed: int = 7) -> Tensor:
    return torch.randn(2, 2, 3, 5, dtype=torch.float64, generator=torch.Generator().manual_seed(seed)).requires_grad_()


@pytest.mark.parametrize("build", [models.linear_attention, models.delta_rule, models.gated_delta_rule, models.gated_linear_memory])
@pytest.mark.parametrize("carried", [False, True])
def test_outputs_state_and_gradients_are_those_of_the_formula(build: Callable[[], Model], carried: bool) -> None:
    model = build()
    inputs, state = drawn(model), random_state()
    outputs, final = run_oracle(model, inputs, SIZES, {}, {"memory": state} if carried else None)
    wanted, wanted_state = by_hand(HAND[model.name], inputs, state if carried else torch.zeros_like(state))
    assert_close([outputs["y"], final["memory"]], [wanted, wanted_state])
    leaves = [*inputs.values(), *([state] if carried else [])]
    assert_close(
        torch.autograd.grad(outputs["y"].sin().sum() + final["memory"].cos().sum(), leaves),
        torch.autograd.grad(wanted.sin().sum() + wanted_state.cos().sum(), leaves),
    )


@pytest.mark.parametrize("period", [1, 2, 4, 100])
def test_a_held_gradient_is_taken_after_the_last_whole_period(period: int) -> None:
    model = models.delta_rule()
    held = replace(model, components=(replace(model.components[0], gradient_at=GradientPoint.HELD, gradient_period=period),))
    inputs, states = drawn(model), [torch.zeros(2, 2, 3, 5, dtype=torch.float64)]
    for t in range(1, 7):
        at = states[period * ((t - 1) // period)]
        states.append(states[-1] - delta(at, {name: x[:, t - 1] for name, x in inputs.items()}))
    outputs, final = run_oracle(held, inputs, SIZES, {})
    assert final.keys() == ({"memory", f"memory.held_{period}", "position"} if period > 1 else {"memory"})
    wanted = [column(state, inputs["q"][:, t]) for t, state in enumerate(states[1:])]
    assert_close([outputs["y"], final["memory"]], [torch.stack(wanted, 1), states[-1]])


def test_the_gradient_that_momentum_remembers_is_the_host_s() -> None:
    model = models.delta_rule_with_momentum()
    inputs = drawn(model)
    state = velocity = torch.zeros(2, 2, 3, 5, dtype=torch.float64)
    for t in range(6):
        velocity = 0.9 * velocity - delta(state, {name: x[:, t] for name, x in inputs.items()})
        state = state + velocity
    _, final = run_oracle(model, inputs, SIZES, {})
    assert final.keys() == {"memory", "memory.momentum"}
    assert_close([final["memory"], final["memory.momentum"]], [state, velocity])


def test_without_gradients_the_values_are_the_same() -> None:
    model = models.gated_delta_rule()
    inputs = drawn(model)
    outputs, _ = run_oracle(model, inputs, SIZES, {})
    with torch.no_grad():
        again, final = run_oracle(model, inputs, SIZES, {})
    assert torch.equal(outputs["y"], again["y"])
    assert not final["memory"].requires_grad


@pytest.mark.parametrize(("batch", "tokens"), [(0, 3), (2, 0), (0, 0), (1, 1)])
def test_small_shapes(batch: int, tokens: int) -> None:
    model = models.delta_rule()
    outputs, final = run_oracle(model, drawn(model, batch=batch, tokens=tokens), SIZES, {})
    assert outputs["y"].shape == (batch, tokens, 2, 3)
    assert final["memory"].shape == (batch, 2, 3, 5)


def test_an_input_without_axes_is_the_same_for_every_head() -> None:
    model = models.delta_rule()
    shared = replace(model, inputs=tuple(replace(item, axes=()) if item.name == "k" else item for item in model.inputs))
    inputs = drawn(shared)
    spread = inputs | {"k": inputs["k"].unsqueeze(2).expand(-1, -1, 2, -1)}
    assert_close([run_oracle(shared, inputs, SIZES, {})[0]["y"]], [run_oracle(model, spread, SIZES, {})[0]["y"]])


# --- reads -------------------------------------------------------------------------------------------------------


def one_memory(objective: Expr, output: Expr, *names: str) -> Model:
    inputs = tuple(InputStream(name=name, shape=models.SHAPES[name], axes=("heads",)) for name in names)
    changes = {"key": None, "value": None, "prediction": None}
    return replace(
        models.delta_rule(), components=(memory(objective, ONE, **changes),), inputs=inputs, outputs=(Output(name="y", value=output),)
    )


def test_stop_gradient_is_constant_for_the_level_but_not_for_the_outside() -> None:
    """Along k it writes what it reads along p: the inner gradient is beta (M p - v) k^T, and M p still has slopes outside."""
    model = systems.separate_read_and_write()
    inputs, state = drawn(model), random_state()
    inputs["alpha"], inputs["p"] = (inputs[name][:, :, None].expand(-1, -1, 2, *inputs[name].shape[2:]) for name in ("alpha", "p"))

    def move(old: Tensor, now: Inputs) -> Tensor:
        kept = over(now["alpha"]) * old
        return kept - over(now["beta"]) * product(column(kept, now["p"]) - now["v"], now["k"])

    own = inputs | {name: inputs[name][:, :, 0] for name in ("alpha", "p")}
    outputs, final = run_oracle(model, own, SIZES, {}, {"memory": state})
    wanted, wanted_state = by_hand(move, inputs, state)
    assert_close([outputs["y"], final["memory"]], [wanted, wanted_state])
    leaves = [own["k"], own["v"], own["beta"], state]
    assert_close(torch.autograd.grad(outputs["y"].sin().sum(), leaves), torch.autograd.grad(wanted.sin().sum(), leaves))


def test_a_previous_read_in_the_own_objective_is_a_constant() -> None:
    """-<M k, prev(M) k>: the gradient is -(prev(M) k) k^T, half of that of -|M k|^2."""
    read, older = (matmul(memory_state(when), stream("k")) for when in (When.FITTED, When.PREVIOUS))
    model = one_memory(scale(MINUS_ONE, dot(read, older)), matmul(memory_state(When.CURRENT), stream("k")), "k")
    inputs, state = drawn(model, tokens=1), random_state()
    _, final = run_oracle(model, inputs, SIZES, {}, {"memory": state})
    key = inputs["k"][:, 0]
    assert_close([final["memory"]], [state + product(column(state, key), key)])


@pytest.mark.parametrize(("when", "is_new"), [(When.CURRENT, True), (When.PREVIOUS, False)])
def test_an_output_reads_after_the_write_or_before_it(when: When, is_new: bool) -> None:
    model = one_memory(models.dot_objective(), matmul(memory_state(when), stream("q")), "q", "k", "v")
    inputs, state = drawn(model, tokens=1), random_state()
    outputs, final = run_oracle(model, inputs, SIZES, {}, {"memory": state})
    assert_close([outputs["y"][:, 0]], [column(final["memory"] if is_new else state, inputs["q"][:, 0])])


def test_the_order_of_updates_follows_the_reads() -> None:
    model = systems.two_memories()
    backwards = replace(model, components=model.components[::-1])
    inputs = drawn(model)
    for found, wanted in zip(run_oracle(backwards, inputs, SIZES, {}), run_oracle(model, inputs, SIZES, {}), strict=True):
        assert found.keys() == wanted.keys()
        assert all(torch.equal(found[name], wanted[name]) for name in wanted)


def test_a_cycle_of_same_tick_reads_is_refused() -> None:
    first, second = systems.two_memories().components
    other = dot(matmul(State("second", "", MATRIX, When.CURRENT), stream("k")), stream("v"))
    looped = scale(other, first.objective)
    model = replace(systems.two_memories(), components=(replace(first, objective=looped, follows=looped), second))
    with pytest.raises(OracleError, match="cycle of same-tick reads: first -> second -> first"):
        run_oracle(model, drawn(model), SIZES, {})


def test_a_delayed_input_is_the_token_before_and_is_carried() -> None:
    objective = scale(MINUS_ONE, dot(matmul(memory_state(When.FITTED), Input("k", models.SHAPES["k"], delayed=True)), stream("v")))
    model = one_memory(objective, matmul(memory_state(When.CURRENT), stream("k")), "k", "v")
    inputs = drawn(model)
    before = torch.cat((torch.zeros_like(inputs["k"][:, :1]), inputs["k"][:, :-1]), 1)
    outputs, final = run_oracle(model, inputs, SIZES, {})
    assert_close([final["memory"]], [torch.einsum("bthv,bthk->bhvk", inputs["v"], before)])
    _, half = run_oracle(model, {name: x[:, :3] for name, x in inputs.items()}, SIZES, {})
    rest, end = run_oracle(model, {name: x[:, 3:] for name, x in inputs.items()}, SIZES, {}, half)
    assert_close([end["memory"], rest["y"]], [final["memory"], outputs["y"][:, 3:]])


def test_the_slope_of_a_norm_at_zero_is_zero() -> None:
    model = one_memory(Norm(memory_state(When.FITTED)), matmul(memory_state(When.CURRENT), stream("k")), "k")
    inputs = drawn(model, tokens=2)
    outputs, final = run_oracle(model, inputs, SIZES, {})
    assert not final["memory"].any()
    assert not torch.autograd.grad(outputs["y"].sum(), inputs["k"])[0].any()


def test_two_tensors_of_one_memory_move_together() -> None:
    """A gated memory W k * (g . k): both gradients are taken at the old values."""
    weights = State("memory", "weights", MATRIX, When.FITTED)
    gate = State("memory", "gate", models.SHAPES["k"], When.FITTED)
    objective = scale(dot(gate, stream("k")), dot(matmul(weights, stream("k")), stream("v")))
    component = memory(objective, ONE, key=None, value=None, prediction=None)
    states = (StateDeclaration(part="weights", shape=MATRIX), StateDeclaration(part="gate", shape=models.SHAPES["k"]))
    read = matmul(State("memory", "weights", MATRIX), stream("k"))
    model = replace(
        one_memory(objective, read, "k", "v"), components=(replace(component, states=states),), outputs=(Output(name="y", value=read),)
    )
    inputs, old = drawn(model, tokens=1), {"memory.weights": random_state(), "memory.gate": random_state()[:, :, 0].detach()}
    _, final = run_oracle(model, inputs, SIZES, {}, old)
    k, v = inputs["k"][:, 0], inputs["v"][:, 0]
    opened = torch.einsum("bhk,bhk->bh", old["memory.gate"], k)
    read_out = torch.einsum("bhv,bhv->bh", column(old["memory.weights"], k), v)
    wanted = old["memory.weights"] - over(opened) * product(v, k), old["memory.gate"] - read_out[..., None] * k
    assert_close([final["memory.weights"], final["memory.gate"]], wanted)


def test_a_frozen_level_is_a_parameter_without_axes() -> None:
    frozen = Component(
        name="project",
        states=(StateDeclaration(part="", shape=MATRIX),),
        objective=Constant(ONE.value),
        follows=Constant(ONE.value),
        optimizer=GradientDescent(ONE),
        every=Clock(Family.NEVER),
    )
    model = replace(
        models.delta_rule(), components=(frozen,), outputs=(Output(name="y", value=matmul(State("project", "", MATRIX), stream("q"))),)
    )
    inputs, weights = drawn(model), torch.randn(3, 5, dtype=torch.float64)
    outputs, final = run_oracle(model, inputs, SIZES, {}, parameters={"project": weights})
    assert not final
    assert_close([outputs["y"]], [inputs["q"] @ weights.T])


@pytest.mark.parametrize(
    "changes",
    [
        {"every": Clock(Family.TOKEN, TOKEN.period * 2 / 3)},
        {"window": "all"},
        {"reset": STEP},
        {"gradient_at": GradientPoint.HELD, "gradient_period": 4, "backprop": 2},
    ],
    ids=lambda changes: next(iter(changes)),
)
def test_what_it_does_not_run_is_refused(changes: dict[str, object]) -> None:
    model = models.delta_rule()
    changed = replace(model, components=(replace(model.components[0], **changes),))  # type: ignore[arg-type]
    with pytest.raises(OracleError, match="the oracle does not run"):
        run_oracle(changed, drawn(model), SIZES, {})


# --- optimizers --------------------------------------------------------------------------------------------------


def steps(count: int) -> tuple[list[Tensor], list[list[Tensor]]]:
    generator = torch.Generator().manual_seed(3)

    def tensors() -> list[Tensor]:
        return [torch.randn(shape, dtype=torch.float64, generator=generator) for shape in ((2, 3), (4,), (0,))]

    return tensors(), [tensors() for _ in range(count)]


def test_momentum_and_heavy_ball_are_torch_s_sgd() -> None:
    weights, gradients = steps(6)
    parameters = [torch.nn.Parameter(weight.clone()) for weight in weights]
    reference = torch.optim.SGD(parameters, lr=0.01, momentum=0.9)
    for step in gradients:
        for parameter, gradient in zip(parameters, step, strict=True):
            parameter.grad = gradient
        reference.step()
    for model in (models.momentum(), models.heavy_ball()):
        found, state = run_oracle_steps(model, weights, gradients, [{"learning_rate": 0.01, "decay": 0.9}] * 6)
        assert_close(found, [parameter.detach() for parameter in parameters])
        assert [tensor.shape for tensor in state["momentum"]] == [weight.shape for weight in weights]


def slow(objective: Expr) -> Model:
    model = models.momentum()
    weights = replace(model.component("weights"), objective=objective, follows=objective)
    return replace(model, components=(weights,))


WEIGHTS = State("weights", "", models.GRADIENT.shape, When.FITTED)


def test_a_norm_acts_per_tensor_and_an_inner_product_on_the_group() -> None:
    weights, (gradients,) = steps(1)
    normalised = slow(dot(WEIGHTS, Divide(models.GRADIENT, Norm(models.GRADIENT), models.GRADIENT.shape)))
    found, _ = run_oracle_steps(normalised, weights, [gradients], [{}])
    assert_close(found[:2], [weight - gradient / gradient.norm() for weight, gradient in zip(weights[:2], gradients[:2], strict=True)])
    group = sum((gradient.square().sum() for gradient in gradients), torch.zeros(()))
    found, _ = run_oracle_steps(
        slow(scale(Dot(models.GRADIENT, models.GRADIENT), dot(WEIGHTS, models.GRADIENT))), weights, [gradients], [{}]
    )
    assert_close(found, [weight - group * gradient for weight, gradient in zip(weights, gradients, strict=True)])


def test_each_tensor_descends_its_own_norm() -> None:
    weights, (gradients,) = steps(1)
    objective = add(dot(WEIGHTS, models.GRADIENT), scale(HALF, Norm(subtract(WEIGHTS, models.GRADIENT))))
    found, _ = run_oracle_steps(slow(objective), weights, [gradients], [{}])
    wanted = [w - g - (w - g) / (w - g).norm() / 2 for w, g in zip(weights[:2], gradients[:2], strict=True)]
    assert_close(found[:2], wanted)


# --- isolation ---------------------------------------------------------------------------------------------------


FILES = {f"nlc.verify.{path.stem}": path for path in sorted(Path(oracle.__file__).parent.glob("oracle*.py"))}


@pytest.mark.parametrize("module", FILES)
def test_the_oracle_imports_torch_and_the_model_alone(module: str) -> None:
    path = FILES[module]
    roots = set()
    for node in ast.walk(ast.parse(path.read_text())):
        match node:
            case ast.Import(names):
                roots |= {alias.name for alias in names}
            case ast.ImportFrom(base):
                roots.add(base or ".")
    ours = {name for name in roots if name.split(".")[0] not in sys.stdlib_module_names}
    assert ours <= {"torch", "nlc.ir.model", *FILES}


def test_the_oracle_runs_without_the_other_stages() -> None:
    """Loaded by itself, it brings in no module of derive, schedule or emit."""
    program = """
import sys, types
import nlc
sys.modules["nlc.verify"] = types.ModuleType("nlc.verify")
sys.modules["nlc.verify"].__path__ = [nlc.__path__[0] + "/verify"]
import nlc.verify.oracle_training
print(sorted(name for name in sys.modules if name.startswith("nlc.")))
"""
    done = subprocess.run([sys.executable, "-c", program], capture_output=True, text=True, check=True)
    stages = ("derive", "schedule", "emit", "order", "resolve", "parse", "verify.run", "verify.evaluate")
    assert "nlc.verify.oracle_values" in done.stdout
    assert not any(f"nlc.{stage}" in done.stdout for stage in stages)
