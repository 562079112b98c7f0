"""The forms of a level that is solved over a window: nothing is carried but data, so all queries are answered at once.

    state_t = sum over i <= t of weight_ti value_i / sum over i <= t of weight_ti

is one masked table of queries and data. Where the weights are a softmax of scaled dot products, it is attention, for which torch has a
kernel that never makes the table.
"""

from __future__ import annotations

from nlc.ir.affine import Transition
from nlc.ir.attention import WindowLaw
from nlc.ir.program import Form
from nlc.schedule.rules.conditions import COPIES_ALONE, NOT_COUNTED, STARTS_KNOWN, transition_is
from nlc.schedule.rules.proofs import SOLVED
from nlc.schedule.rules.rule import Condition, FormRule

IS_SOLVED = transition_is("a level that is solved anew for every query", Transition.SOLVED)

DOT_PRODUCTS = Condition(
    "weights that are a softmax of scaled dot products, of a datum and a query, and a vector to average",
    lambda candidate: candidate.window is None or candidate.window.attention is not None,
    lambda candidate: f"those of {candidate.component} are others",
)

NO_MASK_OF_ITS_OWN = Condition(
    "a window of all tokens, so far or since a reset, or one that slides, of one pair a token",
    lambda candidate: candidate.window is None or candidate.window.attention is None or _has_kernel(candidate.window),
    lambda candidate: f"that of {candidate.component} slides, and {_how(candidate.window)}",
)


def _has_kernel(law: WindowLaw) -> bool:
    return not law.slides or (not law.segment and law.attention is not None and law.attention.is_plain)


def _how(law: WindowLaw | None) -> str:
    return "begins anew" if law is not None and law.segment else "has several pairs"


A_VECTOR = Condition(
    "a vector that is solved for",
    lambda candidate: candidate.window is None or not (candidate.whole_reads or any(read.vector for read in candidate.reads)),
    lambda candidate: f"{candidate.component} is a matrix",
)

NO_PERIODS = Condition(
    "a system without periods",
    lambda candidate: candidate.block == 0,
    lambda candidate: f"something moves, is held or starts again every so many tokens, where {candidate.component} would have to be cut",
)

CUT_IN_BLOCKS = Condition(
    "a system without periods, or data that blocks add to",
    lambda candidate: candidate.block == 0 or (candidate.block > 1 and candidate.window is not None and not candidate.window.slides),
    lambda candidate: f"blocks of {candidate.block} tokens would cut the window of {candidate.component}, which slides",
)

ALONE = Condition(
    "no cycle of reads with other memories",
    lambda candidate: len(candidate.members) == 1,
    lambda candidate: f"{' and '.join(candidate.members)} need each other at the same token",
)

SHARED = (STARTS_KNOWN, ALONE)

ATTENTION = FormRule(
    name="attention",
    form=Form.ATTENTION,
    says="its weights are a softmax of scaled dot products, for which torch has a kernel",
    cites=("nl:eq-63",),
    proofs=SOLVED,
    requires=(IS_SOLVED, DOT_PRODUCTS, NO_MASK_OF_ITS_OWN, CUT_IN_BLOCKS, COPIES_ALONE, NOT_COUNTED, *SHARED),
)

WINDOW_TABLE = FormRule(
    name="window-table",
    form=Form.WINDOW_TABLE,
    says="it keeps nothing but data, so all queries are answered at once, each by a weighted mean over its window",
    cites=("nl:eq-62",),
    proofs=SOLVED,
    requires=(IS_SOLVED, A_VECTOR, NO_PERIODS, *SHARED),
)
