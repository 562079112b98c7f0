"""Chance and surroundings: what a construct of the table is drawn with, and how the next construct is chosen."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass, replace
from random import Random
from typing import Any, TypeVar

from tests.random_specs.tree import LIKE, Memory, Phrase, Shape, Stream

Anything = TypeVar("Anything")


@dataclass(frozen=True, slots=True, kw_only=True)
class Construct:
    """A row of the table: a name, the slot of a spec it can fill, how it is drawn, and what it needs.

    `draw` and `needs` take the artist, then what the slot hands them: expressions a shape (and `draw` the depth that is left), parts of
    a level a sketch of it. A row that is a `leaf` can stand where no depth is left. `is_seen` finds what is no phrase of its own.
    """

    name: str
    slot: str
    draw: Callable[..., Any]
    needs: Callable[..., bool] = lambda artist, request: True
    weight: float = 1
    leaf: bool = False

    @property
    def label(self) -> str:
        return f"{self.slot}: {self.name}"


@dataclass(frozen=True, slots=True, kw_only=True)
class Readable:
    """A level that may be read, and how: `{}` is its name, so `prev({})` reads the state before the tick."""

    name: str
    memory: Memory
    ways: tuple[tuple[str, str], ...]


@dataclass(frozen=True, slots=True, kw_only=True)
class Around:
    """What expressions can name: streams by what they are good for, abbreviations, numbers, levels; `own` is a leaf of its own.

    `is_quadratic`: the level that is being drawn can take an implicit step.
    """

    units: tuple[Stream, ...] = ()
    gates: tuple[Stream, ...] = ()
    rates: tuple[Stream, ...] = ()
    lets: tuple[tuple[str, Phrase], ...] = ()
    numbers: Shape = ()
    shares: Shape = ()
    steps: Shape = ()
    dims: Shape = ()
    axes: Shape = ()
    readable: tuple[Readable, ...] = ()
    own: Phrase | None = None
    is_optimizer: bool = False
    is_affine: bool = False
    is_quadratic: bool = False

    def streams(self, shape: Shape, *groups: str) -> list[Stream]:
        return [stream for group in groups for stream in getattr(self, group) if stream.shape == shape]


@dataclass(frozen=True, slots=True)
class Artist:
    """Draws phrases at random, within what is around."""

    chance: Random
    rows: tuple[Construct, ...]
    around: Around

    def within(self, **changes: Any) -> Artist:
        """The same chance, in other surroundings."""
        return replace(self, around=replace(self.around, **changes))

    def pick(self, choices: Sequence[Anything]) -> Anything:
        return choices[self.chance.randrange(len(choices))]

    def maybe(self, probability: float) -> bool:
        return self.chance.random() < probability

    def fill(self, slot: str, request: Any, *more: Any, only: Callable[[Construct], bool] = lambda row: True) -> Any:
        """What a row for this slot draws; every row whose needs are met may be taken."""
        rows = [row for row in self.rows if row.slot == slot and only(row) and row.needs(self, request)]
        row = self.chance.choices(rows, [row.weight for row in rows])[0]
        return row.draw(self, request, *more)

    def signal(self, shape: Shape, depth: int = 1) -> Phrase:
        """Anything of this shape with entries of order 1."""
        return self._expression("signal", shape, depth)

    def gate(self, shape: Shape, depth: int = 1) -> Phrase:
        """Entries between 0 and 1."""
        return self._expression("gate", shape, depth)

    def rate(self, shape: Shape = ()) -> Phrase:
        """Entries between 0 and 0.3: a gradient step with them does not overshoot."""
        return self._expression("rate", shape, 1)

    def key(self, shape: Shape, depth: int = 2) -> Phrase:
        """A vector of length about 1 (at most)."""
        return self._expression("key", shape, depth)

    def vector(self) -> Shape:
        """Some shape that is no number."""
        return LIKE if self.around.is_optimizer else (self.pick(self.around.dims),)

    def _expression(self, slot: str, shape: Shape, depth: int) -> Phrase:
        ends = depth <= 0 or self.maybe(0.25)
        drawn: Phrase = self.fill(slot, shape, depth, only=lambda row: row.leaf if ends else True)
        return drawn
