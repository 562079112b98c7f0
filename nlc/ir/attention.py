"""The law of a level that is solved over a window, as all tokens of a sequence are computed at once: every query against every datum.

    weight_ti = softmax over i of scale * (key_i . query_t)          state_t = sum over i of weight_ti value_i

is attention. Other laws of such levels keep their equations, in which `Window` leaves are data and `Now` nodes belong to queries.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import Literal

from nlc.ir.algebra import Expr
from nlc.ir.law import Equation


@dataclass(frozen=True, slots=True)
class DotProductAttention:
    """`query` is a stream, `key` and `value` name data of the window, `scale` is one number for all tokens."""

    query: Expr
    key: str
    value: str
    scale: Expr


@dataclass(frozen=True, slots=True)
class WindowLaw:
    """`data` are the streams of the window by name, as they are at a token; `equations` end with the level's new state.

    Everything is over inputs, parameters, hyperparameters and `Named` reads of memories that come earlier in the program.
    """

    component: str
    window: int | Literal["all"]
    data: tuple[tuple[str, Expr], ...]
    equations: tuple[Equation, ...]
    attention: DotProductAttention | None = None
