"""How fast emitted code is: against the forms written by hand, and against the same laws token by token.

    python -m benchmarks.forms [--json FILE] [--quick] [--one-thread] [--shape BATCH HEADS TIME] [NAME ...]

Every way runs in one process, the ways by turns, so that a busy machine slows all of them alike; medians are shown. The last columns
compare the time a token at 8,192 tokens with that at 1,024: about 1 for a form whose cost a token does not grow. A second table has
memories beside softmax attention at 8,192 tokens, forward. With `--one-thread` it is the processor time of one thread that counts, which
other work on the machine does not lengthen. At another `--shape` only the forms are compared.
"""

from __future__ import annotations

import argparse
import json
from collections.abc import Callable, Iterator, Mapping
from dataclasses import asdict, dataclass, replace
from functools import partial
from pathlib import Path
from statistics import median
from time import perf_counter, thread_time
from types import MappingProxyType
from typing import Any

import torch
from torch import Tensor, nn

from benchmarks import hand_written
from nlc.pipeline import compile_file

ROOT = Path(__file__).resolve().parents[1]
SIZE, WIDTH = 64, 256
PAIRS = 2
GATES = frozenset({"beta", "alpha", "delta", "rate", "learning_rate", "decay", "retention"})
SHORT, LONG = 1024, 8192

Run = Callable[..., Any]

CASES: Mapping[str, tuple[Run, tuple[str, ...]]] = MappingProxyType(
    {
        "linear_attention": (hand_written.linear_attention, ("q", "k", "v")),
        "mamba2": (hand_written.mamba2, ("q", "k", "v", "delta", "alpha")),
        "retention": (hand_written.retention, ("q", "k", "v")),
        "delta_rule": (hand_written.delta_rule, ("q", "k", "v", "beta")),
        "gated_linear_attention": (hand_written.gated_linear_attention, ("q", "k", "v", "channels:alpha")),
        "gated_delta_rule": (hand_written.gated_delta_rule, ("q", "k", "v", "beta", "alpha")),
        "delta_product": (hand_written.delta_product, ("q", "pairs:k", "v", "pairs:beta")),
        "kimi_delta_attention": (hand_written.kimi_delta_attention, ("q", "k", "v", "beta", "channels:alpha")),
        "rwkv7": (hand_written.rwkv7, ("q", "k", "removal", "v", "channels:rate", "channels:alpha")),
        "titans_linear": (hand_written.titans_linear, ("q", "k", "v", "learning_rate", "decay", "retention")),
        "linear_attention_layer": (hand_written.linear_attention_layer, ("x",)),
        "consolidation": (hand_written.consolidation, ("q", "k", "v", "beta")),
        "softmax_attention": (hand_written.softmax_attention, ("q", "k", "v")),
        "sliding_window_attention": (hand_written.sliding_window_attention, ("q", "k", "v")),
    }
)
"""Each architecture, of specs/ or of this folder: its form by hand, and its inputs; `channels:` is a gate for each key channel,
`pairs:` two values a token.

A layer's form takes the layer first.
"""

NOT_BY_TOKEN = frozenset({"softmax_attention", "sliding_window_attention"})
"""Where a backward pass through the loop over tokens would keep every token's copy of all data."""


AGAINST_ATTENTION = ("linear_attention", "delta_rule", "titans_linear")
"""The memories that are compared with attention."""


@dataclass(frozen=True, slots=True)
class Setting:
    """What is measured, how often, and by which clock; `is_whole`: the loops over tokens and the growth too."""

    batch: int = 1
    heads: int = 4
    time: int = 2048
    repetitions: int = 15
    clock: Callable[[], float] = perf_counter
    is_whole: bool = True


@dataclass(frozen=True, slots=True)
class Measurement:
    """Medians in milliseconds; `growth` is the time a token at LONG tokens over that at SHORT, forward and with backward."""

    architecture: str
    way: str
    forward: float
    forward_and_backward: float
    growth: tuple[float, float] | None


def main() -> None:
    """Measure, print the table, and write it as JSON where `--json` says."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("names", nargs="*", metavar="NAME", help=f"architectures, of {', '.join(CASES)}; all when none is named")
    parser.add_argument("--json", type=Path, metavar="FILE")
    parser.add_argument("--quick", action="store_true", help="few repetitions, for a look")
    parser.add_argument("--one-thread", action="store_true", help="processor time of one thread")
    parser.add_argument("--shape", nargs=3, type=int, metavar=("BATCH", "HEADS", "TIME"))
    arguments = parser.parse_args()
    if arguments.one_thread:
        torch.set_num_threads(1)
    clock = thread_time if arguments.one_thread else perf_counter
    setting = Setting(repetitions=3 if arguments.quick else 15, clock=clock)
    if arguments.shape:
        batch, heads, time = arguments.shape
        setting = replace(setting, batch=batch, heads=heads, time=time, is_whole=False)
    measurements = [item for name in arguments.names or CASES for item in measure(name, setting)]
    print(table(measurements))
    long = {} if arguments.names or arguments.shape else beside_attention(setting)
    if long:
        print(f"\nforward at {LONG} tokens, ms: " + ", ".join(f"{way} {milliseconds:.0f}" for way, milliseconds in long.items()))
    if arguments.json:
        shape = [setting.batch, setting.heads, setting.time, SIZE]
        about = {"shape": shape, "dtype": "float32", "threads": torch.get_num_threads(), "torch": torch.__version__}
        found = {"setting": about, "forms": [asdict(item) for item in measurements], "attention": long}
        arguments.json.write_text(json.dumps(found, indent=2) + "\n")


def measure(name: str, setting: Setting) -> Iterator[Measurement]:
    """The emitted form, the one by hand and the loop over tokens, of one architecture."""
    by_hand, inputs = CASES[name]
    module = emitted(name)
    by_hand = by_hand(module) if any(True for _ in module.parameters()) else by_hand
    ways: dict[str, Run] = {"emitted": module, "by hand": by_hand}
    if name not in NOT_BY_TOKEN and setting.is_whole:
        ways["by token"] = module.forward_by_token  # type: ignore[assignment]
    forward = medians(ways, streams(inputs, setting), setting, backward=False)
    both = medians(ways, streams(inputs, setting), setting, backward=True)
    parallel = {way: run for way, run in ways.items() if way != "by token"}
    grown = [growth(parallel, inputs, setting, backward=backward) for backward in (False, True)] if setting.is_whole else []
    for way in ways:
        yield Measurement(name, way, forward[way], both[way], (grown[0][way], grown[1][way]) if grown and way in parallel else None)


def beside_attention(setting: Setting) -> dict[str, float]:
    """Milliseconds of the memories, and of softmax attention over the same queries, keys and values, at LONG tokens."""
    modules = {name: emitted(name) for name in AGAINST_ATTENTION}
    ways: dict[str, Run] = {name: partial(_with_its_own, CASES[name][1], module) for name, module in modules.items()}
    inputs = dict.fromkeys(text for name in AGAINST_ATTENTION for text in CASES[name][1])
    return medians({**ways, "softmax attention": _attention}, streams(tuple(inputs), replace(setting, time=LONG)), setting, backward=False)


def _with_its_own(inputs: tuple[str, ...], module: Run, **given: Tensor) -> Any:
    """A memory over those streams that are its inputs."""
    return module(**{name: given[name] for name in inputs})


def _attention(q: Tensor, k: Tensor, v: Tensor, **_: Tensor) -> Tensor:
    query, key, value = (x.movedim(1, 2) for x in (q, k, v))
    return nn.functional.scaled_dot_product_attention(query, key, value, is_causal=True).movedim(2, 1)


def growth(ways: Mapping[str, Run], inputs: tuple[str, ...], setting: Setting, *, backward: bool) -> dict[str, float]:
    """How much longer a token takes in a long sequence than in a short one."""
    short, long = (medians(ways, streams(inputs, replace(setting, time=time)), setting, backward=backward) for time in (SHORT, LONG))
    return {way: (long[way] / LONG) / (short[way] / SHORT) for way in ways}


def emitted(name: str) -> nn.Module:
    """The module that nlc compiles a shipped spec to, as it is compiled now."""
    places = (ROOT / "specs" / "architectures" / f"{name}.yaml", ROOT / "benchmarks" / f"{name}.yaml")
    compiled = compile_file(next(path for path in places if path.exists()))
    module: nn.Module = getattr(compiled.load(), compiled.program.model.name)()
    return module


def streams(inputs: tuple[str, ...], setting: Setting) -> dict[str, Tensor]:
    """Normal queries and values, keys and removals of length 1, gates in [0, 1]; retentions near 1."""
    generator = torch.Generator().manual_seed(0)
    drawn: dict[str, Tensor] = {}
    for text in inputs:
        kind, _, name = text.rpartition(":")
        parts, sizes = (PAIRS,) if kind == "pairs" else (), () if name in GATES and kind != "channels" else (SIZE,)
        shape = (setting.batch, setting.time, *((WIDTH,) if name == "x" else (*parts, setting.heads, *sizes)))
        value = torch.rand(shape, generator=generator) if name in GATES else torch.randn(shape, generator=generator)
        near_one = {"alpha": 0.9 + 0.1 * value, "retention": 0.9 + 0.1 * value}
        drawn[name] = near_one.get(name, nn.functional.normalize(value, dim=-1) if name in ("k", "removal") else value)
    return drawn


def medians(ways: Mapping[str, Run], inputs: Mapping[str, Tensor], setting: Setting, *, backward: bool) -> dict[str, float]:
    """Milliseconds of each way, run by turns; the loop over tokens, which is slow, a few times only."""
    taken: dict[str, list[float]] = {way: [] for way in ways}
    for turn in range(setting.repetitions + 1):
        for way, run in ways.items():
            if way == "by token" and turn > 2:
                continue
            milliseconds = once(run, inputs, setting.clock, backward=backward)
            if turn:  # the first turn warms up
                taken[way].append(milliseconds)
    return {way: median(values) for way, values in taken.items()}


def once(run: Run, inputs: Mapping[str, Tensor], clock: Callable[[], float], *, backward: bool) -> float:
    """Milliseconds of one run."""
    given = {name: value.clone().requires_grad_(backward) for name, value in inputs.items()}
    start = clock()
    if backward:
        y, state = run(**given)
        tensors = state.values() if isinstance(state, dict) else (state,)
        sum((x.sum() for x in tensors if x.is_floating_point()), y.sum()).backward()
    else:
        with torch.no_grad():
            run(**given)
    return (clock() - start) * 1e3


def table(measurements: list[Measurement]) -> str:
    """The measurements as text."""
    lines = [f"{'architecture':<24} {'way':<9} {'forward':>10} {'+ backward':>11}   growth of a token's time, {SHORT} to {LONG} tokens"]
    for item in measurements:
        line = f"{item.architecture:<24} {item.way:<9} {item.forward:>7.1f} ms {item.forward_and_backward:>8.1f} ms"
        grown = f"   {item.growth[0]:.2f} forward, {item.growth[1]:.2f} with backward" if item.growth else ""
        lines.append(line + grown)
    return "\n".join(lines)


if __name__ == "__main__":
    main()
