"""The squares of an optimizer that allow no tolerance: small whole numbers and halves, over as many steps as stay exact in float64."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from dataclasses import replace
from functools import partial, reduce

import torch
from torch import nn

from nlc.ir.dims import LIKE_WEIGHTS
from nlc.ir.program import Program
from nlc.verify.arithmetic import NotRational
from nlc.verify.dyadic import Dyadic
from nlc.verify.exact_evidence import UNITS, chosen, exact, exact_numbers
from nlc.verify.exact_laws import Evidence, run_exactly
from nlc.verify.inputs import DrawnSteps, draw_steps
from nlc.verify.observe import Failure, Pair, Tensors, attempt
from nlc.verify.optimizer_contract import OptimizerClass, key_of
from nlc.verify.oracle import run_oracle_steps
from nlc.verify.run_law_steps import run_law_steps
from nlc.verify.square import Square

NAME, CASE, WEIGHTS = "exact numbers", "whole numbers and halves", "weights and state"

Groups = Sequence[DrawnSteps]
Result = tuple[list[torch.Tensor], dict[str, list[torch.Tensor]]]
"""The weights of a group, and its other states by slot name."""

STEPS, LEAST = 12, 2
FACTORS = (1.0, 0.5, 0.0, 0.25)
"""What the hyperparameters are multiplied by, step after step."""


def exact_step_squares(program: Program, optimizer_class: OptimizerClass) -> Iterator[Square]:
    """Weights and states after the steps against exact numbers, or one square that says why there are none."""
    pair = Pair("oracle", NAME, CASE, 0, 0)
    reckoned = attempt(partial(_reckoned_or_why, program))
    if isinstance(reckoned, Failure | str):
        yield from pair.failed(reckoned, WEIGHTS) if isinstance(reckoned, Failure) else [pair.inapplicable(WEIGHTS, reckoned)]
        return
    groups, wanted = reckoned
    runs = (("oracle", NAME, _by_oracle), (NAME, "laws", _by_laws), (NAME, "optimizer", partial(_by_optimizer, optimizer_class)))
    for left, right, run in runs:
        found = attempt(partial(run, program, groups))
        named = replace(pair, left=left, right=right, case=f"{len(groups[0].gradients)} steps")
        yield from named.failed(found, WEIGHTS) if isinstance(found, Failure) else [named.equality(WEIGHTS, wanted, found)]


def _reckoned_or_why(program: Program) -> tuple[Groups, Tensors] | str:
    try:
        return _reckoned(program)
    except NotRational as reason:
        return f"the laws do not stay exact: {reason}"


def _reckoned(program: Program) -> tuple[Groups, Tensors]:
    """As many steps of two groups as are exact, and what comes of them; raises NotRational when there are none."""
    if program.laws.kept or program.model.updates_per_tick > 1:
        raise NotRational("its levels have clocks of their own")
    if any(slot.shape != (LIKE_WEIGHTS,) for slot in program.slots) or any(
        stream.shape != (LIKE_WEIGHTS,) for stream in program.model.inputs
    ):
        raise NotRational("its states and gradients are not entry by entry like the weights")
    drawn = [_drawn(program, seed) for seed in (1, 2)]
    reached = [list(_steps(program, group)) for group in drawn]
    steps = min(map(len, reached))
    if steps < LEAST:
        raise NotRational(f"numbers get too long for float64 after {steps} steps")
    groups = [replace(group, gradients=group.gradients[:steps], hyperparameters=group.hyperparameters[:steps]) for group in drawn]
    return groups, _named([results[steps - 1] for results in reached])


def _named(results: Sequence[Result]) -> Tensors:
    """Every tensor under a name of its own."""
    named: dict[str, torch.Tensor] = {}
    for number, (weights, states) in enumerate(results):
        for name, tensors in {"weights": weights, **states}.items():
            named |= {f"{name} {number}.{index}": tensor for index, tensor in enumerate(tensors)}
    return named


def _by_oracle(program: Program, groups: Groups) -> Tensors:
    return _named([run_oracle_steps(program.model, group.weights, group.gradients, group.hyperparameters) for group in groups])


def _by_laws(program: Program, groups: Groups) -> Tensors:
    return _named([run_law_steps(program.laws, group.weights, group.gradients, group.hyperparameters) for group in groups])


def _by_optimizer(optimizer_class: OptimizerClass, program: Program, groups: Groups) -> Tensors:
    parameters = [[nn.Parameter(weight.clone()) for weight in group.weights] for group in groups]
    optimizer = optimizer_class([{"params": list(group)} for group in parameters])
    for step in range(len(groups[0].gradients)):
        for settings, tensors, group in zip(optimizer.param_groups, parameters, groups, strict=True):
            settings.update({key_of(name, settings): value for name, value in group.hyperparameters[step].items()})
            for parameter, gradient in zip(tensors, group.gradients[step], strict=True):
                parameter.grad = gradient.clone()
        optimizer.step()
    names = [slot.name for slot in program.slots]
    states = [{name: [optimizer.state[parameter][name] for parameter in group] for name in names} for group in parameters]
    return _named([([x.detach() for x in group], state) for group, state in zip(parameters, states, strict=True)])


# --- evidence, and what exact numbers make of it -----------------------------------------------------------------


def _drawn(program: Program, seed: int) -> DrawnSteps:
    generator = torch.Generator().manual_seed(seed)
    drawn = draw_steps(program.model, STEPS, seed=seed, schedule=False)
    numbers = exact_numbers(program.model.hyperparameters)
    return DrawnSteps(
        weights=tuple(chosen(UNITS, weight.shape, generator) for weight in drawn.weights),
        gradients=tuple(tuple(chosen(UNITS, x.shape, generator) for x in step) for step in drawn.gradients),
        hyperparameters=tuple({name: value * FACTORS[step % len(FACTORS)] for name, value in numbers.items()} for step in range(STEPS)),
    )


def _steps(program: Program, drawn: DrawnSteps) -> Iterator[Result]:
    """The weights and states after every step, as long as they are exact."""
    (stream,) = program.model.inputs
    gradients = [exact(_flat(step)) for step in drawn.gradients]
    numbers = [{name: exact(torch.tensor(value).double()) for name, value in step.items()} for step in drawn.hyperparameters]
    weights = exact(_flat(drawn.weights))
    evidence = Evidence({stream.name: [{(): x} for x in gradients]}, numbers, {}, {str(LIKE_WEIGHTS.name): len(weights.entries)})
    for _, states in run_exactly(program.laws, evidence, {("weights", ""): {(): weights}}):
        entries = [entry for values in states.values() for entry in values[()].entries]
        if not reduce(Dyadic.__add__, (entry for entry in entries if isinstance(entry, Dyadic))).is_exact:
            return
        by_name = {
            slot.name: _split([float(x) for x in states[slot.component, slot.part][()].entries], drawn.weights) for slot in program.slots
        }
        yield _split([float(x) for x in states["weights", ""][()].entries], drawn.weights), by_name


def _flat(tensors: Sequence[torch.Tensor]) -> torch.Tensor:
    return torch.cat([tensor.flatten() for tensor in tensors])


def _split(entries: list[float], like: Sequence[torch.Tensor]) -> list[torch.Tensor]:
    pieces = torch.split(torch.tensor(entries, dtype=torch.float64), [tensor.numel() for tensor in like])
    return [piece.reshape(tensor.shape) for piece, tensor in zip(pieces, like, strict=True)]
