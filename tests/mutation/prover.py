"""Mutants of the prover itself: an edit of a module's text, put into the functions that are running, and the claims that must notice.

The code of the functions that the edit changed is exchanged where they are, so that whoever imported them runs the mutant.
"""

from __future__ import annotations

import ast
import importlib
import signal
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass, replace
from functools import cache
from types import CodeType, FrameType, FunctionType, ModuleType
from typing import Any

from nlc import pipeline
from nlc.ir.law import Laws
from nlc.ir.model import Claim
from nlc.parse.claims_file import parse_claims_file
from nlc.replay.check import look
from nlc.verify.claims import decide_claims
from nlc.verify.opinions import with_second_opinion
from tests.architecture.modules import ROOT

PATIENCE = 30
"""Seconds of the processor for a mutant; one that hangs is caught too."""

FILES = (
    "tests/verify/sharp_claims.yaml",
    "claims/forms.yaml",
    "tests/verify/wrong_claims.yaml",
    "claims/siblings.yaml",
    "claims/nested_learning.yaml",
)
"""The claims that a mutant is tried on, the quickest first."""

Found = tuple[str, tuple[str, ...], int]
"""A verdict with its conditions, and the places at which the second checker finds that the proof holds."""


@dataclass(frozen=True, slots=True)
class ProverMutant:
    """One edit: in `module` of nlc/verify `before`, which stands there once, becomes `after`."""

    module: str
    before: str
    after: str
    says: str


def text_of(module: str) -> str:
    """The module's text."""
    return (ROOT / "nlc" / "verify" / f"{module}.py").read_text(encoding="utf-8")


def edited(mutant: ProverMutant) -> str:
    """The module's text with the edit."""
    text = text_of(mutant.module)
    assert text.count(mutant.before) == 1, f"{mutant.module} has no longer, or more than once: {mutant.before}"
    return text.replace(mutant.before, mutant.after)


def changed_functions(module: str, text: str) -> dict[str, CodeType]:
    """The code of those functions of a module, by qualified name, that are others in the text; with the same variables from outside."""
    live = importlib.import_module(f"nlc.verify.{module}")
    other, old = _functions(text, live), _functions_of(live)
    changed = {name: code for name, code in other.items() if name in old and code != old[name].__code__}
    return {name: code for name, code in changed.items() if len(code.co_freevars) == len(old[name].__code__.co_freevars)}


@contextmanager
def mutated(module: str, text: str) -> Iterator[None]:
    """Inside, the prover runs the functions of another text of one of its modules."""
    assert ast.dump(ast.parse(text)) != ast.dump(ast.parse(text_of(module))), "the edit changes nothing"
    old, changed = _functions_of(importlib.import_module(f"nlc.verify.{module}")), changed_functions(module, text)
    assert changed, f"no function of {module} is changed"
    before = {name: old[name].__code__ for name in changed}
    try:
        for name, code in changed.items():
            old[name].__code__ = code
        yield
    finally:
        for name, code in before.items():
            old[name].__code__ = code


def _functions(text: str, live: ModuleType) -> dict[str, CodeType]:
    """The code of every function of a text, by its qualified name, compiled as from the file of the live module."""
    found: dict[str, CodeType] = {}

    def visit(code: CodeType) -> None:
        for constant in code.co_consts:
            if isinstance(constant, CodeType):
                found[constant.co_qualname] = constant
                visit(constant)

    assert live.__file__ is not None
    visit(compile(text, live.__file__, "exec", dont_inherit=True))
    return {name: code for name, code in found.items() if "<" not in name}


def _functions_of(module: ModuleType) -> dict[str, FunctionType]:
    found: dict[str, FunctionType] = {}
    for value in vars(module).values():
        members = vars(value).values() if isinstance(value, type) else (value,)
        for member in members:
            function = getattr(member, "fget", None) or member
            if isinstance(function, FunctionType) and function.__module__ == module.__name__:
                found[function.__qualname__] = function
    return found


# --- the claims --------------------------------------------------------------------------------------------------


@cache
def battery() -> tuple[tuple[Laws, Claim, Found], ...]:
    """Claims with the laws of their systems and what the prover says of them; those that measure say nothing about it."""
    rows: list[tuple[Laws, Claim, Found]] = []
    for file in FILES:
        for section in parse_claims_file(ROOT / file).sections:
            laws = laws_of(pipeline.resolve(section))
            for claim in laws.order.model.claims:
                if getattr(claim, "measure", None) is None:
                    rows.append((laws, claim, verdict_on(laws, claim)))
    return tuple(rows)


def laws_of(model: Any) -> Laws:
    """The laws of a model."""
    return pipeline.derive(pipeline.order(model))


def verdict_on(laws: Laws, claim: Claim) -> Found:
    """What the prover says of one claim."""
    alone = replace(laws, order=replace(laws.order, model=replace(laws.order.model, claims=(claim,))))
    (found,) = decide_claims(alone, laws_of)
    found = with_second_opinion(found, look)
    return found.verdict, found.conditions, found.second.places if found.second is not None else 0


def caught_by(module: str, text: str) -> str:
    """The first claim on which a prover with this text says something else, raises or hangs; empty when it says the same of all."""
    rows = battery()
    with mutated(module, text), impatient():
        for laws, claim, expected in rows:
            try:
                found = verdict_on(laws, claim)
            except Exception as error:
                return f"{claim.says}: {type(error).__name__}"
            if found != expected:
                return f"{claim.says}: {found[0]} for {expected[0]}"
    return ""


class Impatience(Exception):
    """A mutant takes too long."""


@contextmanager
def impatient() -> Iterator[None]:
    """Inside, what takes too much of the processor's time raises Impatience."""

    def stop(_: int, __: FrameType | None) -> None:
        raise Impatience

    handler = signal.signal(signal.SIGVTALRM, stop)
    signal.setitimer(signal.ITIMER_VIRTUAL, PATIENCE)
    try:
        yield
    finally:
        signal.setitimer(signal.ITIMER_VIRTUAL, 0)
        signal.signal(signal.SIGVTALRM, handler)
