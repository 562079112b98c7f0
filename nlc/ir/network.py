"""The network of a model: from tokens to logits through an embedding, norms, compiled layers, residual branches and a head.

Its own matrices and scales are slow levels of the model, named here; a layer's levels are the model's under the layer's name.
"""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass
from typing import TYPE_CHECKING

from nlc.ir.algebra import Expr
from nlc.ir.dims import Dim

if TYPE_CHECKING:
    from nlc.ir.model import Model


@dataclass(frozen=True, slots=True)
class Embed:
    """Each token's row of the matrix that is the level."""

    level: str
    rows: Dim
    width: Dim


@dataclass(frozen=True, slots=True)
class Normalise:
    """x over the root of its mean square plus 1e-6, times the scale that is the level."""

    level: str
    width: Dim


@dataclass(frozen=True, slots=True)
class Layer:
    """An architecture with one stream of vectors and one output of the same size; `place` is where the network lists its model.

    `arguments` give its dims and hyperparameters as expressions over those of the model; its other numbers are as its model has them.
    """

    name: str
    place: int
    stream: str
    arguments: tuple[tuple[str, Expr], ...]


@dataclass(frozen=True, slots=True)
class Head:
    """The logits: one product with each row of the matrix that is the level, which may be the embedding's."""

    level: str
    is_tied: bool
    rows: Dim
    width: Dim


@dataclass(frozen=True, slots=True)
class Residual:
    """Branches one after another, each added to what goes into it."""

    branches: tuple[tuple[Part, ...], ...]


@dataclass(frozen=True, slots=True)
class Repeat:
    """Parts so many times over, each time with parameters and a state of their own."""

    name: str
    count: Dim
    parts: tuple[Part, ...]


Part = Embed | Normalise | Layer | Head | Residual | Repeat


@dataclass(frozen=True, slots=True)
class Network:
    """The parts in order: an embedding first, a head last. `models` are the different layers, each once."""

    parts: tuple[Part, ...]
    models: tuple[Model, ...]

    @property
    def embed(self) -> Embed:
        return next(part for part in self.parts if isinstance(part, Embed))

    @property
    def placed(self) -> tuple[tuple[Part, tuple[Repeat, ...]], ...]:
        """Every part that has levels, with what repeats it, outermost first."""
        return tuple(_placed(self.parts, ()))


def _placed(parts: tuple[Part, ...], repeats: tuple[Repeat, ...]) -> Iterator[tuple[Part, tuple[Repeat, ...]]]:
    for part in parts:
        match part:
            case Residual(branches):
                for branch in branches:
                    yield from _placed(branch, repeats)
            case Repeat(_, _, inner):
                yield from _placed(inner, (*repeats, part))
            case _:
                yield part, repeats
