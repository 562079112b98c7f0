"""The table of exact forms of a memory over a sequence, the cheapest first; the last one fits everything."""

from __future__ import annotations

from nlc.schedule.rules.attention import ATTENTION, WINDOW_TABLE
from nlc.schedule.rules.blocks import BLOCKS
from nlc.schedule.rules.dual import DUAL
from nlc.schedule.rules.halves import HALVED_PREFIX_SUM, HALVED_TRIANGULAR
from nlc.schedule.rules.prefix_sum import PREFIX_SUM
from nlc.schedule.rules.recurrence import RECURRENCE
from nlc.schedule.rules.rule import Candidate, Condition, FormRule
from nlc.schedule.rules.stacked import STACKED_PREFIX_SUM, STACKED_TRIANGULAR
from nlc.schedule.rules.triangular import TRIANGULAR

__all__ = ["FORM_RULES", "Candidate", "Condition", "FormRule"]

FORM_RULES: tuple[FormRule, ...] = (
    PREFIX_SUM,
    TRIANGULAR,
    HALVED_PREFIX_SUM,
    HALVED_TRIANGULAR,
    STACKED_PREFIX_SUM,
    STACKED_TRIANGULAR,
    ATTENTION,
    WINDOW_TABLE,
    BLOCKS,
    DUAL,
    RECURRENCE,
)
