"""Level orders built by hand: components run as the model lists them. For tests that must not depend on the order stage."""

from __future__ import annotations

from nlc.ir.model import Model
from nlc.ir.order import LevelOrder


def order_of(model: Model) -> LevelOrder:
    return LevelOrder(model, (), (), (), tuple(component.name for component in model.components))
