"""The judge: runs a Model tick by tick in torch, with autograd on the user's own objective, and nothing derived.

It imports torch and `nlc.ir.model` only (and `oracle_values`, which does the same), so it shares no code with what it judges. Nothing
is ordered beforehand: a component is updated when somebody first asks for its new state, which is the order of the same-tick reads
(design section 2).
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import replace

import torch
from torch import Tensor

from nlc.ir.model import Expr, Family, Model
from nlc.verify.oracle_layout import aligned, at_token, flatten, is_of_sequence, parts_of, unflatten, wants_graph, with_ones
from nlc.verify.oracle_recents import started, with_axes, without_axes
from nlc.verify.oracle_slots import delayed, kept, parameters as parameters_of, recent_name, refuse, slots
from nlc.verify.oracle_starts import counts, initial
from nlc.verify.oracle_tick import Tick
from nlc.verify.oracle_values import OracleError, sizes_of
from nlc.verify.oracle_windows import empty_windows, is_solved, tokens_seen

__all__ = ["OracleError", "begun_states", "number_of", "run_oracle", "run_oracle_steps", "value_of_parameters"]

Tensors = dict[str, Tensor]


def run_oracle(
    model: Model,
    inputs: Mapping[str, Tensor],
    sizes: Mapping[str, int],
    hyperparameters: Mapping[str, float],
    state: Mapping[str, Tensor] | None = None,
    parameters: Mapping[str, Tensor] | None = None,
) -> tuple[Tensors, Tensors]:
    """An architecture over a sequence: outputs (batch, time, *axes, *shape) and the state after the last token, by slot name.

    Inputs are (batch, time, *own axes, *shape), states (batch, *axes, *shape); `state` None is zeros. `parameters` are the tensors of
    slow levels, (*shape). An output has no dims of axes that it has joined. Differentiable in all of them.
    """
    refuse(model)
    trained = parameters or {}
    if missing := ", ".join(parameters_of(model).keys() - trained.keys()):
        raise OracleError(f"no value is given for the slow level {missing}")
    sample = next(inputs[stream.name] for stream in model.inputs if not is_of_sequence(stream))
    leading = (sample.shape[0], *(sizes[axis] for axis in model.axes))
    given = state or {}
    start = {
        name: given.get(name, sample.new_zeros((*leading, *sizes_of(shape, sizes))))
        for component in model.fast
        for name, shape in (() if is_solved(component) or component.rounds > 1 else slots(component))
    }
    start |= {name: given.get(name, empty) for name, empty in empty_windows(model, sizes, leading, sample).items()}
    for name, shape in kept(model):
        start[name] = given.get(name, sample.new_zeros((*leading, *sizes_of(shape, sizes))))
    start |= started(model, given, leading, sizes, sample)
    numbers = {name: sample.new_tensor(value) for name, value in hyperparameters.items()}
    nothing = Tick(model, Family.TOKEN, sizes, numbers, {}, {}, start, False, parameters=trained)
    for name, node in ((name, node) for name, node in initial(model) if name not in given):
        start[name] = replace(nothing, previous=start).start(node, start[name])
    streams = {stream.name: aligned(inputs[stream.name], stream, model) for stream in model.inputs}
    before = {name: _nothing(x, name, model) for name, x in streams.items()}
    for item in (item for item in model.inputs if f"previous.{item.name}" in given):
        before[item.name] = with_axes(given[f"previous.{item.name}"], item, model)
    position = tokens_seen(model, given)
    differentiable = wants_graph((*inputs.values(), *start.values(), *trained.values()))
    tick = Tick(model, Family.TOKEN, sizes, numbers, before, before, start, differentiable, position=position, parameters=trained)
    tick = replace(tick, started=start)  # nothing starts again before the first token is there
    dims = {output.name: with_ones(leading, output, model) + sizes_of(output.value.shape, sizes) for output in model.outputs}
    outputs = {output.name: [sample.new_zeros(0, *dims[output.name])] for output in model.outputs}
    for t in range(sample.shape[1]):
        tick = tick.next({stream.name: at_token(streams[stream.name], stream, t) for stream in model.inputs})
        for output in model.outputs:
            value = tick.value(output.value)
            outputs[output.name].append(value.broadcast_to((1, *dims[output.name])))
    final = {name: tick.slot(name) for name in start}
    if counts(model):
        final["position"] = torch.tensor(position + sample.shape[1])
    past = set(delayed(model))
    for stream in (stream for stream in model.inputs if stream.name in past):
        last = tick.inputs[stream.name]
        everywhere = last.expand(*(last.shape if stream.is_whole else (*leading, *last.shape[len(leading) :])))
        final[f"previous.{stream.name}"] = without_axes(everywhere, stream, model)
    final |= {recent_name(item): without_axes(final[recent_name(item)], item, model) for item in model.recents}
    joined = {output.name: [2 + model.axes.index(axis) for axis in output.joined] for output in model.outputs}
    return {name: torch.cat(values).transpose(0, 1).squeeze(joined[name]) for name, values in outputs.items()}, final


def _nothing(x: Tensor, name: str, model: Model) -> Tensor:
    """What stands for the value of a stream before its first."""
    stream = next(stream for stream in model.inputs if stream.name == name)
    if is_of_sequence(stream):
        return torch.zeros_like(x)
    return torch.zeros_like(x.sum((1, 2) if parts_of(stream.every) > 1 else 1))


def run_oracle_steps(
    model: Model,
    weights: Sequence[Tensor],
    gradients: Sequence[Sequence[Tensor]],
    hyperparameters: Sequence[Mapping[str, float]],
    state: Mapping[str, Sequence[Tensor]] | None = None,
    steps_before: int = 0,
    contexts: Sequence[Sequence[Mapping[str, Tensor]]] = (),
) -> tuple[list[Tensor], dict[str, list[Tensor]]]:
    """An optimizer over steps of one parameter group: the final weights, and every other state by slot name, as lists of tensors.

    `gradients` and `hyperparameters` hold one entry per step, and `contexts`, if given, the data of each tensor's layer; a state that is
    not given starts from zeros, after `steps_before` steps.
    """
    refuse(model)
    if model.moves_matrices:
        data = [contexts[step] if contexts else [{}] * len(weights) for step in range(len(gradients))]
        alone = [
            _steps_of_matrix(
                model,
                weight,
                [{"gradient": step[place], **own[place]} for step, own in zip(gradients, data, strict=True)],
                hyperparameters,
                {name: tensors[place] for name, tensors in (state or {}).items()},
                steps_before,
            )
            for place, weight in enumerate(weights)
        ]
        return [final.pop("weights") for final in alone], {name: [final[name] for final in alone] for name in alone[0]}
    lengths = tuple(weight.numel() for weight in weights)
    flat = flatten(weights)
    given = {name: flatten(tensors) for name, tensors in (state or {}).items()} | {"weights": flat}
    names = [name for component in model.components for name, _ in slots(component)] + [name for name, _ in kept(model)]
    start = {name: given.get(name, torch.zeros_like(flat)) for name in names}
    schedule = [{name: flat.new_tensor(value) for name, value in numbers.items()} for numbers in hyperparameters]
    (stream,) = model.inputs
    past = f"previous.{stream.name}"
    before = {stream.name: given.get(past, torch.zeros_like(flat))}
    tick = Tick(model, Family.STEP, {}, schedule[0] if schedule else {}, before, before, start, False, lengths, steps_before)
    for name, node in ((name, node) for name, node in initial(model) if name not in given):
        start[name] = tick.start(node, start[name])
    tick = replace(tick, started=start, differentiable=wants_graph((flat, *start.values())))
    for step, numbers in zip(gradients, schedule, strict=True):
        tick = replace(tick, hyperparameters=numbers).next({stream.name: flatten(step)})
    final = {name: unflatten(tick.slot(name), weights) for name in start}
    if delayed(model):
        final[past] = unflatten(tick.inputs[stream.name], weights)
    return final.pop("weights"), final


def _steps_of_matrix(
    model: Model,
    weight: Tensor,
    data: Sequence[Tensors],
    hyperparameters: Sequence[Mapping[str, float]],
    given: Mapping[str, Tensor],
    steps_before: int,
) -> Tensors:
    """An optimizer of matrices over steps of one matrix: every final state by slot name, the weights among them."""
    sizes = {item.name: item.default for item in model.dims if item.definition is None}
    sizes |= {"rows(weights)": weight.shape[0], "columns(weights)": weight.shape[1]}
    sizes |= {str(stream.shape[0]): len(data[0][stream.name]) for stream in model.inputs if data and stream.name != "gradient"}
    shapes = dict(pair for component in model.components for pair in slots(component)) | dict(kept(model))
    known = {**given, "weights": weight}
    start = {name: known.get(name, weight.new_zeros(sizes_of(shape, sizes))) for name, shape in shapes.items()}
    schedule = [{name: weight.new_tensor(value) for name, value in numbers.items()} for numbers in hyperparameters]
    past = "previous.gradient"
    before = {name: torch.zeros_like(x) for name, x in (data[0] if data else {}).items()}
    before["gradient"] = given.get(past, torch.zeros_like(weight))
    tick = Tick(model, Family.STEP, sizes, schedule[0] if schedule else {}, before, before, start, False, position=steps_before)
    for name, node in ((name, node) for name, node in initial(model) if name not in given):
        start[name] = tick.start(node, start[name])
    tick = replace(tick, started=start, differentiable=wants_graph(tuple(start.values())))
    for streams, numbers in zip(data, schedule, strict=True):
        tick = replace(tick, hyperparameters=numbers).next(streams)
    final = {name: tick.slot(name) for name in start}
    return final | ({past: tick.inputs["gradient"]} if delayed(model) else {})


def number_of(model: Model, node: Expr, sizes: Mapping[str, int], hyperparameters: Mapping[str, float]) -> float:
    """The value of an expression over numbers, sizes and hyperparameters, in float64."""
    numbers = {name: torch.tensor(value, dtype=torch.float64) for name, value in hyperparameters.items()}
    like = {"": torch.zeros((), dtype=torch.float64)}
    return float(Tick(model, Family.TOKEN, sizes, numbers, {}, {}, like, False, owners={}).value(node))


def value_of_parameters(
    model: Model, node: Expr, like: Tensor, sizes: Mapping[str, int], hyperparameters: Mapping[str, float], parameters: Mapping[str, Tensor]
) -> Tensor:
    """The value of an expression over numbers and slow levels, (*shape) by slot name, in the shape of a tensor."""
    numbers = {name: like.new_tensor(value) for name, value in hyperparameters.items()}
    return Tick(model, Family.TOKEN, sizes, numbers, {}, {}, {"": like}, False, parameters=parameters).start(node, like)


def begun_states(
    model: Model,
    sizes: Mapping[str, int],
    hyperparameters: Mapping[str, float],
    state: Mapping[str, Tensor],
    parameters: Mapping[str, Tensor],
) -> Tensors:
    """The states of an architecture's levels as its next token finds them: those that start again there have started."""
    numbers = {name: next(iter(state.values())).new_tensor(value) for name, value in hyperparameters.items()}
    position = tokens_seen(model, state) + 1
    tick = Tick(model, Family.TOKEN, sizes, numbers, {}, {}, state, False, position=position, parameters=parameters)
    return {name: tick.old(name) for component in model.fast for name, _ in slots(component)}
