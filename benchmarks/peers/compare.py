"""Emitted Titans and Hope beside those of two packages, interleaved in one process -> medians in milliseconds.

    python -m pip install --no-deps --target .venv-peers -r benchmarks/peers/requirements.txt
    PYTHONPATH=.venv-peers:. python -m benchmarks.peers.compare [--rounds 7]

An extra: no test runs it, and nothing else needs the packages. `titans-pytorch` has a NeuralMemory like `architectures/titans_layer` (a
network 64-256-64 for each head, momentum, forgetting, gradients at the start of a chunk); a training step is a forward and a backward pass.
The layer as it is shipped moves its memory at every token, with a decay and a retention of the token's own, and reads it there. The package
moves its memory once a chunk, by the gradients of its tokens times their rates, and reads it as it was before: the layer is timed so too.
Where the package is given no batch size, it takes all gradients of a sequence at the weights that the sequence began with, so that no chunk
learns from the one before; with `batch_size` a chunk it takes them at the start of each chunk, as the layer does. It is timed in both ways.
`nested-learning` has a Hope block whose memories are written in place, without a gradient and for one sequence: it is timed so, with its
own updates, beside a block of `models/hope`. Its memories are networks of two layers, ours are matrices.
"""

from __future__ import annotations

import argparse
import os
import platform
from collections.abc import Callable, Mapping
from pathlib import Path
from statistics import median
from time import perf_counter

import torch
from nested_learning.hope.block import HOPESelfModBlock, HOPESelfModBlockConfig
from nested_learning.levels import LevelSpec
from titans_pytorch import NeuralMemory
from torch import Tensor, nn

from nlc.pipeline import compile_file

SPECS = Path(__file__).resolve().parents[2] / "specs"
BATCH, TIME, WIDTH, HEADS = 2, 512, 128, 2
HOPE_TIME, PERIOD = 256, 16
CHUNKS = (16, 64)
ONCE_A_CHUNK = {
    "levels.memory.gradient_at": "previous",
    "levels.memory.objective": "0.5 * rate * norm2(memory(key) - value)",
    "levels.memory.optimizer": "momentum(learning_rate = 1, decay = inner_decay)",
    "outputs.y": "project_out(join(rms_norm(prev(memory)(q)) * gate, heads))",
}
"""What makes the layer one whose memory moves once a period, as that of the package does."""


def main() -> None:
    """Time everything and print a table."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--rounds", type=int, default=7, help="how often each is timed, in turns")
    rounds = parser.parse_args().rounds
    torch.manual_seed(0)
    print(f"torch {torch.__version__}, {torch.get_num_threads()} threads, {platform.machine()}, {os.cpu_count()} cores\n")
    print("| what | nlc, ms | package, ms | package / nlc |")
    print("|---|---|---|---|")
    for chunk in CHUNKS:
        once = {**ONCE_A_CHUNK, "levels.memory.every": f"{chunk} tokens"}
        for moved, changes in (("at every token", {}), ("once a chunk", once)):
            what = f"titans, chunk {chunk}, moved {moved}, a training step of {BATCH} x {TIME}; package:"
            told(f"{what} all gradients at the first weights", titans(chunk, None, changes), rounds)
            told(f"{what} gradients at the start of a chunk", titans(chunk, chunk, changes), rounds)
    told(f"hope, period {PERIOD}, a forward of 1 x {HOPE_TIME} with its updates", hope(), rounds)


def told(what: str, ways: Mapping[str, Callable[[], None]], rounds: int) -> None:
    """A row of the table."""
    times: dict[str, list[float]] = {name: [] for name in ways}
    for turn in range(rounds + 1):
        for name, way in ways.items():
            begun = perf_counter()
            way()
            if turn:  # the first is for warming up
                times[name].append(1e3 * (perf_counter() - begun))
    ours, theirs = (median(times[name]) for name in ("nlc", "package"))
    print(f"| {what} | {ours:.0f} | {theirs:.0f} | {theirs / ours:.1f} |", flush=True)


def titans(chunk: int, batch_size: int | None, changes: Mapping[str, str]) -> dict[str, Callable[[], None]]:
    """A forward and a backward pass of a layer with a deep memory, some of whose spec is changed.

    The package takes gradients anew every `batch_size` tokens.
    """
    module = compile_file(SPECS / "architectures" / "titans_layer.yaml", period=chunk, **changes).load()
    layer = module.TitansLayer(d_model=WIDTH, heads=HEADS)
    sizes = {"dim": WIDTH, "dim_head": WIDTH // HEADS, "heads": HEADS, "chunk_size": chunk, "batch_size": batch_size}
    memory = NeuralMemory(**sizes, momentum=True, qk_rmsnorm=True)
    x = torch.randn(BATCH, TIME, WIDTH)

    def step(network: nn.Module, run: Callable[[], Tensor]) -> None:
        network.zero_grad()
        run().square().mean().backward()

    return {
        "nlc": lambda: step(layer, lambda: layer(x=x)[0]),
        "package": lambda: step(memory, lambda: memory(x)[0]),
    }


def hope() -> dict[str, Callable[[], None]]:
    """A forward pass of a block whose memories learn while it runs."""
    module = compile_file(SPECS / "models" / "hope.yaml").load()
    ours = module.HopeBlock(d_model=WIDTH, heads=1, d_hidden=4 * WIDTH)
    levels = [LevelSpec(name, update_period=period) for name, period in (("fast", 64), ("medium", 128), ("slow", 256))]
    theirs = HOPESelfModBlock(
        HOPESelfModBlockConfig(dim=WIDTH, cms_levels=levels, selfmod_chunk_size=PERIOD, selfmod_chunk_size_memory=PERIOD)
    )
    x, signal = torch.randn(1, HOPE_TIME, WIDTH), 1e-3 * torch.randn(1, HOPE_TIME, WIDTH)

    def own() -> None:
        with torch.no_grad():
            ours(x, ours.initial_state(1, like=x))

    def package() -> None:
        with torch.no_grad():
            theirs(x, teach_signal=signal)

    return {"nlc": own, "package": package}


if __name__ == "__main__":
    main()
