"""A `Source` -> the tree of its YAML nodes, from PyYAML's event stream: every value stays text, every node has its span.

PyYAML's loaders resolve `no`, `012`, `12:30` and `1e-3` by rules of their own, keep the last of two equal keys and expand
aliases; its events do none of that. What specs do not use (anchors, tags, merge keys, several documents) is refused.
"""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass, field
from typing import Any

import yaml

from nlc.codes import parse as codes
from nlc.diagnostics import Collector, CompileError, Diagnostic
from nlc.parse.nodes import Entry, ListNode, MappingNode, Node, Scalar
from nlc.parse.texts import forbidden_character, start_of
from nlc.source import Source, Span

DEEPEST = 40
MOST_NODES = 50_000
MOST_MISTAKES = 50

HAS_LIBYAML: bool = yaml.__with_libyaml__
FASTEST_LOADER: Any = getattr(yaml, "CSafeLoader", yaml.SafeLoader)
"""libyaml's scanner where PyYAML was built with it; the same events come from the one in Python."""

MISALIGNED = ("the line does not continue what is above", "align keys with the keys above; quote a value that goes on after a quote")
BLOCK_SIGN = ("no value can begin with > or |", "put the value in quotes")
OPEN_QUOTE = ("a quote is never closed", "close it with the same quote")

PROBLEMS: tuple[tuple[str, tuple[str, str]], ...] = (
    ("mapping values are not allowed", ("a second `:` in one value", "put the value in quotes, or align the line with the keys above")),
    ("sequence entries are not allowed", ("a list cannot begin here", "write -x without a blank after the sign")),
    (
        "cannot start any token",
        ("no value begins with this character", "indent with blanks, not tabs; quote text that begins with @, ` or %"),
    ),
    ("alphabetic or numeric character", ("no value begins with this character", "put text that begins with * or & in quotes")),
    ("chomping or indentation", BLOCK_SIGN),
    ("comment or line break", BLOCK_SIGN),
    ("unexpected end of stream", OPEN_QUOTE),
    ("unexpected document separator", OPEN_QUOTE),
    ("',' or ']'", ("a list is not closed, or holds brackets that YAML cannot see", "close it with ], or write it in block style")),
    ("',' or '}'", ("a mapping is not closed, or holds brackets that YAML cannot see", "close it with }, or write it in block style")),
    ("':'", ("a line without `:`", "write `key: value`")),
    ("expected key", MISALIGNED),
    ("block end", MISALIGNED),
    ("'-' indicator", ("the line does not continue the list above", "begin each item of a list with -, aligned with the others")),
    ("escape", ("an escape that does not exist", "write the text in single quotes, where a backslash is just a backslash")),
    ("node content", ("a value is expected here", "put text that begins with a bracket or a comma in quotes")),
)
"""What the scanner says (a part of it), and what nlc says: the problem and the way out."""


def read_yaml(source: Source, loader: Any = FASTEST_LOADER, *, begin: int = 0) -> Node:
    """The tree of the text's one document, which begins at an offset of its first line; raises CompileError."""
    builder = _Builder(source, yaml.parse(" " * begin + source.text[begin:], Loader=loader))
    try:
        node = builder.document()
    except yaml.MarkedYAMLError as error:
        raise CompileError(_syntax_mistake(source, error)) from None
    except (yaml.YAMLError, ValueError, ArithmeticError, RecursionError):
        raise CompileError(codes.not_yaml(start_of(source), "it holds a value that cannot be read", "")) from None
    builder.mistakes.raise_if_any()
    return node


def _syntax_mistake(source: Source, error: yaml.MarkedYAMLError) -> Diagnostic:
    offset = min(error.problem_mark.index, len(source.text)) if error.problem_mark else 0
    span = Span(source, offset, min(offset + 1, len(source.text)))
    said = error.problem or ""
    if "tag" in said or "tag" in (error.context or ""):
        return codes.tag(span)
    for part, (problem, way_out) in PROBLEMS:
        if part in said:
            return codes.not_yaml(span, problem, way_out)
    return codes.not_yaml(span, "the text breaks off or turns unexpectedly here", "")


@dataclass(slots=True)
class _Builder:
    """Turns events into nodes, recursively; the depth is bounded before Python's stack is."""

    source: Source
    events: Iterator[Any]
    count: int = 0
    mistakes: Collector = field(default_factory=Collector)

    def document(self) -> Node:
        node: Node | None = None
        for event in self.events:
            match event:
                case yaml.DocumentStartEvent():
                    self._check_document(event, is_first=node is None)
                case yaml.NodeEvent():
                    node = self._node(event, 0)
        if node is None or (isinstance(node, Scalar) and node.is_empty):
            raise CompileError(codes.empty_text(start_of(self.source)))
        return node

    def _check_document(self, event: Any, *, is_first: bool) -> None:
        if not is_first:
            raise CompileError(codes.several_documents(self._span(event)))
        if event.version or event.tags:
            raise CompileError(codes.not_yaml(self._span(event), "a directive (`%`)", "remove the line: specs are plain YAML"))

    def _node(self, event: Any, depth: int) -> Node:
        self.count += 1
        if self.count > MOST_NODES:
            raise CompileError(codes.too_many_nodes(self._span(event), MOST_NODES))
        if depth >= DEEPEST and isinstance(event, yaml.CollectionStartEvent):
            raise CompileError(codes.too_deep(self._span(event), DEEPEST))
        if event.anchor is not None:
            raise CompileError(codes.anchor(self._span(event)))
        if event.tag is not None:
            raise CompileError(codes.tag(self._span(event)))
        match event:
            case yaml.SequenceStartEvent():
                return self._list(event, depth + 1)
            case yaml.MappingStartEvent():
                return self._mapping(event, depth + 1)
            case _:
                return self._scalar(event)

    def _scalar(self, event: Any) -> Scalar:
        span = self._span(event)
        if event.style == '"' and forbidden_character(event.value) is not None:
            raise CompileError(codes.not_yaml(span, "an escape for a control character", "write the text without it"))
        return Scalar(event.value, span, event.style or "")

    def _list(self, start: Any, depth: int) -> ListNode:
        items: list[Node] = []
        while not isinstance(event := next(self.events), yaml.SequenceEndEvent):
            items.append(self._node(event, depth))
        span = self._collection_span(start, event, items)
        if start.flow_style:
            self._refuse_cuts(items, [item.span for item in items])
        return ListNode(tuple(items), span)

    def _mapping(self, start: Any, depth: int) -> MappingNode:
        entries: dict[str, Entry] = {}
        while not isinstance(event := next(self.events), yaml.MappingEndEvent):
            key = self._key(event)
            entry = Entry(key, self._node(next(self.events), depth))
            first = entries.setdefault(key.text, entry)
            if first is not entry:
                self._note_duplicate(first, entry)
        values = [entry.value for entry in entries.values()]
        span = self._collection_span(start, event, values)
        if start.flow_style:
            self._refuse_cuts(values, [entry.key.span for entry in entries.values()])
        return MappingNode(tuple(entries.values()), span)

    def _key(self, event: Any) -> Scalar:
        node = self._node(event, 0) if isinstance(event, yaml.ScalarEvent | yaml.AliasEvent) else None
        if not isinstance(node, Scalar):
            raise CompileError(codes.key_not_scalar(self._span(event)))
        if node.text == "<<" and not node.style:
            raise CompileError(codes.merge_key(node.span))
        return node

    def _note_duplicate(self, first: Entry, second: Entry) -> None:
        self.mistakes.add(codes.duplicate_key(first.key.span, second.key.span))
        if len(self.mistakes.diagnostics) >= MOST_MISTAKES:
            self.mistakes.raise_if_any()

    def _refuse_cuts(self, values: list[Node], places: list[Span]) -> None:
        """Refuse `{memory: matrix(a, b)}`, where a comma inside brackets ended the value; `places` are where each piece begins."""
        for value, following in zip(values, places[1:], strict=False):
            if isinstance(value, Scalar) and not value.style and value.text.count("(") > value.text.count(")"):
                raise CompileError(codes.cut_at_comma(value.span.to(following)))

    def _collection_span(self, start: Any, end: Any, children: list[Node]) -> Span:
        """A block's end mark is where the next token begins, so a block ends where its last value does."""
        if start.flow_style or not children:
            return Span(self.source, start.start_mark.index, end.end_mark.index)
        return Span(self.source, start.start_mark.index, max(start.start_mark.index, children[-1].span.end))

    def _span(self, event: Any) -> Span:
        start, end = event.start_mark.index, event.end_mark.index
        text = self.source.text
        while end > start + 1 and text[end - 1].isspace():
            end -= 1
        return Span(self.source, start, end)
