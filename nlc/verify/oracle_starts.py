"""When and from what the oracle starts states, and what that needs to be counted: a Model in. As apart as the oracle."""

from __future__ import annotations

import math
from collections.abc import Iterator, Mapping

from torch import Tensor

from nlc.ir.model import Component, Expr, Family, Gradient, Index, Input, Model, Named, Position, State, Tick, When
from nlc.verify.oracle_layout import parts_of_tick
from nlc.verify.oracle_slots import expressions, held_name, held_reads, nodes_in, slot_name, slots
from nlc.verify.oracle_values import rank_of, sizes_of


def starts_at(component: Component, position: int, *, is_known: bool, is_held: bool) -> bool:
    """Whether a state of a level (or what is held of it) starts again just before this token, the first being 1.

    At the first token that is so only of what could not be known before it; a level that is reset at every token starts there too.
    """
    reset = component.reset if component.reset is not None and component.reset.is_counted else None
    if position <= 1:
        return position == 1 and (not is_known or (reset is not None and reset.period == 1 and not is_held))
    return reset is not None and not is_held and (position - 1) % reset.period == 0


def is_cut_off(component: Component, position: int) -> bool:
    """Whether slower levels no longer learn through the updates of a level up to this token: they do through `backprop` of them."""
    reset = component.reset
    seen = position % int(reset.period) if reset is not None and reset.is_counted and reset.period >= 1 else position
    return bool(component.backprop) and seen > 0 and seen % ((component.backprop or 1) * component.every.period) == 0


def initial(model: Model) -> Iterator[tuple[str, Expr]]:
    """The states whose `init` is known before any token, each after those that it reads, and what is held of them, by slot name."""
    for component in sorted(model.fast, key=lambda item: len(_sources(model, item))):
        if component.init and component.rounds == 1 and starts_known(model, component):
            yield from begun(model, component)


def begun(model: Model, component: Component) -> Iterator[tuple[str, Expr]]:
    """What a level starts from, and what is held of it before the first period ends, by slot name."""
    held = held_reads(model) if component.init else []
    for (name, _), value in zip(slots(component), component.init, strict=False):
        yield name, value
        for read in held:
            if slot_name(model.component(read.component), read.part) == name:
                yield held_name(model, read), value


def zeros_beside(model: Model, component: Component, states: Mapping[str, Tensor], sizes: Mapping[str, int]) -> dict[str, Tensor]:
    """Zeros for every tensor of a level, by slot name, as many as there are of the level that it serves."""
    ((host, shape), *_) = slots(model.component(component.host or component.name))
    leading = states[host].shape[: states[host].dim() - rank_of(shape)]
    return {name: states[host].new_zeros(*leading, *sizes_of(own, sizes)) for name, own in slots(component)}


def owners(model: Model) -> dict[str, Component]:
    """The levels that slots belong to, or that they hold values of, by slot name; not for sums and streams."""
    found = {name: component for component in model.fast for name, _ in slots(component)}
    own = dict(found)
    for read in held_reads(model):
        owner = model.component(read.component)
        if owner.init:
            found[held_name(model, read)] = own[slot_name(owner, read.part)]
    return found


def starts_known(model: Model, component: Component) -> bool:
    """Whether the `init` of a level needs no token: numbers, slow levels, and levels that move later and whose own needs none."""
    for node in nodes_in(component.init):
        if isinstance(node, Input | Gradient | Tick | Named | Index):
            return False
        if isinstance(node, State) and not model.is_parameter(node.component):
            source = model.component(node.component)
            if model.kind == "optimizer" and source.name == "weights":
                return False
            if (node.when is When.CURRENT and is_new_at_start(component, source)) or not starts_known(model, source):
                return False
    return True


def is_new_at_start(reader: Component, source: Component) -> bool:
    """Whether a start, made at the first tick of a new period, sees what a level becomes at that tick (design section 2).

    It does when the level is as fast, or moves at every tick while the reader moves several times in it and starts again with it.
    """
    if reader.rounds > 1 and reader.reset is not None:
        return source.every.speed <= reader.reset.speed
    if source.every.family is not reader.every.family or source.every.period > 1:
        return False
    lasts = reader.reset.family is Family.NEVER if reader.reset is not None else not reader.every.is_fast
    if lasts:
        return False  # what is never reset started before anything moved
    return source.every.period <= reader.every.period or (reader.reset is not None and source.every.speed <= reader.reset.speed)


def _sources(model: Model, component: Component) -> set[str]:
    """The levels that the start of a level comes from, directly or through others."""
    found: set[str] = set()
    for node in nodes_in(component.init):
        if isinstance(node, State) and not model.is_parameter(node.component):
            found |= {node.component} | _sources(model, model.component(node.component))
    return found


def number_of_update(model: Model, component: Component, position: int, part: int) -> int:
    """The number, since the last reset, of the update of a level that this tick, or part of it, belongs to: chunks are 1, 2, ..."""
    parts, is_parted, reset = parts_of_tick(model), component.every.period < 1, component.reset
    updates = (position - 1) * parts + part + 1 if is_parted else position
    if reset is not None and reset.is_counted and updates > 0:
        updates = (updates - 1) % int(reset.period * (parts if is_parted else 1)) + 1
    return updates if is_parted else math.ceil(updates / component.every.period)


def counts(model: Model) -> bool:
    """Whether the position of a token decides about anything."""
    clocks = [clock for item in model.fast for clock in (item.every, item.reset) if clock is not None]
    has_periods = any(clock.is_counted and clock.period > 1 for clock in clocks)
    resets = any(item.reset is not None and item.reset.is_counted and item.rounds == 1 for item in model.fast)
    truncated = any(item.backprop for item in model.components)
    begun = any(not starts_known(model, item) for item in model.fast if item.rounds == 1)
    begun = begun or any(item.every.family is Family.SEQUENCE and item.reduce == "mean" for item in model.fast)
    begun = begun or any(isinstance(item.window, int) for item in model.fast)
    held = any(read.period > 1 for read in held_reads(model))
    return has_periods or resets or truncated or begun or held or any(isinstance(node, Tick | Position) for node in expressions(model))
