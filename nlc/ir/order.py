"""The components of a model, sorted into levels, with the reason for every pair (Nested Learning, Definition 2)."""

from __future__ import annotations

from dataclasses import dataclass, field
from typing import Literal as OneOf

from nlc.ir.model import Clock, Model
from nlc.source import NOWHERE, Span


@dataclass(frozen=True, slots=True)
class Edge:
    """The reader's update reads the source's state.

    `same tick`: the reader needs the source's new state of this tick (only these order components of one frequency);
    `older state`: it reads what the source was when the tick began, or at an earlier chunk; `forward`: the read passes
    through another block's outputs and does not order (unless the spec is `strict`).
    """

    reader: str
    source: str
    kind: OneOf["same tick", "older state", "forward"]
    span: Span = field(default=NOWHERE, compare=False, repr=False)


@dataclass(frozen=True, slots=True)
class Relation:
    """How two components compare: `faster` means left is faster than right; a tie has no direction."""

    left: str
    right: str
    kind: OneOf["faster", "tie"]
    reason: str


@dataclass(frozen=True, slots=True)
class Level:
    """One level of the system: components of one frequency, independent of one another within a tick.

    `speed_rank` counts from 0, the fastest. The paper numbers both ways: `number_slowest_highest` (Definition 2, section 3.3)
    counts the fastest as 1, `number_slowest_first` (figures 2 and 3, section 7) counts the slowest as 1.
    """

    speed_rank: int
    components: tuple[str, ...]
    clock: Clock
    number_slowest_highest: int
    number_slowest_first: int


@dataclass(frozen=True, slots=True)
class LevelOrder:
    """A model with its levels, fastest first; `run_order` lists components as they run when all are due at one tick.

    `training` orders the optimizers of the slow levels, in the order of the model's `training`; `layers` the levels of the layers of its
    network, each layer alone, in the order of the network's models.
    """

    model: Model
    levels: tuple[Level, ...]
    edges: tuple[Edge, ...]
    relations: tuple[Relation, ...]
    run_order: tuple[str, ...]
    training: tuple[LevelOrder, ...] = ()
    layers: tuple[LevelOrder, ...] = ()

    def relation(self, left: str, right: str) -> Relation:
        """How two components compare; `left` and `right` of the answer may be swapped."""
        return next(item for item in self.relations if {item.left, item.right} == {left, right})

    def sees_new(self, reader: str | None, source: str) -> bool:
        """Whether a CURRENT read sees the source's new state. The reader None is an output (of tokens), or where a level starts."""
        clock = self.model.component(source).every
        if reader is None:
            return self.model.kind == "optimizer" or (clock.is_fast and clock.speed <= (1, 1))
        return clock.speed <= self.model.component(reader).every.speed
