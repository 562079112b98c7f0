"""Work and a limit -> whether it is done in time, whatever the machine and however long the session.

A limit holds for a machine that takes YARDSTICK for a fixed piece of pure Python, which is timed in the same process just before each run;
the session's heap is frozen, so that the garbage collector goes through what the run itself made, and no more.
"""

from __future__ import annotations

import gc
import os
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from time import process_time

YARDSTICK = 0.002
"""Seconds of processor time."""
PATIENCE = 8
"""Runs, of which one must be in time: a neighbour may have the cache."""


def is_in_time(limit: float, work: Callable[[], object], clock: Callable[[], float] = process_time, *, patience: int = PATIENCE) -> bool:
    """Whether a run takes less than `limit` seconds by the clock, or, on a slower machine, as many times more as the yardstick does."""
    with _frozen_heap():
        if _seconds(work, clock) < limit:
            return True
        return any(_seconds(_pure_python, process_time) / YARDSTICK * limit > _seconds(work, clock) for _ in range(patience))


def time_of_children() -> float:
    """The processor time of the processes that were started and have ended."""
    times = os.times()
    return times.children_user + times.children_system


def _seconds(work: Callable[[], object], clock: Callable[[], float]) -> float:
    start = clock()
    work()
    return clock() - start


def _pure_python() -> int:
    """Strings, tuples and dicts, as a compiler makes them."""
    table: dict[tuple[str, int], str] = {}
    for number in range(12_000):
        word = f"name_{number % 97}"
        table[word, number % 1_013] = word.upper().partition("_")[0]
    return len(table)


@contextmanager
def _frozen_heap() -> Iterator[None]:
    gc.freeze()
    try:
        yield
    finally:
        gc.unfreeze()
