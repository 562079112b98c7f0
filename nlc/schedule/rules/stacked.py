"""The forms of several coupled states, or of several writes a token: prefix sums and triangular chunks on what is stacked.

Per token, with states X^1 ... X^r, decays A_t (r x r) and writes w_t^m = c_t^m + sum_j X_{t-1}^j p_t^{m,j}, which every state gets times
a weight beta_t^{m,i} of its own:

    X_t^i = sum_j A_t[i,j] X_{t-1}^j + sum_m beta_t^{m,i} w_t^m b_t^m^T

With P[t,s] = A_t ... A_{s+1}, unrolling the reads inside a chunk gives one unit lower-triangular system of tokens x writes:

    (I - L) w = c_t + sum_ij P[t-1,0][j,i] X_0^i p_t^j,      L[t,s] = sum_ij P[t-1,s][j,i] beta_s^i (b_s . p_t^j)  for s < t

The sums over states stand before the inner products b_s . p_t, each of which is made once. What one write does to the states,
P[t,s] beta_s, is made of products of the A alone, by halves of a stretch of tokens: an A of 0 is exact.
"""

from __future__ import annotations

from nlc.ir.affine import Transition
from nlc.ir.program import Form
from nlc.ir.show import expression_text
from nlc.schedule.rules.conditions import EVERY_TOKEN, SHARED, coupled
from nlc.schedule.rules.proofs import COUPLED, PREFIX_SUMS, TRIANGLES
from nlc.schedule.rules.rule import Candidate, Condition, FormRule


def _why_not(candidate: Candidate) -> str:
    law = candidate.classified.coupled
    if law is not None:
        return f"the writes of {' and '.join(candidate.members)} {'read' if law.has_reads else 'do not read'} the states"
    if candidate.classified.transition in (Transition.NONLINEAR, Transition.DENSE):
        return f"the transition of {' and '.join(candidate.members)} is {candidate.classified.transition.value}"
    return f"{candidate.component} is one state with one write"


UNREAD = Condition(
    "several states that move as one, kept up to scalars or entry by entry, and that no write reads",
    lambda candidate: candidate.classified.coupled is not None and not candidate.classified.coupled.has_reads,
    _why_not,
)

READ = Condition(
    "several states that move as one, or several writes a token, which read the states at vectors",
    lambda candidate: candidate.classified.coupled is not None and candidate.classified.coupled.has_reads,
    _why_not,
)

SOMETHING_STACKED = Condition(
    "something to be written",
    lambda candidate: bool(coupled(candidate).writes),
    lambda candidate: f"{' and '.join(candidate.members)} only decay",
)

SCALAR_DECAYS = Condition(
    "decays that are scalars",
    lambda candidate: not _wide(candidate),
    lambda candidate: (
        f"{' and '.join(_wide(candidate))} may differ between the entries of a state, and stand beside other states or writes"
    ),
)


def _wide(candidate: Candidate) -> tuple[str, ...]:
    """The decays with more than one number."""
    return tuple(dict.fromkeys(expression_text(decay) for row in coupled(candidate).decays for decay in row if decay.shape))


STACKED_PREFIX_SUM = FormRule(
    name="stacked-prefix-sum",
    form=Form.STACKED_PREFIX_SUM,
    says="all writes are known before the states are, so a chunk is a sum of them, weighed by products of small matrices",
    cites=("titans", "mamba2"),
    proofs=(*PREFIX_SUMS, *COUPLED),
    requires=(EVERY_TOKEN, UNREAD, SOMETHING_STACKED, SCALAR_DECAYS, *SHARED),
)

STACKED_TRIANGULAR = FormRule(
    name="stacked-triangular-chunks",
    form=Form.STACKED_TRIANGULAR,
    says="the writes of a chunk solve one triangular system, in which the states at its start are stacked; the rest is matrix products",
    cites=("titans", "deltanet"),
    proofs=(*TRIANGLES, *COUPLED),
    requires=(EVERY_TOKEN, READ, SCALAR_DECAYS, *SHARED),
)
