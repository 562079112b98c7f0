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
)
