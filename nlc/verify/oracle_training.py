"""The judge of training: outer steps of slow levels, by autograd on a task loss and the optimizer specs run as they stand.

As apart as the oracle: it imports torch, `nlc.ir.model` and the oracle only.
"""

from __future__ import annotations

from collections import Counter
from collections.abc import Callable, Iterable, Mapping, Sequence
from dataclasses import dataclass

import torch
from torch import Tensor

from nlc.ir.model import Component, Family, Model, Training
from nlc.verify.oracle import number_of, run_oracle, run_oracle_steps, value_of_parameters
from nlc.verify.oracle_slots import slots

Tensors = Mapping[str, Tensor]
Change = Callable[[Tensors], Tensors]
"""Gradients to those that are used in their place."""


@dataclass(frozen=True, slots=True)
class Batch:
    """What one outer step is given: input streams, and for every output the target of a quadratic loss."""

    inputs: Tensors
    targets: Tensors


@dataclass(frozen=True, slots=True)
class Trained:
    """What training did: all parameters after every step, and the gradient of every step's task loss, by slot name."""

    parameters: tuple[Tensors, ...]
    gradients: tuple[Tensors, ...]


def task_loss(outputs: Tensors, targets: Tensors) -> Tensor:
    """Half the mean squared distance of the outputs from their targets."""
    return torch.stack([(outputs[name] - target).square().mean() / 2 for name, target in targets.items()]).sum()


def run_oracle_training(
    model: Model,
    batches: Sequence[Batch],
    sizes: Mapping[str, int],
    hyperparameters: Mapping[str, float],
    parameters: Tensors,
    change: Change = dict,
) -> Trained:
    """Train an architecture from given parameters, (*shape) by slot name, one outer step on each batch, every sequence from its start.

    `change` is made to the gradients of every step before they are used.
    """
    now = {name: tensor.detach().clone() for name, tensor in parameters.items()}
    optimizers = [Optimizer(model, training, sizes, hyperparameters) for training in model.training]
    history: list[Tensors] = []
    slopes = []
    for batch in batches:
        leaves = {name: tensor.clone().requires_grad_() for name, tensor in now.items()}
        outputs, _ = run_oracle(model, batch.inputs, sizes, hyperparameters, None, leaves)
        loss = task_loss(outputs, batch.targets)
        gradients = change(slopes_of(loss, leaves))
        for optimizer in optimizers:
            now = now | optimizer.step(now, gradients)
        for component in starting_again(model, len(history) + 1):
            now = now | started_again(model, component, sizes, hyperparameters, now)
            for optimizer in optimizers:
                optimizer.forget(name for name, _ in slots(component))
        history.append(now)
        slopes.append(gradients)
    return Trained(tuple(history), tuple(slopes))


def slopes_of(loss: Tensor, leaves: Mapping[str, Tensor]) -> dict[str, Tensor]:
    """The slope of the loss by each leaf that it depends on; an optimizer never sees the others."""
    if not loss.requires_grad:
        return {}
    found: tuple[Tensor | None, ...] = torch.autograd.grad(loss, tuple(leaves.values()), allow_unused=True)
    return {name: slope for name, slope in zip(leaves, found, strict=True) if slope is not None}


def starting_again(model: Model, step: int) -> list[Component]:
    """The slow levels that go back to their `init` after a step, the first of which is 1: the slowest first, from which others start."""
    found = (item for item in model.parameters if item.reset is not None and item.reset.family is Family.STEP)
    return sorted((item for item in found if item.reset and step % item.reset.period == 0), key=lambda item: -item.every.period)


def started_again(
    model: Model, component: Component, sizes: Mapping[str, int], hyperparameters: Mapping[str, float], parameters: Tensors
) -> dict[str, Tensor]:
    """What the tensors of a level start again from, by slot name, as all parameters now are."""
    return {
        name: value_of_parameters(model, value, parameters[name], sizes, hyperparameters, parameters).clone()
        for (name, _), value in zip(slots(component), component.init, strict=True)
    }


class Optimizer:
    """One optimizer spec at its own period: what it has gathered since its last update, and the states and updates of each parameter."""

    def __init__(self, model: Model, training: Training, sizes: Mapping[str, int], hyperparameters: Mapping[str, float]) -> None:
        defaults = {item.name: float(item.default) for item in training.optimizer.hyperparameters}
        self.training = training
        self.names = [name for level in training.levels for name, _ in slots(model.component(level))]
        self.numbers = defaults | {name: number_of(model, value, sizes, hyperparameters) for name, value in training.numbers}
        self.gathered: list[Tensors] = []
        self.state: dict[str, dict[str, Tensor]] = {}
        self.updates: Counter[str] = Counter()

    def step(self, parameters: Tensors, gradients: Tensors) -> dict[str, Tensor]:
        """The parameters of its levels after one more outer step."""
        self.gathered.append(gradients)
        if len(self.gathered) < self.training.every.period:
            return {}
        share = len(self.gathered) if self.training.reduce == "mean" else 1
        found = {name: [item[name] for item in self.gathered if name in item] for name in self.names}
        totals = {name: torch.stack(slopes).sum(0) / share for name, slopes in found.items() if slopes}
        self.gathered = []
        moved: dict[str, Tensor] = {}
        for updates in sorted({self.updates[name] for name in totals}):
            alike = [name for name in totals if self.updates[name] == updates]
            moved |= self._update({name: parameters[name] for name in alike}, totals, updates)
        self.updates.update(totals.keys())
        return moved

    def forget(self, names: Iterable[str]) -> None:
        """Begin anew with some parameters: no state, and no updates yet."""
        for name in names:
            self.state.pop(name, None)
            self.updates.pop(name, None)

    def _update(self, weights: Tensors, totals: Tensors, updates: int) -> dict[str, Tensor]:
        """One update of parameters that have had equally many."""
        before = [self.state.get(name, {}) for name in weights]
        states = {slot: [state[slot] for state in before] for slot in before[0]}
        slopes = [totals[name] for name in weights]
        moved, after = run_oracle_steps(self.training.optimizer, list(weights.values()), [slopes], [self.numbers], states, updates)
        for place, name in enumerate(weights):
            self.state[name] = {slot: tensors[place] for slot, tensors in after.items()}
        return dict(zip(weights, moved, strict=True))
