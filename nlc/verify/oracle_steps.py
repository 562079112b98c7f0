"""The oracle over the steps of an optimizer, tick by tick of one parameter group; and the values of numbers. As apart as the oracle."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import replace

import torch
from torch import Tensor

from nlc.ir.model import Expr, Family, Model
from nlc.verify.oracle import Tick
from nlc.verify.oracle_layout import flatten, unflatten, wants_graph
from nlc.verify.oracle_slots import refuse, slots


def run_oracle_steps(
    model: Model,
    weights: Sequence[Tensor],
    gradients: Sequence[Sequence[Tensor]],
    hyperparameters: Sequence[Mapping[str, float]],
    state: Mapping[str, Sequence[Tensor]] | None = None,
    steps_before: int = 0,
) -> tuple[list[Tensor], dict[str, list[Tensor]]]:
    """An optimizer over steps of one parameter group: the final weights, and every other state by slot name, as lists of tensors.

    `gradients` and `hyperparameters` hold one entry per step; a state that is not given starts from zeros, after `steps_before` steps.
    """
    refuse(model)
    lengths = tuple(weight.numel() for weight in weights)
    flat = flatten(weights)
    given = {name: flatten(tensors) for name, tensors in (state or {}).items()} | {"weights": flat}
    start = {name: given.get(name, torch.zeros_like(flat)) for component in model.components for name, _ in slots(component)}
    (stream,) = model.inputs
    nothing = {stream.name: torch.zeros_like(flat)}
    tick = Tick(model, Family.STEP, {}, {}, nothing, nothing, start, wants_graph((flat, *start.values())), lengths, steps_before)
    for step, numbers in zip(gradients, hyperparameters, strict=True):
        now = replace(tick, hyperparameters={name: flat.new_tensor(value) for name, value in numbers.items()})
        tick = now.next({stream.name: flatten(step)})
    final = {name: unflatten(tick.slot(name), weights) for name in start}
    return final.pop("weights"), final


def number_of(model: Model, node: Expr, sizes: Mapping[str, int], hyperparameters: Mapping[str, float]) -> float:
    """The value of an expression over numbers, sizes and hyperparameters, in float64."""
    numbers = {name: torch.tensor(value, dtype=torch.float64) for name, value in hyperparameters.items()}
    like = {"": torch.zeros((), dtype=torch.float64)}
    return float(Tick(model, Family.TOKEN, sizes, numbers, {}, {}, like, False).value(node))
