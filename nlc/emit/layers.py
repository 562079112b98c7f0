"""The programs of a model's layers -> their classes and helpers, each text once, with names that are all different."""

from __future__ import annotations

import re
from collections.abc import Iterator
from dataclasses import dataclass

from nlc.emit.context import is_told
from nlc.emit.context_layer import context_layer_parts
from nlc.emit.sequence import sequence_parts
from nlc.ir.program import Program

DEFINITION = re.compile(r"^(?:class|def) (\w+)", re.MULTILINE)
BETWEEN = "\n\n\n"
"""Two blank lines stand between definitions of a module, and nowhere else in it."""


@dataclass(frozen=True, slots=True)
class Layers:
    """`classes` are the names of the layers' classes, in order, `texts` their texts; `helpers` are what they call."""

    classes: tuple[str, ...]
    texts: tuple[str, ...]
    helpers: tuple[str, ...]


def layer_parts(program: Program) -> Layers:
    """The definitions of all layers; one that another layer has by the same name and with another text is renamed."""
    taken: dict[str, str] = {name: "" for name in _reserved(program)}
    classes: list[str] = []
    texts: list[str] = []
    helpers: list[str] = []
    for layer in program.layers:
        definitions = [text for part in _parts(layer) for text in part.split(BETWEEN)]
        own = [_name(text) for text in definitions]
        renamed = {name: _free(name, {*taken, *own}) for name, text in zip(own, definitions, strict=True) if taken.get(name, text) != text}
        definitions = [_with_names(text, renamed) for text in definitions]
        texts.append(definitions[0])
        classes.append(_name(definitions[0]))
        for text in definitions:
            if _name(text) not in taken and text is not definitions[0]:
                helpers.append(text)
            taken[_name(text)] = text
    return Layers(tuple(classes), tuple(texts), tuple(helpers))


def _parts(layer: Program) -> tuple[str, ...]:
    return context_layer_parts(layer) if is_told(layer) else sequence_parts(layer, is_alone=False)


def _reserved(program: Program) -> Iterator[str]:
    """What the module calls its other classes."""
    yield from ("LevelOptimizers", "Optimizer", "ParamsT", "Tensor", program.model.name)
    yield from (item.model.name for item in program.training)
    assert program.model.network is not None
    yield from (f"{program.model.name}Block{number}" for number in ("", *range(2, len(program.model.network.placed) + 2)))


def _name(text: str) -> str:
    found = DEFINITION.search(text)
    assert found is not None, text
    return found[1]


def _free(name: str, taken: set[str]) -> str:
    number = next(number for number in range(2, len(taken) + 3) if f"{name}{number}" not in taken)
    return f"{name}{number}"


def _with_names(text: str, names: dict[str, str]) -> str:
    """The text with some definitions under other names; attributes of the same name are others."""
    for old, new in names.items():
        text = re.sub(rf"(?<![\w.]){re.escape(old)}(?!\w)", new, text)
    return text
