"""Slow levels that start again inside training: which do, in what order, and from what.

Where a `reset` by steps ends a period, after the levels that are due have moved, a level is given its `init` anew, and what its optimizer
remembers is forgotten. It starts from slower levels, which have moved by then.
"""

from __future__ import annotations

from nlc.ir.law import Equation, with_parameters
from nlc.ir.model import Component, Model


def restarted(model: Model) -> tuple[Component, ...]:
    """The slow levels that start again by steps, the slowest first: each after those that it starts from."""
    found = (item for item in model.parameters if item.reset is not None and item.reset.is_counted)
    return tuple(sorted(found, key=lambda item: item.every.speed, reverse=True))


def restart_period(component: Component) -> int:
    """The steps after which a slow level starts again."""
    assert component.reset is not None
    return int(component.reset.period)


def restart_equations(model: Model) -> tuple[Equation, ...]:
    """What every tensor of these levels starts again from, and when, for readers of the laws."""
    return tuple(
        Equation(
            f"{component.name}.{state.part}" if len(component.states) > 1 else component.name,
            with_parameters(model, value),
            f"starts again after every {component.reset}, its optimizer too",
        )
        for component in restarted(model)
        for state, value in zip(component.states, component.init, strict=True)
    )
