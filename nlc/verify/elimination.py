"""The inverse of a small matrix by Gauss and Jordan, in whatever exact numbers its entries are."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any


def inverted(entries: Sequence[Any], size: int, one: Any) -> tuple[Any, ...]:
    """The entries of the inverse, row by row; raises ZeroDivisionError for a matrix that has none."""
    rows = [
        [*entries[row * size : (row + 1) * size], *(one if row == column else one * 0 for column in range(size))] for row in range(size)
    ]
    for column in range(size):
        pivot = max(range(column, size), key=lambda row: abs(rows[row][column]))
        if not rows[pivot][column]:
            raise ZeroDivisionError("a singular matrix")
        rows[column], rows[pivot] = rows[pivot], rows[column]
        rows[column] = [entry / rows[column][column] for entry in rows[column]]
        for row in range(size):
            if row != column:
                rows[row] = [entry - rows[row][column] * other for entry, other in zip(rows[row], rows[column], strict=True)]
    return tuple(entry for row in rows for entry in row[size:])
