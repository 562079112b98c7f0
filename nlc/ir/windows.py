"""Windows of levels that take steps: an objective over the last n tokens, written out as a sum over how old their data are.

The datum of `age` tokens ago is read as `delay(stream, age tokens)`; the streams are carried as those of any delay are. Before the
first token streams are zero, and data that would matter all the same are left out by the count of tokens.
"""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from typing import Literal

from nlc.ir.algebra import ONE, ZERO, Age, Compare, Expr, Now, Position, State, When, Where, WindowSum, contains
from nlc.ir.build import add, constant, full, replace, scale
from nlc.ir.clock import Family
from nlc.ir.dims import Dim
from nlc.ir.model import Component, Model
from nlc.ir.recents import Delay, Recent

LARGEST = 16
"""Tokens that such a window may have: each is a write of its own at every token."""


def window_text(window: int | Literal["all"] | None, segment: int) -> str:
    """The tokens of a window, in words, which begins anew after every `segment` tokens, if that is not 0."""
    if window == "all":
        return "all tokens so far"
    since = f"since the last {segment} were full" if segment else ""
    if segment == window:
        return f"the tokens {since}"
    return " ".join(filter(None, (f"the last {window} tokens", since)))


def tokens_stepped_over(component: Component) -> int:
    """How many tokens the objective of a level that takes steps ranges over; 0 for a level without such a window."""
    is_stepped = component.window is not None and not component.is_solved and component.every.family is Family.TOKEN
    return component.window if is_stepped and isinstance(component.window, int) and component.every.period == 1 else 0


def older_data(component: Component) -> Iterator[Recent]:
    """What is carried of each stream of the window: its values at the tokens before this one."""
    older = tokens_stepped_over(component) - 1
    if older > 0:
        yield from (Recent(item.value, (Dim.number(older), *item.value.shape), component.place("window")) for item in component.data)


def at_age(component: Component, node: Expr, age: int) -> Expr:
    """An expression over the data of the window, at the datum of so many tokens ago."""
    delayed: Mapping[Expr, Expr] = {recent.x: Delay(recent, age, recent.x.shape) for recent in older_data(component)} if age else {}

    def change(part: Expr) -> Expr | None:
        match part:
            case Now(x):
                return x
            case Age():
                return constant(age)
        return delayed.get(part)

    return replace(node, change)


def over_ages(component: Component, node: Expr) -> Expr:
    """The expression with every sum over the window of a level that takes steps written out, the youngest datum first."""
    tokens = tokens_stepped_over(component)

    def change(part: Expr) -> Expr | None:
        if not tokens or not isinstance(part, WindowSum):
            return None
        counts = _matters_when_zero(component, part.x)
        return add(*(_there(at_age(component, part.x, age), age if counts else 0) for age in range(tokens)))

    return replace(node, change)


def with_steps_over_ages(model: Model, node: Expr) -> Expr:
    """An expression about a whole system, of which one level takes steps over a window, with the sums over it written out."""
    windowed = [component for component in model.components if component.window is not None]
    return over_ages(windowed[0], node) if windowed else node


def _there(value: Expr, age: int) -> Expr:
    """The value, or nothing where the sequence had not begun so many tokens ago."""
    return scale(Where(Compare(">=", Position(), constant(age), ()), ONE, ZERO, ()), value) if age else value


def _matters_when_zero(component: Component, node: Expr) -> bool:
    """Whether a datum whose streams are zero may still move the state."""
    zeros: Mapping[Expr, Expr] = {item.value: full(0, item.value.shape) for item in component.data}
    nothing = replace(node, lambda part: part.x if isinstance(part, Now) else zeros.get(part))
    return contains(nothing, lambda part: isinstance(part, State) and part.when is When.FITTED and part.component == component.name)
