"""Recurrence: the law itself, token by token. Right for every law, and last in the table."""

from __future__ import annotations

from nlc.ir.program import Form
from nlc.schedule.rules.proofs import THE_LAW_ITSELF
from nlc.schedule.rules.rule import FormRule

RECURRENCE = FormRule(
    name="recurrence",
    form=Form.RECURRENCE,
    says="no parallel form of the table fits, so the law runs token by token",
    cites=(),
    proofs=THE_LAW_ITSELF,
    requires=(),
)
