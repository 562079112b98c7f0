"""How long nlc itself takes: `nlc check` of one spec as a process of its own, and `nlc build` of all specs.

python -m benchmarks.compiling [--json FILE] [--quick]
"""

from __future__ import annotations

import argparse
import json
import subprocess
import sys
import tempfile
from pathlib import Path
from statistics import median
from time import perf_counter

ROOT = Path(__file__).resolve().parents[1]


def main() -> None:
    """Measure, print, and write JSON where `--json` says."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--json", type=Path, metavar="FILE")
    parser.add_argument("--quick", action="store_true", help="few repetitions, for a look")
    arguments = parser.parse_args()
    repetitions = 3 if arguments.quick else 5
    with tempfile.TemporaryDirectory() as folder:
        seconds = {
            "nlc check, one spec": timed(repetitions, "check", "specs/architectures/gated_delta_rule.yaml"),
            "nlc build, all specs": timed(repetitions, "build", "specs", "-o", folder),
            "nlc verify, all specs": timed(repetitions, "verify", "specs"),
        }
    for name, value in seconds.items():
        print(f"{name:<24}{value:6.2f} s")
    if arguments.json:
        arguments.json.write_text(json.dumps({"seconds": seconds, "repetitions": repetitions}, indent=2) + "\n", encoding="utf-8")


def timed(repetitions: int, *words: str) -> float:
    """The median time of a command as a process, after one run that warms the disk."""
    times = []
    for _ in range(repetitions + 1):
        start = perf_counter()
        subprocess.run([sys.executable, "-m", "nlc", *words], cwd=ROOT, check=True, stdout=subprocess.DEVNULL)
        times.append(perf_counter() - start)
    return median(times[1:])


if __name__ == "__main__":
    main()
