"""What must hold among the keys of a spec, a definition or a claim, beyond the form of each."""

from __future__ import annotations

from collections.abc import Iterator, Sequence

from nlc.codes import network as network_codes, parse as codes
from nlc.codes.claims import incomplete_minimum, nothing_to_measure
from nlc.diagnostics import Collector, CompileError, Diagnostic
from nlc.ir.spec import Binary, Call, ClaimField, DefinitionField, LevelField, Name, NamedSyntax, Spec, Syntax
from nlc.parse.names import clashes
from nlc.source import Span

LIKE_WEIGHTS = Call(Name("like"), (Name("weights"),))


def check_spec(spec: Spec, start: Span) -> None:
    """Raise CompileError when names clash, or when what the kind of spec requires is missing; `start` is where the file begins."""
    collector = Collector(list(clashes(spec)))
    for diagnostic in _check_network(spec, start) if spec.kind == "model" or spec.network else ():
        collector.add(diagnostic)
    if spec.kind != "model" and not spec.levels:
        says = "the components, each an associative memory with its own objective and clock"
        collector.add(codes.missing_key(start, "levels", "a spec", says))
    if spec.kind == "architecture" and not spec.outputs:
        collector.add(codes.missing_key(start, "outputs", "an architecture", "what it emits at every token, such as {y: memory(q)}"))
    _check_optimizer(spec, collector)
    collector.raise_if_any()


def _check_network(spec: Spec, start: Span) -> Iterator[Diagnostic]:
    """A model has a network, none of the keys that belong to levels, and claims about the order of its levels alone."""
    if spec.kind != "model":
        yield network_codes.key_of_another_kind(spec.network[0].span, "network", spec.kind)
        return
    if not spec.network:
        yield codes.missing_key(start, "network", "a model", "its parts, from tokens to logits")
    keys: tuple[tuple[str, Sequence[NamedSyntax | LevelField | DefinitionField]], ...] = (
        ("let", spec.let), ("define", spec.define), ("levels", spec.levels), ("outputs", spec.outputs)
    )  # fmt: skip
    for key, entries in keys:
        if entries:
            yield network_codes.key_of_another_kind(entries[0].name.span, key, spec.kind)
    if spec.axes:
        yield network_codes.key_of_another_kind(spec.axes[0].span, "axes", spec.kind)
    for claim in spec.claims:
        if claim.order is None and claim.reading is None:
            yield network_codes.claim_about_no_level(claim.says.span)


def check_section(section: Spec) -> None:
    """Raise CompileError when names of a section clash, two claims have one id, or an optimizer is incomplete."""
    collector = Collector(list(clashes(section)))
    _check_optimizer(section, collector)
    collector.raise_if_any()


def _check_optimizer(spec: Spec, collector: Collector) -> None:
    if spec.kind == "optimizer":
        if not any(item.name.text == "gradient" and item.shape == LIKE_WEIGHTS for item in spec.inputs):
            collector.add(codes.optimizer_without(spec.name.span, "the input `gradient: like(weights)`"))
        if not any(level.name.text == "weights" for level in spec.levels):
            collector.add(codes.optimizer_without(spec.name.span, "the level `weights`"))


def check_definition(definition: DefinitionField) -> None:
    """Raise CompileError unless it is one of a memory, an objective and a retention; only memories are read."""
    contents = (definition.states, definition.objective, definition.retention)
    if sum(bool(content) for content in contents) != 1 or (definition.read and not definition.states):
        raise CompileError(codes.definition_content(definition.name.span))


def check_claim(claim: ClaimField) -> None:
    """Raise CompileError unless exactly one thing is claimed, and what it takes to claim it is there."""
    if sum(content is not None for content in (claim.prove, claim.order, claim.same_as, claim.reading)) != 1:
        raise CompileError(codes.claim_content(claim.says.span))
    if (claim.minimise is None) != (claim.over is None) or (claim.minimise is not None and claim.prove is None):
        raise CompileError(incomplete_minimum(claim.says.span))
    if claim.measure is not None and (claim.minimise is not None or (claim.prove is None and claim.same_as is None)):
        raise CompileError(nothing_to_measure(claim.measure.span))


def optimizer_name(syntax: Syntax) -> str | None:
    """The name in `momentum(decay = 0.9)` or `optimizers/momentum(...)`, with its folder; None for any other expression."""
    match syntax:
        case Name(text) | Call(Name(text)):
            return text
        case Binary("/", (Name() | Binary()) as left, right):
            folder, name = optimizer_name(left), optimizer_name(right)
            return f"{folder}/{name}" if folder and name else None
    return None
