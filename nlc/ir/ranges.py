"""Which values the rates of a model leave to its hyperparameters: none below 0, and where 1 - h is a rate none from 1 on."""

from __future__ import annotations

from nlc.ir.algebra import MINUS_ONE, ONE, Add, Expr, Hyperparameter, Scale
from nlc.ir.model import Component, GradientDescent, Model, Proximal


def rate_of(component: Component) -> Expr | None:
    """The rate at which a level steps, if it does."""
    return component.optimizer.rate if isinstance(component.optimizer, GradientDescent | Proximal) else None


def complement_of(rate: Expr | None) -> str:
    """The hyperparameter h of a rate 1 - h; empty when the rate is another one."""
    match rate:
        case Add((first, Scale(sign, Hyperparameter(name)))) if first == ONE and sign == MINUS_ONE:
            return name
    return ""


def never_negative(model: Model) -> tuple[str, ...]:
    """The hyperparameters below 0 of which some level would climb, or overshoot what it follows; an optimizer's learning rate anyway."""
    rates = [rate_of(component) for component in model.components]
    found = {rate.name for rate in rates if isinstance(rate, Hyperparameter)} | set(below_one(model))
    found |= {"learning_rate"} if model.kind == "optimizer" else set()
    return tuple(item.name for item in model.hyperparameters if item.name in found)


def below_one(model: Model) -> tuple[str, ...]:
    """The hyperparameters from 1 on of which some level would not move, or climb."""
    found = {complement_of(rate_of(component)) for component in model.components}
    return tuple(item.name for item in model.hyperparameters if item.name in found)
