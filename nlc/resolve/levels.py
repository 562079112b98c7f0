"""Levels as written -> components without their optimizers: objectives typed, clocks read, choices kept for the later stages."""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from dataclasses import dataclass, replace
from fractions import Fraction
from typing import Literal as OneOf

from nlc.codes import resolve as codes
from nlc.diagnostics import CompileError
from nlc.ir.algebra import ONE, Expr, State, Task, When, contains
from nlc.ir.dims import Shape, shape_text
from nlc.ir.model import Clock, Component, Family, GradientDescent, GradientPoint
from nlc.ir.spec import Call, DefinitionField, LevelField, Name, Spec, Syntax
from nlc.resolve.alignment import EyeOfAnySize, align
from nlc.resolve.clocks import clock_of, tokens_of, updates_of, within_host
from nlc.resolve.reads import Reading, value_of
from nlc.resolve.scope import LevelType, OwnName, Scope
from nlc.resolve.slopes import told_objective
from nlc.resolve.typing import Typing
from nlc.resolve.windows import over_window
from nlc.source import Span

PLACED = ("memory", "optimizer", "retention", "gradient_at", "init", "reset", "reduce", "window", "backprop")
"""Keys whose places later stages point at."""


@dataclass(frozen=True, slots=True)
class Surroundings:
    """What the levels of one spec share: their names, the numbers for counts, the optimizer specs; `host` when inlined."""

    scope: Scope
    counts: Mapping[str, Fraction]
    optimizers: Mapping[str, Spec]
    library: Mapping[str, DefinitionField]
    host: Component | None = None

    def clock(self, syntax: Syntax) -> Clock:
        clock = clock_of(syntax, self.counts)
        return within_host(clock, self.host.every) if self.host else clock

    def typing(self, level: LevelType, own_name: OwnName, where: str, values: Mapping[str, Expr] | None = None) -> Typing:
        return Typing(self.scope.within(level.name, own_name, where).with_values(values or {}), self.counts)


def component_of(field: LevelField, level: LevelType, around: Surroundings) -> Component:
    """The component of a level; its optimizer is one step of rate 1, to be replaced."""
    name = field.name.text
    if field.objective is None:
        raise CompileError(codes.missing_field(field.name.span, name, "objective", "write `objective: l2`, `dot`, or an expression"))
    if field.every is None:
        raise CompileError(codes.missing_field(field.name.span, name, "every", "write `every: token` or another clock"))
    parts = _parts(field, level, around)
    objective = _objective(field, level, around, parts)
    point, period = _gradient_point(field.gradient_at, around.counts)
    return Component(
        name=level.name,
        memory=level.memory.text,
        states=level.memory.states,
        objective=objective,
        follows=objective,
        optimizer=GradientDescent(ONE),
        every=around.clock(field.every),
        retention=_retention(field, level, around),
        gradient_at=point,
        gradient_period=period,
        step_at=point,
        init=_init(field, level, around),
        reset=around.clock(field.reset) if field.reset else None,
        reduce=_reduce(field.reduce),
        window=_window(field, around),
        backprop=None if _is_told(field, around) else _backprop(field.backprop, around.counts),
        key=parts.get("key"),
        value=parts.get("value"),
        prediction=parts.get("prediction"),
        block=field.block.text if field.block else "",
        says=field.says.text if field.says else "",
        unsupported=_unsupported(field, around),
        span=field.name.span,
        objective_span=field.objective.span,
        every_span=field.every.span,
        places=tuple((key, value.span) for key in PLACED if (value := getattr(field, key)) is not None),
    )


def _objective(field: LevelField, level: LevelType, around: Surroundings, parts: Mapping[str, Expr]) -> Expr:
    """The inner objective, checked; `task` is the loss of the training loop."""
    assert field.objective is not None
    if isinstance(field.objective, Name) and field.objective.text == "task" and around.scope.like is None:
        for part, syntax in (("keys", field.keys), ("values", field.values)):
            if syntax is not None:
                raise CompileError(codes.unused_part(syntax.span, field.objective.span, field.name.text, part))
        return told_objective(level, field.objective.span) if _is_told(field, around) else Task()
    typing = around.typing(level, OwnName.FITTED, "objective", parts)
    if field.window is not None:
        typing = typing.under(replace(typing.scope, in_window=True))
    objective = typing.expression(field.objective)
    _check_objective(field, level, objective, typing.used, parts)
    return objective if field.window is None else over_window(objective)


def _parts(field: LevelField, level: LevelType, around: Surroundings) -> dict[str, Expr]:
    """`key`, `value` and `prediction`, as the objective may name them."""
    parts: dict[str, Expr] = {}
    for part, syntax in (("key", field.keys), ("value", field.values)):
        if syntax is not None:
            parts[part] = around.typing(level, OwnName.FITTED, f"{part}s").expression(syntax)
    if field.keys is not None and level.memory.read is not None:
        typing = around.typing(level, OwnName.FITTED, "keys", parts)
        own = Name(field.name.text, field.keys.span)
        parts["prediction"] = typing.expression(Call(own, (Name("key", field.keys.span),), (), field.keys.span))
    if level.memory.read is None and len(level.memory.states) == 1:
        parts["prediction"] = value_of(Reading(level, When.FITTED), field.name.span)  # a memory without a read predicts itself
    return parts


def _check_objective(field: LevelField, level: LevelType, objective: Expr, used: set[str], parts: Mapping[str, Expr]) -> None:
    assert field.objective is not None
    if objective.shape != ():
        raise CompileError(codes.objective_not_scalar(field.objective.span, field.name.text, shape_text(objective.shape)))
    if field.keys is not None and not used & {"key", "prediction"}:
        raise CompileError(codes.unused_part(field.keys.span, field.objective.span, field.name.text, "keys"))
    if field.values is not None and "value" not in used:
        raise CompileError(codes.unused_part(field.values.span, field.objective.span, field.name.text, "values"))
    if not contains(objective, lambda node: isinstance(node, State) and node.component == level.name and node.when is When.FITTED):
        raise CompileError(codes.nothing_to_fit(field.objective.span, field.name.text))


def _retention(field: LevelField, level: LevelType, around: Surroundings) -> tuple[Expr, ...]:
    if field.retention is None:
        return ()
    typed = around.typing(level, OwnName.UNKNOWN, "retention").expression(field.retention)
    return tuple(fitting(typed, state.shape, "a retention", field.retention.span) for state in level.memory.states)


def fitting(typed: Expr, shape: Shape, what: str, span: Span) -> Expr:
    """A factor of a state: a scalar stays one, a vector goes along the dim that it names."""
    if typed.shape == ():
        return typed
    aligned = align(typed, shape, span)
    if aligned is None:
        wanted = f"a scalar, or go along a dim of the {shape_text(shape)}" if shape else "a scalar"
        raise CompileError(codes.wrong_shape(span, what, shape_text(typed.shape), wanted))
    return aligned


def _gradient_point(syntax: Syntax | None, counts: Mapping[str, Fraction]) -> tuple[GradientPoint, int]:
    match syntax:
        case None | Name("previous"):
            return GradientPoint.PREVIOUS, 0
        case Name("retained"):
            return GradientPoint.RETAINED, 0
        case Call(Name("hold"), (period,), ()):
            return GradientPoint.HELD, tokens_of(period, counts)
    raise CompileError(codes.unknown_option(syntax.span, "gradient_at", "previous, retained, hold(n tokens)"))


def _init(field: LevelField, level: LevelType, around: Surroundings) -> tuple[Expr, ...]:
    match field.init:
        case None | Name("learned" | "zeros"):
            return ()
        case Name(text) if text in around.scope.levels and text != field.name.text:
            return _tensors_of(around.scope.levels[text], level, field.init.span)
    typed = around.typing(level, OwnName.UNKNOWN, "init").open_expression(field.init)
    if isinstance(typed, EyeOfAnySize):
        return tuple(typed.begun(state.shape, field.init.span) for state in level.memory.states)
    return tuple(fitting(typed, state.shape, "an initial state", field.init.span) for state in level.memory.states)


def _tensors_of(other: LevelType, level: LevelType, span: Span) -> tuple[Expr, ...]:
    """Every tensor of another level, whose shapes must be those of this one."""
    given, wanted = ([state.shape for state in item.memory.states] for item in (other, level))
    if given != wanted:
        shapes = (" and ".join(shape_text(shape) for shape in found) for found in (given, wanted))
        raise CompileError(codes.wrong_shape(span, "an initial state", *shapes))
    return tuple(State(other.name, state.part, state.shape, span=span) for state in other.memory.states)


def _reduce(syntax: Syntax | None) -> OneOf["sum", "mean"]:
    match syntax:
        case None:
            return "sum"
        case Name("sum" | "mean" as word):
            return word
    raise CompileError(codes.unknown_option(syntax.span, "reduce", "sum, mean"))


def _window(field: LevelField, around: Surroundings) -> int | OneOf["all"] | None:
    """The tokens of a window: of a level that is solved for every query, no more than there are since it was last reset."""
    assert field.every is not None
    is_solved = around.clock(field.every).family is Family.ALWAYS
    since = around.clock(field.reset).whole_tokens if field.reset is not None and is_solved else 0
    match field.window:
        case None:
            return None
        case Name("all"):
            return since or "all"
    tokens = tokens_of(field.window, around.counts)
    return min(tokens, since or tokens)


def _backprop(syntax: Syntax | None, counts: Mapping[str, Fraction]) -> int | None:
    """Through how many updates slower levels learn."""
    match syntax:
        case None | Name("full"):
            return None
        case Name("none"):
            return 0
        case Call(Name("truncated"), (updates,), ()) if (number := updates_of(updates, counts)) is not None:
            return number
    raise CompileError(codes.unknown_option(syntax.span, "backprop", "full, truncated(n updates), none"))


def _is_told(field: LevelField, around: Surroundings) -> bool:
    """Whether a level learns from the task loss inside the context, at the ends of periods of tokens."""
    is_task = isinstance(field.objective, Name) and field.objective.text == "task" and around.scope.like is None
    clock = around.clock(field.every) if field.every else None
    return is_task and clock is not None and clock.family is Family.TOKEN


def _untold(field: LevelField, around: Surroundings) -> Iterator[tuple[str, Span]]:
    """What is not compiled of a level that learns from the task loss inside the context."""
    assert field.every is not None and field.objective is not None
    clock = around.clock(field.every)
    if clock.family is not Family.TOKEN or clock.period < 2 or clock.period.denominator != 1:
        yield f"an objective of `task` inside the context, every {clock}", field.every.span
    if around.scope.axes:
        yield "an objective of `task` inside the context, in a system of axes", field.objective.span
    if field.backprop is not None and _backprop(field.backprop, around.counts):
        yield "an objective of `task` inside the context, with `backprop: truncated`", field.backprop.span


def _unsupported(field: LevelField, around: Surroundings) -> tuple[tuple[str, Span], ...]:
    """Valid words of the language that are checked and ordered, and not compiled by this version."""
    found: list[tuple[str, Span]] = []
    assert field.every is not None
    clock, is_optimizer = around.clock(field.every), around.scope.like is not None
    if isinstance(field.objective, Name) and field.objective.text == "task" and clock.is_fast and not is_optimizer:
        found.extend(_untold(field, around))
    if isinstance(field.init, Name) and field.init.text == "learned" and (clock.is_fast or is_optimizer):
        found.append(("a learned initial state", field.init.span))
    return tuple(found)
