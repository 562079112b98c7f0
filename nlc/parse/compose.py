"""A spec with `extends:` and `use:` -> one tree of nodes; every value keeps its span in the file where it was written.

- `extends: PATH` builds on one parent: mappings merge by key, lists and single values are replaced. A key with an empty value
  (`key:`, `key: ~` or `key: null`) removes what the parent says under it; where there is nothing to remove it is an empty value.
- `use: PATH` (or a list of paths) at the top merges fragments, files of the same keys, below the spec's own and above its parent's; of two
  fragments the later one wins.
- `use: LEVEL` in a level copies another level of the composed spec, `use: FILE.yaml#ENTRY` an entry of a fragment (one of its
  `levels:`, or else a top-level entry); keys given beside `use:` are merged over the copy.
- `nlc`, `name`, `says`, `cites` and `claims` are about one spec and are not inherited.
"""

from __future__ import annotations

import os
from collections.abc import Callable, Iterable, Sequence
from dataclasses import dataclass, field

from nlc.codes import parse as codes
from nlc.diagnostics import Collector, CompileError
from nlc.parse.fields import MOST_LEVELS
from nlc.parse.nodes import Entry, ListNode, MappingNode, Node, Scalar, kind_words
from nlc.parse.overrides import overridden
from nlc.parse.places import Place, locate
from nlc.parse.texts import read_source
from nlc.parse.yaml_nodes import read_yaml
from nlc.source import Source, Span

LONGEST_CHAIN = 8
MOST_FILES = 64
NOT_INHERITED = ("nlc", "name", "says", "cites", "claims")
COMPOSITION_KEYS = ("extends", "use")

Chain = tuple[tuple[str, Span], ...]
"""The files being composed, outermost first, each with where the one before names it."""


@dataclass(slots=True)
class Workspace:
    """The files that one spec is made of, in the order read, and the trees made of them so far."""

    sources: dict[str, Source] = field(default_factory=dict)
    composed: dict[str, MappingNode] = field(default_factory=dict)

    def open(self, place: Place, reference: Span) -> Source:
        """The text of a file, read once; raises CompileError when it cannot be read or there are too many."""
        key = _identity(place)
        if key not in self.sources:
            if len(self.sources) >= MOST_FILES:
                raise CompileError(codes.too_many_files(reference, MOST_FILES))
            assert place.path is not None
            self.sources[key] = read_source(place.path, place.name)
        return self.sources[key]

    @property
    def files(self) -> tuple[tuple[str, str], ...]:
        return tuple((source.name, source.text) for source in self.sources.values())


def compose(source: Source, place: Place, workspace: Workspace, overrides: Sequence[Source] = ()) -> MappingNode:
    """The whole tree of a spec: overrides over its own keys over its fragments' over its parent's, its levels written out."""
    workspace.sources.setdefault(_identity(place), source)
    tree = _compose_file(source, place, workspace, ((_identity(place), Span(source, 0, 0)),))
    return _with_levels_copied(overridden(tree, overrides))


def compose_section(tree: MappingNode, source: Source, place: Place, workspace: Workspace) -> MappingNode:
    """The whole tree of a section of a file of claims: its own keys over its fragments' over its parent's, its levels written out."""
    workspace.sources.setdefault(_identity(place), source)
    return _with_levels_copied(_compose_tree(tree, place, workspace, ((_identity(place), Span(source, 0, 0)),)))


def merge(below: MappingNode, above: MappingNode) -> MappingNode:
    """Both mappings as one, in the order of the one below; what is above wins, and an empty value removes."""
    over = {entry.key.text: entry for entry in above.entries}
    merged = [_merged_entry(entry, over.pop(entry.key.text, None)) for entry in below.entries]
    return MappingNode((*(entry for entry in merged if entry is not None), *over.values()), above.span)


def _merged_entry(below: Entry, above: Entry | None) -> Entry | None:
    match below, above:
        case _, None:
            return below
        case _, Entry(_, Scalar() as value) if value.is_empty:
            return None
        case Entry(_, MappingNode() as lower), Entry(key, MappingNode() as upper):
            return Entry(key, merge(lower, upper))
    return above


# --- files -------------------------------------------------------------------------------------------------------


def _identity(place: Place) -> str:
    return os.path.realpath(place.path) if place.path else place.name


def _compose_file(source: Source, place: Place, workspace: Workspace, chain: Chain) -> MappingNode:
    """The keys of a file over those of its fragments and its parent."""
    return _compose_tree(_as_mapping(read_yaml(source), "a mapping of keys"), place, workspace, chain)


def _compose_tree(tree: MappingNode, place: Place, workspace: Workspace, chain: Chain) -> MappingNode:
    own = _with_parts_copied(tree.without(COMPOSITION_KEYS), place, workspace, chain)
    below = MappingNode((), tree.span)
    for reference in (*_references(tree.get("extends"), single=True), *_references(tree.get("use"))):
        below = merge(below, _load(reference, place, workspace, chain).without(NOT_INHERITED))
    return merge(below, own)


def _references(entry: Entry | None, *, single: bool = False) -> tuple[Scalar, ...]:
    """The paths under `extends` or `use`."""
    match entry:
        case None:
            return ()
        case Entry(_, ListNode(items)) if not single:
            return tuple(_as_path(item, item.span) for item in items)
    return (_as_path(entry.value, entry.place),)


def _load(reference: Scalar, place: Place, workspace: Workspace, chain: Chain) -> MappingNode:
    """The composed tree of the file that a path means; raises CompileError for rings and long chains."""
    there = locate(reference.text, reference.span, place)
    key = _identity(there)
    path = (*chain, (key, reference.span))
    if key in (seen for seen, _ in chain):
        start = [seen for seen, _ in chain].index(key)
        raise CompileError(codes.file_cycle([(span, span.text) for _, span in path[start + 1 :]]))
    if len(path) > LONGEST_CHAIN:
        raise CompileError(codes.chain_too_long(reference.span, LONGEST_CHAIN))
    if key not in workspace.composed:
        source = workspace.open(there, reference.span)
        workspace.composed[key] = _compose_file(source, there, workspace, path)
    return workspace.composed[key]


def _as_mapping(node: Node, wanted: str) -> MappingNode:
    if not isinstance(node, MappingNode):
        raise CompileError(codes.wrong_type(node.span, wanted, kind_words(node)))
    return node


def _as_path(node: Node, span: Span) -> Scalar:
    if not isinstance(node, Scalar) or node.is_empty:
        raise CompileError(codes.wrong_type(span, "a path or a name", kind_words(node)))
    return Scalar(node.text.strip(), node.span)


# --- levels ------------------------------------------------------------------------------------------------------


def _with_parts_copied(tree: MappingNode, place: Place, workspace: Workspace, chain: Chain) -> MappingNode:
    """The tree with each level's `use: FILE.yaml#ENTRY` replaced by what the file says."""

    def expanded(entry: Entry) -> Entry:
        use = _use_of(entry)
        if use is None or "#" not in use.text:
            return entry
        path, _, name = use.text.partition("#")
        part = _part(_load(Scalar(path, use.span), place, workspace, chain), name, use.span)
        return Entry(entry.key, _copied(part, entry.value))

    return _with_levels(tree, expanded)


def _part(fragment: MappingNode, name: str, span: Span) -> MappingNode:
    """An entry of the fragment's `levels:`, or else a top-level one."""
    levels = fragment.get("levels")
    inner = levels.value if levels and isinstance(levels.value, MappingNode) else None
    found = (inner.get(name) if inner else None) or fragment.get(name)
    if found is None:
        raise CompileError(codes.unknown_part(span, name, _keys([*(inner.entries if inner else ()), *fragment.entries])))
    return _as_mapping(found.value, "a level")


def _with_levels_copied(tree: MappingNode) -> MappingNode:
    """The tree with each level's `use: LEVEL` replaced by what that level says."""
    levels = tree.get("levels")
    known = {entry.key.text: entry for entry in levels.value.entries} if levels and isinstance(levels.value, MappingNode) else {}
    done: dict[str, Entry] = {}

    def expanded(entry: Entry, chain: tuple[Scalar, ...] = ()) -> Entry:
        use = _use_of(entry)
        if use is None:
            return entry
        if use.text not in known:
            raise CompileError(codes.unknown_level(use.span, known))
        steps = (*chain, use)
        if use.text in (seen.text for seen in chain):
            raise CompileError(codes.level_cycle([(step.span, step.text) for step in _ring(steps)]))
        if len(steps) > LONGEST_CHAIN:
            raise CompileError(codes.chain_too_long(use.span, LONGEST_CHAIN))
        if use.text not in done:
            done[use.text] = expanded(known[use.text], steps)
        source = _as_mapping(done[use.text].value, "a level")
        return Entry(entry.key, _copied(source, entry.value))

    return _with_levels(tree, expanded)


def _with_levels(tree: MappingNode, expanded: Callable[[Entry], Entry]) -> MappingNode:
    """The tree with each entry under `levels:` replaced; all mistakes are reported."""
    levels = tree.get("levels")
    if levels is None or not isinstance(levels.value, MappingNode):
        return tree
    if len(levels.value.entries) > MOST_LEVELS:
        raise CompileError(codes.level_count(levels.key.span, MOST_LEVELS))
    collector, entries = Collector(), []
    for entry in levels.value.entries:
        with collector.collecting():
            entries.append(expanded(entry))
    collector.raise_if_any()
    replaced = Entry(levels.key, MappingNode(tuple(entries), levels.value.span))
    return MappingNode(tuple(replaced if entry is levels else entry for entry in tree.entries), tree.span)


def _ring(steps: tuple[Scalar, ...]) -> tuple[Scalar, ...]:
    """The steps from a level back to itself, begun at the first name, so that each ring is reported once."""
    names = [step.text for step in steps]
    ring = steps[names.index(names[-1]) + 1 :]
    first = min(range(len(ring)), key=lambda index: ring[index].text)
    return (*ring[first:], *ring[:first])


def _use_of(level: Entry) -> Scalar | None:
    use = level.value.get("use") if isinstance(level.value, MappingNode) else None
    return _as_path(use.value, use.place) if use else None


def _copied(below: MappingNode, above: Node) -> MappingNode:
    """A copy under the keys that are written beside `use:`."""
    assert isinstance(above, MappingNode)
    return merge(below, above.without(("use",)))


def _keys(entries: Iterable[Entry]) -> list[str]:
    return [entry.key.text for entry in entries]
