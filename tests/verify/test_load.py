"""Modules from text and from files: imported, each under its own name, nothing else changed."""

from __future__ import annotations

import pickle
import sys
from pathlib import Path

import pytest

from nlc.verify.load import load_file, load_source

TEXT = "class Memory:\n    size = 3\n"


def test_a_text_becomes_a_module() -> None:
    path = list(sys.path)
    module = load_source(TEXT, "memory")
    assert module.Memory.size == 3
    assert module.__name__.startswith("nlc_memory_")
    assert sys.path == path


def test_two_texts_are_two_modules() -> None:
    first, second = load_source(TEXT), load_source(TEXT.replace("3", "4"))
    assert (first.Memory.size, second.Memory.size) == (3, 4)
    assert first.__name__ != second.__name__


def test_what_it_defines_can_be_pickled() -> None:
    module = load_source(TEXT)
    assert isinstance(pickle.loads(pickle.dumps(module.Memory())), module.Memory)


def test_a_file_in_any_folder(tmp_path: Path) -> None:
    path = tmp_path / "my file.py"
    path.write_text(TEXT)
    assert load_file(path).Memory.size == 3


@pytest.mark.parametrize(("text", "error"), [("class", SyntaxError), ("1 / 0", ZeroDivisionError), ("import no_such_module", ImportError)])
def test_a_text_that_does_not_import_leaves_nothing_behind(text: str, error: type[Exception]) -> None:
    before = set(sys.modules)
    with pytest.raises(error):
        load_source(text, "broken")
    assert not any("broken" in name for name in set(sys.modules) - before)
