"""`make bench`: every measurement that README.md quotes, as tables, and as JSON in benchmarks/results/.

What is measured: the forms against ones written by hand (forms.py), deep memories against torch.func (deep_memories.py), the memory of
a training step (memory.py), the optimizers against torch's (optimizers.py), and how long nlc itself takes (compiling.py). Each can be
run alone: `python -m benchmarks.forms --quick`.
"""

from __future__ import annotations

import subprocess
import sys
from pathlib import Path

RESULTS = Path(__file__).parent / "results"
PARTS = ("forms", "deep_memories", "memory", "optimizers", "compiling")


def main() -> int:
    """0 when every part ran."""
    RESULTS.mkdir(exist_ok=True)
    status = 0
    for part in PARTS:
        print(f"\n== {part}", flush=True)
        status |= subprocess.run(
            [sys.executable, "-m", f"benchmarks.{part}", "--json", str(RESULTS / f"{part}.json"), *sys.argv[1:]]
        ).returncode
    return status


if __name__ == "__main__":
    sys.exit(main())
