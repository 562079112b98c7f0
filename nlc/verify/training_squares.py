"""The squares of training: an architecture's slow levels moved over outer steps, by the oracle and by the module's own `optimizers`.

Evidence is a quadratic task loss on new random batches at every step; what is compared is every parameter after every step. Levels that
are not due at a step, frozen ones, and those that the module leaves to another training loop must stay the same to the bit.
"""

from __future__ import annotations

import copy
from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass
from functools import partial
from types import ModuleType
from typing import Any

import torch
from torch import Tensor, nn

from nlc.ir.program import Program
from nlc.verify.bounds import magnitude
from nlc.verify.conditioning import Conditioning, nudged_slopes
from nlc.verify.emitted import build
from nlc.verify.exact_steps import exact_step_squares
from nlc.verify.inputs import SMALL_CHUNK, Case, Drawn, cotangents, draw
from nlc.verify.level_optimizers import level_optimizer_squares
from nlc.verify.observe import Failure, Pair, Tensors, attempt, distance
from nlc.verify.optimizer_contract import optimizer_contract
from nlc.verify.oracle import run_oracle
from nlc.verify.oracle_training import Batch, Change, Trained, run_oracle_training, task_loss
from nlc.verify.refusal import refusal
from nlc.verify.square import Square

STEPS = 6
"""Outer steps of training; more when some level is slower, so that it moves twice."""

MOST_STEPS = 48
CONTRACT = Pair("contract", "optimizers", "one step", 1, 1)
PARAMETERS, STILL = "parameters", "levels that are not due"
SEED = 2_000


@dataclass(frozen=True, slots=True)
class Run:
    """One case: its evidence, a batch for every step, and the step before which the loop is saved and goes on in a new module."""

    name: str
    drawn: Drawn
    batches: tuple[Batch, ...]
    restored_before: int | None = None


def training_squares(program: Program, module: ModuleType, module_class: Callable[..., nn.Module]) -> Iterator[Square]:
    """Every square of every case; what raises opens those of its case."""
    make = getattr(module, "optimizers", None)
    if make is None:
        yield Pair("text", "module", "importing it", 0, 0).failed(Failure("there is no function optimizers"), "import")[0]
        return
    for name, case, restored in CASES:
        judged = attempt(partial(_judged, program, name, case, restored))
        if isinstance(judged, Failure):
            yield from Pair("spec", "oracle", name, 0, 0).failed(judged, PARAMETERS)
        else:
            run, wanted = judged
            found = attempt(partial(_by_module, program, make, module_class, run))
            yield from _compare(program, run, wanted, found)
    yield from made_optimizers(program, module, module_class)


def made_optimizers(program: Program, module: ModuleType, module_class: Callable[..., nn.Module]) -> Iterator[Square]:
    """What the optimizers of a module, and what steps them, must do whatever the module computes."""
    yield from level_optimizer_squares(lambda levels: module.LevelOptimizers(levels))
    for optimizer in program.training:
        yield from optimizer_contract(optimizer, getattr(module, optimizer.model.name))
        yield from exact_step_squares(optimizer, getattr(module, optimizer.model.name))
    refused = attempt(partial(_refusals, module.optimizers, module_class))
    yield from CONTRACT.failed(refused, "refusals") if isinstance(refused, Failure) else refused


CASES: tuple[tuple[str, Case, bool], ...] = (
    ("training by default", Case(name="training", chunks=1, extra=1, batch=2, own_chunk=True), False),
    ("training with other hyperparameters", Case(name="training", chunks=1, extra=1, batch=2, varied=True), False),
    ("training saved and restored", Case(name="training", chunks=1, extra=1, batch=2, varied=True), True),
)
"""Each case by name, with its evidence and whether it is saved and restored on the way."""


def _judged(program: Program, name: str, case: Case, restored: bool) -> tuple[Run, Trained]:
    """The evidence of a case, sequences of a few tokens even where the chunk is the program's own, and what the oracle makes of it."""
    slowest = max(int(item.every.period) for item in program.model.training)
    steps = min(max(STEPS, 2 * slowest), MOST_STEPS)
    drawn = [draw(program.model, case, SMALL_CHUNK, seed=SEED + step, edges=False) for step in range(steps)]
    first = drawn[0]
    batches = tuple(Batch(item.inputs, _targets(program, item, first.parameters)) for item in drawn)
    mid_period = min(slowest + slowest // 2, steps - 1)
    run = Run(name, first, batches, mid_period if restored else None)
    return run, _by_oracle(program, run)


def _by_oracle(program: Program, run: Run, change: Change = dict) -> Trained:
    first = run.drawn
    return run_oracle_training(program.model, run.batches, first.sizes, first.hyperparameters, first.parameters, change)


def _targets(program: Program, drawn: Drawn, parameters: Tensors) -> Tensors:
    outputs, _ = run_oracle(program.model, drawn.inputs, drawn.sizes, drawn.hyperparameters, None, parameters)
    return cotangents(outputs, drawn.seed)


# --- the emitted module ------------------------------------------------------------------------------------------


def _by_module(program: Program, make: Callable[[nn.Module], Any], module_class: Callable[..., nn.Module], run: Run) -> tuple[Tensors, ...]:
    """The parameters after every step of the loop that users write."""
    emitted = build(module_class, program, run.drawn)
    optimizer = make(emitted.module)
    history = []
    for step, batch in enumerate(run.batches):
        if step == run.restored_before:
            saved = copy.deepcopy((emitted.module.state_dict(), optimizer.state_dict()))
            emitted = build(module_class, program, run.drawn)
            emitted.module.load_state_dict(saved[0])
            optimizer = make(emitted.module)
            optimizer.load_state_dict(saved[1])
        optimizer.zero_grad()
        outputs, _ = emitted.forward(batch.inputs, None)
        loss = task_loss(outputs, batch.targets)
        if loss.requires_grad:
            loss.backward()  # type: ignore[no-untyped-call]
        optimizer.step()
        history.append({name: tensor.clone() for name, tensor in emitted.parameters.items()})
    return tuple(history)


def _refusals(make: Callable[[nn.Module], Any], module_class: Callable[..., nn.Module]) -> list[Square]:
    """A state_dict that lacks something, of fewer levels say, is refused rather than loaded in part."""
    module = module_class()
    for parameter in module.parameters():
        parameter.grad = torch.zeros_like(parameter)
    optimizer = make(module)
    optimizer.step()
    found = list(_shortened(optimizer.state_dict(), "state_dict"))
    return [refusal(CONTRACT, f"a {where} that is too short", partial(make(module).load_state_dict, short)) for where, short in found]


def _shortened(value: Any, where: str) -> Iterator[tuple[str, Any]]:
    """Every copy of a value in which one list lacks its last item, with the place of that list."""
    if isinstance(value, list) and value:
        yield where, value[:-1]
    items = value.items() if isinstance(value, dict) else enumerate(value) if isinstance(value, list) else ()
    for key, item in items:
        for place, short in _shortened(item, f"{where}[{key!r}]"):
            changed = copy.copy(value)
            changed[key] = short
            yield place, changed


# --- what is compared --------------------------------------------------------------------------------------------


def _compare(program: Program, run: Run, wanted: Trained, found: tuple[Tensors, ...] | Failure) -> Iterator[Square]:
    """One square for the parameters, with the rounding of every token of every step, and one, to the bit, for those that may not move."""
    drawn = run.drawn
    pair = Pair("oracle", "optimizers", run.name, drawn.updates * len(run.batches), max(drawn.sizes.values(), default=1))
    if isinstance(found, Failure):
        yield from pair.failed(found, PARAMETERS, STILL)
        return
    flows = [tensor for batch in run.batches for tensor in (*batch.inputs.values(), *batch.targets.values())]
    moves = [tensor for tensors in (*wanted.parameters, *wanted.gradients) for tensor in tensors.values()]
    parameters = _by_step(wanted.parameters)

    def again(seed: int) -> dict[str, Tensors]:
        generator = torch.Generator().manual_seed(seed)
        return {PARAMETERS: _by_step(_by_oracle(program, run, lambda slopes: nudged_slopes(slopes, generator)).parameters)}

    compared = pair.closeness(PARAMETERS, parameters, _by_step(found), magnitude([*flows, *moves]))
    yield from Conditioning({PARAMETERS: parameters}, again, of_each=True).widened([compared], pair.ticks + pair.width)
    yield _still(program, drawn, pair, found)


def _by_step(history: Sequence[Tensors]) -> dict[str, Tensor]:
    return {f"{name} after step {step}": tensor for step, tensors in enumerate(history, 1) for name, tensor in tensors.items()}


def _still(program: Program, drawn: Drawn, pair: Pair, found: tuple[Tensors, ...]) -> Square:
    """How far parameters moved at steps that do not end a period of theirs."""
    before = drawn.parameters
    for step, after in enumerate(found, 1):
        due = _due(program, step)
        for name, tensor in after.items():
            error = distance(before[name], tensor)
            if name not in due and error:
                return pair.square(STILL, error, 0.0, f"{name} moves at step {step}")
        before = after
    return pair.square(STILL, 0.0, 0.0)


def _due(program: Program, step: int) -> set[str]:
    """The slots that move at a step, the first of which is 1."""
    levels = {level for item in program.model.training if step % item.every.period == 0 for level in item.levels}
    return {slot.name for slot in program.parameters if slot.component in levels}
