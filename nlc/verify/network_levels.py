"""The levels of a model that an optimizer moves -> the paths of their parameters in its module."""

from __future__ import annotations

from collections.abc import Iterable

from nlc.ir.model import Layer, Training
from nlc.ir.program import Program
from nlc.verify.emitted import attribute


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
