"""The oracle between two sequences: the levels that move when one ends, and what the next begins with. As apart as the oracle."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import replace

import torch
from torch import Tensor

from nlc.ir.model import Component, Family, Model
from nlc.verify.oracle_layout import wants_graph
from nlc.verify.oracle_recents import with_axes, without_axes
from nlc.verify.oracle_slots import delayed, held_name, held_reads, recent_name, slot_name, slots
from nlc.verify.oracle_starts import initial
from nlc.verify.oracle_tick import Tick

Tensors = dict[str, Tensor]


def next_sequence(
    model: Model,
    state: Mapping[str, Tensor],
    sizes: Mapping[str, int],
    hyperparameters: Mapping[str, float],
    parameters: Mapping[str, Tensor],
) -> Tensors:
    """The state with which the next sequence begins: levels of sequences moved, levels that last kept, the rest at its start."""
    whole = {f"previous.{item.name}": item for item in model.inputs} | {recent_name(item): item for item in model.recents}
    state = {name: with_axes(value, whole[name], model) if name in whole else value for name, value in state.items()}
    like = next(iter(state.values()))
    numbers = {name: like.new_tensor(value) for name, value in hyperparameters.items()}
    last = {name: state[f"previous.{name}"] for name in delayed(model)}
    differentiable = wants_graph((*state.values(), *parameters.values()))
    position = int(state["position"]) if "position" in state else 0
    end = Tick(model, Family.SEQUENCE, sizes, numbers, last, {}, state, differentiable, position=position, parameters=parameters)
    lasting_levels = (component for component in model.fast if component.rounds == 1)
    moved = {name: value for component in lasting_levels for name, value in end.new_states(component).items()}
    zeros = {name: torch.zeros_like(value) for name, value in state.items()}
    begun = zeros | {name: moved[name] for component in model.fast if _lasts(component) for name, _ in slots(component)}
    lasting = {name for component in model.fast if _lasts(component) for name, _ in slots(component)}
    for name, node in initial(model):
        if name not in lasting:
            begun[name] = replace(end, previous=begun, updated={}).start(node, begun[name])
    for read in held_reads(model):
        begun[held_name(model, read)] = begun[slot_name(model.component(read.component), read.part)]
    return {name: without_axes(value, whole[name], model) if name in whole else value for name, value in begun.items()}


def _lasts(component: Component) -> bool:
    """Whether a level goes on from one sequence to the next."""
    if component.reset is not None:
        return component.reset.family is Family.NEVER
    return component.every.family is Family.SEQUENCE
