"""How a level moves: one step down its objective, explicit or implicit, the minimiser itself, or by a training loop outside."""

from __future__ import annotations

from dataclasses import dataclass
from enum import Enum

from nlc.ir.algebra import Expr


class GradientPoint(Enum):
    """Where a level's gradient is taken."""

    PREVIOUS = "previous"
    RETAINED = "retained"
    HELD = "held"


@dataclass(frozen=True, slots=True)
class GradientDescent:
    """One explicit step: state = retained - rate * gradient."""

    rate: Expr


@dataclass(frozen=True, slots=True)
class Proximal:
    """One implicit step, centred on the retained state."""

    rate: Expr


@dataclass(frozen=True, slots=True)
class ClosedForm:
    """The minimiser of the objective itself."""


@dataclass(frozen=True, slots=True)
class Trained:
    """Moved from outside: by whatever training loop holds the module, with the optimizer that it pleases."""


Optimizer = GradientDescent | Proximal | ClosedForm | Trained
