"""600 random specs: each is refused with a code, or every square of `nlc verify` closes; failures are shown at their smallest."""

from __future__ import annotations

import os
import subprocess
import sys
from collections import Counter
from collections.abc import Iterable

import pytest

from tests.architecture.modules import ROOT
from tests.random_specs.grammar import constructs, contained, draw_spec
from tests.random_specs.judge import REFUSED, Outcome, compiled, judge
from tests.random_specs.shrink import shrink
from tests.random_specs.tree import SpecTree

SPECS, BATCH, QUICK = 600, 50, 6
LEAST_DRAWN = 20
"""How many of the specs contain each construct of the table, at least."""

MOST_REFUSED, LEAST_PARALLEL, LEAST_AFFINE, MOST_ROUNDED = 0.05, 0.5, 0.9, 0.1
"""Shares: of specs that are refused, of architectures (and of affine ones) with a parallel form, of specs with squares open by rounding.

What keeps more affine ones from one: tokens of several updates in which something happens once, and momentum beside decays of channels.
"""


def failure(seed: int, tree: SpecTree, outcome: Outcome) -> str:
    """What went wrong, with the smallest spec in which it does."""
    first = judge(tree.text, stop_early=True)
    smallest = shrink(tree, lambda smaller: judge(smaller.text, stop_early=True).resembles(first))
    again = judge(smallest.text, stop_early=True)
    return f"seed {seed}: {outcome.word}: {outcome.detail}\nat its smallest: {again.detail}\n{smallest.text}"


def verified(seeds: Iterable[int]) -> list[tuple[SpecTree, Outcome]]:
    """Every spec with its outcome; fails at the first that nlc gets wrong."""
    found = []
    for seed in seeds:
        tree = draw_spec(seed)
        outcome = judge(tree.text)
        if outcome.is_failure:
            pytest.fail(failure(seed, tree, outcome), pytrace=False)
        found.append((tree, outcome))
    return found


def test_a_few_random_specs_close() -> None:
    found = verified(range(SPECS, SPECS + QUICK))
    assert sum(outcome.word != REFUSED for _, outcome in found) >= QUICK // 2


@pytest.mark.slow
@pytest.mark.parametrize("start", range(0, SPECS, BATCH))
def test_random_specs_close(start: int) -> None:
    found = verified(range(start, start + BATCH))
    assert sum(outcome.roundings > 0 for _, outcome in found) <= MOST_ROUNDED * BATCH


@pytest.mark.slow
def test_few_are_refused_and_half_of_the_architectures_have_a_parallel_form() -> None:
    found = [(tree, compiled(tree.text)) for tree in map(draw_spec, range(SPECS))]
    refused = [outcome for _, outcome in found if outcome.word == REFUSED]
    print(f"refused by code: {dict(Counter(code for outcome in refused for code in sorted(set(outcome.codes))))}")
    assert [outcome.detail for _, outcome in found if outcome.is_failure] == []
    assert all(outcome.codes for outcome in refused)
    assert len(refused) <= MOST_REFUSED * SPECS, [outcome.detail for outcome in refused]
    modules = [(tree, outcome) for tree, outcome in found if outcome.word != REFUSED and tree.kind == "architecture"]
    for least, some in ((LEAST_PARALLEL, modules), (LEAST_AFFINE, [item for item in modules if item[0].is_affine])):
        parallel = sum(outcome.is_parallel for _, outcome in some)
        print(f"on a parallel form: {parallel} of {len(some)}")
        assert parallel >= least * len(some)


def test_every_construct_is_drawn_often_enough() -> None:
    counts: Counter[str] = Counter()
    for seed in range(SPECS):
        counts.update(contained(draw_spec(seed)))
    assert {label: counts[label] for label in constructs() if counts[label] < LEAST_DRAWN} == {}


@pytest.mark.parametrize("hash_seed", ["0", "1"])
def test_a_seed_gives_the_same_spec_under_any_hash_seed(hash_seed: str) -> None:
    command = [sys.executable, "-m", "tests.random_specs", *map(str, range(30))]
    environment = {**os.environ, "PYTHONHASHSEED": hash_seed, "PYTHONPATH": str(ROOT)}
    printed = subprocess.run(command, cwd=ROOT, env=environment, capture_output=True, text=True, timeout=60, check=True).stdout
    assert printed == "".join(f"# seed {seed}\n{draw_spec(seed).text}\n" for seed in range(30))
