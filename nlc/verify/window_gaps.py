"""The gap between two systems of which some level is solved over a window: both run by their laws, in floats, on the same streams.

Other systems are compared tick by tick over symbols (see `same_as`); data of a window are not followed there.
"""

from __future__ import annotations

import math
from collections.abc import Mapping

from torch import Tensor

from nlc.ir.law import Laws
from nlc.verify.inputs import Case, Drawn, draw
from nlc.verify.run_law import run_laws

TOKENS, SEQUENCES = 64, 2


def window_gap(this: Laws, other: Laws) -> float:
    """How far the outputs that both have are apart, relative to those of the other, over sequences of TOKENS tokens."""
    drawn = draw(this.order.model, Case(name="a run", chunks=0, extra=TOKENS, batch=SEQUENCES), TOKENS)
    mine, others = (_outputs(laws, drawn) for laws in (this, other))
    names = mine.keys() & others.keys()
    apart = math.sqrt(sum(float((mine[name] - others[name]).square().sum()) for name in names))
    return apart / math.sqrt(sum(float(others[name].square().sum()) for name in names))


def _outputs(laws: Laws, drawn: Drawn) -> Mapping[str, Tensor]:
    numbers = {item.name: float(item.default) for item in laws.order.model.hyperparameters}
    outputs, _ = run_laws(laws, drawn.inputs, sizes=drawn.sizes, hyperparameters=numbers)
    return outputs
