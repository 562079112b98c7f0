"""The forms of a state with one decay for each column (key channel): prefix sums and triangular chunks, with P inside the dot products.

    S_t = S_{t-1} diag(a_t) + sum over writes of w_t b_t^T
    P[t,s] = a_{s+1} ... a_t, entry by entry,      overlap(q_t, b_s) = sum_d q_t P[t,s] b_s

No tensor of tokens x tokens x channels is made. A stretch of tokens is cut in halves; where t lies in the right half and s in the left one,
P goes through the middle m, P[t,s] = P[t,m] P[m,s], so all overlaps of the two halves are one matrix product; and each half is cut again.
Every P is a product of decays: no ratio, no logarithm, and a decay of 0 is exact. The writes of one token do not read one another.
"""

from __future__ import annotations

from nlc.ir.affine import Transition
from nlc.ir.program import Form
from nlc.ir.show import expression_text
from nlc.schedule.rules.conditions import EVERY_TOKEN, SHARED, WRITES_SOMETHING, affine, transition_is
from nlc.schedule.rules.proofs import BY_CHANNEL, PREFIX_SUMS, TRIANGLES
from nlc.schedule.rules.rule import Condition, FormRule

SAME_IN_EVERY_ROW = Condition(
    "decays that are the same in every row: one for each column, or for each entry of a vector",
    lambda candidate: affine(candidate).decays_by_column,
    lambda candidate: f"those of {candidate.component}, {expression_text(affine(candidate).decay)}, may differ between rows",
)

HALVED_PREFIX_SUM = FormRule(
    name="halved-prefix-sum",
    form=Form.HALVED_PREFIX_SUM,
    says="all writes are known before the state is, and decays between the halves of a stretch go through its middle: matrix products",
    cites=("gla",),
    proofs=(*PREFIX_SUMS, *BY_CHANNEL),
    requires=(
        EVERY_TOKEN,
        transition_is("a state that is kept up to a factor for each entry, and that no write reads", Transition.DIAGONAL),
        WRITES_SOMETHING,
        SAME_IN_EVERY_ROW,
        *SHARED,
    ),
)

HALVED_TRIANGULAR = FormRule(
    name="halved-triangular-chunks",
    form=Form.HALVED_TRIANGULAR,
    says="the writes of a chunk solve one triangular system, whose decays between the halves of a stretch go through its middle",
    cites=("kda", "gla"),
    proofs=(*TRIANGLES, *BY_CHANNEL),
    requires=(
        EVERY_TOKEN,
        transition_is(
            "a state that is kept up to a factor for each entry, and that writes read at vectors", Transition.DIAGONAL_MINUS_LOW_RANK
        ),
        SAME_IN_EVERY_ROW,
        *SHARED,
    ),
)
