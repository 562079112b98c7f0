"""A spec as a small tree of frozen dataclasses, which can be taken apart, and its YAML text."""

from __future__ import annotations

import re
from collections.abc import Callable, Iterator
from dataclasses import dataclass, replace

Shape = tuple[str, ...]
"""The names of the sizes: () is a number, ("d_k",) a vector; LIKE is the shape of an optimizer's weights."""

LIKE: Shape = ("like(weights)",)

_HOLE = re.compile(r"\{\}")


@dataclass(frozen=True, slots=True)
class Phrase:
    """A piece of a spec: text with a `{}` for every part, and the construct of the table that drew it."""

    construct: str
    form: str
    shape: Shape = ()
    parts: tuple[Phrase, ...] = ()

    @property
    def text(self) -> str:
        pieces = _HOLE.split(self.form)
        assert len(pieces) == len(self.parts) + 1, self.form
        told = pieces[0]
        for before, part, after in zip(pieces, self.parts, pieces[1:], strict=False):
            is_guarded = before.endswith(("(", ", ", "= ")) and after.startswith((")", ","))
            is_alone = not before and not after
            told += part.text if is_guarded or is_alone or not part.is_open else f"({part.text})"
            told += after
        return told

    @property
    def is_open(self) -> bool:
        """Whether an operator stands outside all brackets."""
        depth = 0
        for character in self.form:
            depth += (character in "([") - (character in ")]")
            if depth == 0 and character in " -/@*":
                return True
        return self.form == "{}" and self.parts[0].is_open

    def walk(self) -> Iterator[Phrase]:
        yield self
        for part in self.parts:
            yield from part.walk()

    def mapped(self, change: Callable[[Phrase], Phrase]) -> Phrase:
        """The phrase with every phrase in it changed, from the inside out."""
        return change(replace(self, parts=tuple(part.mapped(change) for part in self.parts)))


@dataclass(frozen=True, slots=True, kw_only=True)
class Stream:
    """An input; `axes` is None when it has all axes of the spec, `bounds` its range, `every` its clock when that is not the token."""

    name: str
    shape: Shape
    axes: Shape | None = None
    bounds: tuple[str, str] | None = None
    every: str = ""

    @property
    def is_whole(self) -> bool:
        """Whether it has one value for a whole sequence."""
        return self.every == "sequence"

    def lines(self) -> list[str]:
        shape = f"[{', '.join(self.shape)}]" if self.shape != LIKE else LIKE[0]
        if self.axes is None and self.bounds is None and not self.every:
            return [f"  {self.name}: {shape}"]
        axes = "" if self.axes is None else f", axes: [{', '.join(self.axes)}]"
        bounds = "" if self.bounds is None else f", range: [{', '.join(self.bounds)}]"
        every = f", every: {self.every}" if self.every else ""
        return [f"  {self.name}: {{shape: {shape}{axes}{bounds}{every}}}"]


@dataclass(frozen=True, slots=True, kw_only=True)
class Memory:
    """What a level stores: how it is written, its tensors by name (the only one has the name ""), and its read from and to a vector."""

    phrase: Phrase
    tensors: tuple[tuple[str, Shape], ...]
    takes: Shape | None = None
    gives: Shape | None = None

    @property
    def is_network(self) -> bool:
        return len(self.tensors) > 1


@dataclass(frozen=True, slots=True, kw_only=True)
class Level:
    """A component; `options` are further keys, such as `gradient_at`. A slow level may have neither objective nor optimizer."""

    name: str
    objective: Phrase | None = None
    optimizer: Phrase | None = None
    memory: Memory | None = None
    keys: Phrase | None = None
    values: Phrase | None = None
    retention: Phrase | None = None
    options: tuple[tuple[str, Phrase], ...] = ()
    every: Phrase = Phrase("every tick", "token")

    def fields(self) -> Iterator[tuple[str, Phrase]]:
        """The keys of the level with their values, as they are written."""
        if self.memory is not None:
            yield "memory", self.memory.phrase
        for key, value in (("keys", self.keys), ("values", self.values), ("objective", self.objective), ("retention", self.retention)):
            if value is not None:
                yield key, value
        yield from self.options
        if self.optimizer is not None:
            yield "optimizer", self.optimizer
        yield "every", self.every

    def mapped(self, change: Callable[[Phrase], Phrase]) -> Level:
        """The level with every phrase changed, from the inside out."""
        phrases = {key: getattr(self, key) for key in ("objective", "keys", "values", "retention", "optimizer")}
        changed = {key: None if phrase is None else phrase.mapped(change) for key, phrase in phrases.items()}
        return replace(self, **changed, options=tuple((key, phrase.mapped(change)) for key, phrase in self.options))

    def lines(self) -> list[str]:
        return [f"  {self.name}:", *(f"    {key}: {value.text}" for key, value in self.fields())]


@dataclass(frozen=True, slots=True, kw_only=True)
class Definition:
    """An entry of `define`: its lines of YAML below its name."""

    name: str
    construct: str
    body: tuple[str, ...]

    def lines(self) -> list[str]:
        return [f"  {self.name}:", *(f"    {line}" for line in self.body)]


@dataclass(frozen=True, slots=True, kw_only=True)
class SpecTree:
    """A whole spec. `dims` and `hyperparameters` are pairs of a name and its text; `lets` and `outputs` have phrases.

    `outer` is the optimizer of the slow levels that have none of their own. `is_affine`: drawn of the words of affine memories.
    """

    name: str
    kind: str
    levels: tuple[Level, ...]
    inputs: tuple[Stream, ...]
    dims: tuple[tuple[str, str], ...] = ()
    axes: Shape = ()
    hyperparameters: tuple[tuple[str, str], ...] = ()
    lets: tuple[tuple[str, Phrase], ...] = ()
    definitions: tuple[Definition, ...] = ()
    outputs: tuple[tuple[str, Phrase], ...] = ()
    outer: Phrase | None = None
    is_affine: bool = False

    @property
    def text(self) -> str:
        """The YAML of the spec."""
        return "\n".join(self.lines()) + "\n"

    def lines(self) -> Iterator[str]:
        yield "nlc: 1"
        yield f"name: {self.name}"
        if self.kind != "architecture":
            yield f"kind: {self.kind}"
        if self.dims:
            yield f"dims: {_mapping(self.dims)}"
        if self.axes:
            yield f"axes: [{', '.join(self.axes)}]"
        if self.inputs:
            yield from ("inputs:", *(line for stream in self.inputs for line in stream.lines()))
        if self.hyperparameters:
            yield f"hyperparameters: {_mapping(self.hyperparameters)}"
        if self.lets:
            yield from ("let:", *(f"  {name}: {value.text}" for name, value in self.lets))
        if self.definitions:
            yield from ("define:", *(line for item in self.definitions for line in item.lines()))
        yield from ("levels:", *(line for level in self.levels for line in level.lines()))
        if self.outputs:
            yield from ("outputs:", *(f"  {name}: {value.text}" for name, value in self.outputs))
        if self.outer is not None:
            yield from ("outer:", "  objective: task", f"  optimizer: {self.outer.text}")

    def mapped(self, change: Callable[[Phrase], Phrase]) -> SpecTree:
        """The spec with every phrase changed, from the inside out."""
        return replace(
            self,
            levels=tuple(level.mapped(change) for level in self.levels),
            lets=tuple((name, value.mapped(change)) for name, value in self.lets),
            outputs=tuple((name, value.mapped(change)) for name, value in self.outputs),
        )

    def phrases(self) -> Iterator[Phrase]:
        """Every phrase of the spec, from the outside in."""
        whole = [value for _, value in (*self.lets, *self.outputs)]
        whole += [value for level in self.levels for _, value in level.fields()]
        whole += [] if self.outer is None else [self.outer]
        for phrase in whole:
            yield from phrase.walk()

    def used_words(self) -> set[str]:
        """Every word in an expression of the spec: a name that is not among them is declared in vain."""
        texts = [phrase.form for phrase in self.phrases()] + [line for item in self.definitions for line in item.body]
        texts += (
            [stream.every for stream in self.inputs]
            + [text for _, text in self.dims]
            + [size for stream in self.inputs for size in (*stream.shape, *(stream.axes or ()))]
        )
        return {word for text in texts for word in re.findall(r"[A-Za-z_]\w*", text)}


def _mapping(pairs: tuple[tuple[str, str], ...]) -> str:
    return "{" + ", ".join(f"{name}: {text}" for name, text in pairs) + "}"
