from __future__ import annotations

from dataclasses import fields

import pytest
from hypothesis import given, strategies as st

from nlc.diagnostics import CompileError, render
from nlc.train.settings import TRAIN_SETTINGS, Setting, TrainSettings, memory_settings, settings_from_pairs
from tests.models import gated_delta_rule

OTHERS = (Setting("d_k", True, 1, 100), Setting("scale", False))


def problems(*pairs: str) -> list[str]:
    with pytest.raises(CompileError) as caught:
        settings_from_pairs(pairs, OTHERS)
    return [render(item) for item in caught.value.diagnostics]


def test_pairs_become_settings_of_the_run_and_of_the_memory() -> None:
    settings, chosen = settings_from_pairs(["steps=7", "learning_rate=1e-2", "d_k=16", "scale=-0.5"], OTHERS)
    assert settings == TrainSettings(steps=7, learning_rate=0.01)
    assert chosen == {"d_k": 16, "scale": -0.5}


def test_no_pairs_are_the_defaults() -> None:
    assert settings_from_pairs([]) == (TrainSettings(), {})


def test_defaults_are_inside_their_bounds() -> None:
    defaults = TrainSettings()
    for row, item in zip(TRAIN_SETTINGS, fields(TrainSettings), strict=True):
        assert row.name == item.name
        assert row.low is not None and row.high is not None
        assert row.low <= getattr(defaults, row.name) <= row.high


@pytest.mark.parametrize(
    ("pair", "message"),
    [
        (
            "steps",
            """\
error[NLC701]: a setting is written key=value
  --> --set:1:1
   |
 1 | steps
   | ^^^^^ no = here
  help: for example: --set steps=200""",
        ),
        (
            "step=3",
            """\
error[NLC702]: there is no setting `step`
  --> --set:1:1
   |
 1 | step=3
   | ^^^^ not a setting of the run or the spec
  help: did you mean `steps`?""",
        ),
        (
            "steps=1.5",
            """\
error[NLC703]: `steps` is a whole number
  --> --set:1:7
   |
 1 | steps=1.5
   |       ^^^ not a whole number""",
        ),
        (
            "decay=1.5",
            """\
error[NLC704]: `decay` is out of range
  --> --set:1:7
   |
 1 | decay=1.5
   |       ^^^ allowed: 0 to 1""",
        ),
    ],
)
def test_a_bad_pair_is_pointed_at(pair: str, message: str) -> None:
    assert problems(pair) == [message]


@pytest.mark.parametrize("text", ["", "nan", "inf", "ten", "1e999"])
def test_rates_are_finite_numbers(text: str) -> None:
    assert "[NLC703]" in problems(f"learning_rate={text}")[0]


def test_every_bad_pair_is_reported() -> None:
    found = problems("steps=0", "d_k=101", "steps=2", "steps=3", "what=1")
    assert [text[6:12] for text in found] == ["NLC704", "NLC704", "NLC705", "NLC702"]


def test_a_distant_name_lists_what_there_is() -> None:
    assert "settings: batch, d_k, d_model, decay" in problems("zzzzzz=1")[0]


@given(st.text(max_size=30))
def test_any_text_gives_settings_or_diagnostics(text: str) -> None:
    try:
        settings_from_pairs([text], OTHERS)
    except CompileError as error:
        assert all(item.code.startswith("NLC70") and render(item) for item in error.diagnostics)


def test_a_memory_offers_its_dims_axes_and_chunk() -> None:
    assert [item.name for item in memory_settings(gated_delta_rule(), has_chunk=True)] == ["d_k", "d_v", "chunk"]
    assert [item.name for item in memory_settings(gated_delta_rule(), has_chunk=False)] == ["d_k", "d_v"]
