"""The error codes as data: the files of nlc/codes, their tables, and the codes that a piece of Python names."""

from __future__ import annotations

import ast
import re
from importlib import import_module

from nlc.codes.code import Code
from tests.architecture.modules import Module, modules

CODE = re.compile(r"NLC\d{3}")
CODE_FILES = tuple(module for module in modules("nlc/codes") if module.name not in ("nlc.codes", "nlc.codes.code"))


def stage(module: Module) -> str:
    return module.name.rpartition(".")[2]


def rows(module: Module) -> tuple[Code, ...]:
    table: tuple[Code, ...] = import_module(module.name).CODES
    return table


def codes_named(tree: ast.AST) -> list[str]:
    strings = [node.value for node in ast.walk(tree) if isinstance(node, ast.Constant) and isinstance(node.value, str)]
    return [text for text in strings if CODE.fullmatch(text)]
