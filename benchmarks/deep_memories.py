"""How fast deep memories are whose gradients are held over a block: the emitted dual form, and torch.func at the same reads.

    python -m benchmarks.deep_memories [--json FILE] [--quick]

The memory is that of `deep_memory.yaml`: four networks 64-256-64 over 2,048 tokens, moved at every token through momentum by gradients at
the start of its block of 64, with rates, decays and retentions of their own for each token. `by memory` is torch.func's vmap(grad) over
the memories, of weighed sums of a block's losses, one for the momentum and one for the weights; `by token` is its vmap(vmap(grad)), which
makes the gradient of every token once. All three read the start of the block.
Each runs by turns in one process, so that a busy machine slows all alike; medians are shown.
"""

from __future__ import annotations

import argparse
import json
from collections.abc import Callable, Mapping
from pathlib import Path
from statistics import median
from time import perf_counter

import torch
from torch import Tensor, nn
from torch.func import grad, vmap

from nlc.pipeline import compile_file

BATCH, TIME, HEADS, SIZE, PERIOD = 1, 2048, 4, 64, 64

Weights = tuple[Tensor, ...]
"""Both matrices of the networks, or of their momentum."""

State = tuple[Weights, Weights]
"""The weights, and the momentum."""

Run = Callable[[Mapping[str, Tensor], State], tuple[Tensor, State]]


def main() -> None:
    """Measure, print the table, and write it as JSON where `--json` says."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--json", type=Path, metavar="FILE")
    parser.add_argument("--quick", action="store_true", help="few repetitions, for a look")
    arguments = parser.parse_args()
    ways: dict[str, Run] = {"emitted": emitted(), "by memory": by_memory, "by token": by_token}
    rows = {backward: medians(ways, 3 if arguments.quick else 15, backward=backward) for backward in (False, True)}
    print(f"{'way':<10}{'forward':>12}{'+ backward':>13}{'forward, of emitted':>22}{'+ backward':>13}")
    for way in ways:
        forward, both = rows[False][way], rows[True][way]
        print(f"{way:<10}{forward:9.1f} ms{both:10.1f} ms{forward / rows[False]['emitted']:22.2f}{both / rows[True]['emitted']:13.2f}")
    if arguments.json:
        table = [{"way": way, "forward_ms": rows[False][way], "forward_and_backward_ms": rows[True][way]} for way in ways]
        arguments.json.write_text(json.dumps({"threads": torch.get_num_threads(), "rows": table}, indent=2) + "\n", encoding="utf-8")


def emitted() -> Run:
    """The module that nlc compiles the spec to."""
    compiled = compile_file(Path(__file__).with_name("deep_memory.yaml"))
    module = compiled.load().DeepMemory()
    names = [f"memory{level}.{part}" for level in ("", ".momentum") for part in ("W1", "W2")]

    def run(streams: Mapping[str, Tensor], start: State) -> tuple[Tensor, State]:
        weights, momentum = start
        given = dict(zip(names, (*weights, *momentum), strict=True))
        held = {f"{name}.held_{PERIOD}": weight for name, weight in zip(names[:2], weights, strict=True)}
        state = module.initial_state(BATCH, HEADS, like=weights[0]) | given | held
        y, after = module(**streams, state=state)
        return y, ((after[names[0]], after[names[1]]), (after[names[2]], after[names[3]]))

    return run


def network(weights: Weights, x: Tensor) -> Tensor:
    """Two layers, of one key or of many."""
    return nn.functional.gelu(x @ weights[0].mT) @ weights[1].mT


def weighed_loss(weights: Weights, key: Tensor, value: Tensor, weight: Tensor) -> Tensor:
    """Half the squared errors, each times its weight."""
    return 0.5 * (weight * (network(weights, key) - value).square().sum(-1)).sum()


def by_memory(streams: Mapping[str, Tensor], start: State) -> tuple[Tensor, State]:
    """Two gradients a block for each memory: as the momentum and as the weights weigh its tokens."""
    gradient = vmap(grad(weighed_loss))

    def moves(weights: Weights, key: Tensor, value: Tensor, shares: tuple[Tensor, Tensor]) -> State:
        return gradient(weights, key, value, shares[0]), gradient(weights, key, value, shares[1])

    return by_blocks(streams, start, moves)


def by_token(streams: Mapping[str, Tensor], start: State) -> tuple[Tensor, State]:
    """The gradient of every token, which both sums weigh."""
    gradient = vmap(vmap(grad(weighed_loss), in_dims=(None, 0, 0, None)), in_dims=(0, 0, 0, None))

    def moves(weights: Weights, key: Tensor, value: Tensor, shares: tuple[Tensor, Tensor]) -> State:
        first, second = gradient(weights, key, value, torch.ones(()))
        both = [tuple(torch.einsum("bt,btrc->brc", share, part) for part in (first, second)) for share in shares]
        return both[0], both[1]

    return by_blocks(streams, start, moves)


def by_blocks(streams: Mapping[str, Tensor], start: State, moves: Callable[..., State]) -> tuple[Tensor, State]:
    """Block after block: read at its start, then moved by gradients, weighed by rates and by what later tokens leave of them."""
    weights, momentum = (tuple(x.flatten(0, 1) for x in level) for level in start)
    pieces = (torch.split(x.movedim(1, 2).flatten(0, 1), PERIOD, 1) for x in streams.values())
    outputs = []
    for query, key, value, rate, decay, retention in zip(*pieces, strict=True):
        outputs.append(network(weights, query))
        old, moving = decay_products(retention), decay_products(decay)
        of_momentum = old[:, -1:, 1:] @ moving[:, 1:]
        shares = (moving[:, -1, 1:] * rate, of_momentum[:, 0, 1:] * rate)
        of_moving, of_weights = moves(weights, key, value, shares)
        kept, fed, left = old[:, -1:, :1], of_momentum[:, :, :1], moving[:, -1:, :1]
        weights = tuple(kept * x + fed * y - z for x, y, z in zip(weights, momentum, of_weights, strict=True))
        momentum = tuple(left * y - z for y, z in zip(momentum, of_moving, strict=True))
    y = torch.cat(outputs, 1).unflatten(0, (BATCH, HEADS)).movedim(2, 1)
    final = [tuple(x.unflatten(0, (BATCH, HEADS)) for x in level) for level in (weights, momentum)]
    return y, (final[0], final[1])


def decay_products(decay: Tensor) -> Tensor:
    """(copies, n) -> (copies, n + 1, n + 1): entry [t, s] is decay_{s+1} ... decay_t, row and column 0 the start."""
    identity = torch.eye(decay.shape[1] + 1)
    below = nn.functional.pad(-decay[..., None] * identity[:-1], (0, 0, 1, 0))
    products: Tensor = torch.linalg.solve_triangular(below, identity, upper=False, unitriangular=True)
    return products


def drawn() -> tuple[dict[str, Tensor], State]:
    """Normal queries and values, keys of length 1, small rates, decays and retentions near 1, and weights to start from."""
    generator = torch.Generator().manual_seed(0)
    q, k, v = (torch.randn(BATCH, TIME, HEADS, SIZE, generator=generator) for _ in range(3))
    rate, decay, retention = (torch.rand(BATCH, TIME, HEADS, generator=generator) for _ in range(3))
    shapes = (4 * SIZE, SIZE), (SIZE, 4 * SIZE)
    first, second = (torch.randn(BATCH, HEADS, *shape, generator=generator) / shape[1] ** 0.5 for shape in shapes)
    gates = {"learning_rate": 0.02 * rate, "decay": 0.5 + 0.4 * decay, "retention": 1 - 0.01 * retention}
    streams = {"q": q, "k": nn.functional.normalize(k, dim=-1), "v": v, **gates}
    return streams, ((first, second), (torch.zeros_like(first), torch.zeros_like(second)))


def medians(ways: Mapping[str, Run], repetitions: int, *, backward: bool) -> dict[str, float]:
    """Milliseconds of each way, run by turns; the first turn warms up."""
    taken: dict[str, list[float]] = {way: [] for way in ways}
    for turn in range(repetitions + 1):
        for way, run in ways.items():
            streams, start = drawn()
            leaves = [x.requires_grad_(backward) for x in (*streams.values(), *start[0], *start[1])]
            begun = perf_counter()
            with torch.set_grad_enabled(backward):
                y, after = run(streams, start)
            if backward:
                torch.autograd.grad(y.sum() + sum(x.sum() for level in after for x in level), leaves)
            if turn:
                taken[way].append((perf_counter() - begun) * 1e3)
    return {way: median(values) for way, values in taken.items()}


if __name__ == "__main__":
    main()
