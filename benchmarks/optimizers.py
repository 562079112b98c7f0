"""How fast emitted optimizers step: against torch's multi-tensor ones, on the same 10.6 million parameters in 78 tensors.

    python -m benchmarks.optimizers [--json FILE] [--quick] [--one-thread] [--only NAME] [--no-onednn]

Both run in one process by turns, so that a busy machine slows both alike; medians are shown. Optimizers of matrices get the 39 matrices
alone, which hold nearly all of the parameters. `state` is how many numbers an optimizer keeps for each that it moves.

torch's Muon takes its products in bfloat16. How long they take depends on whether oneDNN has them for the processor: `--no-onednn` shows
what torch does where it has not, as on processors without AVX-512.
"""

from __future__ import annotations

import argparse
import json
from collections.abc import Callable, Mapping, Sequence
from contextlib import nullcontext
from dataclasses import asdict, dataclass
from pathlib import Path
from statistics import median
from time import perf_counter, thread_time
from types import MappingProxyType
from typing import Any

import torch
from torch import Tensor, nn
from torch.optim import Optimizer

from nlc.ir.contexts import contexts_of
from nlc.ir.model import Model
from nlc.pipeline import compile_file

ROOT = Path(__file__).resolve().parents[1]
SPECS = ROOT / "specs" / "optimizers"
MATRICES, VECTORS = 39, 39
SIDE = 521
DATA = 64
"""Rows of data for each layer and step, for optimizers that take them."""

WARM = 3
"""The first steps, which make states, are not measured."""

TORCH: Mapping[str, Callable[[list[nn.Parameter]], Optimizer]] = MappingProxyType(
    {
        "gradient_descent": lambda parameters: torch.optim.SGD(parameters, lr=0.01, foreach=True),
        "momentum": lambda parameters: torch.optim.SGD(parameters, lr=0.01, momentum=0.9, foreach=True),
        "heavy_ball": lambda parameters: torch.optim.SGD(parameters, lr=0.01, momentum=0.9, foreach=True),
        "nesterov": lambda parameters: torch.optim.SGD(parameters, lr=0.01, momentum=0.9, nesterov=True, foreach=True),
        "adam": lambda parameters: torch.optim.Adam(parameters, lr=1e-3, foreach=True),
        "adamw": lambda parameters: torch.optim.AdamW(parameters, lr=1e-3, foreach=True),
        "nesterov_momentum": lambda parameters: torch.optim.SGD(parameters, lr=0.01, momentum=0.9, nesterov=True, foreach=True),
        "rmsprop": lambda parameters: torch.optim.RMSprop(parameters, lr=0.01, foreach=True),
        "adagrad": lambda parameters: torch.optim.Adagrad(parameters, lr=0.01, foreach=True),
        "muon": lambda parameters: torch.optim.Muon(parameters, lr=1e-3),
    }
)
"""The nearest relatives that torch has of emitted optimizers."""

HALF: Mapping[str, Any] = MappingProxyType({"matmul_dtype": torch.bfloat16})
CASES: Sequence[tuple[str, Mapping[str, Any]]] = (*((path.stem, {}) for path in sorted(SPECS.glob("*.yaml"))), ("muon", HALF))
"""Every shipped optimizer, and what it is made with; torch's Muon takes its products in bfloat16, whatever it is given."""


@dataclass(frozen=True, slots=True)
class Measurement:
    """Medians in milliseconds, and how many numbers of state each parameter has for each of its entries."""

    optimizer: str
    emitted_ms: float
    torch_ms: float | None
    state: float


def main() -> None:
    """Measure, print the table, and write it as JSON where `--json` says."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--json", type=Path, metavar="FILE")
    parser.add_argument("--quick", action="store_true", help="few repetitions, for a look")
    parser.add_argument("--one-thread", action="store_true", help="the time that one thread computes, on a machine that others use")
    parser.add_argument("--only", metavar="NAME", help="one optimizer")
    parser.add_argument("--no-onednn", action="store_true", help="without oneDNN, whose products in bfloat16 not every processor has")
    arguments = parser.parse_args()
    cases = [(name, options) for name, options in CASES if arguments.only in (None, name)]
    if not cases:
        parser.error(f"no optimizer is called {arguments.only}")
    if arguments.one_thread:
        torch.set_num_threads(1)
    clock = thread_time if arguments.one_thread else perf_counter
    print(f"{'optimizer':<26}{'emitted':>12}{'torch':>12}{'ratio':>8}{'state':>8}", flush=True)
    rows = []
    with torch.backends.mkldnn.flags(enabled=False, allow_tf32=None) if arguments.no_onednn else nullcontext():
        for name, options in cases:
            rows.append(measured(name, options, 5 if arguments.quick else 40, clock))
            print(line(rows[-1]), flush=True)
    if arguments.json:
        table = {"threads": torch.get_num_threads(), "cpu_time": arguments.one_thread, "rows": [asdict(row) for row in rows]}
        arguments.json.write_text(json.dumps(table, indent=2) + "\n", encoding="utf-8")


def line(row: Measurement) -> str:
    """A row of the table."""
    relative = f"{row.torch_ms:9.2f} ms{row.emitted_ms / row.torch_ms:8.2f}" if row.torch_ms is not None else " " * 20
    return f"{row.optimizer:<26}{row.emitted_ms:9.2f} ms{relative}{row.state:8.2f}"


def measured(name: str, options: Mapping[str, Any], repetitions: int, clock: Callable[[], float]) -> Measurement:
    """Milliseconds a step of the emitted optimizer and of torch's, by turns."""
    compiled = compile_file(SPECS / f"{name}.yaml")
    of_matrices = compiled.program.model.moves_matrices
    drawn = matrices if of_matrices else parameters
    emitted = getattr(compiled.load(), compiled.program.model.name)(drawn(), **options)
    optimizers = [emitted, *([TORCH[name](drawn())] if name in TORCH else [])]
    times: list[list[float]] = [[] for _ in optimizers]
    for _ in range((min(repetitions, 5) if of_matrices else repetitions) + WARM):
        if contexts_of(compiled.program.model):
            record_data(emitted, compiled.program.model)
        for optimizer, seconds in zip(optimizers, times, strict=True):
            start = clock()
            optimizer.step()
            seconds.append(clock() - start)
    ours, *theirs = (median(seconds[WARM:]) * 1e3 for seconds in times)
    said = name + "".join(f", {str(value).removeprefix('torch.')}" for value in options.values())
    return Measurement(said, ours, theirs[0] if theirs else None, state_of(emitted))


def record_data(optimizer: Any, model: Model) -> None:
    """Data of the layer of every weight, which a step uses up."""
    generator = torch.Generator().manual_seed(0)
    rows = torch.randn(DATA, SIDE, generator=generator)
    for group in optimizer.param_groups:
        for weight in group["params"]:
            optimizer.record(weight, **{stream.name: rows for stream in contexts_of(model)})


def state_of(optimizer: Optimizer) -> float:
    """The numbers that an optimizer keeps, for each number that it moves."""
    kept = sum(value.numel() for state in optimizer.state.values() for value in state.values() if isinstance(value, Tensor))
    return kept / sum(parameter.numel() for parameter in optimizer.state) if optimizer.state else 0.0


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
