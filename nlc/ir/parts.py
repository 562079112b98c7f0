"""The parts of a model's network as written: what goes from tokens to logits, in order, nothing decided."""

from __future__ import annotations

from dataclasses import dataclass

from nlc.ir.spec import Name, Syntax, Text, span_field
from nlc.source import Span


@dataclass(frozen=True, slots=True)
class EmbedField:
    """`embed: vocabulary -> d_model`: a vector of its own for each of so many tokens."""

    rows: Syntax
    width: Syntax
    span: Span = span_field()


@dataclass(frozen=True, slots=True)
class NormField:
    """`rms_norm`: each vector over the root of its mean square, times a learned scale."""

    span: Span = span_field()


@dataclass(frozen=True, slots=True)
class LayerField:
    """`architectures/softmax_attention_layer(heads = 4)`: a spec of one stream to one output, with some of its numbers bound."""

    path: Text
    bindings: tuple[tuple[Name, Syntax], ...] = ()
    span: Span = span_field()


@dataclass(frozen=True, slots=True)
class HeadField:
    """`head`, a matrix of its own from vectors to logits, or `head(tied)`, the embedding's."""

    is_tied: bool = False
    span: Span = span_field()


@dataclass(frozen=True, slots=True)
class ResidualField:
    """`residual:` branches one after another, each added to what goes into it."""

    branches: tuple[tuple[PartField, ...], ...]
    span: Span = span_field()


@dataclass(frozen=True, slots=True)
class RepeatField:
    """`repeat: layers`: parts so many times over, each time with parameters of their own."""

    count: Syntax
    parts: tuple[PartField, ...]
    span: Span = span_field()


PartField = EmbedField | NormField | LayerField | HeadField | ResidualField | RepeatField


def layers_in(parts: tuple[PartField, ...]) -> tuple[LayerField, ...]:
    """The layers of some parts and of what is inside them, in order."""
    found: list[LayerField] = []
    for part in parts:
        match part:
            case LayerField():
                found.append(part)
            case ResidualField(branches):
                found.extend(layer for branch in branches for layer in layers_in(branch))
            case RepeatField(_, inner):
                found.extend(layers_in(inner))
    return tuple(found)
