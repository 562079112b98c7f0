"""Blocks: a level that moves at the ends of periods alone is the same memory for all tokens of a block.

With M the memory at the start of a block of n tokens, whose gradient at one token is a sum of outer products e_t b_t^T,

    M q_t for all t:  Q M^T,        sum_t e_t b_t^T = E^T B        (the rows of Q, E, B are those of the tokens)

The law runs once, at the block's last token, if a period ends there. Whatever the memory is, its gradients are taken at one state.
"""

from __future__ import annotations

from nlc.ir.program import Form
from nlc.schedule.rules.conditions import ALL_PARTS_ALIKE, COPIES_ALONE, NOTHING_GATHERED, SEVERAL_TOKENS, STARTS_KNOWN
from nlc.schedule.rules.proofs import GATHERED
from nlc.schedule.rules.rule import Condition, FormRule

SEVERAL_TOKENS_AN_UPDATE = Condition(
    "an update every so many tokens",
    lambda candidate: candidate.clock.period > 1,
    lambda candidate: f"{candidate.component} updates every {candidate.clock}",
)

BLOCKS = FormRule(
    name="blocks",
    form=Form.BLOCKS,
    says="it stays as it is until a period ends, so the tokens of a block read it, and add up their gradients, in products of matrices",
    cites=("nl:eq-71",),
    proofs=GATHERED,
    requires=(SEVERAL_TOKENS_AN_UPDATE, NOTHING_GATHERED, STARTS_KNOWN, COPIES_ALONE, ALL_PARTS_ALIKE, SEVERAL_TOKENS),
)
