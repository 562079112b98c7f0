"""The levels of a model that an optimizer moves -> code that lists their parameters."""

from __future__ import annotations

from collections.abc import Iterator

from nlc.emit.parameters import parameter_attribute
from nlc.ir.model import Family, Training
from nlc.ir.network import Layer, Part, Repeat
from nlc.ir.program import Program


def levels_of(program: Program, training: Training) -> str:
    """All parameters of the module, or a list of those of some levels."""
    moving = {item.name for item in program.model.parameters if item.every.family is not Family.NEVER}
    if moving == set(training.levels):
        return "module.parameters()"
    assert program.model.network is not None
    items = (item for part, repeats in program.model.network.placed for item in _items(program, part, repeats, set(training.levels)))
    return f"[{', '.join(dict.fromkeys(items))}]"


def _items(program: Program, part: Part, repeats: tuple[Repeat, ...], levels: set[str]) -> Iterator[str]:
    for attribute in _attributes(program, part, levels):
        if not repeats:
            yield f"module.{attribute}"
            continue
        loops, holder = [], "module"
        for place, repeat in enumerate(repeats):
            block = "block" if place == len(repeats) - 1 else f"outer_{place}"
            loops.append(f"for {block} in {holder}.{repeat.name}")
            holder = block
        yield f"*({holder}.{attribute} {' '.join(loops)})"


def _attributes(program: Program, part: Part, levels: set[str]) -> Iterator[str]:
    """Where a part has the parameters of some levels."""
    if isinstance(part, Layer):
        for slot in program.layers[part.place].parameters:
            if f"{part.name}.{slot.component}" in levels:
                yield f"{part.name}.{parameter_attribute(slot)}"
    elif not isinstance(part, Repeat) and (level := getattr(part, "level", None)) in levels:
        yield str(level)
