"""Laws -> numbers between two sequences: the laws that run when one ends, and what the next begins with, exactly as they stand."""

from __future__ import annotations

from collections.abc import Mapping

import torch
from torch import Tensor

from nlc.ir.law import Laws, recent_names
from nlc.verify.axes import axis_indices, with_places, without_places
from nlc.verify.run_law import Slot, Tensors, Tick, named_parameters, slot_name


def begin_next_sequence(
    laws: Laws,
    state: Mapping[str, Tensor],
    *,
    sizes: Mapping[str, int],
    hyperparameters: Mapping[str, float],
    parameters: Mapping[str, Tensor] | None = None,
) -> Tensors:
    """The state with which the next sequence begins, by slot name, from that with which one has ended."""
    model = laws.order.model
    like = next(value for value in state.values() if value.is_floating_point())
    numbers = {name: like.new_tensor(value) for name, value in hyperparameters.items()}
    slots = {(item.state.component, item.state.part): slot_name(model, item.state.component, item.state.part) for item in laws.beginnings}
    ended = {slot: with_places(laws, slot, state[name]) for slot, name in slots.items()}
    indices, trained = axis_indices(model, sizes, like), named_parameters(model, parameters)
    last, recent = model.updates_per_tick - 1, recent_names(laws.kept)
    end = Tick({}, numbers, dict(ended), {}, sizes, model, (), indices, trained, part=last, recent=recent)
    for law in laws.endings:
        end.move(law)
    begun: dict[Slot, Tensor] = {slot: torch.zeros_like(value) for slot, value in ended.items()}
    start = Tick({}, numbers, begun, {**ended, **end.new}, sizes, model, (), indices, trained)
    for item in laws.beginnings:
        slot = (item.state.component, item.state.part)
        begun[slot] = start.value(item.value).expand_as(ended[slot]).to(ended[slot].dtype)
    return {name: without_places(laws, slot, begun[slot]) for slot, name in slots.items()}
