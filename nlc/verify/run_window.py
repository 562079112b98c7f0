"""The law of a level that is solved over a window -> numbers for all tokens at once: its equations, for every datum and every query.

Values are (batch, *axes, time, *shape), those at every datum have its dim in front of all others: (datum, batch, *axes, query, *shape).
"""

from __future__ import annotations

from collections.abc import Callable, Mapping
from dataclasses import dataclass, replace

import torch
from torch import Tensor

from nlc.ir.algebra import Age, Expr, Named, Window
from nlc.ir.attention import WindowLaw
from nlc.verify.evaluate import Evaluator


@dataclass(frozen=True, slots=True)
class Table:
    """Every datum against every query: `kept` and `now` are streams before and at the sequence's tokens, (batch, tokens, *axes, *shape).

    `position` is the count of tokens before the sequence, where a window of so many tokens makes it count.
    """

    law: WindowLaw
    kept: Mapping[str, Tensor]
    now: Mapping[str, Tensor]
    position: Tensor | None

    def run(self, evaluator: Evaluator, leaf: Callable[[Expr], Tensor]) -> tuple[Tensor, dict[str, Tensor]]:
        """The level's value at every token, and what is kept of its window after the last."""
        streams = {name: torch.cat((self.kept[name], now), 1) for name, now in self.now.items()}
        axes, first = len(evaluator.places), next(iter(streams.values()))
        queries = first.shape[1] - self._before
        ages = torch.arange(self._before, first.shape[1]) - torch.arange(first.shape[1])[:, None]
        there = (ages >= 0) & (ages <= self._before + queries if self.law.window == "all" else ages < self.law.window)
        if self.position is not None and self.law.window != "all":
            there &= (self._before - torch.arange(first.shape[1])[:, None]) <= self.position
        if self.position is not None and self.law.segment:
            there &= ages <= (self.position + torch.arange(queries)) % self.law.segment
        shaped = (first.shape[1], *[1] * (1 + axes), queries)
        named: dict[str, Tensor] = {}

        def value(node: Expr) -> Tensor:
            match node:
                case Named(name) if name in named:
                    return named[name]
                case Window(part=name):
                    return streams[name].movedim(1, 0).unsqueeze(2 + axes)
                case Age():
                    return ages.to(first.dtype).reshape(shaped)
            return leaf(node)

        evaluate = replace(evaluator, leaf=value, there=there.reshape(shaped))
        for equation in self.law.equations:
            named[equation.name] = evaluate(equation.value)
        kept = streams if self.law.window == "all" else {name: stream[:, queries:] for name, stream in streams.items()}
        return named[self.law.equations[-1].name], kept

    @property
    def _before(self) -> int:
        """The tokens kept of before the sequence."""
        return next(iter(self.kept.values())).shape[1]
