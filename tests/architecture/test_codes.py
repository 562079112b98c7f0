"""Every error code is one function and one row of `CODES`, is made nowhere else, and is used."""

from __future__ import annotations

import ast
from collections import Counter
from collections.abc import Iterable, Mapping
from types import MappingProxyType

import pytest

from tests.architecture.codes import CODE, CODE_FILES, codes_named, rows, stage
from tests.architecture.modules import Finding, Module, functions, modules, violations

FAMILIES: Mapping[str, str] = MappingProxyType(
    {"parse": "1", "resolve": "2", "order": "3", "derive": "4", "schedule": "5", "emit": "6", "train": "7", "claims": "8", "network": "2"}
)
"""The hundreds that belong to each file of nlc/codes."""


def makes_no_diagnostics(module: Module) -> Iterable[Finding]:
    if module.within("nlc.codes", "nlc.diagnostics"):
        return
    for node in ast.walk(module.tree):
        match node:
            case ast.Call(func=ast.Name(id="Diagnostic") | ast.Attribute(attr="Diagnostic")):
                yield node, "diagnostics are made by the functions of nlc/codes"
            case ast.Constant(value=str(text)) if CODE.fullmatch(text):
                yield node, f"{text} is named only in nlc/codes"


@pytest.mark.parametrize("module", CODE_FILES, ids=stage)
def test_each_row_has_one_function_and_each_function_one_row(module: Module) -> None:
    made = {function.name: set(codes_named(function)) for function in functions(module) if not function.name.startswith("_")}
    assert {name: codes for name, codes in made.items() if len(codes) != 1} == {}
    numbers = [row.number for row in rows(module)]
    assert sorted(code for codes in made.values() for code in codes) == numbers


@pytest.mark.parametrize("module", CODE_FILES, ids=stage)
def test_each_row_explains_a_code_of_its_family(module: Module) -> None:
    family = FAMILIES[stage(module)]
    for row in rows(module):
        assert row.number.startswith(f"NLC{family}")
        assert row.title == row.title.strip(" .") != ""
        assert row.explanation.endswith(".")


def test_no_code_is_taken_twice() -> None:
    counts = Counter(row.number for module in CODE_FILES for row in rows(module))
    assert [number for number, count in counts.items() if count > 1] == []


def test_diagnostics_are_made_in_nlc_codes_alone() -> None:
    assert violations(makes_no_diagnostics, modules("nlc")) == []
    for text in ("raise CompileError(Diagnostic(number, 'no'))", "if number == 'NLC305': pass"):
        assert violations(makes_no_diagnostics, [Module.of("nlc/order/bad.py", text)])


def names_used(module: Module) -> Iterable[str]:
    for node in ast.walk(module.tree):
        match node:
            case ast.Name(id=name) | ast.Attribute(attr=name):
                yield name


def test_every_code_is_used_by_its_stage() -> None:
    used = {name for module in modules("nlc") if module not in CODE_FILES for name in names_used(module)}
    made = [(module.path, function.name) for module in CODE_FILES for function in functions(module)]
    assert [(path, name) for path, name in made if not name.startswith("_") and name not in used] == []
