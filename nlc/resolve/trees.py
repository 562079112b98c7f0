"""An optimizer read for one tensor -> the same optimizer for a memory that has several.

`like(weights)` is a tree: what is elementwise, a product of matrices or a norm is done to each tensor alone, `inner` and every other sum
run over all of them (design section 3). A rate that differs from tensor to tensor, by their rows and columns, weighs what each follows.
"""

from __future__ import annotations

from collections.abc import Iterable, Iterator
from dataclasses import dataclass, replace as with_changes

from nlc.ir.algebra import ONE, Add, Dot, Expr, Gradient, Norm, Scale, Size, Softmax, State, Sum, When, children, contains, walk
from nlc.ir.build import add, dot, rebuild, scale, shaped, total
from nlc.ir.dims import COLUMNS, ENTRIES, LIKE_WEIGHTS, ROWS, Shape
from nlc.ir.model import Component, GradientDescent, Optimizer, Proximal, StateDeclaration

States = tuple[StateDeclaration, ...]

OF_TREE = frozenset({*LIKE_WEIGHTS.names, *ROWS.names, *COLUMNS.names})
"""The names of the sizes of `like(weights)`: what has one of them differs from tensor to tensor."""


def one_tensor(like: Shape) -> StateDeclaration:
    """What an optimizer's levels take `like(weights)` to be, until it is known how many tensors there are."""
    return StateDeclaration(part="", shape=like)


def over_tensors(component: Component, states: States, like: Shape) -> Component:
    """A level of an optimizer, read for one tensor `like`, for all of these; what differs between them is marked as not compiled."""
    if component.states != (one_tensor(like),):
        other = ("an optimizer with a memory of its own shape", component.place("memory"))
        return with_changes(component, unsupported=(*component.unsupported, other))
    tensors = [_Tensor(state, like) for state in states]
    objective, follows = _summed(component.objective, tensors), _summed(component.follows, tensors)
    optimizer, follows = _stepping(component.optimizer, follows, tensors)
    scalars = (objective, follows, optimizer.rate) if isinstance(optimizer, GradientDescent | Proximal) else (objective, follows)
    place = component.objective_span if contains(follows, _is_of_tree) else component.place("optimizer")
    is_mixed = any(contains(value, _is_of_tree) for value in scalars)
    marks = (("an optimizer whose step differs from tensor to tensor", place),) if is_mixed else ()
    return with_changes(
        component,
        states=states,
        objective=objective,
        follows=follows,
        optimizer=optimizer,
        retention=tuple(tensor.of(kept, tensors) for kept in component.retention for tensor in tensors),
        init=tuple(tensor.of(value, tensors) for value in component.init for tensor in tensors),
        key=None,
        value=None,
        prediction=None,
        unsupported=(*component.unsupported, *marks),
    )


@dataclass(frozen=True, slots=True)
class _Tensor:
    """One tensor of a tree, in the place of `like`."""

    state: StateDeclaration
    like: Shape

    def of(self, node: Expr, tensors: list[_Tensor]) -> Expr:
        """What an expression of the tree is for this tensor."""
        if (whole := _over_all(node, tensors)) is not None:
            return whole
        return rebuild(self._moved(node), tuple(self.of(child, tensors) for child in children(node)))

    def _moved(self, node: Expr) -> Expr:
        """The node itself, in the sizes of this tensor."""
        match node:
            case State() | Gradient() if _is_of_tree(node):
                return with_changes(node, part=self.state.part, shape=self._sized(node.shape))
            case Size(dim):
                return with_changes(node, dim=self._sized((dim,))[0])
        return shaped(node, self._sized(node.shape)) if _is_of_tree(node) else node

    def _sized(self, shape: Shape) -> Shape:
        if shape == ENTRIES:
            return self.state.shape
        sizes = {name: size for dim, size in zip(self.like, self.state.shape, strict=False) for name in dim.names}
        return tuple(dim.substitute(sizes) for dim in shape)


def _stepping(optimizer: Optimizer, follows: Expr, tensors: list[_Tensor]) -> tuple[Optimizer, Expr]:
    """The step, and what it follows: factors of an explicit rate that differ from tensor to tensor weigh the terms of the tensors."""
    if not isinstance(optimizer, GradientDescent | Proximal):
        return optimizer, follows
    factors = tuple(_factors(_summed(optimizer.rate, tensors)))
    own = [item for item in factors if contains(item, _is_of_tree)]
    weighed = _weighed(follows, own, tensors) if own and isinstance(optimizer, GradientDescent) else None
    if weighed is None:
        return with_changes(optimizer, rate=_product(factors)), follows
    return GradientDescent(_product(item for item in factors if item not in own)), weighed


def _weighed(follows: Expr, factors: list[Expr], tensors: list[_Tensor]) -> Expr | None:
    """A sum of terms that are each about one tensor, each times the factors of that tensor; None for any other objective."""
    terms = follows.terms if isinstance(follows, Add) else (follows,)
    weighed = []
    for term in terms:
        fitted = {node.part for node in walk(term) if isinstance(node, State) and node.when is When.FITTED}
        about = [tensor for tensor in tensors if tensor.state.part in fitted]
        if len(about) != 1:
            return None
        weighed.append(scale(_product(about[0].of(item, tensors) for item in factors), term))
    return add(*weighed)


def _factors(rate: Expr) -> Iterator[Expr]:
    """The scalars whose product a rate is."""
    if isinstance(rate, Scale):
        yield from _factors(rate.by)
        yield from _factors(rate.x)
    else:
        yield rate


def _product(factors: Iterable[Expr]) -> Expr:
    product: Expr = ONE
    for factor in factors:
        product = scale(product, factor)
    return product


def _summed(node: Expr, tensors: list[_Tensor]) -> Expr:
    """A scalar of the whole tree; where it asks for something of a single tensor, it stays as it is."""
    match node:
        case Norm() | Softmax() if contains(node, _is_of_tree):
            return node
        case State() | Gradient() if _is_of_tree(node):
            return node
    whole = _over_all(node, tensors)
    return rebuild(node, tuple(_summed(child, tensors) for child in children(node))) if whole is None else whole


def _over_all(node: Expr, tensors: list[_Tensor]) -> Expr | None:
    """A sum over the tree: the sum over its tensors."""
    match node:
        case Dot(left, right) if _is_of_tree(left):
            return add(*(dot(tensor.of(left, tensors), tensor.of(right, tensors)) for tensor in tensors))
        case Sum(x, axis) if node.shape == () and axis is None and _is_of_tree(x):
            return add(*(total(tensor.of(x, tensors)) for tensor in tensors))
    return None


def _is_of_tree(node: Expr) -> bool:
    """Whether the node differs from tensor to tensor by its size."""
    dims = (node.dim,) if isinstance(node, Size) else node.shape
    return any(dim.names & OF_TREE for dim in dims)
