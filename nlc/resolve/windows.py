"""Objectives over the data of a window: `now(x)`, `age`, `sum(x, over = window)`, and the streams whose older values are kept.

Inside a sum over the window, streams are read at the datum; `now(x)` reads at the update's own token. An objective without an explicit
sum is summed over the window as a whole.
"""

from __future__ import annotations

from collections.abc import Callable, Iterable, Iterator
from dataclasses import replace
from typing import TYPE_CHECKING

from nlc.codes import resolve as codes
from nlc.diagnostics import CompileError
from nlc.ir.algebra import (
    Age,
    Compare,
    Constant,
    Expr,
    Gradient,
    Input,
    Now,
    Scale,
    State,
    Tick,
    When,
    WindowSoftmax,
    WindowSum,
    children,
    contains,
)
from nlc.ir.build import now, replace as replace_nodes, window_sum
from nlc.ir.dims import shape_text
from nlc.ir.model import Abbreviation, Component
from nlc.ir.spec import Call, Name, Syntax

if TYPE_CHECKING:
    from nlc.resolve.typing import Typing

WINDOW = "window"
"""What `over` is called for the data of a window."""


def type_now(typing: Typing, call: Call) -> Expr:
    """`now(x)`: a value at the update's token, where other streams are read at the datum."""
    if len(call.arguments) != 1 or call.keywords:
        raise CompileError(codes.wrong_arguments(call.span, "now", "now(x)"))
    check_in_window(typing, call, "now")
    value = typing.expression(call.arguments[0])
    return now(replace_nodes(value, lambda part: part.x if isinstance(part, Now) else None))


def type_age(typing: Typing, name: Name) -> Expr:
    """`age`: how many tokens ago the datum was."""
    check_in_window(typing, name, "age")
    return Age()


def type_over_window(typing: Typing, name: str, call: Call) -> Expr:
    """`sum(x, over = window)`, or `softmax(x, over = window)` of a scalar."""
    check_in_window(typing, call, f"{name}(..., over = window)")
    if name not in ("sum", "softmax") or len(call.arguments) != 1 or len(call.keywords) != 1:
        raise CompileError(codes.wrong_arguments(call.span, name, "sum(x, over = window) or softmax(x, over = window)"))
    value = typing.expression(call.arguments[0])
    if contains(value, lambda part: isinstance(part, WindowSum)):
        raise CompileError(codes.not_in_time(call.span, name, "what is summed over the window is summed over it already: take one sum out"))
    if name == "sum":
        return window_sum(value)
    if value.shape != ():
        wanted = "a scalar: one number for each datum"
        raise CompileError(
            codes.wrong_shape(call.arguments[0].span, "what `softmax` over the window is given", shape_text(value.shape), wanted)
        )
    return WindowSoftmax(value)


def check_in_window(typing: Typing, syntax: Syntax, word: str) -> None:
    """Raise CompileError for a word of windows where there is none."""
    if not typing.scope.in_window:
        help = "it belongs to the objective of a level that has a `window`, as in `window: 8 tokens` or `window: all`"
        raise CompileError(codes.not_in_time(syntax.span, word, help))


def over_window(objective: Expr) -> Expr:
    """The objective as a sum over the data of the window, unless it says itself what is summed."""
    return objective if contains(objective, lambda part: isinstance(part, WindowSum)) else window_sum(objective)


def with_data(components: Iterable[Component], abbreviations: Iterable[Abbreviation], moves: Callable[[str], bool]) -> Iterator[Component]:
    """The components, each with the streams of its window by name; `moves` says whether a level changes inside a sequence."""
    named = {item.value: item.name for item in abbreviations}
    for component in components:
        if component.window is None:
            yield component
            continue
        sums = [part for part in _sums(component.objective)]
        found = dict.fromkeys(part for item in sums for part in _data(item.x, component, moves))
        yield replace(component, data=tuple(_called(found, component, named)))


def _sums(node: Expr) -> Iterator[WindowSum]:
    if isinstance(node, WindowSum):
        yield node
    for child in children(node):
        yield from _sums(child)


def _data(node: Expr, component: Component, moves: Callable[[str], bool]) -> Iterator[Expr]:
    """The largest parts of an expression that are known when their datum is: they depend on it, and on nothing of a later token."""

    def is_open(part: Expr) -> bool:
        is_fitted = isinstance(part, State) and part.when is When.FITTED
        return is_fitted or isinstance(part, Now | Age | WindowSum | WindowSoftmax)

    def varies(part: Expr) -> bool:
        return isinstance(part, Input | Gradient | Tick) or (isinstance(part, State) and moves(part.component))

    if isinstance(node, Now):
        return
    is_whole = not isinstance(node, Compare) and not (isinstance(node, Scale) and isinstance(node.by, Constant))
    if is_whole and contains(node, varies) and not contains(node, is_open):
        yield node
        return
    for child in children(node):
        yield from _data(child, component, moves)


def _called(parts: Iterable[Expr], component: Component, named: dict[Expr, str]) -> Iterator[Abbreviation]:
    """Each stream under the name that the spec gives it."""
    taken: set[str] = set()
    for part in parts:
        known = {component.key: "key", component.value: "value"}
        word = part.name if isinstance(part, Input) and not part.delayed else named.get(part) or known.get(part) or "datum"
        name, number = word, 1
        while name in taken:
            number += 1
            name = f"{word}_{number}"
        taken.add(name)
        yield Abbreviation(name, part)
