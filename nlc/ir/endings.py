"""Where a sequence has ended: what a level that moves there evaluates then, and not where it gathers its data, and what it sees of streams.

The last token is one tick ago: a stream is its previous value, its previous value is one tick older, and so is every delay.
"""

from __future__ import annotations

from collections.abc import Iterator
from typing import TYPE_CHECKING

from nlc.ir.algebra import Expr, Input
from nlc.ir.build import replace
from nlc.ir.dims import Dim
from nlc.ir.recents import Delay, Recent
from nlc.ir.steps import GradientDescent, Proximal
from nlc.source import Span

if TYPE_CHECKING:
    from nlc.ir.model import Component


def at_the_end(component: Component) -> Iterator[Expr]:
    """What a level evaluates when it moves, and not where it gathers its data."""
    rate = (component.optimizer.rate,) if isinstance(component.optimizer, GradientDescent | Proximal) else ()
    yield from (*component.retention, *rate)
    if component.host or component.has_inlined_optimizer:
        yield component.follows


def ended(value: Expr) -> Expr:
    """The expression over streams as they are known when the sequence has ended."""

    def change(node: Expr) -> Expr | None:
        match node:
            case Input(name, shape, True):
                return _before(Input(name, shape), 2, node.span)
            case Input(name, shape):
                return Input(name, shape, delayed=True, span=node.span)
            case Delay(Recent(x, span=span), tokens):
                return _before(x, tokens + 1, span)
        return None

    return replace(value, change)


def _before(x: Expr, tokens: int, span: Span) -> Delay:
    """A value so many ticks ago."""
    return Delay(Recent(x, (Dim.number(tokens), *x.shape), span), tokens, x.shape)
