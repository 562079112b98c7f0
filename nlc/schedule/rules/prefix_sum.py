"""Chunked prefix sum: S_t = a_t S_{t-1} + sum_r c_t^r b_t^r^T, where no write reads the state.

With P[t,s] = a_{s+1} ... a_t the reads inside a chunk are two matrix products:

    S_t q_t = P[t,0] S_0 q_t + sum_{s<=t} P[t,s] (b_s . q_t) c_s          (s < t for a read before the write)

and the state is carried on from its last token. Where the whole of a matrix is read, it is made for every token: what is left of S_0, and
the sums of c_s b_s^T.
"""

from __future__ import annotations

from nlc.ir.affine import Transition
from nlc.ir.program import Form
from nlc.schedule.rules.conditions import (
    EVERY_TOKEN,
    READ_WITH_VECTORS,
    SHARED,
    WHOLE_AT_ALL_TOKENS,
    WRITES_SOMETHING,
    transition_is,
)
from nlc.schedule.rules.proofs import PREFIX_SUMS
from nlc.schedule.rules.rule import FormRule

PREFIX_SUM = FormRule(
    name="prefix-sum",
    form=Form.PREFIX_SUM,
    says="all writes are known before the state is, so a chunk is a decayed sum of them: matrix products",
    cites=("linear-attention", "gla", "mamba2"),
    proofs=PREFIX_SUMS,
    requires=(
        EVERY_TOKEN,
        transition_is("a state that is kept up to a scalar, and that no write reads", Transition.IDENTITY, Transition.SCALAR),
        WRITES_SOMETHING,
        *(WHOLE_AT_ALL_TOKENS if condition is READ_WITH_VECTORS else condition for condition in SHARED),
    ),
)
