"""A composed tree of YAML nodes -> the typed `Spec`, read by the tables of fields; every mistake is reported, not only the first."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from types import MappingProxyType
from typing import Any, TypeVar

from nlc.citations import PAPERS, resolve_citation
from nlc.codes import parse as codes
from nlc.codes.claims import no_system
from nlc.diagnostics import Collector, CompileError
from nlc.ir.spec import (
    ClaimField,
    DefinitionField,
    DimField,
    Function,
    InputField,
    LevelField,
    Listing,
    NamedSyntax,
    Negate,
    Number,
    OuterField,
    Spec,
    Syntax,
    Text,
)
from nlc.parse.checks import check_claim, check_definition, check_section, check_spec, optimizer_name
from nlc.parse.expressions import parse_expression
from nlc.parse.fields import (
    CLAIM_FIELDS,
    CLAIMS_FILE_FIELDS,
    DEFINITION_FIELDS,
    INPUT_FIELDS,
    LEVEL_FIELDS,
    MOST_LEVELS,
    OUTER_FIELDS,
    PART_FIELDS,
    SECTION_FIELDS,
    SPEC_FIELDS,
    Field,
    Value,
)
from nlc.parse.measures import check_trends, measure_field
from nlc.parse.names import any_name, new_name, spec_name, tensor_name
from nlc.parse.network import read_branches, read_embed, read_parts, stream_name
from nlc.parse.nodes import Entry, ListNode, MappingNode, Node, Scalar, kind_words
from nlc.source import Span

MOST_MISTAKES = 50
"""After so many in one mapping or list the rest is left unread."""

KINDS = ("architecture", "optimizer", "model")
VERDICTS = ("proved", "proved-if", "form-only", "refuted", "ill-typed", "tested", "measured", "unknown", "interpretive")
LARGEST_DIM = 2**20

T = TypeVar("T")
Reader = Callable[[Entry], Any]


def read_spec(root: Node) -> Spec:
    """The typed spec of a composed tree; raises CompileError with all mistakes found."""
    start = Span(root.span.source, root.span.start, root.span.start)
    kind = kind_of(root)
    if kind is not None and kind.text == Value.CLAIMS_KIND.value:
        raise CompileError(no_system(kind.span))
    values = _fields(Entry(Scalar("", start), root), SPEC_FIELDS, "a spec")
    del values["nlc"]
    spec = Spec(**values, span=root.span)
    check_spec(spec, start)
    return spec


def kind_of(root: Node) -> Scalar | None:
    """The word that a file says it is of kind; None when it says none."""
    entry = root.get("kind") if isinstance(root, MappingNode) else None
    return entry.value if entry is not None and isinstance(entry.value, Scalar) else None


def read_section(root: Node, start: Span) -> Spec:
    """The typed section of a file of claims; `start` is where it begins. Raises CompileError with all mistakes found."""
    section = Spec(**_fields(Entry(Scalar("", start), root), SECTION_FIELDS, "a section"), span=root.span)
    check_section(section)
    return section


def read_claims_file(root: Node) -> tuple[dict[str, Any], tuple[MappingNode, ...]]:
    """The fields of a file of claims, and its sections still to be composed; raises CompileError with all mistakes found."""
    start = Span(root.span.source, root.span.start, root.span.start)
    values = _fields(Entry(Scalar("", start), root), CLAIMS_FILE_FIELDS, "a file of claims")
    return {key: values[key] for key in ("name", "says", "cites") if key in values}, values["sections"]


def read_definitions(root: Node) -> tuple[DefinitionField, ...]:
    """The definitions of a file of nlc's library, which may take the words of the language."""
    return _each(_mapping(Entry(Scalar("", root.span), root), Value.DEFINITIONS.value), lambda entry: _definition(entry, any_name))


# --- the engine --------------------------------------------------------------------------------------------------


def _fields(entry: Entry, fields: tuple[Field, ...], owner: str) -> dict[str, Any]:
    """The typed values of a mapping by attribute; `owner` is what the mapping describes."""
    collector, values = Collector(), {}
    mapping = _mapping(entry, f"{owner} as a mapping")
    known = {field.key: field for field in fields}
    for item in mapping.entries:
        with collector.collecting():
            field = known.get(item.key.text)
            if field is None:
                raise CompileError(codes.unknown_key(item.key.span, owner, known))
            values[field.attribute] = READERS[field.value](item)
        if len(collector.diagnostics) >= MOST_MISTAKES:
            break
    for field in fields:
        if field.required and mapping.get(field.key) is None:
            collector.add(codes.missing_key(entry.key.span, field.key, owner, field.says))
    collector.raise_if_any()
    return values


def _each(mapping: MappingNode, read: Callable[[Entry], T]) -> tuple[T, ...]:
    """Every entry of a mapping, read; all mistakes are reported."""
    return _all(mapping.entries, read)


def _items(entry: Entry, wanted: str, read: Callable[[Entry], T]) -> tuple[T, ...]:
    """Every item of a list, read; all mistakes are reported."""
    if not isinstance(entry.value, ListNode):
        raise CompileError(codes.wrong_type(entry.place, wanted, kind_words(entry.value)))
    return _all(tuple(Entry(entry.key, item) for item in entry.value.items), read)


def _all(entries: tuple[Entry, ...], read: Callable[[Entry], T]) -> tuple[T, ...]:
    collector, values = Collector(), []
    for entry in entries:
        with collector.collecting():
            values.append(read(entry))
        if len(collector.diagnostics) >= MOST_MISTAKES:
            break
    collector.raise_if_any()
    return tuple(values)


def _mapping(entry: Entry, wanted: str) -> MappingNode:
    if not isinstance(entry.value, MappingNode):
        raise CompileError(codes.wrong_type(entry.place, wanted, kind_words(entry.value)))
    return entry.value


def _scalar(entry: Entry, wanted: str) -> Scalar:
    if not isinstance(entry.value, Scalar) or entry.value.is_empty:
        raise CompileError(codes.wrong_type(entry.place, wanted, kind_words(entry.value)))
    return entry.value


# --- readers of single values ------------------------------------------------------------------------------------


def _version(entry: Entry) -> None:
    scalar = _scalar(entry, Value.VERSION.value)
    if scalar.text != "1":
        raise CompileError(codes.wrong_version(scalar.span))


def _sentence(entry: Entry) -> Text:
    scalar = _scalar(entry, Value.SENTENCE.value)
    return Text(scalar.text.strip(), scalar.span)


def _kind(entry: Entry) -> str:
    text = _sentence(entry)
    if text.text not in KINDS:
        raise CompileError(codes.unknown_word(text.span, entry.key.text, KINDS))
    return text.text


def _verdict(entry: Entry) -> Text:
    """A verdict; `proved-if` goes on with its condition, `measured` with trends."""
    text = _sentence(entry)
    word, _, condition = text.text.partition(" ")
    if word not in VERDICTS or (condition and word not in ("proved-if", "measured")):
        raise CompileError(codes.unknown_word(text.span, entry.key.text, VERDICTS))
    if word == "measured":
        check_trends(text)
    return text


def _truth(entry: Entry) -> bool:
    text = _sentence(entry)
    if text.text not in ("true", "false"):
        raise CompileError(codes.unknown_word(text.span, entry.key.text, ("true", "false")))
    return text.text == "true"


def _expression(entry: Entry) -> Syntax:
    return parse_expression(_scalar(entry, Value.EXPRESSION.value))


def _function(entry: Entry) -> Function:
    syntax = _expression(entry)
    if not isinstance(syntax, Function):
        raise CompileError(codes.wrong_type(syntax.span, Value.FUNCTION.value, "another expression"))
    return syntax


def _optimizer(entry: Entry) -> Syntax:
    syntax = _expression(entry)
    if optimizer_name(syntax) is None:
        raise CompileError(codes.wrong_type(syntax.span, Value.OPTIMIZER.value, "another expression"))
    return syntax


def _citations(entry: Entry) -> tuple[Text, ...]:
    if isinstance(entry.value, Scalar):
        return (_citation(entry),)
    return _items(entry, Value.CITATIONS.value, _citation)


def _citation(entry: Entry) -> Text:
    text = _sentence(entry)
    if resolve_citation(text.text) is None:
        raise CompileError(codes.unknown_paper(text.span, PAPERS))
    return text


def _names(entry: Entry) -> tuple[Text, ...]:
    return _items(entry, Value.NAMES.value, lambda item: new_name(_scalar(item, Value.NAME.value)))


def _shape(entry: Entry) -> tuple[Syntax, ...] | Syntax:
    if isinstance(entry.value, ListNode):
        return _items(entry, Value.SHAPE.value, _expression)
    return parse_expression(_scalar(entry, Value.SHAPE.value))


def _range(entry: Entry) -> tuple[Syntax, ...]:
    bounds = _items(entry, Value.RANGE.value, _expression)
    if len(bounds) != 2:
        raise CompileError(codes.wrong_type(entry.place, Value.RANGE.value, f"{len(bounds)} items"))
    return bounds


# --- readers of entries ------------------------------------------------------------------------------------------


def _dim(entry: Entry) -> DimField:
    value = _expression(entry)
    number = value.operand if isinstance(value, Negate) else value
    if isinstance(number, Number) and (value is not number or number.value.denominator != 1 or not 1 <= number.value <= LARGEST_DIM):
        raise CompileError(codes.dim_out_of_range(value.span, LARGEST_DIM))
    return DimField(name=new_name(entry.key), value=value)


def _input(entry: Entry, new: Callable[[Scalar], Text] = new_name) -> InputField:
    if isinstance(entry.value, MappingNode):
        return InputField(name=new(entry.key), **_fields(entry, INPUT_FIELDS, "an input"), span=entry.span)
    shape = _shape(entry)
    return InputField(name=stream_name(entry.key, shape, new), shape=shape, span=entry.span)


def _named(entry: Entry) -> NamedSyntax:
    return NamedSyntax(name=new_name(entry.key), value=_expression(entry))


def _binding(entry: Entry) -> NamedSyntax:
    return NamedSyntax(name=any_name(entry.key), value=_expression(entry))


def _state(entry: Entry) -> NamedSyntax:
    shape = _shape(entry)
    return NamedSyntax(name=tensor_name(entry.key), value=Listing(shape, entry.place) if isinstance(shape, tuple) else shape)


def _definition(entry: Entry, name: Callable[[Scalar], Text] = new_name) -> DefinitionField:
    definition = DefinitionField(name=name(entry.key), **_fields(entry, DEFINITION_FIELDS, "a definition"), span=entry.span)
    check_definition(definition)
    return definition


def _level(entry: Entry) -> LevelField:
    return LevelField(name=new_name(entry.key), **_fields(entry, LEVEL_FIELDS, "a level"), span=entry.span)


def _levels(entry: Entry) -> tuple[LevelField, ...]:
    mapping = _mapping(entry, Value.LEVELS.value)
    if not 1 <= len(mapping.entries) <= MOST_LEVELS:
        raise CompileError(codes.level_count(entry.key.span, MOST_LEVELS))
    return _each(mapping, _level)


def _outer(entry: Entry) -> OuterField:
    return OuterField(**_fields(entry, OUTER_FIELDS, "`outer`"), span=entry.span)


def _claim(entry: Entry) -> ClaimField:
    place = entry.value.entries[0].key.span if isinstance(entry.value, MappingNode) and entry.value.entries else entry.place
    claim = ClaimField(**_fields(Entry(Scalar("", place), entry.value), CLAIM_FIELDS, "a claim"), span=entry.value.span)
    check_claim(claim)
    return claim


def _part_fields(entry: Entry) -> dict[str, Any]:
    return _fields(entry, PART_FIELDS, "a part of a network")


def _mapping_of(read: Callable[[Entry], Any], value: Value) -> Reader:
    return lambda entry: _each(_mapping(entry, value.value), read)


READERS: Mapping[Value, Reader] = MappingProxyType(
    {
        Value.VERSION: _version,
        Value.SPEC_NAME: lambda entry: spec_name(_scalar(entry, Value.SPEC_NAME.value)),
        Value.NAME: lambda entry: any_name(_scalar(entry, Value.NAME.value)),
        Value.NAMES: _names,
        Value.SENTENCE: _sentence,
        Value.KIND: _kind,
        Value.CLAIMS_KIND: _sentence,
        Value.SECTIONS: lambda entry: _items(entry, Value.SECTIONS.value, lambda item: _mapping(item, "a section as a mapping")),
        Value.VERDICT: _verdict,
        Value.TRUTH: _truth,
        Value.CITATIONS: _citations,
        Value.PATH: _sentence,
        Value.PATHS: _sentence,
        Value.EXPRESSION: _expression,
        Value.FUNCTION: _function,
        Value.OPTIMIZER: _optimizer,
        Value.SHAPE: _shape,
        Value.RANGE: _range,
        Value.DIMS: _mapping_of(_dim, Value.DIMS),
        Value.INPUTS: _mapping_of(_input, Value.INPUTS),
        Value.LETTERS: _mapping_of(lambda entry: _input(entry, tensor_name), Value.LETTERS),
        Value.EXPRESSIONS: _mapping_of(_named, Value.EXPRESSIONS),
        Value.BINDINGS: _mapping_of(_binding, Value.BINDINGS),
        Value.STATES: _mapping_of(_state, Value.STATES),
        Value.DEFINITIONS: _mapping_of(_definition, Value.DEFINITIONS),
        Value.LEVELS: _levels,
        Value.OUTER: _outer,
        Value.PARTS: lambda entry: read_parts(entry, _part_fields),
        Value.BRANCHES: lambda entry: read_branches(entry, _part_fields),
        Value.EMBED: read_embed,
        Value.CLAIMS: lambda entry: _items(entry, Value.CLAIMS.value, _claim),
        Value.MEASURE: lambda entry: measure_field(_scalar(entry, Value.MEASURE.value)),
    }
)
"""How each kind of value is read. `extends` and `use` are gone from a composed tree; only their form is read here."""
