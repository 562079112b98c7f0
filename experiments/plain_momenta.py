"""The momenta of the landscape once more, as plain loops over Python's floats: neither nlc nor torch -> steps to the minimum.

Their rounding is another than that of the emitted optimizers, and so are the numbers that hang on it; all others must be the same.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping
from math import cos, hypot, sin
from types import MappingProxyType

from experiments.trajectories import Landscape

Retention = Callable[[float, float, float], float]
"""The decay, the learning rate and the squared length of the gradient to what is kept of the momentum."""

RETENTIONS: Mapping[str, Retention] = MappingProxyType(
    {
        "heavy ball": lambda decay, rate, square: decay,
        "delta": lambda decay, rate, square: max(0.0, decay - rate * square),
        "delta, key of length below 1": lambda decay, rate, square: decay - 0.1 * square / (1 + square),
        "delta, not clamped": lambda decay, rate, square: decay - rate * square,
        "delta as Eq. 49 prints it": lambda decay, rate, square: decay - square,
    }
)
"""Each method by its name in the tables."""


def slope(landscape: Landscape, r: float, t: float) -> tuple[float, float]:
    """The gradient of the landscape, by hand."""
    error = r - t + landscape.height * sin(landscape.waves * r)
    pull = 2 * landscape.steepness * error
    return 2 * r + pull * (1 + landscape.height * landscape.waves * cos(landscape.waves * r)), -pull


def plain_steps(
    method: str, landscape: Landscape, start: tuple[float, float], setting: tuple[float, float], near: float, far: float, last: int
) -> int | None:
    """The step at which a run comes nearer to (0, 0) than `near`; None when it goes beyond `far`, or does not within `last` steps."""
    (rate, decay), keep = setting, RETENTIONS[method]
    (r, t), (along_r, along_t) = start, (0.0, 0.0)
    for step in range(1, last + 1):
        by_r, by_t = slope(landscape, r, t)
        kept = keep(decay, rate, by_r**2 + by_t**2)
        along_r, along_t = kept * along_r - rate * by_r, kept * along_t - rate * by_t
        r, t = r + along_r, t + along_t
        distance = hypot(r, t)
        if distance < near:
            return step
        if not distance < far:
            return None
    return None
