"""What systems remember of their streams: the nodes of `delay` and `convolve`, and what is carried for them."""

from __future__ import annotations

from dataclasses import dataclass, field

from nlc.ir.dims import Shape
from nlc.ir.leaves import Expr
from nlc.source import NOWHERE, Span


@dataclass(frozen=True, slots=True)
class Recent(Expr):
    """The values of x at the last n ticks before this one, (n, *shape of x): the oldest first, zeros before the first token.

    Of an x with several values a tick, at a part of the tick, these are the values at the same part.
    """

    x: Expr
    shape: Shape
    span: Span = field(default=NOWHERE, compare=False, repr=False)


@dataclass(frozen=True, slots=True)
class Shift(Expr):
    """Recent values after a tick, (n * values a tick, *shape of x): without those of the oldest tick, with those of this one."""

    recent: Expr
    x: Expr
    shape: Shape


@dataclass(frozen=True, slots=True)
class Delay(Expr):
    """The value so many ticks ago, of recent values: `delay(x, 2 tokens)`."""

    recent: Expr
    tokens: int
    shape: Shape


@dataclass(frozen=True, slots=True)
class Convolve(Expr):
    """The causal convolution along time, entry by entry: kernel[0] * x + kernel[1] * (x one tick ago) + ...: `convolve(x, kernel)`."""

    x: Expr
    kernel: Expr
    recent: Expr
    shape: Shape


def rebuild_of_past(node: Recent | Shift | Delay | Convolve, parts: tuple[Expr, ...]) -> Recent | Shift | Delay | Convolve:
    """The node over other parts."""
    match node:
        case Recent():
            return Recent(parts[0], node.shape, node.span)
        case Shift():
            return Shift(parts[0], parts[1], node.shape)
        case Delay(_, tokens):
            return Delay(parts[0], tokens, node.shape)
        case Convolve():
            return Convolve(parts[0], parts[1], parts[2], node.shape)


@dataclass(frozen=True, slots=True, kw_only=True)
class RecentValues:
    """What is carried for delays and convolutions of an expression over streams: its values at the last tokens, under a name.

    `is_whole`: there is one value for all places along the axes, in a system that splits or joins them.
    """

    name: str
    recent: Recent
    is_whole: bool = False
