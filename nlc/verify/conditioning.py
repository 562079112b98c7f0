"""Squares that stay open and the evidence they were judged on -> the same squares, with the bounds that ill-conditioned evidence needs.

The bounds of `bounds` are derived for systems that enlarge no error. A direction of a vector that is nearly zero, or a memory that
learns too fast, enlarges errors by any factor, in the oracle as well. So before a square is called open the oracle is run again with
every number of its evidence moved by at most one rounding: how far its own results then move, times the same count of roundings, is
what rounding explains. A tensor that is zero by chance, as what is left of numbers that cancel, is zero in none or few of these runs;
one that is zero in all of them has to be. That is measured in float64 on the system that the spec states, so it hides a wrong rule only
where one rounding of the inputs does as much. Where the module is to compute in float32, so are the moves, and how far the oracle itself
comes off in float32 is one of them: what is made of little on the way (the norm of a memory that was just forgotten) is seen there alone.
"""

from __future__ import annotations

from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence
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

    def __init__(self, program: Program, view: Judged, dtype: torch.dtype = torch.float64) -> None:
        """`dtype` is what the judged side computes in, so how large its roundings are."""
        self._program, self._view, self._dtype = program, view, dtype

    def widened(self, squares: Iterable[Square], roundings: int) -> Iterator[Square]:
        """The squares; one that is open by no more than so many of the oracle's own moves closes, and says so."""
        for square in squares:
            moved = self._moved.get(square.quantity, 0.0) if not square.closed and self._is_by_chance(square) else 0.0
            bound = square.bound + ROUNDINGS * roundings * moved
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
        drawn = self._view.drawn
        evidence = [_nudged(drawn, self._dtype, seed) for seed in range(TRIES)]
        if self._dtype is not torch.float64:
            evidence.append(_each(drawn, lambda tensor: tensor.to(self._dtype)))
        tries = (judged_by_oracle(self._program, moved) for moved in evidence)
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


def widened_in(dtype: torch.dtype, program: Program, drawn: Drawn, squares: Sequence[Square], roundings: int) -> Iterator[Square]:
    """The squares of a module that computes in this dtype, on evidence that the dtype has to the bit."""
    if all(square.closed for square in squares):
        yield from squares
    else:
        yield from Conditioning(program, Judged(drawn, judged_by_oracle(program, drawn)), dtype).widened(squares, roundings)


def _move(wanted: Seen, found: Seen, place: int) -> float:
    (_, left, _), (_, right, _) = wanted.quantities[place], found.quantities[place]
    return max((distance(tensor, right[name]) for name, tensor in left.items()), default=0.0)


def _nudged(drawn: Drawn, dtype: torch.dtype, seed: int) -> Drawn:
    """The evidence with each number as it is or one rounding nearer to zero, which leaves no range; a zero may be as much."""
    epsilon = torch.finfo(dtype).eps
    generator = torch.Generator().manual_seed(seed)

    def nudge(tensor: Tensor) -> Tensor:
        is_moved = torch.rand(tensor.shape, dtype=torch.float64, generator=generator) < 0.5
        nearer = torch.nextafter(tensor.to(dtype), torch.zeros((), dtype=dtype)).to(tensor.dtype)
        return torch.where(is_moved, torch.where(tensor == 0, epsilon, nearer), tensor)

    return _each(drawn, nudge)


def _each(drawn: Drawn, change: Callable[[Tensor], Tensor]) -> Drawn:
    """The evidence with each tensor of numbers changed; counts stay."""

    def changed(tensors: Mapping[str, Tensor]) -> dict[str, Tensor]:
        return {name: change(tensor) if tensor.is_floating_point() else tensor for name, tensor in tensors.items()}

    state = None if drawn.state is None else changed(drawn.state)
    return replace(drawn, inputs=changed(drawn.inputs), state=state, parameters=changed(drawn.parameters))
