"""Who verifies the verifier: `nlc verify` fails on every mutant of the emitted modules that is not shown to be equivalent."""

from __future__ import annotations

from functools import cache
from pathlib import Path

import pytest

from nlc.cli import main
from tests.mutation.equivalent import EQUIVALENT, Equivalent, equivalence
from tests.mutation.mutator import OPERATORS, Mutant, drawn, operator_name
from tests.mutation.shipped import FEW, FILES, first_open, same_numbers, shipped, wrongly_judged

SEED = 20_251_130
DRAWN = 40
AT_LEAST = 34
OF_EACH, SEED_OF_EACH = 10, 20_261_130

pytestmark = pytest.mark.filterwarnings("ignore")  # a warning that a mutant causes is not what catches it


@cache
def draw() -> list[tuple[str, Mutant]]:
    return drawn({file: shipped(file).mutants for file in FEW}, DRAWN, SEED)


def test_the_draw_has_every_file_and_every_operator() -> None:
    assert {file for file, _ in draw()} == set(FEW) <= set(FILES)
    assert {mutant.operator for _, mutant in draw()} == {operator_name(operator) for operator in OPERATORS}
    assert len({mutant.text for _, mutant in draw()}) == DRAWN
    assert sum(equivalence(file, mutant) is None for file, mutant in draw()) >= AT_LEAST


@pytest.mark.parametrize("number", range(DRAWN))
def test_verify_fails_on_a_mutant(number: int) -> None:
    file, mutant = draw()[number]
    is_caught = first_open(shipped(file), mutant.text) is not None
    assert is_caught is (equivalence(file, mutant) is None), f"{file}: {mutant.diff}"


def rows() -> list[object]:
    """The rows; those about other files than the few are slow."""
    return [
        pytest.param(row, id=f"{row.operator}: {row.new}", marks=[] if row.files.partition(" in ")[0] in FEW else [pytest.mark.slow])
        for row in EQUIVALENT
    ]


@pytest.mark.parametrize("row", rows())
def test_what_is_called_equivalent_is_there_and_gives_the_same_numbers(row: Equivalent) -> None:
    covered = [
        (shipped(file), mutant) for file in FILES if row.is_about(file) for mutant in shipped(file).mutants if row.covers(file, mutant)
    ]
    assert covered, "there is no such mutant any more"
    for item, mutant in covered:
        assert same_numbers(item, mutant.text) if row.is_exact else first_open(item, mutant.text) is None


@pytest.mark.parametrize(
    ("file", "after"),
    [
        ("architectures/delta_rule.py", "error = prediction + v"),
        ("architectures/delta_rule.py", "memory = torch.baddbmm(memory, write.detach().mT, key)"),
        ("optimizers/momentum.py", "torch._foreach_add_(momentum, gradient, alpha=learning_rate)"),
    ],
)
def test_other_numbers_are_told_apart(file: str, after: str) -> None:
    item = shipped(file)
    (other,) = {mutant.text for mutant in item.mutants if mutant.after == after}
    assert same_numbers(item, item.text)
    assert not same_numbers(item, other)


@pytest.mark.slow
@pytest.mark.parametrize("file", FILES)
def test_mutants_of_every_module_are_caught_or_equivalent(file: str) -> None:
    """Of every module as many, each of another operator; `python -m tests.mutation FILE` takes all places and operators."""
    assert wrongly_judged(file, [mutant for _, mutant in drawn({file: shipped(file).mutants}, OF_EACH, SEED_OF_EACH)]) == []


@pytest.mark.parametrize(
    ("file", "old", "new"),
    [
        ("architectures/ttt_linear_plain.py", "before = before + given[0].shape[1]", "before = given[0].shape[1]"),
        ("architectures/retention_layer.py", "x.shape[-1] - 2 * half]", "x.shape[-1] - 2]"),
        ("architectures/cms_in_context.py", "[None] * len(lengths)", "[None]"),
        ("optimizers/delta_momentum_of_inputs.py", "dim=(-2, -1)) + eps)", "dim=(-2, -1)))"),
    ],
    ids=["a second period", "halves of more than one", "blocks without targets", "a norm of nothing"],
)
def test_what_no_square_saw_once_is_seen(file: str, old: str, new: str) -> None:
    item = shipped(file)
    assert first_open(item, item.text.replace(old, new, 1)) is not None
    assert item.text.count(old) == 1


@pytest.mark.parametrize("file", ["architectures/gated_delta_rule.py", "optimizers/heavy_ball.py"])
def test_the_command_fails_on_a_changed_file(file: str, tmp_path: Path) -> None:
    item = shipped(file)
    present = tmp_path / file
    present.parent.mkdir()
    command = ["verify", str(item.spec), "-o", str(tmp_path)]
    present.write_text(item.text)
    assert main(command) == 0
    present.write_text(next(mutant.text for mutant in item.mutants if mutant.operator == "statements swapped"))
    assert main(command) == 1
