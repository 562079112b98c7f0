"""Associative recall of many pairs by every shipped model at equal parameters, tuned the same way -> a table and a picture.

    python -m experiments.recall [--write]

A sequence gives pairs of a key and a value, then asks for the value of every key, in another order (multi-query associative recall, Arora
et al. 2023). Every model has as wide a feed-forward part as makes its parameters nearly as many as those of the others. `--write`
rewrites docs/experiments/recall.*.
"""

from __future__ import annotations

import json
from collections.abc import Iterator, Sequence
from dataclasses import asdict, dataclass
from functools import cache
from inspect import signature
from math import inf, isfinite, log, nan
from pathlib import Path
from statistics import mean
from typing import Any

import torch
from torch import Tensor, nn
from torch.nn.functional import cross_entropy

from experiments.dots import MOST, Row, picture
from experiments.pages import is_asked_to_write, write
from nlc.pipeline import compile_file

ROOT = Path(__file__).resolve().parents[1]
SPECS = ROOT / "specs" / "models"
PAGE = ROOT / "docs" / "experiments" / "recall.md"

VOCABULARY, PAIRS = 32, 4
SIZES = {"vocabulary": VOCABULARY, "d_model": 32, "layers": 2, "heads": 2}
PARAMETERS = 40_000
STEPS, BATCH, TEST = 300, 32, 512
RATES = (3e-3, 1e-2)
TUNING_SEED, SEEDS = 0, (1, 2)

MODELS = tuple(sorted(path.stem for path in SPECS.glob("*.yaml")))


@dataclass(frozen=True, slots=True)
class Run:
    """What a run came to on new sequences: nats an answer, and the share of answers told right. Not finite when it diverged."""

    loss: float
    accuracy: float


@dataclass(frozen=True, slots=True)
class Result:
    """The runs of one model: one for each of RATES from the seed of tuning, then one for each of SEEDS at the rate chosen."""

    model: str
    parameters: int
    size: int
    tuning: tuple[Run, ...]
    rate: float
    runs: tuple[Run, ...]


def main() -> None:
    """Run everything and print the table; with `--write`, into the docs."""
    is_to_write = is_asked_to_write(__doc__)
    results = []
    for name in MODELS:
        results.append(result(name))
        print(next(rows(results[-1:])), flush=True)
    results = from_json(as_json(results))
    print("\n".join(table(results)))
    if is_to_write:
        write(PAGE, text=page(results), numbers=as_json(results), picture=drawing(results))


# --- running ---------------------------------------------------------------------------------------------------------


def result(name: str) -> Result:
    """All runs of one model."""
    tuning = tuple(run(name, rate, TUNING_SEED) for rate in RATES)
    rate = chosen(tuning)
    return Result(name, parameters(name, fitting(name)), fitting(name), tuning, rate, tuple(run(name, rate, seed) for seed in SEEDS))


def chosen(tuning: Sequence[Run]) -> float:
    """The learning rate with the least loss."""
    return min((item.loss if isfinite(item.loss) else inf, rate) for item, rate in zip(tuning, RATES, strict=True))[1]


@cache
def emitted(name: str) -> Any:
    """The module that nlc emits for a model of a spec."""
    return compile_file(SPECS / f"{name}.yaml").load()


def made(name: str, size: int, **numbers: float) -> nn.Module:
    """A model whose feed-forward parts are so wide; one without any has so many layers."""
    module = emitted(name)
    kind = getattr(module, module.__all__[0])
    free = "d_hidden" if "d_hidden" in signature(kind).parameters else "layers"
    model: nn.Module = kind(**{**SIZES, free: size}, **numbers)
    return model


def parameters(name: str, size: int) -> int:
    """How many parameters it has."""
    with torch.device("meta"):
        return sum(parameter.numel() for parameter in made(name, size).parameters())


@cache
def fitting(name: str) -> int:
    """The size at which a model has nearly PARAMETERS."""
    least = parameters(name, 1)
    return 1 + round((PARAMETERS - least) / (parameters(name, 2) - least))


def sequences(count: int, generator: torch.Generator) -> tuple[Tensor, Tensor]:
    """Tokens (count, 3 * PAIRS), pairs and then keys, and the values that are asked for (count, PAIRS)."""
    half = VOCABULARY // 2
    keys = torch.rand(count, half, generator=generator).argsort(1)[:, :PAIRS]
    values = torch.randint(half, VOCABULARY, (count, PAIRS), generator=generator)
    order = torch.rand(count, PAIRS, generator=generator).argsort(1)
    pairs = torch.stack((keys, values), -1).flatten(1)
    return torch.cat((pairs, keys.gather(1, order)), 1), values.gather(1, order)


def run(name: str, rate: float, seed: int, steps: int = STEPS) -> Run:
    """Train a model from a seed, which draws its parameters and its sequences, and ask it about new ones."""
    torch.manual_seed(seed)
    generator = torch.Generator().manual_seed(seed)
    model = made(name, fitting(name), learning_rate=rate)
    optimizer = emitted(name).optimizers(model)
    for _ in range(steps):
        optimizer.zero_grad()
        loss, _ = answered(model, *sequences(BATCH, generator))
        if not bool(loss.isfinite()):
            return Run(nan, 0.0)
        loss.backward()  # type: ignore[no-untyped-call]
        nn.utils.clip_grad_norm_(model.parameters(), 1.0)
        optimizer.step()
    with torch.no_grad():
        loss, accuracy = answered(model, *sequences(TEST, torch.Generator().manual_seed(1000 + seed)))
    return Run(float(loss), float(accuracy))


def answered(model: nn.Module, tokens: Tensor, values: Tensor) -> tuple[Tensor, Tensor]:
    """The mean loss of the answers, and the share that is right."""
    logits, _ = model(tokens=tokens)
    answers = logits[:, -PAIRS:]
    return cross_entropy(answers.flatten(0, 1), values.flatten()), (answers.argmax(-1) == values).double().mean()


# --- showing ---------------------------------------------------------------------------------------------------------


def table(results: Sequence[Result]) -> Iterator[str]:
    """A row for each model, the best first."""
    yield "| model | parameters | learning rate | loss | from to | right answers | from to |"
    yield "|---|---|---|---|---|---|---|"
    yield from rows(sorted(results, key=_order))


def rows(results: Sequence[Result]) -> Iterator[str]:
    """The rows of the table."""
    for item in results:
        losses, shares = [run.loss for run in item.runs], [100 * run.accuracy for run in item.runs]
        yield (
            f"| {item.model} | {item.parameters:,} | {item.rate:g} | {mean(losses):.3f} | {min(losses):.3f} to {max(losses):.3f} "
            f"| {mean(shares):.1f} % | {min(shares):.1f} to {max(shares):.1f} % |"
        )


def _order(item: Result) -> float:
    loss = mean(run.loss for run in item.runs)
    return loss if isfinite(loss) else MOST


def drawing(results: Sequence[Result]) -> str:
    """For each model the loss at every rate, and those of its runs at the rate chosen."""
    lines = [
        Row(item.model, f"rate {item.rate:g}", tuple(run.loss for run in item.tuning), tuple(run.loss for run in item.runs))
        for item in sorted(results, key=_order)
    ]
    return picture("Loss of recalled values, nats an answer", ("each learning rate", "new seeds, the rate chosen"), lines)


PAGE_TEXT = """# Associative recall by every model

`python -m experiments.recall --write` writes this page and draws its picture.

A sequence of {tokens} tokens gives {pairs} pairs, a key of {half} and a value of {half} others, then every key once more in another order,
and asks for its value: multi-query associative recall. Guessing among all values costs {guess:.2f} nats an answer and is right
{share:.1f} % of the time; among the values that the sequence has, {seen:.2f} nats and about {seen_share:.1f} %.

Every model of `specs/models/` has {layers} blocks, `d_model` {d_model} and {heads} heads, and as wide a feed-forward part as brings it near
{parameters:,} parameters; `mamba2`, which has none, has more blocks. It learns for {steps} steps of {batch} new sequences each by its own
optimizer, AdamW, its gradients clipped to length 1. Each is tuned in the same way: the rates {rates} from seed {tuning}; the
better one is then used from the seeds {seeds}, and asked about {test} new sequences. These are the means, and the least and the
greatest:

{table}

![Losses of every model, at every learning rate and from every seed](recall.svg)

Recall appears suddenly, and the budget is small: what a row has not learned in {steps} steps it may learn in more, and rows whose seeds are
far apart were caught in the middle of it. So the table says how soon recall appears, not what a model can hold: softmax attention, which
can look up any pair, is in the middle of it too. In {tokens} tokens the memories that take their gradients at the start of a period
(`titans` 64 tokens, `ttt` 16, `hope` 16) take all of them at the start of the sequence. Only the learning rate was tuned. The sizes are
not the paper's, and nothing here speaks about its numbers. The numbers of every run are in `docs/experiments/recall.json`.
"""


def page(results: Sequence[Result]) -> str:
    """The text of the page."""
    half = VOCABULARY // 2
    return PAGE_TEXT.format(
        tokens=3 * PAIRS,
        pairs=PAIRS,
        half=half,
        guess=log(half),
        share=100 / half,
        seen=log(PAIRS),
        seen_share=100 / PAIRS,
        layers=SIZES["layers"],
        d_model=SIZES["d_model"],
        heads=SIZES["heads"],
        parameters=PARAMETERS,
        steps=STEPS,
        batch=BATCH,
        rates=" and ".join(f"{rate:g}" for rate in RATES),
        tuning=TUNING_SEED,
        seeds=" and ".join(map(str, SEEDS)),
        test=TEST,
        table="\n".join(table(results)),
    )


def as_json(results: Sequence[Result]) -> str:
    """All numbers, a line for each model; what diverged is null."""
    lines = (json.dumps(asdict(item)).replace("NaN", "null") for item in results)
    return "[\n" + ",\n".join(lines) + "\n]\n"


def from_json(source: str) -> list[Result]:
    """The numbers of `as_json`."""

    def runs(items: list[dict[str, Any]]) -> tuple[Run, ...]:
        return tuple(Run(nan if item["loss"] is None else item["loss"], item["accuracy"]) for item in items)

    return [Result(**{**item, "tuning": runs(item["tuning"]), "runs": runs(item["runs"])}) for item in json.loads(source)]


if __name__ == "__main__":
    main()
