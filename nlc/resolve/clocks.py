"""Clocks: what `every:`, `reset:` and `hold(x, n tokens)` say, as exact periods."""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from dataclasses import fields, is_dataclass
from fractions import Fraction
from types import MappingProxyType

from nlc.codes import resolve as codes
from nlc.diagnostics import CompileError
from nlc.ir.model import Clock, Family
from nlc.ir.spec import Binary, Duration, Name, Spec, Syntax
from nlc.resolve.sizes import number_of, number_text
from nlc.source import Span

FAMILIES: Mapping[str, Family] = MappingProxyType({family.name.lower(): family for family in Family})


def clock_of(syntax: Syntax, counts: Mapping[str, Fraction]) -> Clock:
    """The clock that an expression means; `counts` are the numbers that named periods may use."""
    match syntax:
        case Name(text) if text in FAMILIES:
            return Clock(FAMILIES[text])
        case Duration(count, unit) if unit in FAMILIES:
            return Clock(FAMILIES[unit], _count(count, counts))
        case Binary("/", left, right):
            whole = clock_of(left, counts)
            if whole.family in (Family.TOKEN, Family.STEP):
                return Clock(whole.family, whole.period / _count(right, counts))
    raise CompileError(codes.not_a_clock(syntax.span))


def counted_names(spec: Spec) -> frozenset[str]:
    """The names by which a spec counts ticks: in `16 tokens` and `step / n`. What counts is a number when the spec is compiled."""
    written = [syntax for level in spec.levels for syntax in _syntax(level)]
    written += [syntax for item in (*spec.inputs, *spec.let, *spec.outputs) for syntax in _syntax(item)]
    durations = [syntax.count for syntax in written if isinstance(syntax, Duration)]
    clocks = [*(item.every for item in spec.inputs), *(clock for item in spec.levels for clock in (item.every, item.reset))]
    parted = [part.right for clock in clocks for part in _syntax(clock) if isinstance(part, Binary) and part.operator == "/"]
    return frozenset(part.text for count in (*durations, *parted) for part in _syntax(count) if isinstance(part, Name))


def _syntax(node: object) -> Iterator[Syntax]:
    """Every expression inside a node of a spec."""
    if isinstance(node, tuple):
        for item in node:
            yield from _syntax(item)
    elif is_dataclass(node) and not isinstance(node, Span):
        if isinstance(node, Syntax):
            yield node
        for item in fields(node):
            yield from _syntax(getattr(node, item.name))


def tokens_of(syntax: Syntax, counts: Mapping[str, Fraction]) -> int:
    """The number of tokens that a duration like `16 tokens` means."""
    match syntax:
        case Duration(count, "token"):
            return int(_count(count, counts))
    raise CompileError(codes.not_a_duration(syntax.span))


def updates_of(syntax: Syntax, counts: Mapping[str, Fraction]) -> int | None:
    """The number of updates that `4 updates` means; None for anything else."""
    match syntax:
        case Duration(count, "update"):
            return int(_count(count, counts))
    return None


def _count(syntax: Syntax, counts: Mapping[str, Fraction]) -> Fraction:
    value = number_of(syntax, counts, "a period")
    if value.denominator != 1 or value < 1:
        raise CompileError(codes.bad_count(syntax.span, number_text(value)))
    return value


def within_host(clock: Clock, host: Clock) -> Clock:
    """An optimizer's clock seen from the level that it serves: its `step` is one update of that level."""
    if clock.family is not Family.STEP:
        return clock
    return Clock(host.family, host.period * clock.period)
