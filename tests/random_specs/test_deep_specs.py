"""200 random deep memories with held gradients and 60 random `always` levels: every square of `nlc verify` closes."""

from __future__ import annotations

from collections.abc import Callable

import pytest

from nlc.emit import emit_module
from nlc.ir.program import Form
from nlc.verify.squares import check_squares
from tests.emit.systems import program_from
from tests.random_specs.deep import attention_spec, deep_spec
from tests.random_specs.judge import REFUSED, compiled, judge

DEEP, ALWAYS, BATCH = 200, 60, 20
BATCHES = [(deep_spec, start) for start in range(0, DEEP, BATCH)] + [(attention_spec, start) for start in range(0, ALWAYS, BATCH)]
MOST_REFUSED, LEAST_DUAL = 0.1, 0.5


@pytest.mark.parametrize("make", [deep_spec, attention_spec])
def test_one_of_each_closes(make: Callable[[int], str]) -> None:
    outcome = judge(make(DEEP))
    assert not outcome.is_failure, outcome.detail
    assert outcome.word != REFUSED


@pytest.mark.slow
@pytest.mark.parametrize(("make", "start"), BATCHES)
def test_every_square_closes(make: Callable[[int], str], start: int) -> None:
    failed = {seed: outcome.detail for seed in range(start, start + BATCH) if (outcome := judge(make(seed))).is_failure}
    assert failed == {}


@pytest.mark.slow
def test_few_are_refused_and_half_get_the_dual_form() -> None:
    texts = [deep_spec(seed) for seed in range(DEEP)]
    taken = [text for text in texts if compiled(text).word != REFUSED]
    assert len(taken) >= (1 - MOST_REFUSED) * DEEP
    assert sum(program_from(text).memories[-1].form is Form.DUAL for text in taken) >= LEAST_DUAL * DEEP


def test_a_wrong_sign_in_the_form_is_seen() -> None:
    """The bounds would let nothing through: a write of the wrong sign opens squares."""
    program = program_from(deep_spec(0))
    text = emit_module(program)
    assert program.memories[-1].form is Form.DUAL
    wrong = text.replace("W1_write = -", "W1_write = ", 1)
    assert wrong != text
    assert not all(square.closed for square in check_squares(program, wrong))
