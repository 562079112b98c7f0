"""How far gradients held over a chunk lead away from those of every token: two emitted modules on the same random tokens -> a table.

    python -m experiments.staleness [--write]

`architectures/ttt_linear_plain` takes the gradients of a chunk at its start, `architectures/delta_rule` at every token. Keys and
queries have length 1, values entries of a normal distribution, the rate is constant; float64. `--write` rewrites
docs/experiments/staleness.md.
"""

from __future__ import annotations

from collections.abc import Mapping
from pathlib import Path

import torch
from torch import Tensor, nn

from experiments.pages import is_asked_to_write
from nlc.pipeline import compile_file

ROOT = Path(__file__).resolve().parents[1]
PAGE = ROOT / "docs" / "experiments" / "staleness.md"

SIZE, TOKENS, RATE = 32, 256, 0.5
CHUNKS = (1, 2, 4, 8, 16, 32)
SEEDS = tuple(range(8))

Gaps = Mapping[int, tuple[float, ...]]
"""For each chunk the relative gap of the outputs, by seed."""


def main() -> None:
    """Measure and print; with `--write`, into the docs."""
    is_to_write = is_asked_to_write(__doc__)
    found = gaps()
    print(table(found))
    if is_to_write:
        PAGE.write_text(page(found), encoding="utf-8")


def gaps() -> Gaps:
    """The norm of the difference of the outputs over the norm of those of the rule of every token."""
    exact = {seed: outputs(module("delta_rule"), "beta", seed) for seed in SEEDS}
    found = {}
    for chunk in CHUNKS:
        held = module("ttt_linear_plain", period=chunk)
        stale = {seed: outputs(held, "learning_rate", seed) for seed in SEEDS}
        found[chunk] = tuple(float((stale[seed] - exact[seed]).norm() / exact[seed].norm()) for seed in SEEDS)
    return found


def module(name: str, **counts: float) -> nn.Module:
    """An emitted memory of the size that is measured at."""
    compiled = compile_file(ROOT / "specs" / "architectures" / f"{name}.yaml", **counts)
    made: nn.Module = getattr(compiled.load(), compiled.program.model.name)(d_k=SIZE, d_v=SIZE)
    return made


def outputs(memory: nn.Module, rate: str, seed: int) -> Tensor:
    """What a memory answers at every token of one random sequence: (1, tokens, 1, size)."""
    generator = torch.Generator().manual_seed(seed)
    query, key, value = (torch.randn(1, TOKENS, 1, SIZE, dtype=torch.float64, generator=generator) for _ in range(3))
    streams = {"q": nn.functional.normalize(query, dim=-1), "k": nn.functional.normalize(key, dim=-1), "v": value}
    y: Tensor = memory(**streams, **{rate: torch.full((1, TOKENS, 1), RATE, dtype=torch.float64)})[0]
    return y


def table(found: Gaps) -> str:
    """The mean gap of each chunk, with the least and the greatest."""
    rows = [f"| {chunk} | {sum(row) / len(row):.2f} | {min(row):.2f} to {max(row):.2f} |" for chunk, row in found.items()]
    return "\n".join(("| tokens a chunk | relative gap of the outputs, mean | from, to |", "|---|---|---|", *rows))


def page(found: Gaps) -> str:
    """The page of the docs."""
    return PAGE_TEXT.format(table=table(found), size=SIZE, tokens=TOKENS, rate=RATE, seeds=len(SEEDS))


PAGE_TEXT = """# How stale gradients of a chunk are

`python -m experiments.staleness --write` writes this page.

A memory that takes all gradients of a chunk at its start (Eq. 90, TTT, Titans) can be computed in parallel, and is another memory
than the one that takes each at its own token. How far apart are they? Both are emitted, `architectures/ttt_linear_plain` with its
`period` set and `architectures/delta_rule`, at {size} by {size}, on {tokens} tokens with keys of length 1 and the rate {rate:g}, in
float64, for {seeds} seeds:

{table}

A chunk of one token is the delta rule itself. The gap grows with the chunk: it is a choice of the model, and nlc never makes it for you.
"""


if __name__ == "__main__":
    main()
