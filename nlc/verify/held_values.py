"""What a system holds beside its states, followed tick by tick: values that change at the last token of every period alone."""

from __future__ import annotations

from collections.abc import Mapping

from nlc.ir.algebra import Due, Expr, State, When, Where, walk
from nlc.ir.build import full
from nlc.ir.law import POSITION, PREVIOUS, Kept, Laws
from nlc.verify.proofs import Evaluate, Value


def is_followed(laws: Laws) -> bool:
    """Whether periods decide about held values alone: neither about updates nor about starts."""
    moves = (*(equation.value for law in laws.laws for equation in law.equations), *(equation.value for equation in laws.outputs))
    has_periods = any(isinstance(node, Due) for value in moves for node in walk(value))
    return not laws.resets and not has_periods and all(_period(item) for item in _held(laws))


def held_at_first(laws: Laws, evaluate: Evaluate[Value], known: Mapping[Expr, Value]) -> dict[Expr, Value]:
    """Held values before the first tick: zeros, as all states."""
    return {_leaf(item): evaluate(full(0, item.value.shape), known) for item in _held(laws)}


def held_after(laws: Laws, tick: int, held: Mapping[Expr, Value], after: Mapping[Expr, Value]) -> dict[Expr, Value]:
    """Held values after a tick, whose new states are in `after`."""
    return {_leaf(item): held[_leaf(item)] if tick % _period(item) else after[_now(item)] for item in _held(laws)}


def held_leaves(laws: Laws, tick: int = 0) -> dict[State, Expr]:
    """The held values that change at the end of a tick, with what they become; at tick 0 all of them."""
    return {_leaf(item): _now(item) for item in _held(laws) if tick % _period(item) == 0}


def _held(laws: Laws) -> tuple[Kept, ...]:
    return tuple(item for item in laws.kept if item.component not in (POSITION, PREVIOUS))


def _leaf(item: Kept) -> State:
    return State(item.component, item.part, item.value.shape, When.PREVIOUS)


def _now(item: Kept) -> Expr:
    return item.value.then if isinstance(item.value, Where) else item.value


def _period(item: Kept) -> int:
    """The period that a value is held for; 0 for anything else that is kept."""
    match item.value:
        case Where(Due(period), State(when=When.CURRENT), State(when=When.PREVIOUS)):
            return period
        case State(when=When.CURRENT):
            return 1
    return 0
