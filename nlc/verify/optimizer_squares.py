"""The squares of an optimizer: oracle, laws and the emitted `torch.optim.Optimizer`, over steps with two parameter groups."""

from __future__ import annotations

import copy
from collections.abc import Collection, Iterator, Mapping, Sequence
from dataclasses import dataclass, replace
from functools import partial
from types import ModuleType

import torch
from torch import Tensor, nn

from nlc.ir.algebra import Dot, Norm, Sum, contains
from nlc.ir.program import Program
from nlc.verify.bounds import magnitude
from nlc.verify.exact_steps import exact_step_squares
from nlc.verify.inputs import DrawnSteps, draw_steps
from nlc.verify.layer_contract import layer_contract
from nlc.verify.layer_data import record
from nlc.verify.observe import Failure, Pair, Tensors, attempt
from nlc.verify.optimizer_contract import OptimizerClass, key_of, optimizer_contract
from nlc.verify.oracle import run_oracle_steps
from nlc.verify.run_law_steps import run_law_steps
from nlc.verify.square import Square

STEPS = 20
STEPS_OF_NOTHING = (0, 1, 9)
NOTHING_COMES = "nothing comes at some steps"

Result = tuple[list[Tensor], dict[str, list[Tensor]]]
"""The weights of a group, and its other states by slot name."""


@dataclass(frozen=True, slots=True)
class Trial:
    """One case: two parameter groups, each with its own evidence.

    With `scheduled` the hyperparameters are set in the groups at every step, as schedulers do; otherwise they go to the constructor.
    `restored_after` so many steps the optimizer is saved, and a new one goes on from its state_dict. One that `may_divide_by_zero` is left
    out where the spec itself does so.
    """

    name: str
    groups: tuple[DrawnSteps, DrawnSteps]
    scheduled: bool = True
    restored_after: int = STEPS
    may_divide_by_zero: bool = False


def optimizer_squares(program: Program, module: ModuleType) -> Iterator[Square]:
    """Every square of every case; a class that cannot be found opens them all."""
    optimizer_class = getattr(module, program.model.name, None)
    if optimizer_class is None:
        yield Pair("oracle", "optimizer", "loading", 0, 0).square(
            "weights", float("inf"), 0.0, f"the module has no class {program.model.name}"
        )
        return
    seen = [(trial, attempt(partial(_run_oracle, program, trial))) for trial in _trials(program)]
    judged = [(trial, results) for trial, results in seen if not trial.may_divide_by_zero or _is_finite(results)]
    if len(judged) < len(seen):
        pair = Pair("oracle", f"optimizer, where {NOTHING_COMES}", NOTHING_COMES, STEPS, 1)
        yield pair.inapplicable("weights", "the spec itself gives numbers that are not finite there")
    for trial, results in judged:
        yield from _law_squares(program, trial, results)
    for trial, results in judged:
        if not isinstance(results, Failure):
            found = attempt(partial(_run_optimizer, program, optimizer_class, trial))
            yield from _compare(program, "oracle", "optimizer", trial, results, found)
    yield from optimizer_contract(program, optimizer_class)
    layers = attempt(lambda: list(layer_contract(program, optimizer_class)))
    yield from Pair("contract", "layers", "one layer", 1, 1).failed(layers, "weights") if isinstance(layers, Failure) else layers
    yield from exact_step_squares(program, optimizer_class)


def _trials(program: Program) -> tuple[Trial, ...]:
    def groups(*, schedule: bool) -> tuple[DrawnSteps, DrawnSteps]:
        first, second = (draw_steps(program.model, STEPS, seed=seed, schedule=schedule) for seed in (1, 2))
        return first, second

    first, second = groups(schedule=True)
    return (
        Trial("constant hyperparameters", groups(schedule=False), scheduled=False),
        Trial("hyperparameters that change at every step", groups(schedule=True)),
        Trial("saved and restored half way", groups(schedule=True), restored_after=STEPS // 2),
        Trial(NOTHING_COMES, (_with_nothing(first), _with_nothing(second)), may_divide_by_zero=True),
    )


def _with_nothing(drawn: DrawnSteps) -> DrawnSteps:
    """The evidence with gradients and data of zero at some steps, the first among them."""
    gradients, contexts = list(drawn.gradients), list(drawn.contexts)
    for step in STEPS_OF_NOTHING:
        gradients[step] = tuple(torch.zeros_like(x) for x in gradients[step])
        if contexts:
            contexts[step] = tuple({name: torch.zeros_like(x) for name, x in data.items()} for data in contexts[step])
    return replace(drawn, gradients=tuple(gradients), contexts=tuple(contexts))


def _is_finite(results: list[Result] | Failure) -> bool:
    if isinstance(results, Failure):
        return False
    tensors = (x for weights, state in results for group in (weights, *state.values()) for x in group)
    return all(bool(x.isfinite().all()) for x in tensors)


def _run_oracle(program: Program, trial: Trial) -> list[Result]:
    return [
        run_oracle_steps(program.model, group.weights, group.gradients, group.hyperparameters, contexts=group.contexts)
        for group in trial.groups
    ]


def _run_laws(program: Program, trial: Trial) -> list[Result]:
    return [run_law_steps(program.laws, group.weights, group.gradients, group.hyperparameters, group.contexts) for group in trial.groups]


def _law_squares(program: Program, trial: Trial, wanted: list[Result] | Failure) -> Iterator[Square]:
    if isinstance(wanted, Failure):
        yield from Pair("oracle", "oracle", trial.name, 0, 0).failed(wanted, "weights")
        return
    yield from _compare(program, "oracle", "laws", trial, wanted, attempt(partial(_run_laws, program, trial)))


def _compare(
    program: Program, left: str, right: str, trial: Trial, wanted: list[Result], found: list[Result] | Failure
) -> Iterator[Square]:
    entries = sum(weight.numel() for group in trial.groups for weight in group.weights)
    pair = Pair(left, right, trial.name, STEPS, entries if _adds_up(program) else 1)
    if isinstance(found, Failure):
        yield from pair.failed(found, "weights", "state")
        return
    gradients = [tensor for group in trial.groups for step in group.gradients for tensor in step]
    carried = {slot.name for slot in program.slots}
    ours, theirs = _flattened(wanted, carried), _flattened(found, carried)
    scale = magnitude([*gradients, *ours.values()])
    for quantity in ("weights", "state"):
        chosen, others = ({name: x for name, x in tensors.items() if name.startswith(quantity)} for tensors in (ours, theirs))
        yield pair.closeness(quantity, chosen, others, scale)


def _adds_up(program: Program) -> bool:
    """Whether some equation sums over the entries of the parameters."""
    values = [equation.value for law in program.laws.laws for equation in law.equations]
    return any(contains(value, lambda node: isinstance(node, Dot | Sum | Norm)) for value in values)


def _flattened(results: Sequence[Result], carried: Collection[str]) -> Tensors:
    """Every tensor that is carried under a name of its own: `weights 0.1` is the second tensor of the first group."""
    named: dict[str, Tensor] = {}
    for number, (weights, state) in enumerate(results):
        named |= {f"weights {number}.{index}": tensor for index, tensor in enumerate(weights)}
        known = {name: tensors for name, tensors in state.items() if name in carried}
        named |= {f"state {name} {number}.{index}": tensor for name, tensors in known.items() for index, tensor in enumerate(tensors)}
    return named


# --- the emitted class -------------------------------------------------------------------------------------------


def _run_optimizer(program: Program, optimizer_class: OptimizerClass, trial: Trial) -> list[Result]:
    """Step the optimizer over both groups; half way it may be replaced by a new one that loads its state_dict."""
    parameters = [[nn.Parameter(weight.clone()) for weight in group.weights] for group in trial.groups]
    numbers = {item.name for item in program.hyperparameters}
    keywords = {} if trial.scheduled else {name: value for name, value in trial.groups[0].hyperparameters[0].items() if name in numbers}
    optimizer = _new(optimizer_class, parameters, keywords)
    for step in range(STEPS):
        if step == trial.restored_after:
            saved = copy.deepcopy(optimizer.state_dict())
            parameters = [[nn.Parameter(parameter.detach().clone()) for parameter in group] for group in parameters]
            optimizer = _new(optimizer_class, parameters, keywords)
            optimizer.load_state_dict(saved)
        for settings, tensors, group in zip(optimizer.param_groups, parameters, trial.groups, strict=True):
            if trial.scheduled:
                _set(settings, {name: value for name, value in group.hyperparameters[step].items() if name in numbers})
            for parameter, gradient in zip(tensors, group.gradients[step], strict=True):
                parameter.grad = gradient.clone()
            for parameter, data in zip(tensors, group.contexts[step] if group.contexts else (), strict=bool(group.contexts)):
                record(optimizer, parameter, data)
        optimizer.step()
    names = [slot.name for slot in program.slots if not slot.counts]
    return [
        ([parameter.detach() for parameter in group], {name: [optimizer.state[parameter][name] for parameter in group] for name in names})
        for group in parameters
    ]


def _new(
    optimizer_class: OptimizerClass, parameters: Sequence[Sequence[nn.Parameter]], keywords: Mapping[str, float]
) -> torch.optim.Optimizer:
    return optimizer_class([{"params": list(group)} for group in parameters], **keywords)


def _set(settings: dict[str, float], hyperparameters: Mapping[str, float]) -> None:
    """Do to a parameter group what a scheduler does."""
    for name, value in hyperparameters.items():
        settings[key_of(name, settings)] = value
