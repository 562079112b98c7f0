"""The choice of a form for one memory: the rules of the table tried in order, each with the verdict that `explain` prints."""

from __future__ import annotations

from nlc.ir.program import Decision, Form
from nlc.schedule.rules import FORM_RULES, Candidate, FormRule


def choose_form(candidate: Candidate) -> tuple[Form, tuple[Decision, ...]]:
    """The first form whose conditions all hold, and a decision for every rule tried up to it."""
    decisions: list[Decision] = []
    for rule in FORM_RULES:
        decision = _decide(rule, candidate)
        decisions.append(decision)
        if decision.taken:
            return rule.form, tuple(decisions)
    raise AssertionError("the last rule of the table has no conditions")


def _decide(rule: FormRule, candidate: Candidate) -> Decision:
    component = candidate.component
    for condition in rule.requires:
        if not condition.holds(candidate):
            because = f"needs {condition.text}; {condition.otherwise(candidate)}"
            return Decision(component, rule.name, False, because, rule.cites)
    return Decision(component, rule.name, True, rule.says, rule.cites)
