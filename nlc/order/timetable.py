"""Which components move when: levels to lines like `every 16 tokens: slow_memory`, for headers, `explain` and graphs."""

from __future__ import annotations

from nlc.ir.order import LevelOrder
from nlc.order.clocks import schedule_text, speed


def timetable(order: LevelOrder) -> tuple[tuple[str, tuple[str, ...]], ...]:
    """The components by frequency, fastest first, in the order in which they run: `("every 16 tokens", ("a", "b"))`."""
    clocks = {name: order.model.component(name).every for name in order.run_order}
    by_speed = {speed(level.clock): level.clock for level in order.levels}
    return tuple(
        (schedule_text(clock), tuple(name for name in order.run_order if speed(clocks[name]) == key)) for key, clock in by_speed.items()
    )
