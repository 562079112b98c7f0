"""The linear law of a memory whose gradients are given: how several tensors, and the levels of their optimizer, move together.

Per token, for every tensor X of a memory and of each level of its optimizer,

    X' = decay * X + sum over feeds of coefficient * (the same tensor of another level) + sum over writes of value along^T

with scalars for all decays and coefficients, the same for all tensors, and values that no state moving at every token enters: the
gradients of a block are taken at one held state. The dual form consumes it (design section 5).
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass, replace

from nlc.ir.algebra import Expr, LayerNorm, When, walk
from nlc.ir.law import Equation


@dataclass(frozen=True, slots=True)
class Feed:
    """What a level is given of another one: its tensor after (CURRENT) or before (PREVIOUS) this token's update, times a scalar."""

    source: str
    when: When
    coefficient: Expr


@dataclass(frozen=True, slots=True)
class Flow:
    """How the tensors of one level enter its new ones."""

    component: str
    decay: Expr
    feeds: tuple[Feed, ...] = ()


@dataclass(frozen=True, slots=True)
class GivenWrite:
    """value along^T, added to one tensor of one level; the value itself when the tensor is a vector and `along` None."""

    component: str
    part: str
    value: Expr
    along: Expr | None


@dataclass(frozen=True, slots=True)
class DualLaw:
    """The levels, each after those that feed it; what is written; and the equations that say what, of scalars and vectors alone."""

    flows: tuple[Flow, ...]
    writes: tuple[GivenWrite, ...]
    equations: tuple[Equation, ...] = ()

    @property
    def components(self) -> tuple[str, ...]:
        return tuple(flow.component for flow in self.flows)

    @property
    def values(self) -> tuple[Expr, ...]:
        """Every expression in it."""
        coefficients = (value for flow in self.flows for value in (flow.decay, *(feed.coefficient for feed in flow.feeds)))
        written = (value for write in self.writes for value in (write.value, write.along) if value is not None)
        return (*(equation.value for equation in self.equations), *coefficients, *written)

    @property
    def has_norm(self) -> bool:
        """Whether a gradient goes through a norm."""
        return any(isinstance(node, LayerNorm) for equation in self.equations for node in walk(equation.value))

    def over(self, change: Callable[[Expr], Expr]) -> DualLaw:
        """The law with every expression changed."""
        feeds = {flow: tuple(replace(feed, coefficient=change(feed.coefficient)) for feed in flow.feeds) for flow in self.flows}
        return DualLaw(
            tuple(replace(flow, decay=change(flow.decay), feeds=feeds[flow]) for flow in self.flows),
            tuple(replace(write, value=change(write.value), along=write.along and change(write.along)) for write in self.writes),
            tuple(replace(equation, value=change(equation.value)) for equation in self.equations),
        )

    def sources(self, component: str) -> tuple[str, ...]:
        """The levels whose writes and starts reach a level, itself first."""
        found = [component]
        for name in found:
            flow = next(flow for flow in self.flows if flow.component == name)
            found.extend(feed.source for feed in flow.feeds if feed.source not in found)
        return tuple(found)
