"""How fast emitted optimizers step: against torch's multi-tensor ones, on the same 10.6 million parameters in 78 tensors.

    python -m benchmarks.optimizers [--json FILE] [--quick]

Both run in one process by turns, so that a busy machine slows both alike; medians are shown.
"""

from __future__ import annotations

import argparse
import json
from collections.abc import Callable, Mapping
from pathlib import Path
from statistics import median
from time import perf_counter
from types import MappingProxyType

import torch
from torch import nn
from torch.optim import Optimizer

from nlc.pipeline import compile_file

ROOT = Path(__file__).resolve().parents[1]
MATRICES, VECTORS = 39, 39
SIDE = 521

TORCH: Mapping[str, Callable[[list[nn.Parameter]], Optimizer]] = MappingProxyType(
    {
        "gradient_descent": lambda parameters: torch.optim.SGD(parameters, lr=0.01, foreach=True),
        "momentum": lambda parameters: torch.optim.SGD(parameters, lr=0.01, momentum=0.9, foreach=True),
        "heavy_ball": lambda parameters: torch.optim.SGD(parameters, lr=0.01, momentum=0.9, foreach=True),
        "nesterov": lambda parameters: torch.optim.SGD(parameters, lr=0.01, momentum=0.9, nesterov=True, foreach=True),
        "adam": lambda parameters: torch.optim.Adam(parameters, lr=1e-3, foreach=True),
        "adamw": lambda parameters: torch.optim.AdamW(parameters, lr=1e-3, foreach=True),
        "rmsprop": lambda parameters: torch.optim.RMSprop(parameters, lr=0.01, foreach=True),
        "adagrad": lambda parameters: torch.optim.Adagrad(parameters, lr=0.01, foreach=True),
        "muon": lambda parameters: torch.optim.Muon(parameters, lr=0.02, nesterov=False, weight_decay=0.0),
    }
)
"""Each emitted optimizer's nearest relative."""

OF_MATRICES = ("muon",)
"""Those that get the matrices alone, which hold nearly all of the parameters."""


def main() -> None:
    """Measure, print the table, and write it as JSON where `--json` says."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--json", type=Path, metavar="FILE")
    parser.add_argument("--quick", action="store_true", help="few repetitions, for a look")
    arguments = parser.parse_args()
    rows = [measured(name, 5 if arguments.quick else 40) for name in TORCH]
    print(f"{'optimizer':<20}{'emitted':>12}{'torch':>12}{'ratio':>8}")
    for name, emitted, torch_time in rows:
        print(f"{name:<20}{emitted:9.2f} ms{torch_time:9.2f} ms{emitted / torch_time:8.2f}")
    if arguments.json:
        table = [{"optimizer": name, "emitted_ms": emitted, "torch_ms": torch_time} for name, emitted, torch_time in rows]
        arguments.json.write_text(json.dumps({"threads": torch.get_num_threads(), "rows": table}, indent=2) + "\n", encoding="utf-8")


def measured(name: str, repetitions: int) -> tuple[str, float, float]:
    """Milliseconds a step of the emitted optimizer and of torch's, by turns."""
    compiled = compile_file(ROOT / "specs" / "optimizers" / f"{name}.yaml")
    drawn = matrices if name in OF_MATRICES else parameters
    emitted = getattr(compiled.load(), compiled.program.model.name)(drawn())
    optimizers = (emitted, TORCH[name](drawn()))
    times: tuple[list[float], list[float]] = ([], [])
    for _ in range((5 if name in OF_MATRICES else repetitions) + 3):
        for optimizer, seconds in zip(optimizers, times, strict=True):
            start = perf_counter()
            optimizer.step()
            seconds.append(perf_counter() - start)
    return name, median(times[0][3:]) * 1e3, median(times[1][3:]) * 1e3


def parameters() -> list[nn.Parameter]:
    """The parameters, with gradients."""
    return with_gradients([*[(SIDE, SIDE)] * MATRICES, *[(SIDE,)] * VECTORS])


def matrices() -> list[nn.Parameter]:
    """The matrices among them, with gradients."""
    return with_gradients([(SIDE, SIDE)] * MATRICES)


def with_gradients(shapes: list[tuple[int, ...]]) -> list[nn.Parameter]:
    """Parameters of these shapes."""
    generator = torch.Generator().manual_seed(0)
    made = [nn.Parameter(torch.zeros(shape)) for shape in shapes]
    for parameter in made:
        parameter.grad = 1e-3 * torch.randn(parameter.shape, generator=generator)
    return made


if __name__ == "__main__":
    main()
