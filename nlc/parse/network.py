"""The YAML nodes under `network:` -> its parts, typed; every mistake is reported, not only the first."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

from nlc.codes import network as codes, parse as parse_codes
from nlc.diagnostics import Collector, CompileError
from nlc.ir.parts import EmbedField, HeadField, LayerField, NormField, PartField, RepeatField, ResidualField
from nlc.ir.spec import Binary, Call, Name, Syntax, Text
from nlc.parse.checks import optimizer_name as path_of
from nlc.parse.expressions import parse_expression
from nlc.parse.fields import Value
from nlc.parse.nodes import Entry, ListNode, MappingNode, Node, Scalar, kind_words
from nlc.parse.written import written
from nlc.source import Span

ARROW, TOKENS = "->", "tokens"

Read = Callable[[Entry], dict[str, Any]]
"""What reads the fields of a part that is a mapping."""


def stream_name(key: Scalar, shape: object, new: Callable[[Scalar], Text]) -> Text:
    """The name of an input: the tokens of a model may be called so, for nothing in a model counts by them."""
    match shape:
        case Call(Name("integer")) if key.text == TOKENS:
            return Text(key.text, key.span)
    return new(key)


def read_parts(entry: Entry, fields: Read) -> tuple[PartField, ...]:
    """The parts of a list, of those of lists inside it in their place."""
    return _parts(_list(entry.value, entry, Value.PARTS), fields)


def read_branches(entry: Entry, fields: Read) -> tuple[tuple[PartField, ...], ...]:
    """The branches of a residual part."""
    collector, branches = Collector(), []
    for item in _list(entry.value, entry, Value.BRANCHES).items:
        with collector.collecting():
            branches.append(_part(item, fields))
    collector.raise_if_any()
    return tuple(branches)


def read_embed(entry: Entry) -> EmbedField:
    """`vocabulary -> d_model`."""
    scalar = entry.value
    if not isinstance(scalar, Scalar) or scalar.text.count(ARROW) != 1:
        found = kind_words(scalar)
        raise CompileError(parse_codes.wrong_type(entry.place, Value.EMBED.value, found))
    text, arrow = written(scalar), scalar.text.index(ARROW)
    ends = ((0, arrow), (arrow + len(ARROW), len(scalar.text)))
    rows, width = (parse_expression(Scalar(scalar.text[start:end], text.span(start, end))) for start, end in ends)
    return EmbedField(rows, width, entry.place)


def _parts(items: ListNode, fields: Read) -> tuple[PartField, ...]:
    collector, parts = Collector(), list[PartField]()
    for item in items.items:
        with collector.collecting():
            parts.extend(_part(item, fields))
    collector.raise_if_any()
    return tuple(parts)


def _part(node: Node, fields: Read) -> tuple[PartField, ...]:
    """A part, or those of a list."""
    match node:
        case ListNode():
            return _parts(_list(node, Entry(Scalar("", node.span), node), Value.PARTS), fields)
        case MappingNode():
            return (_mapping(node, fields),)
        case Scalar():
            return (_single(node),)


def _single(scalar: Scalar) -> PartField:
    """A part that is written on one line."""
    syntax = parse_expression(scalar)
    match syntax:
        case Name("rms_norm"):
            return NormField(scalar.span)
        case Name("head"):
            return HeadField(span=scalar.span)
        case Call(Name("head"), (Name("tied"),), ()):
            return HeadField(is_tied=True, span=scalar.span)
    path, call = path_of(syntax), _call(syntax)
    if path is None or (call is not None and call.arguments):
        raise CompileError(codes.not_a_part(scalar.span, scalar.text))
    place = syntax.span if call is None else Span(syntax.span.source, syntax.span.start, call.function.span.end)
    return LayerField(Text(path, place), call.keywords if call else (), scalar.span)


def _call(syntax: Syntax) -> Call | None:
    """The call that ends a path."""
    last = syntax.right if isinstance(syntax, Binary) else syntax
    return last if isinstance(last, Call) else None


def _mapping(node: MappingNode, fields: Read) -> PartField:
    start = node.entries[0].key.span if node.entries else node.span
    values = fields(Entry(Scalar("", start), node))
    match sorted(values):
        case ["embed"]:
            embed: EmbedField = values["embed"]
            return embed
        case ["residual"]:
            return ResidualField(values["residual"], node.span)
        case ["parts", "repeat"]:
            return RepeatField(values["repeat"], values["parts"], node.span)
        case ["repeat", "residual"]:
            return RepeatField(values["repeat"], (ResidualField(values["residual"], node.span),), node.span)
    raise CompileError(codes.not_a_part(start, ", ".join(sorted(values)) or "{}"))


def _list(node: Node, entry: Entry, wanted: Value) -> ListNode:
    if not isinstance(node, ListNode) or not node.items:
        found = "an empty list" if isinstance(node, ListNode) else kind_words(node)
        raise CompileError(parse_codes.wrong_type(entry.place, wanted.value, found))
    return node
