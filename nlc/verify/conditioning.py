"""Squares that stay open and the evidence they were judged on -> the same squares, with the bounds that ill-conditioned evidence needs.

The bounds of `bounds` are derived for systems that enlarge no error. A direction of a vector that is nearly zero, or a memory that
learns too fast, enlarges errors by any factor, in the oracle as well. So before a square is called open the oracle is run again with
every number of its evidence moved by at most one rounding: how far its own results then move, times the same count of roundings, is
what rounding explains besides. A tensor that is zero by chance, as what is left of numbers that cancel, is zero in none or few of them;
one that is zero in all of them has to be. That is measured in float64 on the system that the spec states, so it hides a wrong rule only
where one rounding of the inputs does as much. Where a module is to compute in float32, so are the moves, and how far the oracle itself
comes off in float32 is one of them: what is made of little on the way (the norm of a memory that was just forgotten) is seen there alone.
Where the system forgets its inputs (in `sign`), no move of them is seen: one more run rounds every result otherwise (`roundings`).

Training enlarges the rounding of a gradient in the same way where an optimizer divides by its length: a weight that changes nothing has a
gradient of rounding alone. There what is moved is every gradient, and each parameter is held to what its own moves explain.
"""

from __future__ import annotations

from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence
from dataclasses import replace
from functools import cached_property, partial

import torch
from torch import Tensor

from nlc.ir.program import Program
from nlc.verify.bounds import ROUNDINGS, magnitude
from nlc.verify.inputs import Drawn
from nlc.verify.judge import Judged, judged_by_oracle
from nlc.verify.observe import Failure, Seen, Tensors, attempt, distance
from nlc.verify.roundings import RoundedOtherwise
from nlc.verify.square import Square

Results = Mapping[str, Tensors]
"""Tensors by name, for each quantity that is compared."""

ByOracle = Callable[[Program, Drawn], Seen | Failure]

TRIES = 3
"""Runs of the oracle on moved evidence; the farthest move counts, also beside that of a run in which every result is rounded otherwise."""


class Conditioning:
    """How far the oracle's results move with its evidence, by quantity; measured when a square first asks for it.

    `again` gives the oracle's results on evidence moved by a rounding, by a seed. With `of_each` every tensor has to be explained by its
    own moves, else by those of all tensors of its quantity.
    """

    def __init__(self, wanted: Results, again: Callable[[int], Results], *, of_each: bool = False) -> None:
        self._wanted, self._again, self._of_each = wanted, again, of_each

    def widened(self, squares: Iterable[Square], roundings: int) -> Iterator[Square]:
        """The squares; one that is open by no more than so many of the oracle's own moves closes, and says so."""
        for square in squares:
            moved = self._explains(square) if not square.closed and self._is_by_chance(square) else {}
            if moved and all(error <= square.bound + ROUNDINGS * roundings * moved.get(name, 0.0) for name, error in square.beyond):
                most = max(moved[name] for name, _ in square.beyond)
                detail = f"ill-conditioned: one rounding of the inputs moves the oracle by {most:.2g}"
                square = replace(square, bound=square.bound + ROUNDINGS * roundings * most, detail=detail)
            yield square

    def _explains(self, square: Square) -> Mapping[str, float]:
        """How far each tensor that lies beyond its bound was moved."""
        moved = self._moved.get(square.quantity, {})
        most = max(moved.values(), default=0.0)
        return {name: moved.get(name, 0.0) if self._of_each else most for name, _ in square.beyond}

    def _is_by_chance(self, square: Square) -> bool:
        """Whether rounding may be behind an open square: not if the sides were to be the same to the bit, or a tensor is zero for good."""
        if not square.of_zero:
            return 0 < square.bound
        found = [tries.get(square.quantity, {}) for tries in self._tries]
        return {name for tensors in found for name, tensor in tensors.items() if bool(tensor.any())}.issuperset(square.of_zero)

    @cached_property
    def _tries(self) -> tuple[Results, ...]:
        if not self._wanted:
            return ()
        tries = [attempt(partial(self._again, seed)) for seed in range(TRIES)]
        with RoundedOtherwise(TRIES):
            tries.append(attempt(partial(self._again, TRIES)))
        return tuple(found for found in tries if not isinstance(found, Failure) and _is_finite(found))

    @cached_property
    def _moved(self) -> Mapping[str, Mapping[str, float]]:
        return {
            quantity: {name: max((distance(x, found[quantity][name]) for found in self._tries), default=0.0) for name, x in tensors.items()}
            for quantity, tensors in self._wanted.items()
        }


def _is_finite(results: Results) -> bool:
    return all(bool(tensor.isfinite().all()) for tensors in results.values() for tensor in tensors.values())


def conditioning_of(
    program: Program, view: Judged, dtype: torch.dtype = torch.float64, by_oracle: ByOracle = judged_by_oracle
) -> Conditioning:
    """That of a system of sequences, on the evidence that it is judged on; `dtype` is what the judged side computes in.

    Where that is not the oracle's own dtype, the oracle run in it is the first of the moves. `by_oracle` is how the view was made.
    """
    wanted = {} if isinstance(view.wanted, Failure) else _results(view.wanted)

    def again(seed: int) -> Results:
        runs_itself = seed == 0 and dtype is not torch.float64
        return _results(by_oracle(program, _cast(view.drawn, dtype) if runs_itself else _nudged(view.drawn, dtype, seed)))

    return Conditioning(wanted, again)


def widened_in(dtype: torch.dtype, program: Program, drawn: Drawn, squares: Sequence[Square], roundings: int) -> Iterator[Square]:
    """The squares of a module that computes in this dtype, on evidence that the dtype has to the bit."""
    if all(square.closed for square in squares):
        yield from squares
    else:
        yield from conditioning_of(program, Judged(drawn, judged_by_oracle(program, drawn)), dtype).widened(squares, roundings)


def _results(seen: Seen | Failure) -> Results:
    if isinstance(seen, Failure):
        raise RuntimeError(seen.text)
    return {quantity: tensors for quantity, tensors, _ in seen.quantities}


def _nudged(drawn: Drawn, dtype: torch.dtype, seed: int) -> Drawn:
    """The evidence with each number moved by at most a rounding."""
    generator = torch.Generator().manual_seed(seed)
    return _each(drawn, lambda tensors: nudged(tensors, generator, dtype))


def _cast(drawn: Drawn, dtype: torch.dtype) -> Drawn:
    """The evidence in another dtype; counts stay."""
    return _each(drawn, lambda tensors: {name: x.to(dtype) if x.is_floating_point() else x for name, x in tensors.items()})


def _each(drawn: Drawn, change: Callable[[Tensors], dict[str, Tensor]]) -> Drawn:
    state = None if drawn.state is None else change(drawn.state)
    return replace(drawn, inputs=change(drawn.inputs), state=state, parameters=change(drawn.parameters))


def nudged(tensors: Tensors, generator: torch.Generator, dtype: torch.dtype = torch.float64) -> dict[str, Tensor]:
    """Each number as it is or one rounding nearer to zero, which leaves no range; a zero may be as much."""
    epsilon = torch.finfo(dtype).eps

    def nudge(tensor: Tensor) -> Tensor:
        if not tensor.is_floating_point():
            return tensor
        is_moved = torch.rand(tensor.shape, dtype=torch.float64, generator=generator) < 0.5
        nearer = torch.nextafter(tensor.to(dtype), torch.zeros((), dtype=dtype)).to(tensor.dtype)
        return torch.where(is_moved, torch.where(tensor == 0, epsilon, nearer), tensor)

    return {name: nudge(tensor) for name, tensor in tensors.items()}


def nudged_slopes(slopes: Tensors, generator: torch.Generator) -> dict[str, Tensor]:
    """Gradients of one loss, each entry moved by at most a rounding of the largest, which is what a sum may leave of it."""
    most = torch.finfo(torch.float64).eps * magnitude(slopes.values())
    return {name: x + most * (2 * torch.rand(x.shape, dtype=x.dtype, generator=generator) - 1) for name, x in slopes.items()}
