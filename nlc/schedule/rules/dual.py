"""Dual form: a memory whose gradients of a block are all taken at one held state, and that moves linearly by them.

Every matrix W of it, in any layer, and its momentum S are sums of the outer products delta_s a_s^T that the block has written,

    W_t h = P_WW[t,0] W_0 h + P_WS[t,0] S_0 h + sum_{s<=t} c_ts (a_s . h) delta_s

where delta and a come from one pass over all tokens at the held state, and P and c are products of decays. So a layer is read at the h_t
that the layer before it gives at token t, and the weights of a token never exist. A vector of it is a sum of what was written.
"""

from __future__ import annotations

from nlc.ir.program import Form
from nlc.schedule.rules.conditions import (
    ALL_PARTS_ALIKE,
    NOT_COUNTED,
    NOTHING_GATHERED,
    READ_WITH_VECTORS,
    STARTS_KNOWN,
    VECTORS_COME_EARLIER,
)
from nlc.schedule.rules.proofs import HELD
from nlc.schedule.rules.rule import Candidate, Condition, FormRule


def _otherwise(candidate: Candidate) -> str:
    if isinstance(candidate.dual, str):
        return candidate.dual
    return f"{' and '.join(candidate.members)} {'are' if len(candidate.members) > 1 else 'is'} no network, and other forms are cheaper"


MOVES_LINEARLY = Condition(
    "a memory of several tensors, or with a norm, that moves linearly by gradients at a held state",
    lambda candidate: candidate.dual_law is not None,
    _otherwise,
)

DUAL = FormRule(
    name="dual-form",
    form=Form.DUAL,
    says="the gradients of a block are taken at one state, so its weights are sums of them, and reads are products of matrices",
    cites=("ttt", "titans"),
    proofs=HELD,
    requires=(
        NOTHING_GATHERED,
        STARTS_KNOWN,
        MOVES_LINEARLY,
        ALL_PARTS_ALIKE,
        NOT_COUNTED,
        READ_WITH_VECTORS,
        VECTORS_COME_EARLIER,
    ),
)
