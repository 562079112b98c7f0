"""Rows of a parametrised test, of which the quick suite runs some of every kind and the slow one the rest."""

from __future__ import annotations

from collections.abc import Collection, Iterable

import pytest
from _pytest.mark.structures import ParameterSet


def rows(names: Iterable[str], quick: Collection[str]) -> list[ParameterSet]:
    """A row for each name; those that are not `quick` are slow."""
    found = list(names)
    assert set(quick) <= set(found), set(quick) - set(found)
    return [pytest.param(name, marks=[] if name in quick else [pytest.mark.slow]) for name in found]
