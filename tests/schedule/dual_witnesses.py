"""A memory that the dual form fits, and for each condition laws that violate it alone: they would be computed wrongly or not at all."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import replace

from nlc.derive import derive_laws
from nlc.ir.algebra import HALF, Expr, State, When
from nlc.ir.build import add, apply_map, dot, matmul, replace as replaced, scale, subtract
from nlc.ir.law import Laws
from nlc.ir.model import Component, GradientPoint, Model, StateDeclaration
from nlc.order import order_levels
from tests import models
from tests.derive.systems import with_memory
from tests.models import D_V, MATRIX, stream

FOUR_TOKENS = 4


def _read(component: str, when: When, vector: Expr) -> Expr:
    """A matrix times a vector, plus a bias."""
    return add(matmul(State(component, "", MATRIX, when), vector), State(component, "b", (D_V,), when))


def held_memory() -> Component:
    """Two tensors that learn at once, by gradients held over four tokens."""
    error = subtract(_read("memory", When.FITTED, stream("k")), stream("v"))
    declared = (StateDeclaration(part="", shape=MATRIX), StateDeclaration(part="b", shape=(D_V,)))
    return replace(
        models.memory(scale(HALF, dot(error, error)), stream("beta"), prediction=None, value=None),
        states=declared,
        gradient_at=GradientPoint.HELD,
        gradient_period=FOUR_TOKENS,
    )


def _laws(model: Model) -> Laws:
    return derive_laws(order_levels(model))


def not_held(fitting: Component) -> Laws:
    """The gradient of a token is taken at what the tokens before it have written."""
    return _laws(with_memory(replace(fitting, gradient_at=GradientPoint.PREVIOUS)))


def started_from_another(fitting: Component) -> Laws:
    """The memory starts once, from what another becomes at the first token, which the block that begins with it does not know yet."""
    model = with_memory(replace(fitting, init=(State("other", "", MATRIX, When.CURRENT), stream("v"))))
    return _laws(replace(model, components=(*model.components, _renamed(fitting, "other", scale(HALF, stream("v"))))))


def read_with_a_later_read(fitting: Component) -> Laws:
    """The query is what a memory says that runs after this one."""
    other = _renamed(fitting, "other", _read("memory", When.CURRENT, stream("k")))
    asked = matmul(State("memory", "", MATRIX, When.CURRENT), _as_key(_read("other", When.CURRENT, stream("q"))))
    model = with_memory(fitting, asked)
    return _laws(replace(model, components=(fitting, other)))


def _as_key(value: Expr) -> Expr:
    """A (d_k) vector that depends on a (d_v) one."""
    return apply_map("tanh", scale(dot(value, stream("v")), stream("k")))


def _renamed(component: Component, name: str, value: Expr) -> Component:
    """The memory under another name, fitted to another value."""

    def change(node: Expr) -> Expr | None:
        match node:
            case State(when=When.FITTED):
                return replace(node, component=name)
        return value if node == stream("v") else None

    objective = replaced(component.objective, change)
    return replace(component, name=name, objective=objective, follows=objective)


DUAL_WITNESSES: dict[str, Callable[[Component], Laws]] = {
    "a memory of several tensors, or with a norm, that moves linearly by gradients at a held state": not_held,
    "starts that are known where a sequence or a block of it begins": started_from_another,
    "reads with vectors that come before it: streams, or reads of earlier memories": read_with_a_later_read,
}
