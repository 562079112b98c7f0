"""Habits that a script can check: short files and functions, docstrings, frozen nouns, no global state, no evaluation of text."""

from __future__ import annotations

import ast
import re
from collections.abc import Iterable, Mapping
from statistics import median
from types import MappingProxyType

import pytest

from tests.architecture.modules import ROOT, Finding, Module, Rule, functions, imports, is_within, modules, violations

FILE_LINES = 350
CLASS_LINES = 400
FUNCTION_LINES = 60
MEDIAN_FUNCTION_LINES = 12

BUILTINS = frozenset({"eval", "exec", "compile", "__import__", "globals"})
EVALUATORS = frozenset({"sympify", "parse_expr", "lambdify", "import_module", "exec_module"})
UNSAFE_MODULES = ("pickle", "marshal", "shelve", "dill", "cloudpickle")
MAY_USE: Mapping[str, frozenset[str]] = MappingProxyType(
    {
        "nlc.verify.load": frozenset({"exec", "compile", "exec_module"}),  # loads modules that nlc emitted
        "nlc.cli": frozenset({"import_module"}),  # the commands of its own list
    }
)

UNFINISHED = re.compile(r"\b(TODO|FIXME|XXX|HACK|NotImplementedError)\b")
MACHINE_PATH = re.compile(r"(?<![\w.])/(home|root|work|Users|tmp|opt)/\w|[a-z]:\\\\|https?://[\w.]*pypi", re.IGNORECASE)
ABBREVIATIONS = frozenset("lr wd idx tmp cfg ctx cnt arr fn func elem curr msg buf num val vals ret res".split())


def length(node: ast.FunctionDef | ast.AsyncFunctionDef | ast.ClassDef) -> int:
    return (node.end_lineno or node.lineno) - node.lineno + 1


def is_short(module: Module) -> Iterable[Finding]:
    """An emitted module is handed on as one file with all that it calls: each of its classes is short."""
    is_emitted = module.name.startswith("generated.")
    limit = CLASS_LINES if is_emitted else FILE_LINES
    for node in (item for item in module.tree.body if isinstance(item, ast.ClassDef)) if is_emitted else (module.tree,):
        lines = length(node) if isinstance(node, ast.ClassDef) else len(module.text.splitlines())
        if lines > limit:
            yield node, f"{lines} lines; at most {limit}"
    for function in functions(module):
        if length(function) > FUNCTION_LINES:
            yield function, f"{function.name} has {length(function)} lines; at most {FUNCTION_LINES}"


def says_what_it_does(module: Module) -> Iterable[Finding]:
    if not ast.get_docstring(module.tree):
        yield module.tree, "a module opens with what it turns into what"


def is_finished(module: Module) -> Iterable[Finding]:
    for number, line in enumerate(module.text.splitlines(), start=1):
        if UNFINISHED.search(line):
            yield ast.Pass(lineno=number), f"unfinished: {line.strip()}"


def never_runs_text(module: Module) -> Iterable[Finding]:
    """No evaluation of text: neither by builtins nor, under any prefix, by libraries (`model.eval()` is another thing)."""
    allowed = MAY_USE.get(module.name, frozenset())
    for node, name in imports(module):
        if is_within(name, UNSAFE_MODULES) or name.rpartition(".")[2] in EVALUATORS - allowed:
            yield node, f"{name} runs or unpickles what it is given"
    for node in ast.walk(module.tree):
        match node:
            case ast.Name(id=name) if name in BUILTINS - allowed:
                yield node, f"{name} is not used in nlc"
            case ast.Attribute(attr=name) if name in EVALUATORS - allowed:
                yield node, f"{name} is not used in nlc"
            case ast.Attribute(value=ast.Name(id="torch"), attr="load"):
                yield node, "weights are read with safetensors, never unpickled"


def has_no_global_state(module: Module) -> Iterable[Finding]:
    """Tables are tuples, frozensets and mapping proxies, or typed `Mapping`, so that the type checker refuses to change them."""
    for node in module.tree.body:
        match node:
            case ast.Assign(targets=[ast.Name(id="__all__")]) | ast.AnnAssign(annotation=ast.Subscript(value=ast.Name(id="Mapping"))):
                continue
            case ast.Assign(value=value) | ast.AnnAssign(value=ast.expr() as value) if _is_mutable(value):
                yield node, "what lives as long as the program is a tuple, a frozenset or a Mapping"
    yield from ((node, "`global` is not used in nlc") for node in ast.walk(module.tree) if isinstance(node, ast.Global))


def _is_mutable(value: ast.expr) -> bool:
    match value:
        case ast.Dict() | ast.List() | ast.Set() | ast.DictComp() | ast.ListComp() | ast.SetComp():
            return True
        case ast.Call(func=ast.Name(id=name)):
            return name in {"dict", "list", "set", "defaultdict", "deque", "Counter", "bytearray"}
    return False


def nouns_are_frozen(module: Module) -> Iterable[Finding]:
    if not module.within("nlc.ir"):
        return
    for node in ast.walk(module.tree):
        if isinstance(node, ast.ClassDef):
            for decorator in node.decorator_list:
                text = ast.unparse(decorator)
                if text.startswith("dataclass") and not ("frozen=True" in text and "slots=True" in text):
                    yield node, f"{node.name} is a noun: frozen and slotted"


def names_are_words(module: Module) -> Iterable[Finding]:
    for node in ast.walk(module.tree):
        match node:
            case ast.arg(arg=name) | ast.Name(id=name, ctx=ast.Store()) if name in ABBREVIATIONS:
                yield node, f"`{name}` is no word"


RULES = (
    (is_short, "x = 1\n" * (FILE_LINES + 1)),
    (is_short, "def long():\n" + "    x = 1\n" * FUNCTION_LINES),
    (says_what_it_does, "x = 1"),
    (is_finished, "def later():\n    raise NotImplementedError"),
    (never_runs_text, "value = eval('1')"),
    (never_runs_text, "import sympy\nsympy.sympify('1')"),
    (never_runs_text, "from pickle import loads"),
    (never_runs_text, "import torch\ntorch.load('weights')"),
    (has_no_global_state, "CACHE: dict[str, int] = {}"),
    (has_no_global_state, "def count():\n    global total\n    total = 1"),
    (nouns_are_frozen, "@dataclass(frozen=True)\nclass Noun:\n    name: str"),
    (names_are_words, "def step(lr): return lr"),
)
"""Each rule, with the text of a module in nlc/ir that breaks it."""


@pytest.mark.parametrize("rule", dict.fromkeys(rule for rule, _ in RULES), ids=lambda rule: rule.__name__)
def test_nlc_keeps_the_rule(rule: Rule) -> None:
    assert violations(rule, modules("nlc")) == []


@pytest.mark.parametrize(("rule", "text"), RULES)
def test_the_rule_finds_a_breach(rule: Rule, text: str) -> None:
    assert violations(rule, [Module.of("nlc/ir/bad.py", text)])


def test_generated_code_is_short_and_finished() -> None:
    for rule in (is_short, says_what_it_does, is_finished):
        assert violations(rule, modules("generated")) == []


def test_the_typical_function_is_small() -> None:
    assert median(length(function) for module in modules("nlc") for function in functions(module)) <= MEDIAN_FUNCTION_LINES


def test_no_path_of_a_machine_and_no_registry_is_named() -> None:
    folders = ("nlc", "specs", "generated", "docs", "scripts", "benchmarks", "experiments", ".ci")
    suffixes = {".py", ".yaml", ".md", ".j2", ".json", ".toml", ".txt", ""}
    files = [path for folder in folders for path in sorted((ROOT / folder).rglob("*")) if path.is_file() and path.suffix in suffixes]
    files += [path for path in sorted(ROOT.iterdir()) if path.is_file() and path.suffix in suffixes and path.name != ".git"]
    assert len(files) > 50
    found = [
        f"{path.relative_to(ROOT)}:{number}: {line.strip()}"
        for path in files
        if "_build" not in path.parts
        for number, line in enumerate(path.read_text().splitlines(), start=1)
        if MACHINE_PATH.search(line)
    ]
    assert found == []
