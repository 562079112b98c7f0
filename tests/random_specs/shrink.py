"""A spec that fails -> a small one that fails in the same way, greedily: whatever can go without curing it goes.

The steps need not give valid specs: one that nlc refuses fails in no way, and is not taken.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator
from dataclasses import replace
from itertools import chain
from typing import TypeVar

from tests.random_specs.specs import without_unused
from tests.random_specs.tree import LIKE, Level, Memory, Phrase, SpecTree, Stream

Anything = TypeVar("Anything")

MOST_TRIALS = 400


def shrink(tree: SpecTree, fails: Callable[[SpecTree], bool], most_trials: int = MOST_TRIALS) -> SpecTree:
    """The smallest spec found by removing one thing after another, as long as it fails; judges at most so many specs."""
    trials, tried = 0, {tree.text}
    while True:
        for smaller in _steps(tree):
            candidate = without_unused(smaller)
            if candidate.text in tried:
                continue
            tried.add(candidate.text)
            trials += 1
            if trials > most_trials:
                return tree
            if fails(candidate):
                tree = candidate
                break
        else:
            return tree


def _steps(tree: SpecTree) -> Iterator[SpecTree]:
    """Specs that are one step smaller, the largest steps first."""
    yield from (replace(tree, levels=levels) for levels in _without_one(tree.levels) if levels)
    yield from (replace(tree, outputs=outputs) for outputs in _without_one(tree.outputs) if outputs)
    if tree.outer is not None:
        yield replace(tree, outer=None)
    yield from (replace(tree, axes=axes, inputs=_within(tree, axes)) for axes in ((), *_without_one(tree.axes)) if axes != tree.axes)
    for place, level in enumerate(tree.levels):
        for smaller in _levels(level):
            yield replace(tree, levels=_with(tree.levels, place, smaller))
        if level.values is not None and any(phrase.construct.startswith("read:") for phrase in level.values.walk()):
            given = Stream(name="given", shape=level.values.shape)
            simpler = replace(level, values=Phrase("signal: stream", given.name, given.shape))
            yield replace(tree, levels=_with(tree.levels, place, simpler), inputs=tuple(dict.fromkeys((*tree.inputs, given))))
    yield from _outputs(tree)
    for place, (name, value) in enumerate(tree.lets):
        yield from (replace(tree, lets=_with(tree.lets, place, (name, smaller))) for smaller in _phrases(value))
    yield from (_inlined(tree, name, value) for name, value in tree.lets)
    yield from _declarations(tree)


def _levels(level: Level) -> Iterator[Level]:
    """A level with less to it; a slow one has no objective to make simpler."""
    if level.retention is not None:
        yield replace(level, retention=None)
    yield from (replace(level, options=options) for options in _without_one(level.options))
    if level.every.text not in ("token", "step"):
        yield replace(level, every=Phrase("every tick", "token"))
    if level.name.startswith("project_"):
        yield replace(level, objective=None, optimizer=None, retention=None, every=Phrase("slow clock: step", "step"))
        return
    yield replace(level, optimizer=Phrase("optimizer: gradient_descent", "gradient_descent(1)"))
    if level.memory is not None and level.memory.phrase.text != LIKE[0]:
        shape = level.memory.gives or level.memory.tensors[0][1]
        itself = Phrase("level: itself", level.name, shape)
        memory = Memory(phrase=Phrase("memory: vector", f"vector({shape[0]})"), tensors=(("", shape),))
        simple = Phrase("objective: simple", f"-sum({level.name})")
        yield replace(level, memory=memory, keys=None, objective=_without_reads(level.objective, level.name, itself))
        yield replace(level, memory=memory, keys=None, values=None, objective=simple)
        if level.memory.takes is not None and level.memory.gives is not None:
            (columns,), (rows,) = level.memory.takes, level.memory.gives
            matrix = Phrase("memory: matrix", f"matrix({rows}, {columns})")
            yield replace(level, memory=replace(level.memory, phrase=matrix, tensors=(("", (rows, columns)),)))
    for key in ("objective", "keys", "values", "retention", "optimizer"):
        phrase = getattr(level, key)
        if phrase is not None:
            yield from (replace(level, **{key: smaller}) for smaller in _phrases(phrase))


def _without_reads(phrase: Phrase, name: str, itself: Phrase) -> Phrase:
    """`name(x)` -> `name`."""
    if phrase.form == f"{name}({{}})":
        return itself
    return replace(phrase, parts=tuple(_without_reads(part, name, itself) for part in phrase.parts))


def _phrases(phrase: Phrase) -> Iterator[Phrase]:
    """Simpler phrases of the same shape: a part of it, the simplest leaf, or the same with one part simpler."""
    inner = [part for part in phrase.walk() if part is not phrase and part.shape == phrase.shape]
    yield from sorted(dict.fromkeys(inner), key=lambda part: len(part.text))
    if phrase.parts and phrase.shape == ():
        yield Phrase("signal: number", "1")
    for place, part in enumerate(phrase.parts):
        yield from (replace(phrase, parts=_with(phrase.parts, place, smaller)) for smaller in _phrases(part))


def _outputs(tree: SpecTree) -> Iterator[SpecTree]:
    for place, (name, value) in enumerate(tree.outputs):
        yield from (replace(tree, outputs=_with(tree.outputs, place, (name, smaller))) for smaller in _phrases(value))
        yield from (
            replace(tree, outputs=_with(tree.outputs, place, (name, Phrase("signal: stream", stream.name)))) for stream in tree.inputs[:1]
        )


def _declarations(tree: SpecTree) -> Iterator[SpecTree]:
    """Streams without ranges and own axes, dims that are plain numbers, one stream in place of another."""
    for place, stream in enumerate(tree.inputs):
        for changes in ({"bounds": None}, {"axes": None}, {"every": ""}):
            yield replace(tree, inputs=_with(tree.inputs, place, replace(stream, **changes)))
        yield from (_renamed(tree, stream.name, other.name) for other in tree.inputs[:place] if other.shape == stream.shape)
    yield replace(tree, inputs=tree.inputs[1:])
    for place, (name, text) in enumerate(tree.dims):
        if not text.isdigit():
            yield replace(tree, dims=_with(tree.dims, place, (name, "5")))
    yield replace(tree, dims=tuple(item for item in tree.dims if item[0] not in tree.axes))


def _within(tree: SpecTree, axes: tuple[str, ...]) -> tuple:
    kept = (None if stream.axes is None else tuple(axis for axis in stream.axes if axis in axes) for stream in tree.inputs)
    return tuple(replace(stream, axes=own) for stream, own in zip(tree.inputs, kept, strict=True))


def _inlined(tree: SpecTree, name: str, value: Phrase) -> SpecTree:
    """The spec with the text of an abbreviation in place of its name."""
    return tree.mapped(lambda phrase: replace(value.parts[0]) if phrase.form == name and value.parts else phrase)


def _renamed(tree: SpecTree, name: str, other: str) -> SpecTree:
    return tree.mapped(lambda phrase: replace(phrase, form=other) if phrase.form == name else phrase)


def _without_one(items: tuple[Anything, ...]) -> Iterator[tuple[Anything, ...]]:
    return (tuple(chain(items[:place], items[place + 1 :])) for place in range(len(items)))


def _with(items: tuple[Anything, ...], place: int, item: Anything) -> tuple[Anything, ...]:
    return (*items[:place], item, *items[place + 1 :])
