"""Names that a spec may give: their form, the words that are taken, and names that clash."""

from __future__ import annotations

import builtins
import keyword
import re
from collections.abc import Iterator

from nlc.codes import parse as codes
from nlc.diagnostics import CompileError, Diagnostic
from nlc.ir.maps import MAPS
from nlc.ir.spec import Spec, Text
from nlc.parse.nodes import Scalar

SPEC_NAME = re.compile(r"[A-Z][A-Za-z0-9]{0,60}")
NAME = re.compile(r"[a-z][a-z0-9_]{0,40}")
TENSOR_NAME = re.compile(r"[A-Za-z][A-Za-z0-9_]{0,40}")
HELD_TENSOR = re.compile(r"held_\d+")

LANGUAGE_WORDS = frozenset(
    """
    prev hold now tick age past where sum mean norm norm2 dot inner outer solve softmax maximum minimum transpose split join delay convolve
    argmin stop_gradient eye index key value prediction task learned like matrix vector gradient_descent proximal closed_form
    token tokens step steps sequence sequences always never in and or not true false null none
    """.split()
) | frozenset(MAPS)
EMITTED_WORDS = frozenset({"self", "torch", "state", "chunk"})
PYTHON_WORDS = frozenset({*keyword.kwlist, *keyword.softkwlist, *dir(builtins)})


def spec_name(scalar: Scalar) -> Text:
    """The name of a spec; raises CompileError unless it is CamelCase and free."""
    if not SPEC_NAME.fullmatch(scalar.text):
        raise CompileError(codes.bad_spec_name(scalar.span))
    return _free(scalar)


def any_name(scalar: Scalar) -> Text:
    """A name that may have been given elsewhere; raises CompileError unless it has the form of one."""
    if not NAME.fullmatch(scalar.text):
        raise CompileError(codes.bad_name(scalar.span))
    return Text(scalar.text, scalar.span)


def new_name(scalar: Scalar) -> Text:
    """A name that a spec gives; raises CompileError when its form is wrong or the word is taken."""
    any_name(scalar)
    return _free(scalar)


def tensor_name(scalar: Scalar) -> Text:
    """The name of a tensor of a memory, which may have capitals as in papers; raises CompileError as `new_name` does."""
    if not TENSOR_NAME.fullmatch(scalar.text):
        raise CompileError(codes.bad_name(scalar.span))
    if HELD_TENSOR.fullmatch(scalar.text):
        raise CompileError(codes.reserved_name(scalar.span, "what a tensor is called as it was when a period ended"))
    return _free(scalar)


def _free(scalar: Scalar) -> Text:
    reasons = (
        ("a word of the language", LANGUAGE_WORDS),
        ("a word of Python", PYTHON_WORDS),
        ("a word of the code that is emitted", EMITTED_WORDS),
    )
    for reason, words in reasons:
        if scalar.text in words:
            raise CompileError(codes.reserved_name(scalar.span, reason))
    return Text(scalar.text, scalar.span)


def clashes(spec: Spec) -> Iterator[Diagnostic]:
    """A diagnostic for each name that is given twice."""
    given: dict[str, tuple[Text, str]] = {}
    for name, what in _declared(spec):
        first, first_what = given.setdefault(name.text, (name, what))
        if first is not name and {first_what, what} != {"a dim", "an axis"}:
            yield codes.name_clash((first.span, first_what), (name.span, what))


def _declared(spec: Spec) -> Iterator[tuple[Text, str]]:
    yield from ((item.name, "a dim") for item in spec.dims)
    yield from ((item, "an axis") for item in spec.axes)
    yield from ((item.name, "an input") for item in spec.inputs)
    yield from ((item.name, "a hyperparameter") for item in spec.hyperparameters)
    yield from ((item.name, "an abbreviation") for item in spec.let)
    yield from ((item.name, "a definition") for item in spec.define)
    yield from ((item.name, "a level") for item in spec.levels)
