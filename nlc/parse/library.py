"""nlc's own library, files in the language itself -> definitions that every spec may use by name."""

from __future__ import annotations

from functools import cache

from nlc.ir.spec import DefinitionField
from nlc.parse.schema import read_definitions
from nlc.parse.shipped import LIBRARY_FOLDER
from nlc.parse.texts import read_source
from nlc.parse.yaml_nodes import read_yaml


@cache
def parse_library() -> tuple[DefinitionField, ...]:
    """The memories, objectives and retentions that come with nlc, file by file in the order of their names."""
    sources = [read_source(path, f"nlc/library/{path.name}") for path in sorted(LIBRARY_FOLDER.glob("*.yaml"))]
    return tuple(definition for source in sources for definition in read_definitions(read_yaml(source)))
