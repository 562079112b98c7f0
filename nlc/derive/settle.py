"""Reads settled: every read of a state becomes PREVIOUS or CURRENT, as the clocks of reader and source decide (design section 2).

A held read is a PREVIOUS read of the value that is kept for it.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import replace as with_changes

from nlc.ir.algebra import Expr, State, StopGradient, When
from nlc.ir.build import replace
from nlc.ir.law import Held, with_parameters
from nlc.ir.order import LevelOrder


def settle(order: LevelOrder, reader: str | None, node: Expr, point: Mapping[str, Expr] | None = None) -> Expr:
    """The expression as the reader sees it when it runs; `point` gives, by part, where FITTED reads are taken (reader None: an output).

    A level's own state, outside its objective, is the state before its update. `stop_gradient` has done its work by now and goes:
    slower levels still learn through what was under it.
    """

    def change(part: Expr) -> Expr | None:
        match part:
            case StopGradient(inner):
                return settle(order, reader, inner, point)
            case State(part=tensor, when=When.FITTED):
                return point[tensor] if point else None
            case State(component) if order.model.is_parameter(component):
                return with_parameters(order.model, part)
            case State(part=name, when=When.HELD, period=period):
                return with_changes(part, part=Held(name, period).part, when=When.PREVIOUS, period=0)
            case State(component, when=When.CURRENT) if component == reader or not order.sees_new(reader, component):
                return with_changes(part, when=When.PREVIOUS)
        return None

    return replace(node, change)
