"""Triangular chunks: S_t = a_t S_{t-1} + w_t b_t^T, where the write w_t = c_t + S_{t-1} p_t reads the old state.

With P[t,s] = a_{s+1} ... a_t, unrolling the reads inside a chunk gives one unit lower-triangular system for the writes:

    (I - L) w = c_t + P[t-1,0] S_0 p_t          L[t,s] = P[t-1,s] (b_s . p_t) for s < t
    S_t q_t = P[t,0] S_0 q_t + sum_{s<=t} P[t,s] (b_s . q_t) w_s

p_t is the sum of coefficient * vector over the reads of the write (design section 5).
"""

from __future__ import annotations

from nlc.ir.affine import Transition
from nlc.ir.program import Form
from nlc.schedule.rules.conditions import EVERY_TOKEN, SHARED, affine, transition_is
from nlc.schedule.rules.proofs import TRIANGLES
from nlc.schedule.rules.rule import Condition, FormRule

ONE_WRITE = Condition(
    "one write a token",
    lambda candidate: len(affine(candidate).writes) == 1,
    lambda candidate: f"{candidate.component} is written along {len(affine(candidate).writes)} vectors",
)

TRIANGULAR = FormRule(
    name="triangular-chunks",
    form=Form.TRIANGULAR,
    says="writes read the old state through vectors alone, so those of a chunk solve one triangular system; the rest is matrix products",
    cites=("deltanet", "gated-deltanet"),
    proofs=TRIANGLES,
    requires=(
        EVERY_TOKEN,
        transition_is("a state that is kept up to a scalar, and that writes read at vectors", Transition.SCALAR_MINUS_LOW_RANK),
        ONE_WRITE,
        *SHARED,
    ),
)
