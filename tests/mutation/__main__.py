"""Module files, by their paths below generated/ -> their mutants, at all places and by all operators, that `nlc verify` judges wrongly.

Takes minutes a file: `python -m tests.mutation architectures/delta_rule.py optimizers/adam.py`; all of them without arguments.
"""

from __future__ import annotations

import sys
import warnings

from tests.mutation.shipped import FILES, shipped, wrongly_judged


def main(files: list[str]) -> int:
    """Prints every mutant that is neither caught nor listed as equivalent, or both; the status is 1 when there is one."""
    warnings.simplefilter("ignore")  # a warning that a mutant causes is not what catches it
    found = 0
    for file in files or FILES:
        wrong = wrongly_judged(file, shipped(file).mutants)
        print(f"{file}: {len(shipped(file).mutants)} mutants, {len(wrong)} judged wrongly", *wrong, sep="\n  ", flush=True)
        found += len(wrong)
    return int(found > 0)


if __name__ == "__main__":
    sys.exit(main(sys.argv[1:]))
