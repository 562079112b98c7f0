"""A task, another one, and the first again: a continuum memory system beside plain networks of as many parameters -> a table and a picture.

    python -m experiments.continual [--write]

Each task is a teacher network over inputs around a place of its own, so that one network can know both, and forgets one while it learns
the other. In float64, so that the numbers are the same on other machines. `--write` rewrites docs/experiments/continual.*.
"""

from __future__ import annotations

import json
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import asdict, dataclass
from functools import cache
from math import isfinite
from pathlib import Path
from statistics import mean
from textwrap import wrap
from types import MappingProxyType
from typing import Any

import torch
from torch import Tensor, nn

from experiments.pages import is_asked_to_write, write
from nlc.pipeline import compile_file
from nlc.train.svg import Series, line_chart

HERE = Path(__file__).resolve().parent
CMS, ONE_BLOCK = HERE.parent / "specs" / "architectures" / "cms.yaml", HERE / "one_block.yaml"
PAGE = HERE.parent / "docs" / "experiments" / "continual.md"

WIDTH, HIDDEN, TEACHER, APART = 16, 32, 32, 4.0
PERIODS = (1, 8, 64)
FIRST, SECOND, AGAIN = 640, 640, 320
BATCH, TEST, EVERY, SOON = 32, 512, 16, 64
RATES = (1e-3, 3e-3, 1e-2, 3e-2)
TUNING_SEED, SEEDS = 0, (1, 2, 3)
END_OF_FIRST, END_OF_SECOND = FIRST // EVERY - 1, (FIRST + SECOND) // EVERY - 1


@dataclass(frozen=True, slots=True)
class Method:
    """A network and how it moves: its spec and numbers, its width, and by what the rate of each block is divided, if rates differ."""

    says: str
    spec: Path
    numbers: Mapping[str, int]
    hidden: int
    slower: tuple[int, ...]
    colour: str


EVERY_STEP = MappingProxyType({"medium_period": 1, "slow_period": 1})
METHODS: Mapping[str, Method] = MappingProxyType(
    {
        "cms": Method(
            "three blocks, a continuum memory system",
            CMS,
            MappingProxyType({"medium_period": PERIODS[1], "slow_period": PERIODS[2]}),
            HIDDEN,
            (),
            "#1d5fa6",
        ),
        "rates": Method("the same blocks at every step, slower rates", CMS, EVERY_STEP, HIDDEN, PERIODS, "#b4541a"),
        "chain": Method("the same blocks at every step, one rate", CMS, EVERY_STEP, HIDDEN, (), "#3c8a4e"),
        "mlp": Method("one block, three times as wide", ONE_BLOCK, MappingProxyType({}), 3 * HIDDEN, (), "#7b4ba0"),
    }
)


@dataclass(frozen=True, slots=True)
class Run:
    """The losses of a run on test data of both tasks, every EVERY steps, as shares of what is gained by nothing but zeros."""

    first: tuple[float, ...]
    second: tuple[float, ...]

    @property
    def learned(self) -> float:
        """On the first task, when it was learned."""
        return self.first[END_OF_FIRST]

    @property
    def forgotten(self) -> float:
        """On the first task, after the second."""
        return self.first[END_OF_SECOND]

    @property
    def soon(self) -> float:
        """On the first task, SOON steps after it came back."""
        return self.first[END_OF_SECOND + SOON // EVERY]

    @property
    def other(self) -> float:
        """On the second task, when it was learned."""
        return self.second[END_OF_SECOND]

    @property
    def along(self) -> float:
        """On the task that was there, all the way: what the learning rate is chosen by."""
        return mean((*self.first[: END_OF_FIRST + 1], *self.second[END_OF_FIRST + 1 : END_OF_SECOND + 1], *self.first[END_OF_SECOND + 1 :]))


@dataclass(frozen=True, slots=True)
class Result:
    """The runs of one method: one for each of RATES from the seed of tuning, then one for each of SEEDS at the rate chosen."""

    method: str
    parameters: int
    tuning: tuple[Run, ...]
    rate: float
    runs: tuple[Run, ...]


def main() -> None:
    """Run everything and print the table; with `--write`, into the docs."""
    is_to_write = is_asked_to_write(__doc__)
    results = from_json(as_json([result(name) for name in METHODS]))
    print("\n".join(table(results)))
    if is_to_write:
        write(PAGE, text=page(results), numbers=as_json(results), picture=drawing(results))


# --- running ---------------------------------------------------------------------------------------------------------


def result(name: str) -> Result:
    """All runs of one method."""
    tuning = tuple(run(name, rate, TUNING_SEED) for rate in RATES)
    rate = chosen(tuning)
    count = sum(parameter.numel() for parameter in made(name)[0].parameters())
    return Result(name, count, tuning, rate, tuple(run(name, rate, seed) for seed in SEEDS))


def chosen(tuning: Sequence[Run]) -> float:
    """The learning rate with the least loss on whatever task was there; what is remembered has no say in it."""
    return min((item.along, rate) for item, rate in zip(tuning, RATES, strict=True) if isfinite(item.along))[1]


@cache
def emitted(name: str) -> Any:
    """The module that nlc emits for a method."""
    method = METHODS[name]
    return compile_file(method.spec, **{f"hyperparameters.{key}": value for key, value in method.numbers.items()}).load()


def made(name: str, rate: float = RATES[0]) -> tuple[nn.Module, Any]:
    """The network, and the optimizers of its levels."""
    module, method = emitted(name), METHODS[name]
    network: nn.Module = getattr(module, module.__all__[0])(d_model=WIDTH, d_hidden=method.hidden, learning_rate=rate).double()
    if not method.slower:
        return network, module.optimizers(network)
    blocks = ([weight for name, weight in network.named_parameters() if name.startswith(level)] for level in ("fast", "medium", "slow"))
    groups = [{"params": block, "learning_rate": rate / slower} for block, slower in zip(blocks, method.slower, strict=True)]
    return network, module.AdamW(groups)


class Teacher:
    """A task: a place for inputs and a network, both drawn from a generator; its outputs have a mean square of one."""

    def __init__(self, generator: torch.Generator) -> None:
        self.inner = torch.randn(WIDTH, TEACHER, generator=generator, dtype=torch.float64) * 2 / WIDTH**0.5
        self.outer = torch.randn(TEACHER, WIDTH, generator=generator, dtype=torch.float64)
        place = torch.randn(WIDTH, generator=generator, dtype=torch.float64)
        self.place: Tensor = APART * place / place.norm()
        self.outer /= self(self.inputs(4096, generator)).square().mean().sqrt()

    def inputs(self, count: int, generator: torch.Generator) -> Tensor:
        """So many inputs, (count, WIDTH)."""
        return self.place + torch.randn(count, WIDTH, generator=generator, dtype=torch.float64)

    def __call__(self, x: Tensor) -> Tensor:
        return torch.tanh(x @ self.inner) @ self.outer


def run(name: str, rate: float, seed: int, steps: int = FIRST + SECOND + AGAIN) -> Run:
    """Learn the first task, the second and the first again, from a seed that draws tasks, parameters and data."""
    torch.manual_seed(seed)
    generator = torch.Generator().manual_seed(seed)
    tasks = Teacher(generator), Teacher(generator)
    network, levels = made(name, rate)
    tests = [task.inputs(TEST, generator) for task in tasks]
    losses: tuple[list[float], list[float]] = ([], [])
    for step in range(steps):
        task = tasks[1 if FIRST <= step < FIRST + SECOND else 0]
        x = task.inputs(BATCH, generator)
        levels.zero_grad()
        (network(x=x[:, None])[0][:, 0] - task(x)).square().mean().backward()
        levels.step()
        if (step + 1) % EVERY == 0:
            with torch.no_grad():
                for told, other, test in zip(losses, tasks, tests, strict=True):
                    told.append(float((network(x=test[:, None])[0][:, 0] - other(test)).square().mean()))
    return Run(tuple(losses[0]), tuple(losses[1]))


# --- showing ---------------------------------------------------------------------------------------------------------


def table(results: Sequence[Result]) -> Iterator[str]:
    """A row for each method."""
    yield f"| network | parameters | learning rate | A learned | A after B | B learned | A {SOON} steps after it came back |"
    yield "|---|---|---|---|---|---|---|"
    for item in results:
        columns = [[getattr(run, what) for run in item.runs] for what in ("learned", "forgotten", "other", "soon")]
        told = " | ".join(f"{mean(values):.3f} ({min(values):.3f} to {max(values):.3f})" for values in columns)
        yield f"| {METHODS[item.method].says} | {item.parameters:,} | {item.rate:g} | {told} |"


def drawing(results: Sequence[Result]) -> str:
    """The loss on the first task over the steps, the mean of the seeds."""

    def points(item: Result) -> tuple[tuple[float, float], ...]:
        means = (mean(values) for values in zip(*(run.first for run in item.runs), strict=True))
        return tuple((float(EVERY * (number + 1)), value) for number, value in enumerate(means))

    series = [Series(METHODS[item.method].says, METHODS[item.method].colour, points(item)) for item in results]
    return line_chart(
        title="A, then B, then A again: the loss on A", x_label="steps", y_label="loss on A", series=series, baseline=("zeros", 1.0)
    )


PAGE_TEXT = """# A task, another one, and the first again

`python -m experiments.continual --write` writes this page and draws its picture.

Two tasks, A and B: each asks for the outputs of a network drawn at random, {teacher} units wide, over inputs of {width} normal numbers
around a place of its own, {apart:g} away from zero. A is learned for {first} steps of {batch} new examples, then B for {second}, then
A again for {again}. A loss is a mean square; giving zeros costs 1.

The continuum memory system is `specs/architectures/cms.yaml`, with periods of {periods} steps. It is compared with the same three blocks
that all move at every step, with learning rates divided by {slower} (the plain way to have slow layers) or with one rate, and with one
block of as many parameters. All move by AdamW. The learning rate of each is the one of {rates} with the least loss on
whatever task was there, from seed {tuning}; what is remembered has no say in it. These are the means over the seeds {seeds}, and the
least and the greatest:

{table}

![The loss on A over the steps](continual.svg)

{finding}

The stream is short and the tasks are artificial, and nothing but the learning rate was tuned. The numbers of every
run are in `docs/experiments/continual.json`.
"""


def finding(results: Sequence[Result]) -> str:
    """What the table says of forgetting and of learning again, and whether it is what the paper claims."""
    means = {what: {item.method: mean(getattr(run, what) for run in item.runs) for item in results} for what in ("forgotten", "soon")}
    least = {what: min(values, key=lambda name: values[name]) for what, values in means.items()}
    told = []
    if all(value > 1 for value in means["forgotten"].values()):
        told.append("After B every network is worse at A than zeros are: all have forgotten it.")
    if least["forgotten"] == "cms":
        told.append("The continuum memory system has forgotten least, as the paper claims.")
    else:
        told.append("The continuum memory system has not forgotten least: what the paper claims is not reproduced here.")
    if least["soon"] == "cms":
        told.append("It learns A again soonest, as the paper claims.")
    else:
        best = METHODS[least["soon"]].says
        told.append(f"It does not learn A again soonest, *{best}* does: this claim of the paper is not reproduced here.")
    return "\n".join(wrap(" ".join(told), 130))


def page(results: Sequence[Result]) -> str:
    """The text of the page."""
    return PAGE_TEXT.format(
        teacher=TEACHER,
        width=WIDTH,
        apart=APART,
        first=FIRST,
        second=SECOND,
        again=AGAIN,
        batch=BATCH,
        periods=", ".join(map(str, PERIODS)),
        slower=", ".join(map(str, PERIODS)),
        rates=", ".join(f"{rate:g}" for rate in RATES),
        tuning=TUNING_SEED,
        seeds=", ".join(map(str, SEEDS)),
        table="\n".join(table(results)),
        finding=finding(results),
    )


def as_json(results: Sequence[Result]) -> str:
    """All numbers, a line for each method, losses to six decimals."""

    def rounded(node: Any) -> Any:
        if isinstance(node, float):
            return round(node, 6)
        if isinstance(node, dict):
            return {name: rounded(value) for name, value in node.items()}
        return [rounded(value) for value in node] if isinstance(node, list | tuple) else node

    return "[\n" + ",\n".join(json.dumps(rounded(asdict(item))) for item in results) + "\n]\n"


def from_json(source: str) -> list[Result]:
    """The numbers of `as_json`."""

    def runs(items: list[dict[str, Any]]) -> tuple[Run, ...]:
        return tuple(Run(tuple(item["first"]), tuple(item["second"])) for item in items)

    return [Result(**{**item, "tuning": runs(item["tuning"]), "runs": runs(item["runs"])}) for item in json.loads(source)]


if __name__ == "__main__":
    main()
