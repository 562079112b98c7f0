"""Reads of levels -> state nodes: `memory(k)`, `prev(memory)(k)`, `hold(memory, 16 tokens)`, and `prev` of streams."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, replace
from typing import TYPE_CHECKING

from nlc.codes import resolve as codes
from nlc.diagnostics import CompileError
from nlc.ir.algebra import Expr, Input, State, StopGradient, When
from nlc.ir.build import replace as replace_nodes
from nlc.ir.dims import shape_text
from nlc.ir.spec import Call, Name, Syntax
from nlc.resolve.alignment import ShapeClash
from nlc.resolve.clocks import tokens_of
from nlc.resolve.rows import of_each_row
from nlc.resolve.scope import LevelType, OwnName
from nlc.source import Span

if TYPE_CHECKING:
    from nlc.resolve.typing import Typing


@dataclass(frozen=True, slots=True)
class Reading:
    """A level named in an expression, and which value of its state is meant."""

    level: LevelType
    when: When
    period: int = 0


def plain_reading(typing: Typing, name: Name, level: LevelType) -> Reading:
    """A plain read: the fitted variable in the level's own objective, else the current state."""
    if level.name != typing.scope.own:
        return Reading(level, When.CURRENT)
    if typing.scope.own_name is OwnName.FITTED:
        return Reading(level, When.FITTED)
    raise CompileError(codes.own_name_outside_objective(name.span, name.text, typing.scope.where))


def applied_level(typing: Typing, syntax: Syntax) -> Reading | None:
    """The level that `memory`, `prev(memory)` or `hold(memory, n tokens)` names where it is applied; None when it names none."""
    match syntax:
        case Name() as name:
            level = _level(typing, name)
            return plain_reading(typing, name, level) if level else None
        case Call(Name("prev"), (Name() as name,), ()) if (level := _level(typing, name)) is not None:
            return Reading(level, When.PREVIOUS)
        case Call(Name("hold"), (Name() as name, period), ()) if (level := _level(typing, name)) is not None:
            return Reading(level, When.HELD, tokens_of(period, typing.counts))
    return None


def _level(typing: Typing, name: Name) -> LevelType | None:
    if name.text in typing.scope.values or name.text not in typing.scope.levels:
        return None
    typing.used.add(name.text)
    return typing.scope.levels[name.text]


def value_of(reading: Reading, span: Span) -> Expr:
    """The level's own value: its only state."""
    states = reading.level.memory.states
    if len(states) != 1:
        raise CompileError(codes.has_no_value(span, reading.level.name, [state.part for state in states]))
    return State(reading.level.name, states[0].part, states[0].shape, reading.when, reading.period, span)


def part_of(typing: Typing, name: Name) -> Expr:
    """`memory.W`: one state of a memory that has several."""
    owner, _, part = name.text.rpartition(".")
    if owner not in typing.scope.levels:
        raise CompileError(codes.unknown_level(name.span, owner, typing.scope.levels))
    level = typing.scope.levels[owner]
    shapes = {state.part: state.shape for state in level.memory.states}
    if part not in shapes:
        raise CompileError(codes.missing_state(name.span, owner, part, filter(None, shapes)))
    reading = plain_reading(typing, name, level)
    return State(level.name, part, shapes[part], reading.when, reading.period, name.span)


def type_read(typing: Typing, reading: Reading, call: Call) -> Expr:
    """`memory(x)`: the memory's read, with its states and x put in."""
    memory, name = reading.level.memory, reading.level.name
    if memory.read is None:
        raise CompileError(codes.has_no_read(call.function.span, name, memory.text))
    parameters = [parameter.text for parameter in memory.read.parameters]
    if call.keywords or len(call.arguments) != len(parameters):
        raise CompileError(codes.wrong_arguments(call.span, name, f"{name}({', '.join(parameters)})"))
    values: dict[str, Expr] = {
        word: State(name, state.part, state.shape, reading.when, reading.period, call.function.span)
        for word, state in zip(memory.names, memory.states, strict=True)
    }
    arguments = [typing.expression(argument) for argument in call.arguments]
    body = memory.read.body

    def read(given: Sequence[Expr]) -> Expr:
        scope = typing.scope.with_values({**values, **dict(zip(parameters, given, strict=True))})
        return typing.under(replace(scope, dims={**scope.dims, **memory.sizes})).expression(body)

    try:
        return read(arguments)
    except ShapeClash as clash:
        if (found := of_each_row(read, arguments)) is not None:
            return found
        given = ", ".join(shape_text(argument.shape) for argument in arguments)
        raise ShapeClash(codes.cannot_read(call.arguments[0].span, name, given, _wanted(memory.states[0].shape)), clash.pairs) from clash


def _wanted(shape: tuple[object, ...]) -> str:
    return f"vector ({shape[-1]})" if len(shape) == 2 else "value that its read accepts"


def type_previous(typing: Typing, call: Call) -> Expr:
    """`prev(x)`: a level's state when the tick began, or a stream's previous value; of an expression, of all that is in it."""
    if len(call.arguments) != 1 or call.keywords:
        raise CompileError(codes.wrong_arguments(call.span, "prev", "prev(memory) or prev(x)"))
    older = typing.under(replace(typing.scope, own_name=OwnName.FITTED)).expression(call.arguments[0])
    return replace_nodes(older, lambda node: _one_tick_back(node, call.span))


def type_held(typing: Typing, call: Call) -> Expr:
    """`hold(memory, n tokens)`: the state after the last whole period."""
    if len(call.arguments) != 2 or call.keywords:
        raise CompileError(codes.wrong_arguments(call.span, "hold", "hold(memory, 16 tokens)"))
    held = call.arguments[0]
    level = _level(typing, held) if isinstance(held, Name) else None
    if level is None:
        raise CompileError(codes.not_in_time(call.span, "hold", "hold takes a level: hold(memory, 16 tokens)"))
    return value_of(Reading(level, When.HELD, tokens_of(call.arguments[1], typing.counts)), call.span)


def _one_tick_back(node: Expr, span: Span) -> Expr | None:
    match node:
        case Input(name, shape, delayed):
            if delayed:
                raise CompileError(
                    codes.not_in_time(span, "prev", "one prev reaches one tick back; keep older values in a level of their own")
                )
            return Input(name, shape, delayed=True, span=span)
        case State(component, part, shape, When.CURRENT | When.FITTED):
            return State(component, part, shape, When.PREVIOUS, 0, span)
        case State():
            raise CompileError(codes.not_in_time(span, "prev", "this already reads an older state"))
        case StopGradient(x):
            return replace_nodes(x, lambda part: _one_tick_back(part, span))
    return None
