"""The slow levels of a program that start again by steps -> the lines that give their parameters, each with what it starts from."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass
from itertools import groupby

from nlc.emit.layout import Lines, indented
from nlc.emit.parameters import parameter_attribute, parameter_values
from nlc.emit.scope import Sequence, leaf
from nlc.emit.torch_printer import TorchPrinter
from nlc.ir.network import Layer, Repeat
from nlc.ir.program import Program, StateSlot
from nlc.ir.restarts import restart_period, restarted


@dataclass(frozen=True, slots=True)
class Place:
    """Where a module keeps levels: of `program`, as attributes of `holder`, called `before` and their name in the whole; inside `loops`."""

    program: Program
    holder: str = "module"
    before: str = ""
    loops: Lines = ()


def restart_lines(program: Program) -> Lines:
    """What starts again after `steps` steps, the slowest first; nothing when nothing does."""
    by_period = groupby(restarted(program.model), key=restart_period)
    return tuple(line for period, group in by_period for line in _after(program, period, {item.name for item in group}))


def _after(program: Program, period: int, levels: set[str]) -> Lines:
    """What starts again at the ends of a period."""
    lines = [line for place in _places(program) for line in _at(place, levels)]
    return (f"if steps % {period} == 0:", *indented(lines)) if period > 1 else tuple(lines)


def _at(place: Place, levels: set[str]) -> Lines:
    """What starts again of the levels that are at one place."""
    lines = [_given(place, slot) for slot in place.program.parameters if f"{place.before}{slot.component}" in levels]
    loops = [indented([loop], depth)[0] for depth, loop in enumerate(place.loops)]
    return (*loops, *indented(lines, len(loops))) if lines else ()


def _given(place: Place, slot: StateSlot) -> str:
    """One tensor and what it starts from."""
    assert slot.start is not None, slot
    name = f"self.{parameter_attribute(slot)}"
    values = parameter_values(slot.start)
    printer = TorchPrinter(lambda node: leaf(node, values), name, dim=Sequence(place.program).size)
    number = printer.number(slot.start)
    start = printer.text(slot.start) if number is None else f"torch.full_like({name}, {number})"
    return f"yield {name}, {start}".replace("self.", f"{place.holder}.")


def _places(program: Program) -> Iterator[Place]:
    """Where the levels of a module are: in itself, or in its layers, some of which are repeated."""
    if program.model.network is None:
        yield Place(program)
        return
    for part, repeats in program.model.network.placed:
        if isinstance(part, Layer):
            holder, loops = _inside(repeats)
            yield Place(program.layers[part.place], f"{holder}.{part.name}", f"{part.name}.", loops)


def _inside(repeats: tuple[Repeat, ...]) -> tuple[str, Lines]:
    """The variable of what is repeated innermost, and the loops to it."""
    holder, loops = "module", []
    for place, repeat in enumerate(repeats):
        block = "block" if place == len(repeats) - 1 else f"outer_{place}"
        loops.append(f"for {block} in {holder}.{repeat.name}:")
        holder = block
    return holder, tuple(loops)
