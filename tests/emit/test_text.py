"""The text itself: golden files, style, safety, and names and sentences of users that try to break out."""

from __future__ import annotations

import ast
import os
import subprocess
import sys
from dataclasses import replace
from pathlib import Path

import pytest
from hypothesis import given, settings, strategies as st

from nlc.diagnostics import CompileError
from nlc.emit import emit_module
from nlc.emit.header import spec_path
from nlc.emit.names import MODULE_ATTRIBUTES, PYTHON_WORDS, LocalNames
from nlc.emit.prose import prose
from nlc.emit.safety import assert_safe
from nlc.ir.law import Laws
from nlc.ir.model import Model
from nlc.ir.program import Program
from tests import models
from tests.emit.systems import CLIPPED, ODD, program_from, program_of

GOLDEN = Path(__file__).parents[1] / "golden" / "emit"
ROOT = Path(__file__).parents[2]


def with_model(program: Program, **changes: object) -> Program:
    """The program of a model that differs in a few fields."""
    laws: Laws = program.laws
    model: Model = replace(laws.order.model, **changes)  # type: ignore[arg-type]
    return replace(program, laws=replace(laws, order=replace(laws.order, model=model)))


BLOCKS = """
nlc: 1
name: ChunkMemory
says: A delta rule beside a memory that learns from it every 16 tokens, with a momentum.
dims: {d_k: 64, d_v: 64}
axes: [heads]
inputs: {q: [d_k], k: [d_k], v: [d_v], beta: []}
levels:
  fast:
    memory: matrix(d_v, d_k)
    keys: k
    values: v
    objective: l2
    optimizer: gradient_descent(beta)
    every: token
  slow:
    memory: matrix(d_v, d_k)
    keys: k
    values: fast(k)
    objective: l2
    optimizer: momentum(learning_rate = 0.1, decay = 0.9)
    every: 16 tokens
outputs: {y: fast(q) + slow(q)}
"""


def chunk_memory() -> Model:
    """A system in blocks."""
    return program_from(BLOCKS).model


@pytest.mark.parametrize("make", [*models.ALL, chunk_memory], ids=lambda make: make.__name__)
def test_golden(make: object) -> None:
    program = program_of(make())  # type: ignore[operator]
    path = GOLDEN / f"{program.model.name}.py"
    text = emit_module(program)
    if os.environ.get("UPDATE") == "1":
        path.write_text(text)
    assert path.read_text() == text, "if the change is meant: UPDATE=1 pytest tests/emit/test_text.py"


def test_golden_files_are_clean_for_ruff() -> None:
    for command in (["format", "--check"], ["check"]):
        ruff = [sys.executable, "-m", "ruff", *command, "--config", ROOT / "pyproject.toml", GOLDEN]
        done = subprocess.run(ruff, capture_output=True, text=True)
        assert done.returncode == 0, done.stdout + done.stderr


@pytest.mark.slow
def test_golden_files_are_clean_for_mypy() -> None:
    for path in sorted(GOLDEN.glob("*.py")):
        done = subprocess.run([sys.executable, "-m", "mypy", "--strict", path], capture_output=True, text=True, cwd=ROOT)
        assert done.returncode == 0, done.stdout + done.stderr


@pytest.mark.parametrize("text", [*ODD, CLIPPED])
def test_the_same_bytes_twice_and_python_each_time(text: str) -> None:
    emitted = emit_module(program_from(text))
    assert emitted == emit_module(program_from(text))
    ast.parse(emitted)


HOSTILE = (
    '"""\nimport os\n"""',
    "\\",
    'ends with a quote"',
    "{{ name }} {% for x in y %}",
    "\u202eevil\x07",
    "a\n\n\n# sealed",
    "\\N{DASH}",
)


def statements(text: str) -> list[str]:
    """What a module does, its docstrings apart."""
    return [ast.dump(node) for node in ast.parse(text).body[1:] if not isinstance(node, ast.ClassDef)]


@pytest.mark.parametrize("says", HOSTILE)
def test_what_users_say_stays_inside_the_docstring(says: str) -> None:
    text = emit_module(with_model(program_of(models.momentum()), says=says, path=f"specs/{says}.yaml"))
    assert statements(text) == statements(emit_module(program_of(models.momentum())))
    assert all(character.isprintable() or character == "\n" for character in text)


@settings(max_examples=30)
@given(st.text(max_size=300))
def test_any_sentence_gives_a_module(says: str) -> None:
    text = emit_module(with_model(program_of(models.delta_rule()), says=says))
    assert max(len(line) for line in text.splitlines()) <= 140
    assert prose(prose(says)) == prose(says)


@pytest.mark.parametrize(
    "text",
    [
        "import os",
        "from os import path",
        "from . import x",
        "import torch.utils.cpp_extension",
        "exec('1')",
        "x = eval",
        "().__class__",
        "__import__('os')",
        "def f():\n    global x",
        "while True: pass",
        "async def f(): ...",
        "def __getattr__(name): ...",
        "x = (",
    ],
)
def test_code_that_does_more_than_compute_is_refused(text: str) -> None:
    with pytest.raises(AssertionError):
        assert_safe(text)


@pytest.mark.parametrize("name", ["math", "nn"])
def test_words_of_the_emitted_code_are_refused_with_a_diagnostic(name: str) -> None:
    text = ODD[1].replace("p: [d_k]", f"{name}: [d_k]").replace("first(p)", f"first({name})").replace("third(p)", f"third({name})")
    with pytest.raises(CompileError) as error:
        emit_module(program_from(text))
    assert error.value.diagnostics[0].code == "NLC601"
    with pytest.raises(CompileError) as error:
        emit_module(program_from(CLIPPED.replace("bound", "params")))
    assert error.value.diagnostics[0].code == "NLC601"


def test_local_names_never_clash() -> None:
    names = LocalNames(("batch", "state"))
    assert [names.new(word) for word in ("batch", "batch", "memory.momentum", "lambda", "torch", "y", "y")] == [
        "batch_", "batch__", "memory_momentum", "lambda_", "torch_", "y", "y_",
    ]  # fmt: skip
    assert "print" in PYTHON_WORDS


def test_attributes_of_torch_modules_are_known() -> None:
    from torch import nn

    assert {name for name in dir(nn.Module) if not name.startswith("_") and name != "T_destination"} <= MODULE_ATTRIBUTES


PATHS = (
    ("specs/a/b.yaml", "specs/a/b.yaml"),
    ("/home/me/specs/old/specs/a.yaml", "specs/a.yaml"),
    ("/elsewhere/a.yaml", "a.yaml"),
    ("", "a spec"),
)


@pytest.mark.parametrize(("path", "shown"), PATHS)
def test_headers_name_specs_from_their_folder_on(path: str, shown: str) -> None:
    assert spec_path(path) == shown
