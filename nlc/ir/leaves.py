"""The leaves of nlc's algebra: numbers, streams, states, parameters, and what else an expression can name."""

from __future__ import annotations

from dataclasses import dataclass, field
from enum import Enum
from fractions import Fraction
from typing import TYPE_CHECKING

from nlc.ir.dims import Dim, Shape
from nlc.source import NOWHERE, Span


@dataclass(frozen=True, slots=True)
class Expr:
    """A node of the algebra; every kind of node is a dataclass of its own. Its shape is made of names of sizes."""

    if TYPE_CHECKING:

        @property
        def shape(self) -> Shape: ...


class When(Enum):
    """Which value of a state a read sees (design section 2)."""

    CURRENT = "current"  # the new state of a level that is as fast or faster, the tick-start state of a slower one
    PREVIOUS = "previous"  # the state when the reader's tick began
    HELD = "held"  # the state after the last whole period
    FITTED = "fitted"  # inside a level's own objective: the variable being fitted


@dataclass(frozen=True, slots=True)
class Constant(Expr):
    """An exact number."""

    value: Fraction
    shape: Shape = ()


@dataclass(frozen=True, slots=True)
class Size(Expr):
    """The size of a dim, as a number: `sqrt(d_k)`."""

    dim: Dim
    shape: Shape = ()


@dataclass(frozen=True, slots=True)
class Index(Expr):
    """The place along an axis of the system, 0 for the first: `index(heads)`."""

    axis: str
    shape: Shape = ()


@dataclass(frozen=True, slots=True)
class Input(Expr):
    """This tick's value of an input stream; `delayed` is the previous tick's (zero before the first)."""

    name: str
    shape: Shape
    delayed: bool = False
    span: Span = field(default=NOWHERE, compare=False, repr=False)


@dataclass(frozen=True, slots=True)
class Hyperparameter(Expr):
    """A named number of the spec, constant over a sequence (an optimizer's may change between steps)."""

    name: str
    shape: Shape = ()


@dataclass(frozen=True, slots=True)
class State(Expr):
    """A read of one tensor of a component's state; `period` is the HELD period in ticks of the token clock."""

    component: str
    part: str
    shape: Shape
    when: When = When.CURRENT
    period: int = 0
    span: Span = field(default=NOWHERE, compare=False, repr=False)


@dataclass(frozen=True, slots=True)
class Parameter(Expr):
    """One tensor of a slow level: constant over a sequence, shared by all sequences, without the dims of batch, axes and time."""

    component: str
    part: str
    shape: Shape
    span: Span = field(default=NOWHERE, compare=False, repr=False)


@dataclass(frozen=True, slots=True)
class Task(Expr):
    """The loss handed in from outside, the objective of levels that a training loop moves; its gradient has no closed form."""

    shape: Shape = ()


@dataclass(frozen=True, slots=True)
class Gradient(Expr):
    """The gradient of a component's inner objective with respect to one tensor of its state (its optimizer's context)."""

    component: str
    part: str
    shape: Shape
    span: Span = field(default=NOWHERE, compare=False, repr=False)


@dataclass(frozen=True, slots=True)
class Tick(Expr):
    """Updates of a component since its last reset, this one included."""

    component: str
    shape: Shape = ()
    span: Span = field(default=NOWHERE, compare=False, repr=False)


@dataclass(frozen=True, slots=True)
class Due(Expr):
    """Whether this token (or step) ends a period of that many, counted from the first; only `Where` may hold it."""

    period: int
    unit: str = "token"
    shape: Shape = ()


@dataclass(frozen=True, slots=True)
class Position(Expr):
    """How many tokens of the sequence came before this one."""

    shape: Shape = ()


@dataclass(frozen=True, slots=True)
class Age(Expr):
    """How many tokens a datum of a window is older than the update's own: 0 for this token's."""

    shape: Shape = ()


@dataclass(frozen=True, slots=True)
class Window(Expr):
    """A stream at every datum of a component's window, this token's last; its values are kept under `component` and `part`."""

    component: str
    part: str
    shape: Shape


@dataclass(frozen=True, slots=True)
class Named(Expr):
    """The value of an equation of the same component's law: `prediction`, `error`, `gradient`."""

    name: str
    shape: Shape


@dataclass(frozen=True, slots=True)
class Eye(Expr):
    """The identity matrix."""

    shape: Shape


@dataclass(frozen=True, slots=True)
class Full(Expr):
    """A tensor with every entry the same exact number."""

    value: Fraction
    shape: Shape
