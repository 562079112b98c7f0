"""Laws of optimizers -> numbers: the derived equations over steps of one parameter group, exactly as they stand."""

from __future__ import annotations

from collections.abc import Mapping, Sequence

import torch
from torch import Tensor

from nlc.ir.contexts import contexts_of, data_of, number_of_data
from nlc.ir.dims import MATRIX
from nlc.ir.law import POSITION, Laws
from nlc.verify.run_law import Tensors, Tick, slot_name, starts


def run_law_steps(
    laws: Laws,
    weights: Sequence[Tensor],
    gradients: Sequence[Sequence[Tensor]],
    hyperparameters: Sequence[Mapping[str, float]],
    contexts: Sequence[Sequence[Mapping[str, Tensor]]] = (),
) -> tuple[list[Tensor], dict[str, list[Tensor]]]:
    """An optimizer's laws over steps of one parameter group, from zero states: the weights, and the other states by slot name."""
    model = laws.order.model
    if model.moves_matrices:
        given = zip(*data_of(model, gradients, contexts), strict=True)
        alone = [run_law_steps_of_matrix(laws, *one, hyperparameters) for one in zip(weights, given, strict=True)]
        return [weight for weight, _ in alone], {name: [state[name] for _, state in alone] for name in alone[0][1]}
    group = tuple(weight.numel() for weight in weights)
    flat = torch.cat([weight.flatten() for weight in weights])
    schedule = [{name: flat.new_tensor(value) for name, value in numbers.items()} for numbers in hyperparameters]
    states = starts(laws, (sum(group),), {}, flat, schedule[0] if schedule else {}, {}) | {("weights", ""): flat}
    (stream,) = model.inputs
    for step, numbers in zip(gradients, schedule, strict=True):
        data = {stream.name: torch.cat([gradient.flatten() for gradient in step])}
        tick = Tick(data, numbers, dict(states), {}, {}, model, group)
        states = tick.run(laws, [data] * (model.updates_per_tick - 1))
    by_name = {slot_name(model, *slot): _split(value, weights) for slot, value in states.items() if slot != (POSITION, "")}
    return by_name.pop("weights"), by_name


def run_law_steps_of_matrix(
    laws: Laws, weight: Tensor, steps: Sequence[Mapping[str, Tensor]], hyperparameters: Sequence[Mapping[str, float]]
) -> tuple[Tensor, Tensors]:
    """The laws of an optimizer of matrices over steps of one matrix, from zero states."""
    model = laws.order.model
    sizes = {item.name: item.default for item in model.dims if item.definition is None}
    sizes |= {str(dim): size for dim, size in zip(MATRIX, weight.shape, strict=True)}
    schedule = [{name: weight.new_tensor(value) for name, value in numbers.items()} for numbers in hyperparameters]
    states = starts(laws, (), sizes, weight, schedule[0] if schedule else {}, {}) | {("weights", ""): weight}
    sizes |= {number_of_data(model): len(steps[0][stream.name]) for stream in contexts_of(model)}
    for data, numbers in zip(steps, schedule, strict=True):
        states = Tick(data, numbers, dict(states), {}, sizes, model).run(laws, [data] * (model.updates_per_tick - 1))
    by_name = {slot_name(model, *slot): value for slot, value in states.items() if slot != (POSITION, "")}
    return by_name.pop("weights"), by_name


def _split(flat: Tensor, like: Sequence[Tensor]) -> list[Tensor]:
    pieces = torch.split(flat, [tensor.numel() for tensor in like])
    return [piece.reshape(tensor.shape) for piece, tensor in zip(pieces, like, strict=True)]
