"""The components of a model sorted into levels by Definition 2, with the reason for every pair: Model to LevelOrder."""

from __future__ import annotations

from nlc.diagnostics import CompileError
from nlc.ir.model import Model
from nlc.ir.order import LevelOrder
from nlc.order.checks import CHECKS
from nlc.order.cycles import same_tick_cycles
from nlc.order.dependencies import dependencies
from nlc.order.faster_than import compare
from nlc.order.levels import levels_of, relations_of, run_order_of

__all__ = ["order_levels"]


def order_levels(model: Model) -> LevelOrder:
    """Sort the components into levels, fastest first; CompileError (NLC3xx) when no timetable can serve them."""
    components = {component.name: component for component in model.components}
    edges = dependencies(model)
    comparison = compare({name: component.every for name, component in components.items()}, edges)
    problems = [problem for check in CHECKS for problem in check(model)]
    problems.extend(same_tick_cycles(components, comparison.all_needs))
    if problems:
        raise CompileError(*problems)
    levels = levels_of(comparison)
    return LevelOrder(
        model=model,
        levels=levels,
        edges=edges,
        relations=relations_of(levels, comparison),
        run_order=run_order_of(levels, edges),
        training=tuple(order_levels(item.optimizer) for item in model.training),
        layers=tuple(order_levels(item) for item in model.network.models) if model.network else (),
    )
