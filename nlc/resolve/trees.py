"""An optimizer read for one tensor -> the same optimizer for a memory that has several.

`like(weights)` is a tree: what is elementwise is done to each tensor, `inner` and every other sum run over all of them, and a norm is that
of one tensor (design section 3).
"""

from __future__ import annotations

from dataclasses import replace as with_changes

from nlc.ir.algebra import Dot, Expr, Gradient, Norm, Softmax, State, Sum, children, contains
from nlc.ir.build import add, dot, rebuild, shaped, total
from nlc.ir.dims import LIKE_WEIGHTS, Shape
from nlc.ir.model import Component, GradientDescent, Optimizer, Proximal, StateDeclaration

TREE: Shape = (LIKE_WEIGHTS,)
ONE_TENSOR = StateDeclaration(part="", shape=TREE)
"""What an optimizer's levels take `like(weights)` to be, until it is known how many tensors there are."""

States = tuple[StateDeclaration, ...]


def over_tensors(component: Component, states: States) -> Component:
    """A level of an optimizer that was read for one tensor, for all of these; what differs between them is marked as not compiled."""
    if component.states != (ONE_TENSOR,):
        other = ("an optimizer with a memory of its own shape", component.place("memory"))
        return with_changes(component, unsupported=(*component.unsupported, other))
    objective, follows = _summed(component.objective, states), _summed(component.follows, states)
    optimizer = _stepping(component.optimizer, states)
    scalars = (objective, follows, optimizer.rate) if isinstance(optimizer, GradientDescent | Proximal) else (objective, follows)
    is_mixed = any(contains(value, _is_tree) for value in scalars)
    marks = (("an optimizer whose step differs from tensor to tensor", component.place("optimizer")),) if is_mixed else ()
    return with_changes(
        component,
        states=states,
        objective=objective,
        follows=follows,
        optimizer=optimizer,
        retention=tuple(_of_tensor(kept, state, states) for kept in component.retention for state in states),
        init=tuple(_of_tensor(value, state, states) for value in component.init for state in states),
        key=None,
        value=None,
        prediction=None,
        unsupported=(*component.unsupported, *marks),
    )


def _stepping(optimizer: Optimizer, states: States) -> Optimizer:
    if isinstance(optimizer, GradientDescent | Proximal):
        return with_changes(optimizer, rate=_summed(optimizer.rate, states))
    return optimizer


def _summed(node: Expr, states: States) -> Expr:
    """A scalar of the whole tree; where it asks for something of a single tensor, it stays as it is."""
    match node:
        case Norm() | Softmax() if contains(node, _is_tree):
            return node
        case State() | Gradient() if node.shape == TREE:
            return node
    return _over_all(node, states) or _rebuilt(node, tuple(_summed(child, states) for child in children(node)), node.shape)


def _of_tensor(node: Expr, state: StateDeclaration, states: States) -> Expr:
    """What an expression of the tree is for one of its tensors."""
    shape = state.shape if node.shape == TREE else node.shape
    match node:
        case State() | Gradient() if node.shape == TREE:
            return with_changes(node, part=state.part, shape=shape)
    return _over_all(node, states) or _rebuilt(node, tuple(_of_tensor(child, state, states) for child in children(node)), shape)


def _over_all(node: Expr, states: States) -> Expr | None:
    """A sum over the tree: the sum over its tensors."""
    match node:
        case Dot(left, right) if left.shape == TREE:
            return add(*(dot(_of_tensor(left, state, states), _of_tensor(right, state, states)) for state in states))
        case Sum(x) if x.shape == TREE:
            return add(*(total(_of_tensor(x, state, states)) for state in states))
    return None


def _rebuilt(node: Expr, parts: tuple[Expr, ...], shape: Shape) -> Expr:
    return rebuild(node if node.shape == shape else shaped(node, shape), parts)


def _is_tree(node: Expr) -> bool:
    return node.shape == TREE
