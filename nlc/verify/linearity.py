"""Laws and a stream -> whether outputs and states are linear in it, and if not, which equation is not: decided from the laws, not by name.

Every state that depends on the stream is taken to be linear in it and in the state it starts from; the system is when each of its
equations then is, so that it is one homogeneous linear map with coefficients made of everything else.
"""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass
from enum import IntEnum

from nlc.ir.algebra import (
    Add,
    Divide,
    Dot,
    Expr,
    Input,
    Join,
    MatMul,
    Named,
    Now,
    Outer,
    Rotary,
    Scale,
    Split,
    Spread,
    State,
    StopGradient,
    Sum,
    Times,
    Transpose,
    Where,
    Window,
    WindowSum,
    children,
    is_number,
    walk,
)
from nlc.ir.law import PREVIOUS, Laws
from nlc.ir.recents import Convolve, Delay, Recent, Shift
from nlc.ir.starts import starts_from_evidence

Slot = tuple[str, str]


class Degree(IntEnum):
    """How an expression depends on a stream."""

    ZERO = 0
    FREE = 1
    LINEAR = 2
    OTHER = 3


@dataclass(frozen=True, slots=True)
class Linearity:
    """What of a system depends on a stream; `obstacle` says why not linearly, and is empty when it does."""

    stream: str
    outputs: frozenset[str]
    slots: frozenset[Slot]
    obstacle: str = ""


def linearity(laws: Laws, stream: str) -> Linearity:
    """How a system depends on one of its streams."""
    slots = _dependent(laws, stream)
    begun = next((item.name for item in laws.order.model.fast if starts_from_evidence(item)), None)
    if begun is not None:
        return Linearity(stream, frozenset(), slots, f"{begun} starts from what a stream or another level says")
    judge = _Judge(stream, slots, {})
    obstacle = ""
    outputs = set()
    for name, value, slot in _equations(laws):
        degree = judge.degree(value)
        judge.named[name] = degree
        is_lost = slot in slots and degree is Degree.FREE
        if degree is Degree.OTHER or is_lost:
            obstacle = obstacle or f"{name} is not linear in it"
        if slot is None and degree >= Degree.LINEAR:
            outputs.add(name)
    for reset in laws.resets:
        if (reset.state.component, reset.state.part) in slots and judge.degree(reset.value) is Degree.FREE:
            obstacle = obstacle or f"{reset.state.component} starts again from a value of its own"
    names = frozenset(output.name for output in laws.order.model.outputs if output.name in outputs)
    return Linearity(stream, names, slots, obstacle)


def _equations(laws: Laws) -> Iterator[tuple[str, Expr, Slot | None]]:
    """Every equation with the tensor that it moves: of a tick, of the outputs, and of what is kept."""
    for law in laws.laws:
        for equation in law.equations:
            yield equation.name, equation.value, None if equation.part is None else (equation.owner or law.component, equation.part)
    for output in laws.outputs:
        yield output.name, output.value, None
    for item in laws.kept:
        yield item.name, item.value, (item.component, item.part)


def _dependent(laws: Laws, stream: str) -> frozenset[Slot]:
    """The tensors that depend on a stream, at once or later."""
    found: set[Slot] = {(PREVIOUS, stream)}
    while True:
        judge, more = _Judge(stream, frozenset(found), {}), set(found)
        for name, value, slot in _equations(laws):
            judge.named[name] = Degree.LINEAR if judge.depends(value) else Degree.FREE
            if slot is not None and judge.named[name] is Degree.LINEAR:
                more.add(slot)
        if more == found:
            kept = {(item.component, item.part) for item in laws.kept}
            return frozenset(found if (PREVIOUS, stream) in kept else found - {(PREVIOUS, stream)})
        found = more


@dataclass(frozen=True, slots=True)
class _Judge:
    """Degrees of expressions, given which states depend on the stream; `named` grows with the equations of a law."""

    stream: str
    slots: frozenset[Slot]
    named: dict[str, Degree]

    def depends(self, node: Expr) -> bool:
        return any(self._leaf(part) >= Degree.LINEAR for part in walk(node))

    def _leaf(self, node: Expr) -> Degree:
        match node:
            case Input(name):
                return Degree.LINEAR if name == self.stream else Degree.FREE
            case State(component, part) | Window(component, part):
                return Degree.LINEAR if (component, part) in self.slots else Degree.FREE
            case Named(name):
                return self.named.get(name, Degree.FREE)
        return Degree.FREE

    def degree(self, node: Expr) -> Degree:
        """The degree of an expression."""
        if is_number(node, 0):
            return Degree.ZERO
        if not children(node):
            return self._leaf(node)
        parts = [self.degree(child) for child in children(node)]
        match node:
            case Add():
                return _sum(parts)
            case Scale() | Times() | MatMul() | Outer() | Dot():
                return _product(*parts)
            case Divide():
                return parts[0] if parts[1] <= Degree.FREE else Degree.OTHER
            case Where():
                return _sum(parts[1:]) if parts[0] <= Degree.FREE else Degree.OTHER
            case Transpose() | Sum() | Spread() | StopGradient() | Split() | Join() | Rotary() | Now() | WindowSum() | Recent() | Delay():
                return parts[0]
            case Shift():
                return _sum(parts)
            case Convolve():
                return _product(_sum([parts[0], parts[2]]), parts[1])
        return Degree.FREE if max(parts) <= Degree.FREE else Degree.OTHER


def _sum(parts: list[Degree]) -> Degree:
    """Zeros do not matter; what is linear and what is free make something that is neither."""
    kinds = {part for part in parts if part is not Degree.ZERO}
    return Degree.ZERO if not kinds else kinds.pop() if len(kinds) == 1 else Degree.OTHER


def _product(left: Degree, right: Degree) -> Degree:
    if Degree.ZERO in (left, right):
        return Degree.ZERO
    if Degree.FREE in (left, right):
        return max(left, right)
    return Degree.OTHER
