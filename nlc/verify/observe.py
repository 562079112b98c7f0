"""What can be seen of a system on drawn evidence, outputs, final state and gradients, and how two such views compare."""

from __future__ import annotations

from collections.abc import Callable, Collection, Iterator, Mapping
from dataclasses import dataclass, replace
from types import MappingProxyType
from typing import TypeVar

import torch
from torch import Tensor

from nlc.verify.bounds import magnitude, rounding_bound
from nlc.verify.inputs import Drawn, cotangents
from nlc.verify.square import Square

Tensors = Mapping[str, Tensor]
System = Callable[[Tensors, Tensors | None], tuple[Tensors, Tensors]]
"""Inputs and a state (None for zeros) to outputs and the final state."""

Result = TypeVar("Result")

OUTPUTS, STATE, GRADIENTS = "outputs", "final state", "gradients"


@dataclass(frozen=True, slots=True)
class Seen:
    """The outputs, final state and gradients of a system by name, and the magnitudes that its rounding errors scale with."""

    outputs: Tensors
    state: Tensors
    gradients: Tensors
    value_scale: float
    gradient_scale: float

    @property
    def quantities(self) -> tuple[tuple[str, Tensors, float], ...]:
        """Each quantity with its scale."""
        return (
            (OUTPUTS, self.outputs, self.value_scale),
            (STATE, self.state, self.value_scale),
            (GRADIENTS, self.gradients, self.gradient_scale),
        )

    @property
    def is_finite(self) -> bool:
        return all(bool(tensor.isfinite().all()) for _, tensors, _ in self.quantities for tensor in tensors.values())


@dataclass(frozen=True, slots=True)
class Failure:
    """A system that raised an exception: which, in one line."""

    text: str


NO_TENSORS: Tensors = MappingProxyType({})
Directions = Callable[[Tensors, int], Tensors]
"""Tensors and a seed to the direction in which each is asked for its gradient."""


def attempt(run: Callable[[], Result]) -> Result | Failure:
    """What `run` gives, or the exception that it raised: emitted code is on trial, and may raise anything."""
    try:
        return run()
    except Exception as error:
        return Failure(f"{type(error).__name__}: {error}".splitlines()[0])


def observe(system: System, drawn: Drawn, parameters: Tensors = NO_TENSORS, directions_of: Directions = cotangents) -> Seen:
    """Run a system and differentiate it, with random directions on the outputs and the final state, in every input and state.

    `parameters` are leaves that the system computes with beside its arguments; it is differentiated in them too.
    """
    inputs = {name: tensor.clone().requires_grad_() for name, tensor in drawn.inputs.items()}
    start = None if drawn.state is None else {name: _leaf(tensor) for name, tensor in drawn.state.items()}
    outputs, state = system(inputs, start)
    results = {f"output {name}": tensor for name, tensor in outputs.items()} | {f"state {name}": tensor for name, tensor in state.items()}
    results = {name: tensor for name, tensor in results.items() if tensor.is_floating_point()}
    directions = directions_of(results, drawn.seed)
    loss = torch.stack([(tensor * directions[name]).sum() for name, tensor in results.items()]).sum()
    leaves = inputs | {f"initial {name}": tensor for name, tensor in (start or {}).items() if tensor.is_floating_point()}
    leaves |= {f"parameter {name}": tensor for name, tensor in parameters.items()}
    gradients = _gradients(loss, leaves)
    seen = [*leaves.values(), *results.values()]
    return Seen(
        {name: tensor.detach() for name, tensor in outputs.items()},
        {name: tensor.detach() for name, tensor in state.items()},
        gradients,
        magnitude(seen),
        magnitude((*gradients.values(), *directions.values())),
    )


def leaves_of(parameters: Tensors, moved: Collection[str]) -> tuple[dict[str, Tensor], dict[str, Tensor]]:
    """Copies of parameters, and those among them that are to be differentiated by."""
    copies = {name: tensor.clone().requires_grad_(name in moved) for name, tensor in parameters.items()}
    return copies, {name: tensor for name, tensor in copies.items() if name in moved}


def _leaf(tensor: Tensor) -> Tensor:
    """A copy to differentiate by; a whole number is a copy only."""
    return tensor.clone().requires_grad_(tensor.is_floating_point())


def _gradients(loss: Tensor, leaves: Tensors) -> Tensors:
    if not loss.requires_grad:
        return {name: torch.zeros_like(leaf) for name, leaf in leaves.items()}
    found = torch.autograd.grad(loss, tuple(leaves.values()), allow_unused=True, materialize_grads=True)
    return dict(zip(leaves, found, strict=True))


@dataclass(frozen=True, slots=True)
class Pair:
    """Two systems to be compared by name, with the number of ticks and the width of sums that rounding depends on."""

    left: str
    right: str
    case: str
    ticks: int
    width: int

    def square(self, quantity: str, error: float, bound: float, detail: str = "") -> Square:
        return Square(
            name=f"{self.left} = {self.right}",
            left=self.left,
            right=self.right,
            quantity=quantity,
            case=self.case,
            error=error,
            bound=bound,
            detail=detail,
        )

    def inapplicable(self, quantity: str, because: str) -> Square:
        """A square that is not drawn for this system, and why."""
        return replace(self.square(quantity, 0.0, 0.0, because), applies=False)

    def failed(self, failure: Failure, *quantities: str) -> tuple[Square, ...]:
        """Open squares that say what was raised."""
        return tuple(self.square(quantity, float("inf"), 0.0, failure.text) for quantity in quantities)

    def compare(self, left: Seen, right: Seen | Failure) -> Iterator[Square]:
        """One square for each quantity."""
        if isinstance(right, Failure):
            yield from self.failed(right, *(quantity for quantity, _, _ in left.quantities))
            return
        for (quantity, wanted, scale), (_, found, _) in zip(left.quantities, right.quantities, strict=True):
            yield self.closeness(quantity, wanted, found, scale)

    def closeness(self, quantity: str, wanted: Tensors, found: Tensors, scale: float, dtype: torch.dtype = torch.float64) -> Square:
        """How near the tensors found are to those wanted; what is zero everywhere must be found exactly zero, unless it is a gradient."""
        bound = rounding_bound(dtype, self.ticks, self.width, scale)
        return self._comparison(quantity, wanted, found, bound, of_nothing=bound if quantity == GRADIENTS else 0.0)

    def equality(self, quantity: str, wanted: Tensors, found: Tensors) -> Square:
        """Whether the tensors found are those wanted, to the bit (0 and -0 are one number)."""
        return self._comparison(quantity, wanted, found, 0.0, of_nothing=0.0)

    def _comparison(self, quantity: str, wanted: Tensors, found: Tensors, bound: float, *, of_nothing: float) -> Square:
        """`of_nothing` is the bound of a tensor that is zero everywhere."""
        if wanted.keys() != found.keys():
            return self.square(quantity, float("inf"), bound, f"there are {_names(found)} where {_names(wanted)} should be")
        for name, tensor in wanted.items():
            if tensor.shape != found[name].shape:
                return self.square(quantity, float("inf"), bound, f"{name} is {_shape(found[name])}, not {_shape(tensor)}")
        errors = {name: distance(tensor, found[name]) for name, tensor in wanted.items()}
        allowed = {name: bound if bool(tensor.any()) else of_nothing for name, tensor in wanted.items()}
        beyond = [name for name, error in errors.items() if not error <= allowed[name]]
        if not beyond:
            return self.square(quantity, max(errors.values(), default=0.0), bound)
        worst = max(beyond, key=errors.__getitem__)
        detail = f"{worst} is off by {errors[worst]:.2g} (bound {allowed[worst]:.2g})"
        of_zero = tuple(name for name in beyond if bound and not allowed[name])
        found_open = tuple((name, errors[name]) for name in beyond)
        return replace(self.square(quantity, errors[worst], allowed[worst], detail), beyond=found_open, of_zero=of_zero)


def distance(left: Tensor, right: Tensor) -> float:
    """The largest difference of entries in float64; infinite when one is not a number, 0 when there are no entries."""
    if not left.numel():
        return 0.0
    difference = (left.detach().double() - right.detach().double()).abs().max()
    return float(difference) if bool(difference.isfinite()) else float("inf")


def _names(tensors: Tensors) -> str:
    return ", ".join(sorted(tensors)) or "nothing"


def _shape(tensor: Tensor) -> str:
    return f"({', '.join(str(size) for size in tensor.shape)})"
