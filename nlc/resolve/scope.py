"""What a name means: the bindings under which expressions are typed."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field, replace
from enum import Enum

from nlc.ir.algebra import Expr
from nlc.ir.dims import Dim, Shape
from nlc.ir.model import StateDeclaration
from nlc.ir.spec import DefinitionField, Function, Syntax


@dataclass(frozen=True, slots=True)
class MemoryType:
    """The tensors that a memory consists of, and how it is read.

    `names` are what the text of the read calls the states (a single state has the part "", whatever its name), `sizes` its parameters.
    """

    text: str
    states: tuple[StateDeclaration, ...]
    names: tuple[str, ...] = ()
    read: Function | None = None
    sizes: Mapping[str, Dim] = field(default_factory=dict)


@dataclass(frozen=True, slots=True)
class LevelType:
    """A component as expressions see it: `name` is its full name (`memory.momentum`)."""

    name: str
    memory: MemoryType


class OwnName(Enum):
    """What a level's own name means in one of its fields."""

    FITTED = "the variable being fitted"
    UNKNOWN = "not known yet: only prev(...) of it may be read"


@dataclass(frozen=True, slots=True)
class Scope:
    """Bindings by kind. `own` is the component whose field is being typed; `where` names that field in messages.

    `in_window` says whether an expression may range over the data of a window.
    `tick` counts the updates of `counted`, where it means anything.
    """

    dims: Mapping[str, Dim] = field(default_factory=dict)
    values: Mapping[str, Expr] = field(default_factory=dict)
    levels: Mapping[str, LevelType] = field(default_factory=dict)
    lets: Mapping[str, Syntax] = field(default_factory=dict)
    macros: Mapping[str, DefinitionField] = field(default_factory=dict)
    like: Shape | None = None
    axes: tuple[str, ...] = ()
    own: str | None = None
    counted: str | None = None
    own_name: OwnName = OwnName.UNKNOWN
    where: str = ""
    in_window: bool = False

    def within(self, own: str, own_name: OwnName, where: str) -> Scope:
        """The same names, for a field of a component."""
        return replace(self, own=own, counted=own, own_name=own_name, where=where)

    def with_values(self, values: Mapping[str, Expr]) -> Scope:
        """The same names and some more values, which win."""
        return replace(self, values={**self.values, **values})

    @property
    def names(self) -> set[str]:
        return {*self.dims, *self.values, *self.levels, *self.lets, *self.macros}
