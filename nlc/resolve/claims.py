"""Claims as written -> claims with typed sides; a claim whose shapes clash is kept as ill-typed, which is a verdict."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from dataclasses import dataclass, replace as with_changes
from fractions import Fraction
from typing import Any

from nlc.codes import claims as claim_codes, resolve as codes
from nlc.diagnostics import CompileError
from nlc.ir.algebra import Compare, Expr, Hyperparameter, State, When
from nlc.ir.claim import Measure, Minimum, ReadingClaim
from nlc.ir.dims import Dim, Shape, shape_text
from nlc.ir.model import Claim, EqualityClaim, IllTyped, Model, OrderClaim, SameAsClaim
from nlc.ir.spec import Binary, ClaimField, Comparison, Name, NamedSyntax, Syntax, WholeNumbers
from nlc.resolve.alignment import EyeOfAnySize, ShapeClash, conform
from nlc.resolve.claim_words import variable
from nlc.resolve.scope import LevelType, Scope
from nlc.resolve.sizes import number_of
from nlc.resolve.typing import Typing

MOST_IDENTIFICATIONS = 4

Peers = Mapping[tuple[str, WholeNumbers], Model]
"""The specs that claims name, with the whole numbers that they set in them."""


Variants = Mapping[tuple[str, Fraction], Model]
"""The spec itself with a hyperparameter at a value that some claim measures at."""


@dataclass(frozen=True, slots=True)
class ClaimSurroundings:
    """What claims may name. `scope_with(identified)` gives the spec's scope with some dims taken to be others."""

    scope_with: Callable[[Mapping[str, Dim]], Scope]
    counts: Mapping[str, Fraction]
    peers: Peers
    variants: Variants
    model: Model


def resolve_claim(field: ClaimField, around: ClaimSurroundings) -> Claim:
    """The claim, typed; raises CompileError for what is wrong beyond shapes."""
    if field.order is not None:
        return _order(field, around)
    if field.same_as is not None:
        return _same_as(field, around)
    if field.reading is not None:
        expect = field.expect.text if field.expect else "interpretive"
        return ReadingClaim(text=" ".join(field.reading.text.split()), span=field.reading.span, expect=expect, **_heading(field))
    return _equality(field, around)


def _heading(field: ClaimField) -> dict[str, Any]:
    """What every claim has."""
    return {
        "says": " ".join(field.says.text.split()),
        "id": field.id.text if field.id else "",
        "instead": field.instead.text if field.instead else "",
        "cites": tuple(item.text for item in field.cites),
    }


def _equality(field: ClaimField, around: ClaimSurroundings) -> EqualityClaim:
    assert field.prove is not None
    match field.prove:
        case Comparison((left, right), ("==" | "!=" | "<" | "<=" | ">" | ">=" as sign,)):
            around = _about(around, (left, right))
            sides = _typed_sides(left, right, around)
        case _:
            raise CompileError(codes.prove_not_equation(field.prove.span))
    given, bounds = _given(field.given, around)
    return EqualityClaim(
        expect=_expect(field),
        measure=_measure(field, around),
        sides=sides,
        sign=sign,
        minimum=_minimum(field, left, sign, around),
        given=given,
        bounds=bounds,
        text=_text(field),
        span=field.prove.span,
        **_heading(field),
    )


def _expect(field: ClaimField) -> str:
    """The verdict expected: where a gap is measured and nothing is said, that it is."""
    return field.expect.text if field.expect else "proved" if field.measure is None else "measured"


def _measure(field: ClaimField, around: ClaimSurroundings) -> Measure | None:
    """What an equation is measured by: a hyperparameter of this spec."""
    if field.measure is None:
        return None
    if not (isinstance(field.prove, Comparison) and field.prove.operators == ("==",)):
        raise CompileError(claim_codes.nothing_to_measure(field.measure.span))
    name = field.measure.name
    known = {key for key, value in around.scope_with({}).values.items() if isinstance(value, Hyperparameter)}
    if name.text not in known:
        raise CompileError(claim_codes.unknown_parameter(name.text, name.span, known))
    return Measure(name.text, field.measure.values)


def _measure_of_systems(field: ClaimField, other: Model, around: ClaimSurroundings) -> Measure | None:
    """What two systems are measured by: a hyperparameter of this one, else of the other, with both systems at each value."""
    if field.measure is None:
        return None
    assert field.same_as is not None
    name, values, path = field.measure.name, field.measure.values, field.same_as.text
    if all((name.text, value) in around.variants for value in values):
        return Measure(name.text, values, tuple((around.variants[name.text, value], other) for value in values))
    known = {item.name for item in (*around.model.hyperparameters, *other.hyperparameters)}
    if name.text not in {item.name for item in other.hyperparameters}:
        raise CompileError(claim_codes.unknown_parameter(name.text, name.span, known))
    others = (around.peers[path, field.options_at(value)] for value in values)
    return Measure(name.text, values, tuple((around.model, item) for item in others))


def _text(field: ClaimField) -> str:
    """The claim as written, on one line."""
    assert field.prove is not None
    text = " ".join(field.prove.span.text.split())
    if field.minimise is not None and field.over is not None:
        text += f", where {' '.join(field.minimise.span.text.split())} is least over {field.over.span.text}"
    return f"{text}, given {' '.join(field.given.span.text.split())}" if field.given else text


def _minimum(field: ClaimField, left: Syntax, sign: str, around: ClaimSurroundings) -> Minimum | None:
    if field.minimise is None or field.over is None:
        return None
    typing = Typing(around.scope_with({}), around.counts)
    objective, over = typing.expression(field.minimise), variable(typing, field.over, "`over`")
    if objective.shape != ():
        raise CompileError(codes.wrong_shape(field.minimise.span, "what `minimise` is given", shape_text(objective.shape), "one number"))
    if sign != "==" or left != field.over:
        raise CompileError(claim_codes.no_minimum_there(left.span, field.over.span.text))
    return Minimum(objective, over)


def _typed_sides(left: Syntax, right: Syntax, around: ClaimSurroundings) -> tuple[Expr, Expr] | IllTyped:
    """The two sides, or, when their shapes clash, why, and what they are with as few dims identified as needed."""
    identified: dict[str, Dim] = {}
    first: ShapeClash | None = None
    for _ in range(MOST_IDENTIFICATIONS):
        try:
            sides = _sides(left, right, Typing(around.scope_with(identified), around.counts))
            return IllTyped(first.diagnostics[0], sides, _names(identified)) if first else sides
        except ShapeClash as clash:
            first = first or clash
            if not clash.pairs or not _identify(clash.pairs, identified):
                break
    assert first is not None
    return IllTyped(first.diagnostics[0])


def _identify(pairs: tuple[tuple[Dim, Dim], ...], identified: dict[str, Dim]) -> bool:
    """Record that the dims of the pairs are one; False when some pair is not two names."""
    for one, other in pairs:
        if one.name is None or other.name is None or one == other:
            return False
        kept, gone = sorted((one.name, other.name))
        identified[gone] = Dim.named(kept)
        for name, meaning in identified.items():
            identified[name] = meaning.substitute({gone: Dim.named(kept)})
    return True


def _names(identified: Mapping[str, Dim]) -> tuple[str, ...]:
    return tuple(sorted({*identified, *(str(dim) for dim in identified.values())}))


def _sides(left: Syntax, right: Syntax, typing: Typing) -> tuple[Expr, Expr]:
    first, second = typing.open_expression(left), typing.open_expression(right)
    if isinstance(first, EyeOfAnySize) and not isinstance(second, EyeOfAnySize):
        first = first.sized(second.shape, left.span)
    if isinstance(second, EyeOfAnySize) and not isinstance(first, EyeOfAnySize):
        second = second.sized(first.shape, right.span)
    if isinstance(first, EyeOfAnySize) or isinstance(second, EyeOfAnySize):
        raise CompileError(codes.prove_not_equation(left.span.to(right.span)))
    if {len(first.shape), len(second.shape)} == {1, 2}:  # what elsewhere would go along a dim is no equation
        raise ShapeClash(codes.shapes_differ("==", (left.span, shape_text(first.shape)), (right.span, shape_text(second.shape))))
    return conform("==", (left, first), (right, second))


def _about(around: ClaimSurroundings, sides: tuple[Syntax, Syntax]) -> ClaimSurroundings:
    """What a claim may name, where `tick` counts the updates of the level that the claim is about: the first that is a side by itself."""
    levels = around.scope_with({}).levels
    level = next((name for side in sides if (name := side.span.text.partition(".")[0]) in levels), "")
    return with_changes(around, scope_with=lambda identified: with_changes(around.scope_with(identified), counted=level))


Given = tuple[tuple[tuple[Expr, Expr], ...], tuple[Compare, ...]]
"""Equations and bounds."""


def _given(syntax: Syntax | None, around: ClaimSurroundings) -> Given:
    match syntax:
        case None:
            return (), ()
        case Binary("and", left, right):
            (equations, bounds), (more_equations, more_bounds) = _given(left, around), _given(right, around)
            return (*equations, *more_equations), (*bounds, *more_bounds)
        case Comparison((left, right), ("==",)):
            first, second = _sides(left, right, Typing(around.scope_with({}), around.counts))
            if not (isinstance(first, State) and first.when is When.CURRENT):
                return ((first, second),), ()
        case Comparison((_, _), ("<" | "<=" | ">" | ">=",)):
            return (), (Typing(around.scope_with({}), around.counts).condition(syntax),)
    raise CompileError(codes.given_not_equation(syntax.span))


def _order(field: ClaimField, around: ClaimSurroundings) -> OrderClaim:
    assert field.order is not None
    levels = around.scope_with({}).levels
    match field.order:
        case Comparison(operands, operators) if set(operators) <= {">", "<", "~"}:
            names = tuple(_level(operand, levels) for operand in operands)
        case _:
            raise CompileError(codes.order_not_chain(field.order.span))
    return OrderClaim(
        expect=field.expect.text if field.expect else "proved",
        names=names,
        relations=operators,  # type: ignore[arg-type]
        text=field.order.span.text,
        span=field.order.span,
        **_heading(field),
    )


def _level(syntax: Syntax, levels: Mapping[str, LevelType]) -> str:
    if not isinstance(syntax, Name):
        raise CompileError(codes.order_not_chain(syntax.span))
    if syntax.text not in levels:
        raise CompileError(codes.unknown_level(syntax.span, syntax.text, levels))
    return levels[syntax.text].name


def _same_as(field: ClaimField, around: ClaimSurroundings) -> SameAsClaim:
    assert field.same_as is not None
    other = around.peers[field.same_as.text, field.whole_options]
    scope = around.scope_with({})
    streams = {stream.name for stream in other.inputs}
    numbers = {item.name for item in other.hyperparameters}
    for item in field.where:
        if item.name.text not in streams | numbers:
            raise CompileError(
                codes.no_such_stream(item.name.span, item.name.text, f"an input or hyperparameter of {other.name}", streams | numbers)
            )
    for name in field.varying:
        if not isinstance(scope.values.get(name.text), Hyperparameter):
            known = {key for key, value in scope.values.items() if isinstance(value, Hyperparameter)}
            raise CompileError(codes.no_such_stream(name.span, name.text, "a hyperparameter of this spec", known))
    return SameAsClaim(
        expect=_expect(field),
        measure=_measure_of_systems(field, other, around),
        other=other,
        other_name=field.same_as.text,
        bindings=tuple((item.name.text, _binding(item, other, Typing(scope, around.counts))) for item in field.where),
        given=_given(field.given, around)[0],
        options=_options(field.options, numbers, other),
        varying=tuple(name.text for name in field.varying),
        text=_systems_text(field, field.same_as.text),
        span=field.same_as.span,
        **_heading(field),
    )


def _systems_text(field: ClaimField, other: str) -> str:
    """The claim as written, on one line, with what the other system is given and set to."""
    where = [f"{item.name.text} = {' '.join(item.value.span.text.split())}" for item in (*field.where, *field.options)]
    given = f", given {' '.join(field.given.span.text.split())}" if field.given else ""
    varying = f", varying {', '.join(name.text for name in field.varying)}" if field.varying else ""
    return f"same_as {other}{' with ' if where else ''}{', '.join(where)}{given}{varying}"


def _binding(item: NamedSyntax, other: Model, typing: Typing) -> Expr:
    """What an input or hyperparameter of the other spec is; dims of two specs cannot be compared, but their number can."""
    wanted: Shape = next((stream.shape for stream in other.inputs if stream.name == item.name.text), ())
    value = typing.expression(item.value)
    if len(value.shape) != len(wanted):
        what = f"the value of `{item.name.text}`"
        raise CompileError(codes.wrong_shape(item.value.span, what, shape_text(value.shape), f"a {shape_text(wanted)}"))
    return value


def _options(fields: tuple[NamedSyntax, ...], numbers: set[str], other: Model) -> tuple[tuple[str, Fraction], ...]:
    for item in fields:
        if item.name.text not in numbers:
            raise CompileError(codes.no_such_stream(item.name.span, item.name.text, f"a hyperparameter of {other.name}", numbers))
    return tuple((item.name.text, number_of(item.value, {}, "an option")) for item in fields)
