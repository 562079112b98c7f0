"""Texts `key=value` over the tree of a spec -> the tree as if the spec had been written so; what is new has its span in those texts.

A key is the name of a dim or a hyperparameter (`d_k=32`), or a path of keys to what the spec has (`levels.memory.optimizer=...`).
The value is read as YAML and replaces what is there; an empty one removes it.
"""

from __future__ import annotations

import re
from collections.abc import Sequence

from nlc.codes import parse as codes
from nlc.diagnostics import Collector, CompileError
from nlc.parse.nodes import Entry, MappingNode, Node, Scalar
from nlc.parse.yaml_nodes import read_yaml
from nlc.source import Source, Span

KEY = re.compile(r"\w+(\.\w+)*")
BY_NAME = ("dims", "hyperparameters")
"""The mappings whose entries may be set by their name alone."""

NAMED = 2
"""So many keys of a path lead to what the spec gives a name; those after them are the schema's to judge."""

Path = tuple[Scalar, ...]


def overridden(tree: MappingNode, overrides: Sequence[Source]) -> MappingNode:
    """The composed tree with values replaced; raises CompileError about every text that cannot be used."""
    collector = Collector()
    given: dict[tuple[str, ...], Path] = {}
    for override in overrides:
        with collector.collecting():
            written, value = _pair(override)
            path = _whole_path(tree, written)
            first = given.setdefault(tuple(key.text for key in path), written)
            if first is not written:
                raise CompileError(codes.duplicate_key(_span(first), _span(written)))
            tree = _replaced(tree, path, value)
    collector.raise_if_any()
    return tree


def _pair(override: Source) -> tuple[Path, Node]:
    """The keys of the path and the value, with their spans."""
    name, equals, text = override.text.partition("=")
    if not equals or not KEY.fullmatch(name):
        raise CompileError(codes.not_an_override(Span(override, 0, len(name))))
    path = tuple(Scalar(match[0], Span(override, match.start(), match.end())) for match in re.finditer(r"\w+", name))
    begin = len(name) + 1
    end = len(override.text)
    return path, read_yaml(override, begin=begin) if text.strip() else Scalar("", Span(override, end, end))


def _whole_path(tree: MappingNode, path: Path) -> Path:
    """The path from the top: a single name stands for the dim or hyperparameter of that name."""
    if len(path) > 1:
        return path
    sections = {name: _names(tree, name) for name in BY_NAME}
    for section, names in sections.items():
        if path[0].text in names:
            return (Scalar(section, path[0].span), *path)
    known = [name for names in sections.values() for name in names]
    raise CompileError(codes.unknown_override(path[0].span, path[0].text, tree.span.source.name, known))


def _names(tree: MappingNode, section: str) -> list[str]:
    entry = tree.get(section)
    return [item.key.text for item in entry.value.entries] if entry and isinstance(entry.value, MappingNode) else []


def _replaced(tree: MappingNode, path: Path, value: Node, depth: int = 0) -> MappingNode:
    """The mapping with the value at the rest of the path; entries keep their place and the span of their key."""
    key, is_last = path[depth], depth == len(path) - 1
    present = tree.get(key.text)
    if present is None and not (is_last and depth >= NAMED):
        raise _unknown(tree, path, depth)
    if not is_last:
        assert present is not None
        if not isinstance(present.value, MappingNode):
            raise _unknown(MappingNode((), tree.span), path, depth + 1)
        value = _replaced(present.value, path, value, depth + 1)
    new = Entry(present.key if present else key, value)
    entries = (*tree.entries, new) if present is None else tuple(new if entry is present else entry for entry in tree.entries)
    is_removed = isinstance(value, Scalar) and value.is_empty
    return MappingNode(tuple(entry for entry in entries if entry is not new or not is_removed), tree.span)


def _unknown(tree: MappingNode, path: Path, depth: int) -> CompileError:
    names = ".".join(key.text for key in path[: depth + 1])
    return CompileError(codes.unknown_override(path[depth].span, names, tree.span.source.name, [entry.key.text for entry in tree.entries]))


def _span(path: Path) -> Span:
    return path[0].span.to(path[-1].span)
