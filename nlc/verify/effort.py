"""How much work one claim may take: a budget of products of terms, counted and never timed, so that every machine gives up alike."""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager
from contextvars import ContextVar
from dataclasses import dataclass

MOST_PRODUCTS = 400_000
"""Products of terms for one claim: some ten seconds."""


class LimitReached(Exception):
    """A normal form is too large, or too much work."""


@dataclass(slots=True)
class Budget:
    """What is left of the products."""

    left: int


BUDGET: ContextVar[Budget | None] = ContextVar("BUDGET", default=None)


@contextmanager
def limited_effort(products: int = MOST_PRODUCTS) -> Iterator[None]:
    """Inside, products of terms are counted; more than so many raise LimitReached."""
    token = BUDGET.set(Budget(products))
    try:
        yield
    finally:
        BUDGET.reset(token)


def spend(products: int) -> None:
    """Count some products of terms; raises LimitReached when there were too many."""
    budget = BUDGET.get()
    if budget is None:
        return
    budget.left -= products
    if budget.left < 0:
        raise LimitReached(f"more than {MOST_PRODUCTS:,} products of terms in all")
