"""Relations between the results of one module on related inputs, which need no oracle; each is drawn where the laws say that it holds.

Linear systems are linear, one by one along the batch, the same in any basis that their laws allow; sums forget the order of tokens; a rate
of 0 and a period that is not over change nothing; more digits make no larger error.
"""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from dataclasses import replace

import torch
from torch import Tensor

from nlc.ir.dims import Shape
from nlc.ir.model import Family
from nlc.verify.bounds import magnitude, rounding_bound
from nlc.verify.conditioning import widened_in
from nlc.verify.emitted import Emitted, build
from nlc.verify.equivariance import basis_obstacle, dims_of
from nlc.verify.inputs import Case, Drawn, draw
from nlc.verify.linearity import Linearity, linearity
from nlc.verify.observe import OUTPUTS, STATE, Tensors, distance
from nlc.verify.relation import CARRIED, FRESH, ModuleClass, Relation, every, in_dtype, pair
from nlc.verify.square import Square
from nlc.verify.state_laws import idle_settings, sum_obstacle

LONGEST_PERIOD = 64


def _batch(module_class: ModuleClass, emitted: Emitted, drawn: Drawn) -> Iterator[Square]:
    """Every sequence of a batch comes out as it does alone, and in any order."""
    for name, run in emitted.ways(drawn.tokens):
        outputs, final = run(drawn.inputs, drawn.state)
        scale = magnitude([*drawn.inputs.values(), *outputs.values(), *final.values()])
        order = torch.arange(drawn.batch).roll(1)
        for rows in (*torch.split(order, 1), order):
            again, end = run(_rows(drawn.inputs, rows), _rows(drawn.state or {}, rows))
            alone = pair(f"{name} of other batches", drawn, left=name)
            yield alone.closeness(OUTPUTS, _rows(outputs, rows), again, scale)
            yield alone.closeness(STATE, _rows(final, rows), end, scale)


def _rows(tensors: Tensors, rows: Tensor) -> dict[str, Tensor]:
    """Some sequences of a batch; a count is that of all."""
    return every(tensors, lambda tensor: tensor[rows] if tensor.is_floating_point() else tensor)


# --- linear in a stream ------------------------------------------------------------------------------------------


def _linear(module_class: ModuleClass, emitted: Emitted, drawn: Drawn) -> Iterator[Square]:
    """What is linear in a stream doubles with it, to the bit, and of sums gives sums."""
    for stream in drawn.inputs:
        found = linearity(emitted.program.laws, stream)
        linear = pair(f"twice {stream}", drawn, left="twice the results")
        if found.obstacle or not (found.outputs or found.slots):
            yield linear.inapplicable(OUTPUTS, found.obstacle or "nothing depends on it")
            continue
        slots = {slot.name for slot in emitted.program.slots if (slot.component, slot.part) in found.slots}
        for _, run in emitted.ways(drawn.tokens):
            outputs, final = run(drawn.inputs, drawn.state)
            again, end = run(_times(drawn.inputs, {stream}, 2), _times(drawn.state or {}, slots, 2))
            yield linear.equality(OUTPUTS, _times(outputs, found.outputs, 2), again)
            yield linear.equality(STATE, _times(final, slots, 2), end)
        yield from _of_sums(emitted, drawn, found, slots)


def _of_sums(emitted: Emitted, drawn: Drawn, found: Linearity, slots: set[str]) -> Iterator[Square]:
    """Another stream and state of the same rest, and the sum of both."""
    other = draw(emitted.program.model, CARRIED, drawn.chunk, seed=drawn.seed + 1, slots=emitted.program.slots)
    inputs = {**drawn.inputs, found.stream: other.inputs[found.stream]}
    state = {**(drawn.state or {}), **{name: (other.state or {})[name] for name in slots}}
    one, first = emitted.forward(drawn.inputs, drawn.state)
    two, second = emitted.forward(inputs, state)
    both, last = emitted.forward(_sum(drawn.inputs, inputs, {found.stream}), _sum(drawn.state or {}, state, slots))
    scale = magnitude([*inputs.values(), *one.values(), *two.values(), *first.values(), *second.values()])
    sums = pair(f"the sum of two {found.stream}", drawn, left="the sum of results")
    yield sums.closeness(OUTPUTS, _sum(one, two, found.outputs), both, scale)
    yield sums.closeness(STATE, _sum(first, second, slots), last, scale)


def _times(tensors: Tensors, names: set[str] | frozenset[str], factor: int) -> dict[str, Tensor]:
    return {name: tensor * factor if name in names else tensor for name, tensor in tensors.items()}


def _sum(one: Tensors, two: Tensors, names: set[str] | frozenset[str]) -> dict[str, Tensor]:
    return {name: tensor + two[name] if name in names else tensor for name, tensor in one.items()}


# --- another basis, another order --------------------------------------------------------------------------------


def _basis(module_class: ModuleClass, emitted: Emitted, drawn: Drawn) -> Iterator[Square]:
    """In another orthonormal basis of a dim the results are the same, in that basis."""
    model = emitted.program.model
    for name in dims_of(model):
        turned = pair(f"forward in another basis of {name}", drawn, left="forward")
        if obstacle := basis_obstacle(emitted.program.laws, name):
            yield turned.inapplicable(OUTPUTS, obstacle)
            continue
        size = drawn.sizes[name]
        noise = torch.randn((size, size), dtype=torch.float64, generator=torch.Generator().manual_seed(drawn.seed))
        basis = torch.linalg.qr(noise)[0]
        shapes = {stream.name: stream.shape for stream in model.inputs}
        slots = {slot.name: slot.shape for slot in (*emitted.program.slots, *emitted.program.parameters)}
        other = replace(drawn, parameters=_turned(drawn.parameters, slots, name, basis))
        outputs, final = emitted.forward(drawn.inputs, drawn.state)
        inputs, state = _turned(drawn.inputs, shapes, name, basis), _turned(drawn.state or {}, slots, name, basis)
        again, end = build(module_class, emitted.program, other).forward(inputs, state)
        scale = magnitude([*drawn.inputs.values(), *drawn.parameters.values(), *outputs.values(), *final.values()])
        loose = replace(turned, ticks=turned.ticks + 4 * turned.width)
        yield loose.closeness(OUTPUTS, _turned(outputs, {item.name: item.value.shape for item in model.outputs}, name, basis), again, scale)
        yield loose.closeness(STATE, _turned(final, slots, name, basis), end, scale)


def _turned(tensors: Tensors, shapes: Mapping[str, Shape], name: str, basis: Tensor) -> dict[str, Tensor]:
    """Tensors (..., *shape) in another basis of a dim."""
    turned = dict(tensors)
    for key in tensors:
        for place, dim in enumerate(shapes[key], start=-len(shapes[key])):
            if dim.name == name:
                turned[key] = (turned[key].movedim(place, -1) @ basis).movedim(-1, place)
    return turned


def _order_of_tokens(module_class: ModuleClass, emitted: Emitted, drawn: Drawn) -> Iterator[Square]:
    """A memory that is a plain sum over the tokens ends the same in any order of them."""
    shuffled = pair("forward of shuffled tokens", drawn, left="forward")
    if obstacle := sum_obstacle(emitted.program.laws):
        yield shuffled.inapplicable(STATE, obstacle)
        return
    _, final = emitted.forward(drawn.inputs, drawn.state)
    order = torch.randperm(drawn.tokens, generator=torch.Generator().manual_seed(drawn.seed))
    whole = {stream.name for stream in emitted.program.model.inputs if stream.is_of_sequence}
    inputs = {name: stream if name in whole else stream[:, order] for name, stream in drawn.inputs.items()}
    _, end = emitted.forward(inputs, drawn.state)
    yield shuffled.closeness(STATE, final, end, magnitude([*drawn.inputs.values(), *final.values()]))


# --- nothing happens ---------------------------------------------------------------------------------------------


def _idle(module_class: ModuleClass, emitted: Emitted, drawn: Drawn) -> Iterator[Square]:
    """A rate of 0, with gates open, leaves every state as it was, to the bit."""
    idle = pair("state after nothing was learned", drawn, left="state before")
    setting = idle_settings(emitted.program.laws)
    if setting is None:
        yield idle.inapplicable(STATE, "no rate or gate alone leaves all states as they are")
        return
    numbers = {name: float(setting.get(name, value)) for name, value in drawn.hyperparameters.items()}
    inputs = {name: torch.full_like(x, setting[name]) if name in setting else x for name, x in drawn.inputs.items()}
    says = ", ".join(f"{name} = {value}" for name, value in setting.items())
    still = build(module_class, emitted.program, replace(drawn, hyperparameters=numbers))
    for name, run in still.ways(drawn.tokens):
        _, final = run(inputs, drawn.state)
        yield replace(idle, case=f"{name} with {says}").equality(STATE, drawn.state or {}, final)


def _waiting(module_class: ModuleClass, emitted: Emitted, drawn: Drawn) -> Iterator[Square]:
    """A level whose period is not over has not moved from its start."""
    program = emitted.program
    restarted = {item.state.component for item in program.laws.resets if item.at_start or item.sources}
    periods = {
        item.name: int(item.every.period)
        for item in program.model.fast
        if item.every.family is Family.TOKEN and item.every.period > 1 and item.is_carried and item.name not in restarted
    }
    waiting = pair("state before a period is over", drawn, left="state at the start")
    if not periods:
        yield waiting.inapplicable(STATE, "every level moves, or starts again, at every token")
    for component, period in periods.items():
        short = draw(
            program.model, Case(name="a period less one", chunks=0, extra=min(period, LONGEST_PERIOD) - 1), drawn.chunk, seed=drawn.seed
        )
        states = {slot.name for slot in program.slots if slot.component == component and slot.part in _parts(emitted, component)}
        start = emitted.initial_state(short.batch, next(iter(short.inputs.values())))
        for name, run in emitted.ways(short.tokens):
            _, final = run(short.inputs, None)
            case = f"{component} after {short.tokens} tokens by {name}"
            yield replace(waiting, case=case).equality(STATE, {key: start[key] for key in states}, {key: final[key] for key in states})


def _parts(emitted: Emitted, component: str) -> set[str]:
    """The tensors of a level itself, not what is kept beside it."""
    return {state.part for state in emitted.program.model.component(component).states}


# --- more digits -------------------------------------------------------------------------------------------------

LADDER = (torch.bfloat16, torch.float32, torch.float64)
GAIN = 2.0**-8
"""What is left of an error in the next dtype, at most: each has at least sixteen digits more, in base two, and half of them are proof."""


def _digits(module_class: ModuleClass, emitted: Emitted, drawn: Drawn) -> Iterator[Square]:
    """On the same numbers, which all dtypes have, the error shrinks with the digits, down to what rounding explains."""
    inputs = in_dtype(in_dtype(drawn.inputs, torch.bfloat16), torch.float64)
    state = in_dtype(in_dtype(drawn.state or {}, torch.bfloat16), torch.float64)
    rounded = replace(drawn, inputs=inputs, state=state)
    exact = build(module_class, emitted.program, drawn)
    outputs, _ = exact.forward_by_token(inputs, state)
    scale = magnitude([*inputs.values(), *state.values(), *outputs.values()])
    before: tuple[torch.dtype, float] | None = None
    for dtype in LADDER:
        module = build(module_class, emitted.program, drawn, torch.promote_types(dtype, torch.float32))
        found, _ = module.forward(in_dtype(inputs, dtype), in_dtype(state, torch.promote_types(dtype, torch.float32)))
        errors = {name: distance(tensor, found[name]) for name, tensor in outputs.items()}
        error = max(errors.values(), default=0.0)
        if before is not None:
            ladder = pair(f"error in {dtype}", drawn, left=f"error in {before[0]}")
            rung = ladder.square(OUTPUTS, error, GAIN * before[1] + rounding_bound(dtype, ladder.ticks, ladder.width, scale))
            rung = replace(rung, beyond=tuple(item for item in errors.items() if item[1] > rung.bound))
            yield from widened_in(dtype, emitted.program, rounded, [rung], drawn.updates + ladder.width)
        before = (dtype, error)


METAMORPHIC: tuple[tuple[Relation, Case], ...] = (
    (_batch, CARRIED),
    (_linear, CARRIED),
    (_basis, CARRIED),
    (_order_of_tokens, CARRIED),
    (_idle, CARRIED),
    (_waiting, FRESH),
    (_digits, CARRIED),
)
"""Each relation, with the case whose evidence it gets."""
