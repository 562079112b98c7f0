"""The landscape of Eq. 53: how many steps emitted momenta need to its minimum -> a table, and a picture of their ways there.

    python -m experiments.landscape [--write]

The paper draws psi(r, t) = r^2 + k (r - t + a sin(w r))^2 and gives neither k, a nor w; here are three of them. Every method is tried at
the same 49 settings, in float64, from one start and some next to it; nothing is random. `--write` rewrites docs/experiments/landscape.*.
"""

from __future__ import annotations

import json
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from itertools import product
from pathlib import Path
from types import MappingProxyType
from typing import Any, TypeVar

import torch
from torch import Tensor, nn
from torch.optim import Optimizer

from experiments.pages import is_asked_to_write, write
from experiments.plain_momenta import plain_steps
from experiments.trajectories import Landscape, Way, picture
from nlc.pipeline import compile_file

ROOT = Path(__file__).resolve().parents[1]
PAGE = ROOT / "docs" / "experiments" / "landscape.md"

LANDSCAPES = (Landscape(10, 1, 1), Landscape(10, 0.5, 3), Landscape(8, 0.6, 6))
START = (-3.5, 2.0)
SHIFTS = ((0.0, 0.0), (1e-12, 0.0), (-1e-12, 0.0), (0.0, 1e-12), (0.0, -1e-12))
"""How far the starts are from START: where steps depend on the last digits of numbers, they differ between these."""

RATES = (1e-3, 3e-3, 5e-3, 1e-2, 2e-2, 3e-2, 5e-2)
DECAYS = (0.0, 0.5, 0.7, 0.8, 0.9, 0.95, 0.99)
SETTINGS = tuple(product(RATES, DECAYS))

NEAR, FAR, LAST = 1e-2, 1e6, 1500
"""The distances from the minimum at which it is reached or lost, and the step after which it counts as lost."""

DELTA = "delta_momentum"
METHODS: Mapping[str, tuple[str, Mapping[str, str]]] = MappingProxyType(
    {
        "heavy ball": ("momentum", MappingProxyType({})),
        "delta": (DELTA, MappingProxyType({})),
        "delta, key of length below 1": (
            DELTA,
            MappingProxyType({"levels.momentum.retention": "decay - 0.1 * norm(gradient) ** 2 / (1 + norm(gradient) ** 2)"}),
        ),
        "delta, not clamped": (DELTA, MappingProxyType({"levels.momentum.retention": "decay - learning_rate * norm(gradient) ** 2"})),
        "delta as Eq. 49 prints it": (DELTA, MappingProxyType({"levels.momentum.retention": "decay - norm(gradient) ** 2"})),
    }
)
"""Each method: a spec of specs/optimizers, and what is changed in it, as by `--set`."""

DRAWN = ("heavy ball", "delta")
"""The methods whose best way to the minimum is in the picture."""

Item = TypeVar("Item")

Setting = tuple[float, float]
"""A learning rate and a decay."""

Steps = int | None
"""How many steps a run took to the minimum; None, if it did not get there."""

Found = tuple[Mapping[str, tuple[tuple[Steps, ...], ...]], ...]


@dataclass(frozen=True, slots=True)
class Results:
    """For each landscape and method, the steps of every setting, in the order of SETTINGS, from every start.

    Those of `plain` are the plain loops', from START alone.
    """

    steps: Found
    plain: Found

    @property
    def by_hand(self) -> Results:
        """The plain loops, in the emitted optimizers' place."""
        return Results(self.plain, self.plain)

    def best(self, place: int, method: str, start: int = 0) -> tuple[int, Setting] | None:
        """The fewest steps and the setting that took them."""
        found = [(runs[start], setting) for runs, setting in zip(self.steps[place][method], SETTINGS, strict=True)]
        return min(((steps, setting) for steps, setting in found if steps is not None), default=None)

    def solved(self, place: int, method: str, start: int = 0) -> int:
        """How many settings reached the minimum."""
        return sum(runs[start] is not None for runs in self.steps[place][method])


def main() -> None:
    """Run everything and print the table; with `--write`, into the docs."""
    is_to_write = is_asked_to_write(__doc__)
    classes = {method: emitted(method) for method in METHODS}
    steps = tuple({method: steps_of(kind, landscape, SETTINGS) for method, kind in classes.items()} for landscape in LANDSCAPES)
    results = Results(steps, tuple({method: plain_steps_of(method, landscape) for method in METHODS} for landscape in LANDSCAPES))
    print("The emitted optimizers:", *table(results), "", "Plain loops:", *table(results.by_hand), sep="\n")
    if is_to_write:
        write(PAGE, text=page(results), numbers=as_json(results), picture=drawing(results))


# --- running ---------------------------------------------------------------------------------------------------------


def emitted(method: str) -> Any:
    """The class that nlc emits for a method."""
    name, changes = METHODS[method]
    compiled = compile_file(ROOT / "specs" / "optimizers" / f"{name}.yaml", **changes)
    return getattr(compiled.load(), compiled.program.model.name)


def steps_of(kind: Any, landscape: Landscape, settings: Sequence[Setting]) -> tuple[tuple[Steps, ...], ...]:
    """How many steps each setting takes from each start: one optimizer moves them all, a setting in a group of its own."""
    points = [nn.Parameter(start) for _ in settings for start in starts()]
    optimizer = kind(groups(points, settings))
    steps: list[Steps] = [None] * len(points)
    running = list(range(len(points)))
    for step in range(1, LAST + 1):
        moved: list[Tensor] = [points[place] for place in running]
        _move(optimizer, moved, landscape)
        distances = dict(zip(running, torch.stack(moved).detach().norm(dim=-1).tolist(), strict=True))
        for place in (place for place in running if distances[place] < NEAR):
            steps[place] = step
        running = [place for place in running if NEAR <= distances[place] < FAR]
        if not running:
            break
    return tuple(batched(steps, len(SHIFTS)))


def plain_steps_of(method: str, landscape: Landscape, settings: Sequence[Setting] = SETTINGS) -> tuple[tuple[Steps, ...], ...]:
    """The same by a plain loop, from START alone."""
    return tuple((plain_steps(method, landscape, START, setting, NEAR, FAR, LAST),) for setting in settings)


def way(kind: Any, landscape: Landscape, setting: Setting, steps: int) -> tuple[tuple[float, float], ...]:
    """The points of one setting, the start first."""
    point = nn.Parameter(starts()[0])
    optimizer, places = kind(groups([point], [setting])), [START]
    for _ in range(steps):
        _move(optimizer, [point], landscape)
        r, t = point.tolist()
        places.append((r, t))
    return tuple(places)


def starts() -> tuple[Tensor, ...]:
    """Where runs start; START is the first."""
    return tuple(torch.tensor([START[0] + r, START[1] + t], dtype=torch.float64) for r, t in SHIFTS)


def groups(points: Sequence[nn.Parameter], settings: Sequence[Setting]) -> list[dict[str, Any]]:
    """The points shared out evenly among the settings, as parameter groups."""
    shares = batched(points, len(points) // len(settings))
    pairs = zip(shares, settings, strict=True)
    return [{"params": list(share), "learning_rate": rate, "decay": decay} for share, (rate, decay) in pairs]


def batched(items: Sequence[Item], size: int) -> Iterator[tuple[Item, ...]]:
    """Neighbours together."""
    return (tuple(items[first : first + size]) for first in range(0, len(items), size))


def _move(optimizer: Optimizer, points: Sequence[Tensor], landscape: Landscape) -> None:
    """A step of these points; those that have no gradient stay."""
    optimizer.zero_grad()
    r, t = torch.stack(list(points)).unbind(-1)
    error = r - t + landscape.height * torch.sin(landscape.waves * r)
    (r**2 + landscape.steepness * error**2).sum().backward()  # type: ignore[no-untyped-call]
    optimizer.step()


# --- showing ---------------------------------------------------------------------------------------------------------


def table(results: Results, shifts: Sequence[int] = (0,)) -> Iterator[str]:
    """For each landscape the fewest steps of each method, and how many settings reached the minimum; over several starts, from to."""
    yield f"| k, a, w | {' | '.join(METHODS)} |"
    yield "|---" * (len(METHODS) + 1) + "|"
    for place, landscape in enumerate(LANDSCAPES):
        cells = []
        for method in METHODS:
            best = [results.best(place, method, start) for start in shifts]
            steps = _from_to([found[0] for found in best if found is not None])
            cells.append(f"{steps} ({_from_to([results.solved(place, method, start) for start in shifts])})")
        yield f"| {landscape.text} | {' | '.join(cells)} |"


def _from_to(numbers: Sequence[int]) -> str:
    if not numbers:
        return "none"
    least, most = min(numbers), max(numbers)
    return f"{least}" if least == most else f"{least} to {most}"


def drawing(results: Results) -> str:
    """The ways of the best settings in each landscape."""
    classes = {method: emitted(method) for method in DRAWN}
    ways = []
    for place, landscape in enumerate(LANDSCAPES):
        found = {method: results.best(place, method) for method in DRAWN}
        here = [
            Way(method, f"rate {best[1][0]:g}, decay {best[1][1]:g}: {best[0]} steps", way(classes[method], landscape, best[1], best[0]))
            for method, best in found.items()
            if best is not None
        ]
        ways.append((landscape, here))
    return picture("Two momenta on the landscape of Eq. 53", ways)


PAGE_TEXT = r"""# Delta momentum on the landscape of Eq. 53

`python -m experiments.landscape --write` writes this page and draws its picture; nothing in it is random.

The paper shows that a momentum which forgets along what it stores (Eq. 49) goes to the minimum of

$$\psi(r, \theta) = r^2 + k\,(r - \theta + a \sin \omega r)^2$$

more directly than heavy ball does. It gives neither $k$, $a$ nor $\omega$. Here are three choices, and for each method {settings} settings:
the learning rates {rates}, each with the decays {decays}.
Every run starts at {start} and has reached the minimum when its distance from (0, 0) is below {near:g}; after {last:,} steps, or farther
away than {far:,.0f}, it counts as lost.

The optimizers are emitted: heavy ball from `specs/optimizers/momentum.yaml`, with the rate inside the memory as in all of these, and the
others from `specs/optimizers/delta_momentum.yaml`. The last three change one line of it, the retention of the momentum:

{changes}

The fewest steps, and in parentheses how many of the {settings} settings reached the minimum:

{table}

The same from {starts} starts that differ by {shift:g}, from the least to the greatest number. Where they differ, steps depend on how the
last digits of numbers are rounded, and so on the machine:

{spread}

And once more by plain loops over Python's floats, with the gradient written by hand, without nlc or torch (`experiments/plain_momenta.py`).
They round otherwise. What differs from the first table is what the second shows to hang on rounding, and stays within its ranges:

{plain}

The delta's 57, 56 and 220 steps do not hang on rounding; heavy ball's do in the second landscape a little, and in the third by much.

With the printed equation, which has no rate on what it forgets, no setting gets there, nor does any with the rate alone: the squared
gradient is large at the start, and a retention far below -1 makes the momentum explode. The clamp at 0 of the shipped spec is what makes it
a method. The steps of every setting from every start are in `docs/experiments/landscape.json`.

![The ways of both methods to the minimum, in three landscapes](landscape.svg)

These are two numbers in a plane, and the best of a grid that was not refined: they say nothing of networks.
"""


def page(results: Results) -> str:
    """The page of the docs."""
    changed = ((method, changes) for method, (_, changes) in METHODS.items() if changes)
    return PAGE_TEXT.format(
        settings=len(SETTINGS),
        rates=", ".join(f"{rate:g}" for rate in RATES),
        decays=", ".join(f"{decay:g}" for decay in DECAYS),
        start=START,
        near=NEAR,
        last=LAST,
        far=FAR,
        changes="\n".join(f"- {method}: `{changes['levels.momentum.retention']}`" for method, changes in changed),
        table="\n".join(table(results)),
        starts=len(SHIFTS),
        shift=SHIFTS[1][0],
        spread="\n".join(table(results, range(len(SHIFTS)))),
        plain="\n".join(table(results.by_hand)),
    )


def as_json(results: Results) -> str:
    """The steps of every setting."""
    rows = zip(LANDSCAPES, results.steps, results.plain, strict=True)
    found = [{"landscape": landscape.text, "steps": dict(here), "plain": dict(plain)} for landscape, here, plain in rows]
    return json.dumps({"rates": RATES, "decays": DECAYS, "results": found}) + "\n"


def from_json(text: str) -> Results:
    """What `as_json` wrote."""
    found = json.loads(text)["results"]
    steps, plain = (
        tuple({name: tuple(map(tuple, runs)) for name, runs in item[key].items()} for item in found) for key in ("steps", "plain")
    )
    return Results(steps, plain)


if __name__ == "__main__":
    main()
