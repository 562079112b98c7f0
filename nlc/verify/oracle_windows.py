"""Windows for the oracle: the data of a level's window, the objective over them, and its minimiser by autograd. As apart as the oracle.

A value at every datum has a dim for the window in front of all others. What is minimised is a quadratic, so one Newton step from
zero is exact: its gradient and Hessian are autograd's.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator, Mapping
from dataclasses import dataclass

import torch
from torch import Tensor

from nlc.ir.model import (
    TOKEN,
    Age,
    ClosedForm,
    Component,
    Expr,
    Family,
    GradientDescent,
    Model,
    WindowSoftmax,
    WindowSum,
)
from nlc.verify.oracle_values import Fitted, lift, rank_of, sizes_of


@dataclass(frozen=True, slots=True)
class Data:
    """The data of a window, oldest first: the values of each stream, and which of them there are; `leading` is (batch, *axes)."""

    streams: Mapping[Expr, Tensor]
    there: Tensor
    leading: tuple[int, ...]

    def at_datum(self, node: Expr) -> Tensor | None:
        """The value of an expression at every datum, if it is a stream of the window or its age."""
        if isinstance(node, Age):
            age = torch.arange(len(self.there) - 1, -1, -1).to(next(iter(self.streams.values())))
            return lift(age, len(self.leading))
        return self.streams.get(node)

    def over(self, node: WindowSum | WindowSoftmax, values: Tensor, sizes: Mapping[str, int]) -> Tensor:
        """A sum, or shares, over the data that there are."""
        shape = sizes_of(node.x.shape, sizes)
        there = lift(self.there, len(self.leading) + len(shape))
        whole = values.broadcast_to((len(self.there), *self.leading, *shape))
        if isinstance(node, WindowSum):
            return torch.where(there, whole, 0).sum(0)
        return torch.where(there, whole, -torch.inf).softmax(0)


def is_solved(component: Component) -> bool:
    """Whether a level is the minimiser over its window, anew for every query."""
    return component.every.family is Family.ALWAYS and isinstance(component.optimizer, ClosedForm) and component.window is not None


def window_slots(model: Model) -> Iterator[tuple[str, Component, Expr]]:
    """What is kept of each window: the key, the level and the stream."""
    for component in (item for item in model.fast if is_solved(item)):
        yield from ((f"{component.name}.{item.name}", component, item.value) for item in component.data)


def empty_windows(model: Model, sizes: Mapping[str, int], leading: tuple[int, ...], like: Tensor) -> dict[str, Tensor]:
    """The kept data before the first token: (batch, tokens, *axes, *shape)."""
    batch, *axes = leading
    return {
        name: like.new_zeros(
            (batch, 0 if component.window == "all" else int(component.window or 1) - 1, *axes, *sizes_of(node.shape, sizes))
        )
        for name, component, node in window_slots(model)
    }


def lengthened(kept: Tensor, now: Tensor, leading: tuple[int, ...]) -> Tensor:
    """The data of a window, this token's last: (batch, tokens + 1, *axes, *shape)."""
    newest = now.broadcast_to((*leading, *kept.shape[1 + len(leading) :]))
    return torch.cat((kept, newest.unsqueeze(1)), 1)


def shortened(window: Tensor, component: Component) -> Tensor:
    """What the next token still sees of a window."""
    return window if component.window == "all" else window[:, 1:]


def data_of(component: Component, windows: Mapping[str, Tensor], position: int, leading: tuple[int, ...]) -> Data:
    """The data at the token `position`, counted from 1: a window of n tokens lacks some in the first n - 1, of all or since a reset."""
    streams = {item.value: windows[f"{component.name}.{item.name}"].movedim(1, 0) for item in component.data}
    count = len(next(iter(streams.values())))
    there = torch.ones(count, dtype=torch.bool)
    if component.window != "all":
        is_reset = component.reset is not None and component.reset.is_counted
        since = (position - 1) % int(component.reset.period) + 1 if component.reset is not None and is_reset else position
        there = torch.arange(count - 1, -1, -1) < since
    return Data(streams, there, leading)


def data_there(streams: Mapping[Expr, Tensor], position: int, leading: tuple[int, ...]) -> Data:
    """Values at every datum, the oldest first, at the token `position`, counted from 1: those before the first token are not there."""
    count = len(next(iter(streams.values())))
    return Data(streams, torch.arange(count - 1, -1, -1) < position, leading)


def steps_over(component: Component) -> bool:
    """Whether a level takes a step at every token on an objective over several of them."""
    return isinstance(component.window, int) and component.every == TOKEN and isinstance(component.optimizer, GradientDescent)


def tokens_seen(model: Model, given: Mapping[str, Tensor]) -> int:
    """How many tokens there were before a state: as it says, or, where nothing counts them, as many as its windows remember."""
    if "position" in given:
        return int(given["position"])
    return max((int(item.window or 1) for item in model.fast if given and steps_over(item)), default=0)


def minimiser(objective: Callable[[Tensor], Tensor], state: Tensor, rank: int, differentiable: bool) -> Tensor:
    """Where a quadratic objective, one for each place (batch, *axes) of a state, is least; zero where it is the same everywhere."""
    with torch.enable_grad():
        start = torch.zeros_like(state, requires_grad=True)
        gradient = torch.autograd.grad(objective(start).sum(), start, create_graph=True)[0]
        flat = _flat(gradient, rank)
        rows = [
            torch.autograd.grad(entry.sum(), start, create_graph=differentiable, retain_graph=True, materialize_grads=True)[0]
            if entry.requires_grad
            else torch.zeros_like(start)
            for entry in flat.unbind(-1)
        ]
        hessian = torch.stack([_flat(row, rank) for row in rows], -2)
    is_level = (hessian == 0).flatten(-2).all(-1)
    identity = torch.eye(flat.shape[-1]).to(hessian)
    solution: Tensor = -torch.linalg.solve(hessian + lift(is_level, 2) * identity, flat)
    return (solution if differentiable else solution.detach()).reshape(state.shape)


def minimisers(
    value: Callable[[Fitted], Tensor], component: Component, old: Mapping[str, Tensor], ranks: Mapping[str, int], differentiable: bool
) -> dict[str, Tensor]:
    """The minimiser of what a level follows, tensor by tensor (of so many dims each), each found with the others as they were."""
    new = {}
    for name, rank in ranks.items():

        def objective(state: Tensor, name: str = name) -> Tensor:
            return value(Fitted(component.name, {**old, name: state}, {**old, name: state.detach()}))

        found = _by_entry(objective, old[name], differentiable)
        found = minimiser(objective, old[name], rank, differentiable) if found is None else found
        new[name] = found.detach() if component.backprop == 0 else found
    return new


FLATNESS = 1e-9
"""How flat, relative to the slope at zero, an objective must be where it is least."""


def _by_entry(objective: Callable[[Tensor], Tensor], state: Tensor, differentiable: bool) -> Tensor | None:
    """The minimiser of a quadratic whose entries curve apart from one another, from two derivatives; None where it is not flat there."""
    with torch.enable_grad():
        start = torch.zeros_like(state, requires_grad=True)
        slope = torch.autograd.grad(objective(start).sum(), start, create_graph=True)[0]
        if not slope.requires_grad:
            return None
        curvature = torch.autograd.grad(slope.sum(), start, create_graph=differentiable, retain_graph=True, materialize_grads=True)[0]
        found = -slope / torch.where(curvature == 0, 1, curvature)
        there = found.detach().requires_grad_()
        rest = torch.autograd.grad(objective(there).sum(), there)[0]
    is_flat = bool((rest.abs() <= FLATNESS * (1 + slope.detach().abs())).all())
    return (found if differentiable else found.detach()) if is_flat else None


def _flat(x: Tensor, rank: int) -> Tensor:
    """(batch, *axes, *shape) -> (batch, *axes, entries)."""
    return x.flatten(x.dim() - rank) if rank else x.unsqueeze(-1)


def shape_of(component: Component, sizes: Mapping[str, int], leading: tuple[int, ...]) -> tuple[tuple[int, ...], int]:
    """The dims of a solved level's value, and how many of them are its own."""
    shape = component.states[0].shape
    return (*leading, *sizes_of(shape, sizes)), rank_of(shape)
