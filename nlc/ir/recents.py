"""What systems remember of their streams: the last values of an expression, for `delay`, `convolve` and windows."""

from __future__ import annotations

from dataclasses import dataclass

from nlc.ir.algebra import Recent


@dataclass(frozen=True, slots=True, kw_only=True)
class RecentValues:
    """What is carried for delays and convolutions of an expression over streams: its values at the last tokens, under a name.

    `is_whole`: there is one value for all places along the axes, in a system that splits or joins them.
    """

    name: str
    recent: Recent
    is_whole: bool = False
