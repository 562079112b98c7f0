"""NLC8xx: claims that say too little to be decided, or name what nothing is called; files of claims where a spec is wanted."""

from __future__ import annotations

from collections.abc import Iterable

from nlc.codes.code import Code, quoted, suggestion
from nlc.diagnostics import Diagnostic, Label
from nlc.source import Span


def _one(code: str, message: str, span: Span, label: str, help: str) -> Diagnostic:
    return Diagnostic(code, message, (Label(span, label),), help)


def no_system(span: Span) -> Diagnostic:
    help = "`nlc verify` decides such a file, `nlc check` reads it; what is compiled is of kind architecture or optimizer"
    return _one("NLC801", "a file of claims describes no system that could be compiled", span, "", help)


def incomplete_minimum(span: Span) -> Diagnostic:
    help = "write all three: `minimise: OBJECTIVE`, `over: NAME` and `prove: NAME == VALUE`"
    return _one("NLC802", "a claim about a minimum needs `minimise`, `over` and `prove`", span, "", help)


def not_a_variable(span: Span, function: str) -> Diagnostic:
    help = "name a stream, a hyperparameter, a state after the tick (memory) or before it (prev(memory))"
    return _one("NLC803", f"{function} needs a variable, not an expression", span, "not the name of one value", help)


def unknown_id(name: str, span: Span, known: Iterable[str]) -> Diagnostic:
    return _one("NLC804", f"no claim of this file has the id {quoted(name)}", span, "", suggestion(name, known, "ids"))


def repeated_id(first: Span, second: Span) -> Diagnostic:
    labels = (Label(second, "again here"), Label(first, "first given here"))
    return Diagnostic("NLC805", "two claims of one file have the same id", labels, "ids are how claims are called: give each its own")


def no_minimum_there(span: Span, name: str) -> Diagnostic:
    help = f"a minimum over `{name}` is claimed by an equation with `{name}` alone on the left: {name} == VALUE"
    return _one("NLC806", "this does not say where the minimum is", span, "", help)


def not_a_measure(span: Span) -> Diagnostic:
    return _one("NLC807", "this does not say what is measured", span, "", "write `gap by NAME in [1, 2, 4]`, with plain numbers")


def measured_numbers(span: Span, fewest: int, most: int) -> Diagnostic:
    return _one("NLC808", f"a gap is measured at from {fewest} to {most} different numbers", span, "", "")


def nothing_to_measure(span: Span) -> Diagnostic:
    help = "`measure` goes with `prove: LEFT == RIGHT` or with `same_as`"
    return _one("NLC809", "there are no two sides between which a gap could be measured", span, "", help)


def unknown_parameter(name: str, span: Span, known: Iterable[str]) -> Diagnostic:
    message = f"{quoted(name)} is no hyperparameter that a gap could be measured by"
    return _one("NLC810", message, span, "", suggestion(name, known, "hyperparameters"))


def unknown_trend(trend: str, span: Span) -> Diagnostic:
    help = "`measured` goes on with `rising`, `falling` or `order N`, joined by `and`"
    return _one("NLC811", f"{quoted(trend)} is no trend of a measured gap", span, "", help)


CODES = (
    Code(
        "NLC801", "file of claims", "A file of `kind: claims` holds claims about systems, each in a section; it is verified, not compiled."
    ),
    Code(
        "NLC802", "incomplete claim of a minimum", "A minimum is claimed with an objective, the variable it is over, and the value there."
    ),
    Code("NLC803", "not a variable", "Derivatives are taken, and minima are over, a value that has a name of its own."),
    Code("NLC804", "unknown id", "`instead` names another claim of the same file by its `id`."),
    Code("NLC805", "id given twice", "The ids of a file of claims are all different."),
    Code("NLC806", "minimum without a place", "`prove` gives the minimiser: the variable alone on the left, its value on the right."),
    Code("NLC807", "not a measure", "What is measured is the gap, by a hyperparameter, at a list of numbers."),
    Code("NLC808", "numbers of a measure", "A gap is a function of the numbers given: a few, all different."),
    Code("NLC809", "nothing to measure", "A gap is between the sides of an equation, or between two systems."),
    Code("NLC810", "unknown parameter", "A gap is measured by a hyperparameter of the spec, or of the one that the claim names."),
    Code("NLC811", "unknown trend", "A measured gap may be expected to rise or to fall, or to have an order as its parameter goes to 0."),
)
