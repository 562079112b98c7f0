"""`python -m tests.random_specs SEED...` prints the specs of these seeds; with `--verify` also what becomes of them."""

from __future__ import annotations

import argparse

from tests.random_specs.grammar import draw_spec


def main() -> None:
    parser = argparse.ArgumentParser(prog="python -m tests.random_specs", description="Print the random specs of these seeds.")
    parser.add_argument("seeds", metavar="SEED", type=int, nargs="+")
    parser.add_argument("--verify", action="store_true", help="also compile and verify, and say what became of each")
    options = parser.parse_args()
    for seed in options.seeds:
        text = draw_spec(seed).text
        print(f"# seed {seed}")
        print(text)
        if options.verify:
            from tests.random_specs.judge import judge

            outcome = judge(text)
            print(f"# {outcome.word}{' on a parallel form' if outcome.is_parallel else ''} {outcome.detail}\n")


if __name__ == "__main__":
    main()
