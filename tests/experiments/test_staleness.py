"""docs/experiments/staleness.md says what the command finds: a gap that grows with the chunk, and none of one token."""

from __future__ import annotations

import re

import pytest

from experiments import staleness


def test_the_page_has_the_gaps_that_are_found_again(monkeypatch: pytest.MonkeyPatch) -> None:
    rows = re.findall(r"^\| (\d+) \| ([\d.]+) \| ([\d.]+) to ([\d.]+) \|$", staleness.PAGE.read_text(), re.MULTILINE)
    said = {int(chunk): (float(mean), float(least), float(most)) for chunk, mean, least, most in rows}
    assert tuple(said) == staleness.CHUNKS
    monkeypatch.setattr(staleness, "SEEDS", (0, 5))
    for chunk, found in staleness.gaps().items():
        mean, least, most = said[chunk]
        assert all(least - 0.006 < gap < most + 0.006 for gap in found)
        assert least <= mean <= most
    assert said[1] == (0, 0, 0)
    assert sorted(said.values()) == list(said.values())
