"""What is claimed about a system: equations and inequalities, minima, orders of levels, that it computes what another does, readings."""

from __future__ import annotations

from dataclasses import dataclass, field
from fractions import Fraction
from typing import TYPE_CHECKING, Literal as OneOf

from nlc.diagnostics import Diagnostic
from nlc.ir.algebra import Compare, Expr
from nlc.source import NOWHERE, Span

if TYPE_CHECKING:
    from nlc.ir.model import Model


@dataclass(frozen=True, slots=True)
class IllTyped:
    """A claim whose shapes do not match; `identified` is the claim with the clashing dims taken to be one."""

    diagnostic: Diagnostic
    identified: tuple[Expr, Expr] | None = None
    dims: tuple[str, ...] = ()


Sign = OneOf["==", "!=", "<", "<=", ">", ">="]


@dataclass(frozen=True, slots=True)
class Minimum:
    """That `objective` is least, over all values of the leaf `over`, where it has the value claimed."""

    objective: Expr
    over: Expr


@dataclass(frozen=True, slots=True)
class Measure:
    """`measure: gap by NAME in [VALUES]`; `models` are this system and the other at each value, where systems are compared."""

    name: str
    values: tuple[Fraction, ...]
    models: tuple[tuple[Model, Model], ...] = ()


@dataclass(frozen=True, slots=True, kw_only=True)
class EqualityClaim:
    """`prove: left == right`, about one tick from any state; `given` are equations assumed, `bounds` comparisons.

    With another `sign` the sides are claimed to compare so, `!=` saying that `==` is no identity. With a `minimum` the left side is the
    variable of an objective and the right one where that is least.
    """

    says: str
    expect: str
    sides: tuple[Expr, Expr] | IllTyped
    sign: Sign = "=="
    minimum: Minimum | None = None
    given: tuple[tuple[Expr, Expr], ...] = ()
    bounds: tuple[Compare, ...] = ()
    measure: Measure | None = None
    id: str = ""
    instead: str = ""
    text: str = ""
    cites: tuple[str, ...] = ()
    span: Span = field(default=NOWHERE, compare=False, repr=False)


@dataclass(frozen=True, slots=True, kw_only=True)
class OrderClaim:
    """`order: a > b ~ c`: a is faster than b, b and c tie."""

    says: str
    expect: str
    names: tuple[str, ...]
    relations: tuple[OneOf[">", "<", "~"], ...]
    id: str = ""
    instead: str = ""
    text: str = ""
    cites: tuple[str, ...] = ()
    span: Span = field(default=NOWHERE, compare=False, repr=False)


@dataclass(frozen=True, slots=True, kw_only=True)
class SameAsClaim:
    """`same_as: OTHER`: this whole spec computes what another one does.

    `bindings` give the other's inputs and hyperparameters as expressions of this model (by default, the same names);
    `varying` names this model's hyperparameters that take another value at every tick (a schedule).
    """

    says: str
    expect: str
    other: Model
    other_name: str
    bindings: tuple[tuple[str, Expr], ...] = ()
    given: tuple[tuple[Expr, Expr], ...] = ()
    options: tuple[tuple[str, Fraction], ...] = ()
    varying: tuple[str, ...] = ()
    measure: Measure | None = None
    id: str = ""
    instead: str = ""
    text: str = ""
    cites: tuple[str, ...] = ()
    span: Span = field(default=NOWHERE, compare=False, repr=False)


@dataclass(frozen=True, slots=True, kw_only=True)
class ReadingClaim:
    """`reading: TEXT`: something said in words, which has no formula to decide."""

    says: str
    expect: str
    id: str = ""
    instead: str = ""
    text: str = ""
    cites: tuple[str, ...] = ()
    span: Span = field(default=NOWHERE, compare=False, repr=False)


Claim = EqualityClaim | OrderClaim | SameAsClaim | ReadingClaim
