"""Reads settled: every read of a state becomes PREVIOUS or CURRENT, as the clocks of reader and source decide (design section 2).

A held read is a PREVIOUS read of the value that is kept for it.
"""

from __future__ import annotations

from dataclasses import replace as with_changes

from nlc.ir.algebra import Expr, State, StopGradient, When
from nlc.ir.build import replace
from nlc.ir.order import LevelOrder


def held_part(part: str, period: int) -> str:
    """What the value of a tensor after the last whole period is kept under."""
    return f"{part}.held_{period}" if part else f"held_{period}"


def settle(order: LevelOrder, reader: str | None, node: Expr, point: Expr | None = None) -> Expr:
    """The expression as the reader sees it when it runs; `point` is where its FITTED reads are taken (the reader None is an output).

    A level's own state, outside its objective, is the state before its update. `stop_gradient` has done its work by now and goes:
    slower levels still learn through what was under it.
    """

    def change(part: Expr) -> Expr | None:
        match part:
            case StopGradient(inner):
                return settle(order, reader, inner, point)
            case State(when=When.FITTED):
                return point
            case State(part=name, when=When.HELD, period=period):
                return with_changes(part, part=held_part(name, period), when=When.PREVIOUS, period=0)
            case State(component, when=When.CURRENT) if component == reader or not order.sees_new(reader, component):
                return with_changes(part, when=When.PREVIOUS)
        return None

    return replace(node, change)
