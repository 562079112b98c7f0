"""Who may import whom (design section 1): nouns below, stages side by side, one door for each dependency."""

from __future__ import annotations

import ast
import re
import sys
import tomllib
from collections.abc import Iterable, Mapping
from types import MappingProxyType

import pytest

from tests.architecture.modules import ROOT, Finding, Module, Rule, imports, is_within, modules, violations

STAGES = ("nlc.parse", "nlc.resolve", "nlc.order", "nlc.derive", "nlc.schedule", "nlc.emit", "nlc.verify")
TRANSFORMING = STAGES[:-1]
PURE = (*TRANSFORMING, "nlc.graph")
OUTER_WORLD = ("time", "datetime", "random", "secrets", "uuid", "locale", "socket", "subprocess", "threading", "os.environ", "os.getenv")
SHARED = ("nlc.source", "nlc.diagnostics", "nlc.citations", "nlc.codes", "nlc.ir")

MAY_IMPORT: Mapping[str, tuple[str, ...]] = MappingProxyType(
    {
        "nlc.version": (),
        "nlc.replay": (),
        "nlc.source": (),
        "nlc.citations": (),
        "nlc.diagnostics": ("nlc.source",),
        "nlc.ir": ("nlc.source", "nlc.diagnostics", "nlc.citations"),
        "nlc.codes": ("nlc.source", "nlc.diagnostics", "nlc.citations", "nlc.ir"),
        "nlc.train": SHARED,
        "nlc.graph": ("nlc.source", "nlc.diagnostics", "nlc.ir"),
        **dict.fromkeys(STAGES, SHARED),
    }
)
"""What of nlc each package may import besides itself; a package without a row may see at most one stage."""

SEES_ALL = ("nlc.pipeline", "nlc.cli", "nlc.commands")

DOORS: Mapping[str, tuple[str, ...]] = MappingProxyType(
    {
        "yaml": ("nlc.parse",),
        "jinja2": ("nlc.emit",),
        "torch": ("nlc.verify", "nlc.train"),
        "safetensors": ("nlc.train",),
        "rich": ("nlc.cli", "nlc.terminal", "nlc.train"),
    }
)
"""Third-party packages and where they may be imported; what has no row here or below may be imported nowhere in nlc."""

OPTIONAL: Mapping[str, tuple[str, ...]] = MappingProxyType({"tokenizers": ("nlc.train.tokens",)})
"""Packages of an extra and where they may be imported, which is inside of functions."""

ORACLE = "nlc.verify.oracle"
"""How the names of the oracle's modules begin."""

DISTRIBUTIONS: Mapping[str, str] = MappingProxyType({"pyyaml": "yaml"})
"""Distributions whose package has another name."""


def respects_layers(module: Module) -> Iterable[Finding]:
    for package, allowed in MAY_IMPORT.items():
        if module.within(package):
            for node, name in imports(module):
                if is_within(name, ["nlc"]) and not is_within(name, (package, *allowed)):
                    yield node, f"{package} may not import {name}"


def sees_one_stage(module: Module) -> Iterable[Finding]:
    if module.within(*SEES_ALL, *MAY_IMPORT):
        return
    seen = sorted({stage for _, name in imports(module) for stage in STAGES if is_within(name, [stage])})
    if len(seen) > 1:
        yield module.tree, f"only {' and '.join(SEES_ALL)} see several stages, not one that imports {', '.join(seen)}"


def uses_doors(module: Module) -> Iterable[Finding]:
    doors = {**DOORS, **OPTIONAL}
    for node, name in imports(module):
        package = name.partition(".")[0]
        if package not in {"nlc", *sys.stdlib_module_names} and not module.within(*doors.get(package, ())):
            yield node, f"{package} is imported only in {' and '.join(doors.get(package, ('no part of nlc',)))}"
        if package in OPTIONAL and node in module.tree.body:
            yield node, f"{package} may be missing: it is imported where it is needed"


def stages_are_pure(module: Module) -> Iterable[Finding]:
    if module.within(*PURE):
        for node, name in imports(module):
            if is_within(name, OUTER_WORLD):
                yield node, f"a stage is a function of its argument: not of {name}"
        for node in ast.walk(module.tree):
            if isinstance(node, ast.Attribute) and ast.unparse(node) in OUTER_WORLD:
                yield node, f"a stage is a function of its argument: not of {ast.unparse(node)}"


def oracle_stands_alone(module: Module) -> Iterable[Finding]:
    if module.name.startswith(ORACLE):
        for node, name in imports(module):
            if not is_within(name, ("torch", "nlc.ir.model", *sys.stdlib_module_names)) and not name.startswith(ORACLE):
                yield node, f"the oracle shares no code with what it judges, not even {name}"


def imports_torch_alone(module: Module) -> Iterable[Finding]:
    for node, name in imports(module):
        if not is_within(name, ("torch", *sys.stdlib_module_names)):
            yield node, f"emitted code runs without nlc: it may not import {name}"


RULES = (
    (respects_layers, "nlc/ir/bad.py", "from nlc.parse import schema"),
    (respects_layers, "nlc/parse/bad.py", "def late():\n    from nlc.resolve.scope import Scope"),
    (respects_layers, "nlc/parse/bad.py", "from ..order import clocks"),
    (respects_layers, "nlc/graph/bad.py", "from nlc.order.clocks import schedule_text"),
    (respects_layers, "nlc/verify/bad.py", "from nlc import derive"),
    (sees_one_stage, "nlc/helper.py", "import nlc.parse\nimport nlc.emit.views"),
    (uses_doors, "nlc/parse/bad.py", "import torch.nn"),
    (uses_doors, "nlc/order/bad.py", "import networkx"),
    (uses_doors, "nlc/derive/bad.py", "from sympy import Symbol"),
    (uses_doors, "nlc/train/data.py", "def late():\n    import tokenizers"),
    (uses_doors, "nlc/train/tokens.py", "import tokenizers"),
    (stages_are_pure, "nlc/emit/bad.py", "from datetime import datetime"),
    (stages_are_pure, "nlc/order/bad.py", "from os import environ"),
    (stages_are_pure, "nlc/graph/bad.py", "import random"),
    (stages_are_pure, "nlc/order/bad.py", "import os\nstrict = os.environ['STRICT']"),
    (oracle_stands_alone, "nlc/verify/oracle.py", "from nlc.ir.show import expression_text"),
    (oracle_stands_alone, "nlc/verify/oracle_values.py", "from nlc.verify.evaluate import evaluate"),
)
"""Each rule, with a module that breaks it."""


@pytest.mark.parametrize("rule", dict.fromkeys(rule for rule, _, _ in RULES), ids=lambda rule: rule.__name__)
def test_nlc_keeps_the_rule(rule: Rule) -> None:
    assert violations(rule, modules("nlc")) == []


@pytest.mark.parametrize(("rule", "path", "text"), RULES)
def test_the_rule_finds_a_breach(rule: Rule, path: str, text: str) -> None:
    assert violations(rule, [Module.of(path, text)])


def test_the_rules_are_about_modules_that_exist() -> None:
    names = {module.name for module in modules("nlc")}
    named = {*MAY_IMPORT, *SEES_ALL, ORACLE}
    assert named <= names


def test_generated_code_imports_torch_alone() -> None:
    assert violations(imports_torch_alone, modules("generated")) == []
    assert violations(imports_torch_alone, [Module.of("generated/optimizers/bad.py", "from nlc.ir import algebra")])


def test_every_door_is_a_declared_dependency_that_is_used() -> None:
    project = tomllib.loads((ROOT / "pyproject.toml").read_text())["project"]
    distributions = {re.split(r"[^\w-]", requirement)[0].lower() for requirement in project["dependencies"]}
    extras = {
        re.split(r"[^\w-]", item)[0].lower() for name, items in project["optional-dependencies"].items() for item in items if name != "dev"
    }
    imported = {name.partition(".")[0] for module in modules("nlc") for _, name in imports(module)}
    assert {DISTRIBUTIONS.get(name, name) for name in distributions} == set(DOORS)
    assert set(OPTIONAL) <= extras
    assert {*DOORS, *OPTIONAL} <= imported
