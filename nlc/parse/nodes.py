"""The YAML tree of a text: scalars that are still text, lists and mappings, each with its exact span."""

from __future__ import annotations

from collections.abc import Iterable
from dataclasses import dataclass

from nlc.source import Span

EMPTY_WORDS = frozenset({"", "~", "null"})


@dataclass(frozen=True, slots=True)
class Scalar:
    """A value as text. `style` is the quote or block sign that YAML wrote it with: '', ', ", | or >."""

    text: str
    span: Span
    style: str = ""

    @property
    def is_empty(self) -> bool:
        """Whether nothing was written: `key:`, `key: ~` or `key: null`."""
        return not self.style and self.text in EMPTY_WORDS


@dataclass(frozen=True, slots=True)
class ListNode:
    """`[a, b]`, or lines that begin with `-`."""

    items: tuple[Node, ...]
    span: Span


@dataclass(frozen=True, slots=True)
class Entry:
    """A key and its value."""

    key: Scalar
    value: Node

    @property
    def place(self) -> Span:
        """Where to point when the value is wrong: the value, or the key when there is none."""
        return self.key.span if isinstance(self.value, Scalar) and self.value.is_empty else self.value.span

    @property
    def span(self) -> Span:
        """From the key to the end of the value."""
        return self.key.span.to(self.value.span) if self.key.span.source is self.value.span.source else self.key.span


@dataclass(frozen=True, slots=True)
class MappingNode:
    """Keys, each given once, in the order written."""

    entries: tuple[Entry, ...]
    span: Span

    def get(self, key: str) -> Entry | None:
        return next((entry for entry in self.entries if entry.key.text == key), None)

    def without(self, keys: Iterable[str]) -> MappingNode:
        gone = frozenset(keys)
        return MappingNode(tuple(entry for entry in self.entries if entry.key.text not in gone), self.span)


Node = Scalar | ListNode | MappingNode


def kind_words(node: Node) -> str:
    """What a node is, in words for a diagnostic."""
    match node:
        case ListNode():
            return "a list"
        case MappingNode():
            return "a mapping"
        case Scalar() if node.is_empty:
            return "nothing"
        case _:
            return "text"
