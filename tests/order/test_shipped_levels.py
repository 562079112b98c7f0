"""The table of docs/levels.md: every system has its claims about the order of its levels, and they are decided as it expects."""

from __future__ import annotations

from pathlib import Path

import pytest

from nlc.ir.model import OrderClaim
from nlc.pipeline import order, parse, resolve
from nlc.verify.orders import decide_order
from tests.architecture.modules import ROOT

SYSTEMS = sorted((ROOT / "docs" / "levels").glob("*.yaml"))


def test_there_are_twelve() -> None:
    assert len(SYSTEMS) == 12


@pytest.mark.parametrize("path", SYSTEMS, ids=lambda path: path.stem)
def test_claims_are_decided(path: Path) -> None:
    levels = order(resolve(parse(path)))
    claims = [claim for claim in levels.model.claims if isinstance(claim, OrderClaim)]
    assert claims
    assert [decide_order(claim, levels).verdict for claim in claims] == [claim.expect for claim in claims]
