"""The text of an emitted module -> the module, imported; nothing is written and the search path stays as it is."""

from __future__ import annotations

import sys
from hashlib import sha256
from importlib.abc import InspectLoader
from importlib.util import module_from_spec, spec_from_loader
from pathlib import Path
from types import ModuleType


class TextLoader(InspectLoader):
    """Imports a module whose text is already in memory."""

    def __init__(self, text: str) -> None:
        self.text = text

    def get_source(self, fullname: str) -> str:
        return self.text


def load_source(text: str, name: str = "module") -> ModuleType:
    """The module of a text, imported under a name that no other text has; raises what importing it raises.

    It stays among `sys.modules`, where torch.compile and pickle look up what they meet.
    """
    unique = f"nlc_{name}_{sha256(text.encode()).hexdigest()[:16]}"
    spec = spec_from_loader(unique, TextLoader(text))
    assert spec is not None and spec.loader is not None
    module = module_from_spec(spec)
    sys.modules[unique] = module
    try:
        spec.loader.exec_module(module)
    except BaseException:
        del sys.modules[unique]
        raise
    return module


def load_file(path: Path) -> ModuleType:
    """The module of a file in any folder."""
    return load_source(path.read_text(encoding="utf-8"), path.stem)
