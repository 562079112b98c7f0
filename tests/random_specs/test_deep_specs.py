"""Random deep memories with held gradients and `always` levels: all compile, most memories to the dual form; one of each is judged."""

from __future__ import annotations

from collections.abc import Callable

import pytest

from nlc.ir.program import Form
from tests.emit.systems import program_from
from tests.random_specs.deep import attention_spec, deep_spec
from tests.random_specs.judge import REFUSED, compiled, judge

DEEP, ALWAYS = 200, 60
MOST_REFUSED, LEAST_DUAL = 0.1, 0.5


@pytest.mark.parametrize("make", [deep_spec, attention_spec])
def test_one_of_each_closes(make: Callable[[int], str]) -> None:
    outcome = judge(make(DEEP))
    assert not outcome.is_failure, outcome.detail
    assert outcome.word != REFUSED


@pytest.mark.slow
def test_few_deep_memories_are_refused_and_half_get_the_dual_form() -> None:
    texts = [deep_spec(seed) for seed in range(DEEP)]
    taken = [text for text in texts if compiled(text).word != REFUSED]
    assert len(taken) >= (1 - MOST_REFUSED) * DEEP
    assert sum(program_from(text).memories[-1].form is Form.DUAL for text in taken) >= LEAST_DUAL * DEEP


def test_always_levels_are_solved_from_their_windows() -> None:
    forms = {program_from(attention_spec(seed)).memories[-1].form for seed in range(ALWAYS)}
    assert forms == {Form.ATTENTION, Form.WINDOW_TABLE}
