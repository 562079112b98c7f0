"""What the language is to say, by example: each spec here is compiled and verified, or refused with a code that names the construct."""

from __future__ import annotations

from pathlib import Path

import pytest

from nlc import pipeline
from nlc.diagnostics import CompileError

SPECS = Path(__file__).parent / "specs"

REFUSED = {
    "implicit_step_on_the_input": ("NLC231", "`weights` cannot be applied to anything"),
}
"""What cannot be compiled: the code, and words of its message."""

NAMES = sorted(path.stem for path in SPECS.glob("*.yaml"))


COMPILED = pytest.mark.parametrize("name", sorted(set(NAMES) - set(REFUSED)))


@COMPILED
def test_the_example_is_compiled_and_its_claims_are_as_they_say(name: str) -> None:
    assert pipeline.compile_file(SPECS / f"{name}.yaml").load()
    assert [verdict for verdict in pipeline.claims_of(SPECS / f"{name}.yaml") if not verdict.as_expected] == []


@pytest.mark.slow
@COMPILED
def test_the_example_is_verified(name: str) -> None:
    report = pipeline.compile_file(SPECS / f"{name}.yaml").report()
    assert [square.text for square in report.squares if not square.closed] == []


@pytest.mark.parametrize("name", REFUSED)
def test_the_example_is_refused_by_name(name: str) -> None:
    code, words = REFUSED[name]
    with pytest.raises(CompileError) as caught:
        pipeline.compile_file(SPECS / f"{name}.yaml")
    first = caught.value.diagnostics[0]
    assert (first.code, words in first.message) == (code, True), first.message
    assert first.labels
