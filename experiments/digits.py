"""Every emitted optimizer on scikit-learn's digits, tuned the same way -> a table and a picture.

    python -m experiments.digits [--write]

A network of three layers without biases, so that every parameter is a matrix and each optimizer moves all of them. Each optimizer is tried
with the same learning rates, its other hyperparameters as its spec has them; the rate with the least validation loss is then used from new
seeds. In float64, so that the numbers are the same on other machines. `--write` rewrites docs/experiments/digits.*.
"""

from __future__ import annotations

import json
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import asdict, dataclass
from functools import cache
from itertools import pairwise
from math import inf, isfinite, nan
from pathlib import Path
from statistics import mean
from typing import Any

import torch
from sklearn.datasets import load_digits  # type: ignore[import-untyped]
from torch import Tensor, nn
from torch.nn.functional import cross_entropy

from experiments.dots import MOST, Row, picture
from experiments.pages import is_asked_to_write, write
from nlc.pipeline import compile_file

ROOT = Path(__file__).resolve().parents[1]
SPECS = ROOT / "specs" / "optimizers"
PAGE = ROOT / "docs" / "experiments" / "digits.md"

SIZES = (64, 64, 32, 10)
STEPS, BATCH = 300, 64
VALIDATION, TEST = 300, 300
RATES = (1e-4, 3e-4, 1e-3, 3e-3, 1e-2, 3e-2, 0.1, 0.3, 1.0)
TUNING_SEED, SEEDS = 0, (1, 2, 3, 4, 5)

OPTIMIZERS = tuple(sorted(path.stem for path in SPECS.glob("*.yaml")))


@dataclass(frozen=True, slots=True)
class Data:
    """Images as rows of 64 numbers from 0 to 1, with their digits, in three parts."""

    train: tuple[Tensor, Tensor]
    validation: tuple[Tensor, Tensor]
    test: tuple[Tensor, Tensor]


@dataclass(frozen=True, slots=True)
class Run:
    """What a run came to: losses in nats an image, and the share of test images told right. Not finite when it diverged."""

    train: float
    validation: float
    test: float
    accuracy: float


DIVERGED = Run(nan, nan, nan, nan)


@dataclass(frozen=True, slots=True)
class Result:
    """The runs of one optimizer: one for each of RATES from the seed of tuning, then one for each of SEEDS at the rate chosen."""

    optimizer: str
    tuning: tuple[Run, ...]
    rate: float
    runs: tuple[Run, ...]


def main() -> None:
    """Run everything and print the table; with `--write`, into the docs."""
    is_to_write = is_asked_to_write(__doc__)
    results = from_json(as_json([result(name) for name in OPTIMIZERS]))
    print("\n".join(table(results)))
    if is_to_write:
        write(PAGE, text=page(results), numbers=as_json(results), picture=drawing(results))


# --- running ---------------------------------------------------------------------------------------------------------


def result(name: str) -> Result:
    """All runs of one optimizer."""
    kind = emitted(name)
    tuning = tuple(run(kind, rate, TUNING_SEED) for rate in RATES)
    rate = chosen(tuning)
    return Result(name, tuning, rate, tuple(run(kind, rate, seed) for seed in SEEDS))


def chosen(tuning: Sequence[Run]) -> float:
    """The learning rate with the least validation loss."""
    finite = [(item.validation, rate) for item, rate in zip(tuning, RATES, strict=True) if isfinite(item.validation)]
    return min(finite)[1]


def emitted(name: str) -> Any:
    """The class that nlc emits for a spec."""
    compiled = compile_file(SPECS / f"{name}.yaml")
    return getattr(compiled.load(), compiled.program.model.name)


def run(kind: Any, rate: float, seed: int) -> Run:
    """Train a network from a seed, which draws its weights and its batches, and see how well it does."""
    generator = torch.Generator().manual_seed(seed)
    parts, layers = data(), network(generator)
    weights = list(layers.parameters())
    optimizer = kind(weights, learning_rate=rate)
    if hasattr(optimizer, "attach"):
        optimizer.attach(layers)
    images, digits = parts.train
    for _ in range(STEPS):
        batch = torch.randint(len(images), (BATCH,), generator=generator)
        optimizer.zero_grad()
        loss = cross_entropy(layers(images[batch]), digits[batch])
        loss.backward()  # type: ignore[no-untyped-call]
        if not all(bool(weight.grad.isfinite().all()) for weight in weights if weight.grad is not None):
            return DIVERGED
        optimizer.step()
    with torch.no_grad():
        losses = [float(cross_entropy(layers(x), y)) for x, y in (parts.train, parts.validation, parts.test)]
        x, y = parts.test
        return Run(losses[0], losses[1], losses[2], float((layers(x).argmax(-1) == y).double().mean()))


def network(generator: torch.Generator) -> nn.Sequential:
    """Linear layers with ReLU between them, their weights normal, of the size that keeps activations of ReLU as they are."""
    layers: list[nn.Module] = []
    for columns, rows in pairwise(SIZES):
        layer = nn.Linear(columns, rows, bias=False, dtype=torch.float64)
        with torch.no_grad():
            layer.weight.copy_(torch.randn(rows, columns, generator=generator, dtype=torch.float64) * (2 / columns) ** 0.5)
        layers += [layer, nn.ReLU()]
    return nn.Sequential(*layers[:-1])


@cache
def data() -> Data:
    """The 1,797 images, shuffled once."""
    bunch = load_digits()
    order = torch.randperm(len(bunch.target), generator=torch.Generator().manual_seed(0))
    images, digits = torch.from_numpy(bunch.data)[order] / 16, torch.from_numpy(bunch.target)[order].long()
    sizes = [len(digits) - VALIDATION - TEST, VALIDATION, TEST]
    return Data(*zip(torch.split(images, sizes), torch.split(digits, sizes), strict=True))


# --- showing ---------------------------------------------------------------------------------------------------------


def table(results: Sequence[Result]) -> Iterator[str]:
    """A row for each optimizer, the least test loss first."""
    yield "| optimizer | learning rate | train loss | test loss | from to | test accuracy | from to |"
    yield "|---|---|---|---|---|---|---|"
    for item in sorted(results, key=_mean_loss):
        losses, shares = [run.test for run in item.runs], [100 * run.accuracy for run in item.runs]
        edge = " (last of the grid)" if item.rate in (RATES[0], RATES[-1]) else ""
        yield (
            f"| {item.optimizer} | {item.rate:g}{edge} | {_loss(mean(run.train for run in item.runs), 4)} "
            f"| {_loss(mean(losses))} | {_loss(min(losses))} to {_loss(max(losses))} "
            f"| {mean(shares):.1f} % | {min(shares):.1f} to {max(shares):.1f} % |"
        )


def _loss(value: float, decimals: int = 3) -> str:
    return f"{value:.{decimals}f}" if value <= MOST else f"over {MOST:g}"


def _mean_loss(item: Result) -> float:
    """Not finite ones are the worst."""
    loss = mean(run.test for run in item.runs)
    return loss if isfinite(loss) else inf


def drawing(results: Sequence[Result]) -> str:
    """For each optimizer the validation loss at every rate, and the test losses of its runs."""
    rows = [
        Row(item.optimizer, f"rate {item.rate:g}", tuple(run.validation for run in item.tuning), tuple(run.test for run in item.runs))
        for item in sorted(results, key=_mean_loss)
    ]
    return picture(
        "Loss on digits that were held out, nats an image", ("validation, each learning rate", "test, 5 seeds, the rate chosen"), rows
    )


PAGE_TEXT = """# Every optimizer on handwritten digits

`python -m experiments.digits --write` writes this page and draws its picture. It needs scikit-learn, which has the data.

A network of {layers} units, ReLU between its layers and no biases, so that every parameter is a matrix and each optimizer moves
all of them, learns the {images:,} images of `sklearn.datasets.load_digits` for {steps} steps with {batch} images each, in float64.
{validation} images are for validation, {test} for the test, the others for training.

Every optimizer is tuned in the same way: {count} learning rates ({rates}) from seed {tuning},
its other hyperparameters as its spec in `specs/optimizers/` has them. The rate with the least validation loss is then used from the seeds
{seeds}; these are the means of their runs, and the least and the greatest:

{table}

![Losses of every optimizer, at every learning rate and from every seed](digits.svg)

M3 as printed diverges at every rate of the grid. Its step divides what Newton-Schulz made of a momentum, which is as large where gradients
are small as elsewhere, by the root of a sum of squares. The guarded variant measures that root by its mean, and lets it only shorten steps.
The mirrors put the weights where their map says, whatever they were at the start. What needs the data of layers (`dgd`, `dgd_of_samples`,
`delta_gradient_descent`, `delta_momentum_of_inputs`, `generalised_momentum`) gets them by `attach`. Delta gradient descent, by explicit
steps or by the implicit ones of `dgd` and `dgd_of_samples`, descends the loss and, with the same weight, the squared outputs of every
layer; beside a mean loss over a batch the outputs outweigh it, and are made small.

The hyperparameters beside the learning rate were not tuned, the data is small and every good row tells nearly all images right: the table
orders these runs, and no more. The numbers of every run are in `docs/experiments/digits.json`.
"""


def page(results: Sequence[Result]) -> str:
    """The page of the docs."""
    return PAGE_TEXT.format(
        layers=", ".join(map(str, SIZES)),
        images=sum(len(part[0]) for part in (data().train, data().validation, data().test)),
        steps=STEPS,
        batch=BATCH,
        validation=VALIDATION,
        test=TEST,
        count=len(RATES),
        rates=", ".join(f"{rate:g}" for rate in RATES),
        tuning=TUNING_SEED,
        seeds=", ".join(map(str, SEEDS)),
        table="\n".join(table(results)),
    )


def as_json(results: Sequence[Result]) -> str:
    """The numbers of every run; null for those of a run that diverged."""
    lines = [json.dumps(_plain(asdict(item))) for item in results]
    return "[\n" + ",\n".join(lines) + "\n]\n"


def _plain(value: Any) -> Any:
    match value:
        case dict():
            return {key: _plain(item) for key, item in value.items()}
        case list() | tuple():
            return [_plain(item) for item in value]
        case float():
            return float(f"{value:.8g}") if isfinite(value) else None
    return value


def from_json(text: str) -> list[Result]:
    """What `as_json` wrote."""

    def runs(items: Sequence[Mapping[str, float | None]]) -> tuple[Run, ...]:
        return tuple(Run(**{name: float("nan") if value is None else value for name, value in item.items()}) for item in items)

    return [Result(item["optimizer"], runs(item["tuning"]), item["rate"], runs(item["runs"])) for item in json.loads(text)]


if __name__ == "__main__":
    main()
