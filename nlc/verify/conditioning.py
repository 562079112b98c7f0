"""Squares that stay open and the evidence they were judged on -> the same squares, with the bounds that ill-conditioned evidence needs.

The bounds of `bounds` are derived for systems that enlarge no error. A direction of a vector that is nearly zero, or a memory that
learns too fast, enlarges errors by any factor, in the oracle as well. So before a square is called open the oracle is run again with
every number of its evidence moved by at most one rounding: how far its own results then move, times the same count of roundings, is
what rounding explains. A tensor that is zero by chance, as what is left of numbers that cancel, is zero in none or few of these runs;
one that is zero in all of them has to be. That is measured in float64 on the system that the spec states, so it hides a wrong rule only
where one rounding of the inputs does as much.
"""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Mapping
from dataclasses import replace
from functools import cached_property

import torch
from torch import Tensor

from nlc.ir.program import Program
from nlc.verify.bounds import ROUNDINGS
from nlc.verify.inputs import Drawn
from nlc.verify.judge import Judged, judged_by_oracle
from nlc.verify.observe import Failure, Seen, distance
from nlc.verify.square import Square

TRIES = 3
"""Runs of the oracle on moved evidence; the farthest move counts."""


class Conditioning:
    """How far the oracle's results move with its evidence, by quantity; measured when a square first asks for it."""

    def __init__(self, program: Program, view: Judged) -> None:
        self._program, self._view = program, view

    def widened(self, squares: Iterable[Square], roundings: int) -> Iterator[Square]:
        """The squares; one that is open by no more than so many of the oracle's own moves closes, and says so."""
        for square in squares:
            moved = self._moved.get(square.quantity, 0.0) if not square.closed and self._is_by_chance(square) else 0.0
            bound = ROUNDINGS * roundings * moved
            if not square.closed and square.error <= bound:
                square = replace(square, bound=bound, detail=f"ill-conditioned: one rounding of the inputs moves the oracle by {moved:.2g}")
            yield square

    def _is_by_chance(self, square: Square) -> bool:
        """Whether rounding may be behind an open square: not if the sides were to be the same to the bit, or a tensor is zero for good."""
        if not square.of_zero:
            return 0 < square.bound
        moved = {
            name
            for found in self._tries
            for quantity, tensors, _ in found.quantities
            if quantity == square.quantity
            for name, tensor in tensors.items()
            if bool(tensor.any())
        }
        return moved.issuperset(square.of_zero)

    @cached_property
    def _tries(self) -> tuple[Seen, ...]:
        if isinstance(self._view.wanted, Failure):
            return ()
        tries = (judged_by_oracle(self._program, _nudged(self._view.drawn, seed)) for seed in range(TRIES))
        return tuple(found for found in tries if isinstance(found, Seen) and found.is_finite)

    @cached_property
    def _moved(self) -> Mapping[str, float]:
        wanted = self._view.wanted
        if isinstance(wanted, Failure):
            return {}
        return {
            quantity: max((_move(wanted, found, place) for found in self._tries), default=0.0)
            for place, (quantity, _, _) in enumerate(wanted.quantities)
        }


def _move(wanted: Seen, found: Seen, place: int) -> float:
    (_, left, _), (_, right, _) = wanted.quantities[place], found.quantities[place]
    return max((distance(tensor, right[name]) for name, tensor in left.items()), default=0.0)


def _nudged(drawn: Drawn, seed: int) -> Drawn:
    """The evidence with each number as it is or one rounding nearer to zero, which leaves no range; a zero may be as much."""
    generator = torch.Generator().manual_seed(seed)

    def nudge(tensor: Tensor) -> Tensor:
        if not tensor.is_floating_point():
            return tensor
        is_moved = torch.rand(tensor.shape, dtype=torch.float64, generator=generator) < 0.5
        moved = torch.where(tensor == 0, torch.finfo(tensor.dtype).eps, torch.nextafter(tensor, torch.zeros_like(tensor)))
        return torch.where(is_moved, moved, tensor)

    return replace(
        drawn,
        inputs={name: nudge(tensor) for name, tensor in drawn.inputs.items()},
        state=None if drawn.state is None else {name: nudge(tensor) for name, tensor in drawn.state.items()},
        parameters={name: nudge(tensor) for name, tensor in drawn.parameters.items()},
    )
