"""Clocks in words: what a frequency is called in reasons, diagnostics and timetables."""

from __future__ import annotations

from collections.abc import Mapping
from fractions import Fraction

from nlc.ir.model import Clock, Family

TICKS: Mapping[Family, str] = {
    Family.ALWAYS: "query",
    Family.TOKEN: "token",
    Family.SEQUENCE: "sequence",
    Family.STEP: "step",
    Family.NEVER: "step",
}

FAMILIES: Mapping[Family, str] = {
    Family.ALWAYS: "always",
    Family.TOKEN: "token clock",
    Family.SEQUENCE: "sequence clock",
    Family.STEP: "step clock",
    Family.NEVER: "never",
}


def speed(clock: Clock) -> tuple[int, Fraction]:
    """Sorts clocks, fastest first; `always` and `never` are one frequency each, whatever their period."""
    return (clock.family.value, Fraction(1)) if clock.family in (Family.ALWAYS, Family.NEVER) else clock.speed


def chunk(clock: Clock) -> int:
    """The ticks between two updates of a clock; the sub-updates of `16 tokens / 5` all run inside one tick, every 16."""
    return speed(clock)[1].numerator


def why_faster(fast: Clock, slow: Clock) -> str:
    """The reason why a clock is faster than another one."""
    if fast.family is slow.family:
        return f"{fast.frequency} > {slow.frequency} updates per {TICKS[fast.family]}"
    return f"{FAMILIES[fast.family]} > {FAMILIES[slow.family]}"


def schedule_text(clock: Clock) -> str:
    """When a clock ticks, as a timetable says it: `every 16 tokens`."""
    if clock.family is Family.ALWAYS:
        return "at every query"
    if clock.family is Family.NEVER:
        return "never"
    tick = TICKS[clock.family]
    period = f"every {tick}" if chunk(clock) == 1 else f"every {chunk(clock)} {tick}s"
    updates = clock.period.denominator
    return period if updates == 1 else f"{updates} times {period}"
