"""What a spec claims about its system: equations, orders of levels, and that it computes what another spec does."""

from __future__ import annotations

from dataclasses import dataclass, field
from fractions import Fraction
from typing import TYPE_CHECKING, Literal as OneOf

from nlc.diagnostics import Diagnostic
from nlc.ir.algebra import Expr
from nlc.source import NOWHERE, Span

if TYPE_CHECKING:
    from nlc.ir.model import Model


@dataclass(frozen=True, slots=True)
class IllTyped:
    """A claim whose shapes do not match; `identified` is the claim with the clashing dims taken to be one."""

    diagnostic: Diagnostic
    identified: tuple[Expr, Expr] | None = None
    dims: tuple[str, ...] = ()


@dataclass(frozen=True, slots=True, kw_only=True)
class EqualityClaim:
    """`prove: left == right`, about one tick from any state; `given` are equations `state == value` assumed."""

    says: str
    expect: str
    sides: tuple[Expr, Expr] | IllTyped
    given: tuple[tuple[Expr, Expr], ...] = ()
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
    text: str = ""
    cites: tuple[str, ...] = ()
    span: Span = field(default=NOWHERE, compare=False, repr=False)


Claim = EqualityClaim | OrderClaim | SameAsClaim
