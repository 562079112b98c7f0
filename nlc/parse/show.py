"""SpecFile -> text, for `nlc show --stage parse`: the composed spec, each line with the place that it came from."""

from __future__ import annotations

from collections.abc import Iterator

from nlc.ir.spec import ClaimField, DefinitionField, InputField, LevelField, NamedSyntax, Spec, SpecFile, Syntax, Text
from nlc.source import Span

Line = tuple[str, Span]

LEVEL_EXPRESSIONS = (
    "memory", "keys", "values", "objective", "retention", "optimizer", "every", "gradient_at", "init", "reset", "reduce", "window",
    "backprop",
)  # fmt: skip


def spec_text(file: SpecFile) -> str:
    """The composed spec, one entry per line with `# file:line`; ends with a newline."""
    lines = [(text, f"{span.source.name}:{span.line}") for text, span in _spec(file.spec)]
    width = min(96, max(len(text) for text, _ in lines))
    return "".join(f"{text:<{width}}  # {place}\n" for text, place in lines)


def _spec(spec: Spec) -> Iterator[Line]:
    yield f"name: {spec.name.text}", spec.name.span
    yield f"kind: {spec.kind}", spec.name.span
    if spec.says:
        yield f"says: {' '.join(spec.says.text.split())}", spec.says.span
    yield from _texts("cites", spec.cites)
    yield from _texts("axes", spec.axes)
    for dim in spec.dims:
        yield f"dims.{dim.name.text}: {_source(dim.value)}", dim.name.span
    for item in spec.inputs:
        yield from _input(item)
    yield from _named("hyperparameters", spec.hyperparameters)
    yield from _named("let", spec.let)
    for definition in spec.define:
        yield from _definition(definition)
    for level in spec.levels:
        yield from _level(level)
    yield from _named("outputs", spec.outputs)
    if spec.outer:
        yield f"outer.objective: {_source(spec.outer.objective)}", spec.outer.span
        for key, value in (("optimizer", spec.outer.optimizer), ("every", spec.outer.every)):
            if value is not None:
                yield f"outer.{key}: {_source(value)}", value.span
    for number, claim in enumerate(spec.claims, start=1):
        yield from _claim(f"claims.{number}", claim)


def _input(item: InputField) -> Iterator[Line]:
    shape = f"[{', '.join(_source(size) for size in item.shape)}]" if isinstance(item.shape, tuple) else _source(item.shape)
    name = f"inputs.{item.name.text}"
    yield f"{name}.shape: {shape}", item.name.span
    if item.every:
        yield f"{name}.every: {_source(item.every)}", item.every.span
    if item.axes is not None:
        yield f"{name}.axes: [{', '.join(axis.text for axis in item.axes)}]", item.name.span
    if item.range:
        yield f"{name}.range: [{', '.join(_source(bound) for bound in item.range)}]", item.range[0].span


def _level(level: LevelField) -> Iterator[Line]:
    name = f"levels.{level.name.text}"
    yield f"{name}:", level.name.span
    for key in LEVEL_EXPRESSIONS:
        value: Syntax | None = getattr(level, key)
        if value is not None:
            yield f"{name}.{key}: {_source(value)}", value.span
    if level.block:
        yield f"{name}.block: {level.block.text}", level.block.span


def _definition(item: DefinitionField) -> Iterator[Line]:
    name = f"define.{item.name.text}"
    yield from _texts(f"{name}.parameters", item.parameters)
    yield from _named(f"{name}.states", item.states)
    for key, value in (("read", item.read), ("objective", item.objective), ("retention", item.retention)):
        if value is not None:
            yield f"{name}.{key}: {_source(value)}", value.span


def _claim(name: str, claim: ClaimField) -> Iterator[Line]:
    yield f"{name}.says: {' '.join(claim.says.text.split())}", claim.says.span
    for key, value in (("prove", claim.prove), ("order", claim.order), ("given", claim.given)):
        if value is not None:
            yield f"{name}.{key}: {_source(value)}", value.span
    for key, text in (("same_as", claim.same_as), ("expect", claim.expect)):
        if text is not None:
            yield f"{name}.{key}: {text.text}", text.span
    yield from _named(f"{name}.where", claim.where)
    yield from _named(f"{name}.with", claim.options)
    yield from _texts(f"{name}.varying", claim.varying)


def _named(name: str, items: tuple[NamedSyntax, ...]) -> Iterator[Line]:
    for item in items:
        yield f"{name}.{item.name.text}: {_source(item.value)}", item.name.span


def _texts(name: str, items: tuple[Text, ...]) -> Iterator[Line]:
    if items:
        yield f"{name}: [{', '.join(item.text for item in items)}]", items[0].span


def _source(value: Syntax) -> str:
    """The expression as written, on one line."""
    return " ".join(value.span.text.split())
