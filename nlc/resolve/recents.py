"""`delay` and `convolve`: older values of streams, and of expressions over streams and slow levels, which the system then carries."""

from __future__ import annotations

from collections.abc import Iterator
from typing import TYPE_CHECKING

from nlc.codes import resolve as codes
from nlc.diagnostics import CompileError, Diagnostic
from nlc.ir.algebra import Expr, Gradient, Index, Input, State, Task, Tick, When, contains, walk
from nlc.ir.dims import Dim, shape_text
from nlc.ir.endings import at_the_end, ended
from nlc.ir.model import Component, Family, Model, RecentValues
from nlc.ir.recents import Convolve, Delay, Recent
from nlc.ir.show import expression_text
from nlc.ir.spec import Call
from nlc.ir.windows import older_data
from nlc.resolve.alignment import ShapeClash
from nlc.resolve.axes import is_split, valued, valued_in, varies
from nlc.resolve.clocks import tokens_of
from nlc.resolve.sizes import unfit_sizes
from nlc.source import Span

if TYPE_CHECKING:
    from nlc.resolve.typing import Typing


def type_delay(typing: Typing, call: Call) -> Expr:
    """`delay(x, n tokens)`: x so many tokens before, zero before the first."""
    match call:
        case Call(_, (argument, duration), ()):
            x, tokens = typing.expression(argument), tokens_of(duration, typing.counts)
            return Delay(Recent(x, (Dim.number(tokens), *x.shape), call.span), tokens, x.shape)
    raise CompileError(codes.wrong_arguments(call.span, "delay", "delay(x, 2 tokens)"))


def type_convolve(typing: Typing, call: Call) -> Expr:
    """`convolve(x, kernel)`: kernel[0] * x + kernel[1] * (x one token before) + ..., channel by channel."""
    match call:
        case Call(_, (first, second), ()):
            x, kernel = typing.expression(first), typing.expression(second)
            if len(x.shape) != 1:
                raise ShapeClash(codes.wrong_shape(first.span, "what `convolve` is given", shape_text(x.shape), "a vector"))
            if len(kernel.shape) != 2 or kernel.shape[1] != x.shape[0]:
                wanted = f"a matrix with a row for each of its taps: matrix (width, {x.shape[0]})"
                pairs = ((kernel.shape[1], x.shape[0]),) if len(kernel.shape) == 2 else ()
                raise ShapeClash(codes.wrong_shape(second.span, "the kernel", shape_text(kernel.shape), wanted), pairs)
            return Convolve(x, kernel, Recent(x, (kernel.shape[0] - Dim.number(1), *x.shape), call.span), x.shape)
    raise CompileError(codes.wrong_arguments(call.span, "convolve", "convolve(x, kernel), where kernel is a matrix (width, size of x)"))


def recent_values(model: Model) -> tuple[RecentValues, ...]:
    """Everything that is carried for delays and convolutions, each under a name of its own; inner ones first."""
    found = dict.fromkeys(node for value in _evaluated(model) for node in walk(value) if isinstance(node, Recent))
    found |= dict.fromkeys(recent for component in _stepping(model) for recent in older_data(component))
    ordered = sorted(found, key=lambda node: sum(1 for _ in walk(node)))
    split = is_split(model)
    named: dict[str, RecentValues] = {}
    for recent in ordered:
        is_whole = split and not any(varies(model, recent.x, axis) for axis in model.axes)
        name = _fresh(_name(model, recent.x), named)
        named[name] = RecentValues(name=name, recent=recent, is_whole=is_whole)
    return tuple(named.values())


def _evaluated(model: Model) -> Iterator[Expr]:
    """Every expression as it is evaluated: where a sequence has ended, over what is known there."""
    for component in model.components:
        ends = tuple(at_the_end(component)) if component.every.family is Family.SEQUENCE else ()
        yield from (ended(value) if value in ends else value for value, _ in valued_in(component))
    yield from (output.value for output in model.outputs)


def _stepping(model: Model) -> tuple[Component, ...]:
    """The levels that may take steps over a window."""
    return () if model.kind == "optimizer" else model.fast


def _name(model: Model, x: Expr) -> str:
    """The abbreviation that stands for it, else the first slow level or stream in it."""
    known = next((item.name for item in model.abbreviations if item.value == x), None)
    sources = (node.component if isinstance(node, State) else node.name for node in walk(x) if isinstance(node, State | Input))
    return known or next(sources, "value")


def _fresh(name: str, taken: dict[str, RecentValues]) -> str:
    return name if name not in taken else next(text for number in range(2, 1000) if (text := f"{name}_{number}") not in taken)


def check_recents(model: Model) -> None:
    """Raise CompileError for older values of what does not move by streams alone, for kernels that move, and for too many values."""
    asked = (problem for value, _ in valued(model) for node in walk(value) for problem in _problems(model, node))
    kept = (problem for component in _stepping(model) for recent in older_data(component) for problem in _of_window(model, recent))
    if problems := tuple(dict.fromkeys((*asked, *kept))):
        raise CompileError(*problems)


def _problems(model: Model, node: Expr) -> Iterator[Diagnostic]:
    sizes = {dim.name: dim.default for dim in model.dims if dim.definition is None}
    match node:
        case Delay(Recent(x, shape, span)):
            yield from _not_of_streams(model, x, "delay", span)
            yield from unfit_sizes(shape[:1], sizes, span)
        case Convolve(x, kernel, Recent(_, shape, span)):
            yield from _not_of_streams(model, x, "convolve", span)
            if _moves(model, kernel) or contains(kernel, lambda part: isinstance(part, Input | Index | Recent)):
                help = "a kernel is the same at every token and for all places along the axes: a slow level, or numbers"
                yield codes.not_in_time(span, "convolve", help)
            if shape[0].names <= sizes.keys() and shape[0].value(sizes) < 1:
                yield codes.not_in_time(span, "convolve", "a kernel has two rows or more; with one it is a product of its row with x")


def _of_window(model: Model, recent: Recent) -> Iterator[Diagnostic]:
    """Why older values of the data of a window are not those of streams and slow levels alone."""
    if _moves(model, recent.x):
        help = (
            f"{expression_text(recent.x)} reads a state that moves inside the sequence, and older data are streams; read it as `now(...)`"
        )
        yield codes.not_in_time(recent.span, "window", help)


def _not_of_streams(model: Model, x: Expr, word: str, span: Span) -> Iterator[Diagnostic]:
    """Why a value does not follow from streams and slow levels alone."""
    streams = {stream.name for stream in model.inputs if not stream.is_of_sequence}
    if model.kind == "optimizer":
        yield codes.not_in_time(span, word, "an optimizer keeps older values in levels of its own")
    elif _moves(model, x):
        help = f"{expression_text(x)} reads a state that moves inside the sequence: keep older values of it in a level"
        yield codes.not_in_time(span, word, help)
    elif not contains(x, lambda part: isinstance(part, Input) and part.name in streams):
        yield codes.not_in_time(span, word, f"{expression_text(x)} is the same at every token")


def _moves(model: Model, x: Expr) -> bool:
    """Whether an expression reads what moves inside a sequence."""

    def moves(part: Expr) -> bool:
        match part:
            case State(component, when=when):
                return when is When.FITTED or not model.is_parameter(component)
        return isinstance(part, Gradient | Tick | Task)

    return contains(x, moves)
