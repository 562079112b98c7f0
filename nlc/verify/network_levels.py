"""The levels of a model that an optimizer moves -> the paths of their parameters in its module."""

from __future__ import annotations

from collections.abc import Iterable, Iterator

from nlc.ir.model import Component, Layer, Model, Training
from nlc.ir.program import Program
from nlc.verify.emitted import attribute
from nlc.verify.oracle_slots import slots


def moved_paths(program: Program, training: Training, paths: Iterable[str]) -> list[str]:
    """Those of the paths that belong to levels of the training; a copy of a level for each repeat of it."""
    assert program.model.network is not None
    names: set[str] = set()
    for part, _ in program.model.network.placed:
        if isinstance(part, Layer):
            slots = program.layers[part.place].parameters
            names |= {f"{part.name}.{attribute(slot.name)}" for slot in slots if f"{part.name}.{slot.component}" in training.levels}
        elif (level := getattr(part, "level", "")) in training.levels:
            names.add(level)
    return [path for path in paths if path in names or any(path.endswith(f".{name}") for name in names)]


def copies_of(model: Model, component: Component, paths: Iterable[str]) -> Iterator[dict[str, str]]:
    """For each repeat of a layer that has a level, the paths of all parameters of that copy, by their slot names in the whole model."""
    own = {slot: _path(item, slot) for item in model.parameters if item.block == component.block for slot, _ in slots(item)}
    known = sorted(paths)
    first = own[slots(component)[0][0]]
    for path in (path for path in known if path == first or path.endswith(f".{first}")):
        before = path.removesuffix(first)
        yield {slot: f"{before}{inner}" for slot, inner in own.items() if f"{before}{inner}" in known}


def _path(component: Component, slot: str) -> str:
    """Where a module keeps a tensor of a level, inside what is repeated."""
    return f"{component.block}.{attribute(slot.removeprefix(f'{component.block}.'))}" if component.block else attribute(slot)
