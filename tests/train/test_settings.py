from __future__ import annotations

from dataclasses import fields, replace

import pytest
from hypothesis import given, strategies as st

from nlc.diagnostics import CompileError, render
from nlc.train.settings import (
    MODEL_SETTINGS,
    TRAIN_SETTINGS,
    Setting,
    TrainSettings,
    changed_settings,
    memory_settings,
    settings_from_pairs,
)
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
        value = getattr(defaults, row.name)
        if row.words:
            assert value == row.words[0]
        else:
            assert row.low is not None and row.high is not None
            assert row.low <= value <= row.high


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
            "learning_rate=-1.5",
            """\
error[NLC704]: `learning_rate` is out of range
  --> --set:1:15
   |
 1 | learning_rate=-1.5
   |               ^^^^ allowed: 0 to 1,000""",
        ),
        (
            "schedule=cosin",
            """\
error[NLC713]: `schedule` is one of cosine, linear, constant
  --> --set:1:10
   |
 1 | schedule=cosin
   |          ^^^^^ another word
  help: did you mean `cosine`?""",
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
    assert "settings: accumulate, batch, clip, compiled, d_k, d_model, device" in problems("zzzzzz=1")[0]


@given(st.text(max_size=30))
def test_any_text_gives_settings_or_diagnostics(text: str) -> None:
    try:
        settings_from_pairs([text], OTHERS)
    except CompileError as error:
        assert all(item.code[:5] in {"NLC70", "NLC71"} and render(item) for item in error.diagnostics)


def test_a_memory_offers_its_dims_axes_and_chunk() -> None:
    assert [item.name for item in memory_settings(gated_delta_rule(), has_chunk=True)] == ["d_k", "d_v", "chunk"]
    assert [item.name for item in memory_settings(gated_delta_rule(), has_chunk=False)] == ["d_k", "d_v"]


def test_what_a_run_is_cannot_change_when_it_goes_on() -> None:
    base = TrainSettings(steps=5, length=32)
    assert changed_settings(["steps=9", "save_every=3"], base) == replace(base, steps=9, save_every=3)
    with pytest.raises(CompileError) as caught:
        changed_settings(["length=8", "steps=0", "seed=1"], base)
    assert [item.code for item in caught.value.diagnostics] == ["NLC714", "NLC714"]
    assert "what can be changed: steps, eval_every, eval_windows, save_every" in str(caught.value.diagnostics[0].help)


def test_a_model_says_its_own_sizes() -> None:
    names = {item.name for item in MODEL_SETTINGS}
    assert {"length", "batch", "steps", "clip", "tokens"} <= names
    assert not names & {"layers", "d_model", "heads", "learning_rate"}
