"""The memory of a training step, with and without `checkpoint`: the peak resident size of a process of its own for each number.

    python -m benchmarks.memory [--json FILE] [--quick] [NAME ...]

A process imports torch and a committed module, draws the streams and runs one forward and backward; streams, their gradients and torch
itself are in the number. `the step` is without what was resident just before it, after a step of a few tokens that makes torch load what
it loads late: it is the outputs, the gradients of the streams, and all that is kept for the backward. `--quick` measures a quarter of the
tokens. All processes give freed memory back (MALLOC_TRIM_THRESHOLD_): by default glibc stops doing so after it has freed a large tensor,
and what is resident is then what was ever asked for at once, with holes.
"""

from __future__ import annotations

import argparse
import json
import os
import resource
import subprocess
import sys
from collections.abc import Iterator
from dataclasses import asdict, dataclass
from importlib import import_module
from pathlib import Path

import torch

ROOT = Path(__file__).resolve().parents[1]
BATCH, HEADS, SIZE = 2, 8, 64
TIME, SHORT = 8192, 2048
PIECE = 512
FEW = 4
STREAMS = {
    "linear_attention": ("q", "k", "v"),
    "delta_rule": ("q", "k", "v", "beta"),
    "gated_delta_rule": ("q", "k", "v", "alpha", "beta"),
    "kimi_delta_attention": ("q", "k", "v", "channels:alpha", "beta"),
    "titans_linear": ("q", "k", "v", "learning_rate", "decay", "retention"),
    "omega": ("q", "k", "v", "alpha", "gamma"),
    "delta_rule_layer": ("x",),
    "titans_linear_layer": ("x",),
}
"""Architectures and their streams: q, k and v are vectors, `channels:` a gate for each of their entries, x is as wide as all heads,
others are numbers."""


@dataclass(frozen=True, slots=True)
class Peak:
    """Peak resident size of a process that runs a training step, in MiB, and the part of it that the step itself took."""

    process: float
    step: float


@dataclass(frozen=True, slots=True)
class Peaks:
    """Of one architecture: everything kept, pieces of PIECE tokens computed anew, and half as many tokens with everything kept."""

    architecture: str
    whole: Peak
    checkpointed: Peak
    whole_of_half: Peak


def main() -> None:
    """Measure, print a table, and write it as JSON where `--json` says."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("names", nargs="*", metavar="NAME", help=f"architectures, of {', '.join(STREAMS)}; all when none is named")
    parser.add_argument("--json", type=Path, metavar="FILE")
    parser.add_argument("--quick", action="store_true", help="a quarter of the tokens, for a look")
    parser.add_argument("--step", nargs=2, metavar=("TOKENS", "PIECE"), help=argparse.SUPPRESS)
    arguments = parser.parse_args()
    if arguments.step:
        before = step(arguments.names[0], *map(int, arguments.step))
        peak = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss / 1024
        print(json.dumps({"process": peak, "step": peak - before}))
        return
    tokens = SHORT if arguments.quick else TIME
    peaks = list(measure(arguments.names or list(STREAMS), tokens))
    print(f"a training step at ({BATCH}, {HEADS}, {tokens}, {SIZE}), float32: peak resident MiB of its process")
    for part, title in (("process", "the process"), ("step", "the step")):
        print(f"{title:24}{'whole':>9}{'pieces':>9}{'share':>8}{'half the tokens':>18}")
        for peak in peaks:
            whole, pieces, half = (getattr(one, part) for one in (peak.whole, peak.checkpointed, peak.whole_of_half))
            print(f"{peak.architecture:24}{whole:9.0f}{pieces:9.0f}{pieces / whole:8.0%}{half:18.0f}")
    if arguments.json:
        setting = {"shape": [BATCH, HEADS, tokens, SIZE], "dtype": "float32", "piece": PIECE, "torch": torch.__version__}
        arguments.json.write_text(json.dumps({"setting": setting, "peaks": [asdict(peak) for peak in peaks]}, indent=2) + "\n")


def measure(names: list[str], tokens: int) -> Iterator[Peaks]:
    """The peaks of some architectures."""
    for name in names:
        yield Peaks(name, peak_of(name, tokens, 0), peak_of(name, tokens, PIECE), peak_of(name, tokens // 2, 0))


def peak_of(name: str, tokens: int, piece: int) -> Peak:
    """The peak of a fresh process that runs one step; `piece` 0 keeps everything."""
    command = [sys.executable, "-m", "benchmarks.memory", name, "--step", str(tokens), str(piece)]
    environment = {**os.environ, "MALLOC_TRIM_THRESHOLD_": str(128 * 1024)}
    return Peak(**json.loads(subprocess.run(command, check=True, capture_output=True, text=True, cwd=ROOT, env=environment).stdout))


def step(name: str, tokens: int, piece: int) -> float:
    """One forward and backward of the committed module -> the MiB that were resident just before it."""
    made = import_module(f"generated.architectures.{name}")
    sizes = {"d_model": HEADS * SIZE, "heads": HEADS} if STREAMS[name] == ("x",) else {}
    module = getattr(made, made.__all__[0])(**sizes, checkpoint=piece or None)
    generator = torch.Generator().manual_seed(0)
    streams = {}
    for text in STREAMS[name]:
        kind, _, stream = text.rpartition(":")
        wide = (BATCH, tokens, HEADS * SIZE) if stream == "x" else (BATCH, tokens, HEADS, SIZE)
        shape = wide if kind or stream in "qkvx" else wide[:3]
        drawn = torch.randn(shape, generator=generator) / 8 if stream in "qkvx" else torch.rand(shape, generator=generator) / 2
        streams[stream] = drawn.requires_grad_()
    module(**{stream: x.detach()[:, :FEW].requires_grad_() for stream, x in streams.items()})[0].sum().backward()
    before = resident()
    module(**streams)[0].sum().backward()
    return before


def resident() -> float:
    """MiB of this process that are in memory now."""
    return int(Path("/proc/self/statm").read_text().split()[1]) * resource.getpagesize() / 2**20


if __name__ == "__main__":
    main()
