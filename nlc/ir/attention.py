"""The law of a level that is solved over a window, as all tokens of a sequence are computed at once: every query against every datum.

    weight_ti = softmax over i of scale * (key_i . query_t)          state_t = sum over i of weight_ti value_i

is attention. Other laws of such levels keep their equations, in which `Window` leaves are data and `Now` nodes belong to queries.
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass, replace
from typing import Literal

from nlc.ir.algebra import Expr
from nlc.ir.law import Equation


@dataclass(frozen=True, slots=True)
class DotProductAttention:
    """`query` is a stream, `pairs` name data of the window, each a key and a value, `scale` is one number for all tokens.

    Every query sees the `lasting` pairs too: matrices with a key, and a value, in each row, which are the same for all tokens.
    """

    query: Expr
    pairs: tuple[tuple[str, str], ...]
    scale: Expr
    lasting: tuple[tuple[Expr, Expr], ...] = ()

    def over(self, change: Callable[[Expr], Expr]) -> DotProductAttention:
        """The same over other expressions."""
        return replace(self, query=change(self.query), lasting=tuple((change(key), change(value)) for key, value in self.lasting))

    @property
    def is_plain(self) -> bool:
        """Whether there is one pair a token, and nothing else."""
        return len(self.pairs) == 1 and not self.lasting


@dataclass(frozen=True, slots=True)
class WindowLaw:
    """`data` are the streams of the window by name, as they are at a token; `equations` end with the level's new state.

    After every `segment` tokens, if that is not 0, a window begins anew.
    Everything is over inputs, parameters, hyperparameters and `Named` reads of memories that come earlier in the program.
    """

    component: str
    window: int | Literal["all"]
    segment: int
    data: tuple[tuple[str, Expr], ...]
    equations: tuple[Equation, ...]
    attention: DotProductAttention | None = None

    @property
    def values(self) -> tuple[Expr, ...]:
        """Every expression that attention is made of: its data, queries and lasting pairs."""
        attention = self.attention
        streams = tuple(value for _, value in self.data)
        return streams if attention is None else (*streams, attention.query, *(value for pair in attention.lasting for value in pair))

    def over(self, change: Callable[[Expr], Expr]) -> WindowLaw:
        """The law with every one of these changed."""
        data = tuple((name, change(value)) for name, value in self.data)
        return replace(self, data=data, attention=self.attention and self.attention.over(change))

    @property
    def slides(self) -> bool:
        """Whether it moves with the tokens: it is not of all tokens, so far or since it began anew."""
        return self.window not in ("all", self.segment)
