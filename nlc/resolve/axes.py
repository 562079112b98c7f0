"""Along which axes a value differs: what `split` and `join` need to know, once all clocks are."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import replace

from nlc.codes import resolve as codes
from nlc.diagnostics import CompileError, Diagnostic
from nlc.ir.algebra import Expr, Gradient, Index, Input, Join, Split, State, When, children, contains, walk
from nlc.ir.model import Component, InputStream, Model
from nlc.ir.show import expression_text
from nlc.source import Span


def varies(model: Model, node: Expr, axis: str) -> bool:
    """Whether a value may differ from place to place along an axis."""
    match node:
        case Split(x, own):
            return own == axis or varies(model, x, axis)
        case Join(x, own):
            return own != axis and varies(model, x, axis)
        case Input(name):
            return any(stream.name == name and axis in stream.axes for stream in model.inputs)
        case Index(own):
            return own == axis
        case State(component) | Gradient(component):
            return model.component(component).every.is_fast
    return any(varies(model, child, axis) for child in children(node))


def joined_axes(model: Model, value: Expr) -> tuple[str, ...]:
    """The axes that a value has joined, so that there is one for all places along them."""
    joined = {node.axis for node in walk(value) if isinstance(node, Join)}
    return tuple(axis for axis in model.axes if axis in joined and not varies(model, value, axis))


def is_split(model: Model) -> bool:
    """Whether a system splits or joins an axis somewhere."""
    return any(isinstance(node, Split | Join) for value, _ in valued(model) for node in walk(value))


def whole_streams(model: Model) -> tuple[InputStream, ...]:
    """The streams, those marked that have one value for all places along the axes that are split or joined."""
    split = is_split(model)
    return tuple(replace(stream, is_whole=split and not stream.axes) for stream in model.inputs)


def check_axes(model: Model) -> None:
    """Raise CompileError for every split of what differs along its axis already, and every join of what does not."""
    found = [problem for value, span in valued(model) for problem in _problems(model, value, span)]
    if found:
        raise CompileError(*dict.fromkeys(found))


def valued(model: Model) -> Iterator[tuple[Expr, Span]]:
    """Every expression of a model, and where it is written."""
    for component in model.components:
        yield from valued_in(component)
    yield from ((output.value, output.span) for output in model.outputs)


def valued_in(component: Component) -> Iterator[tuple[Expr, Span]]:
    """Every expression of a level, and where it is written."""
    yield from ((value, component.objective_span) for value in (component.objective, component.follows))
    yield from ((value, component.place("retention")) for value in component.retention)
    yield from ((value, component.place("init")) for value in component.init)
    rate = getattr(component.optimizer, "rate", None)
    if rate is not None:
        yield rate, component.place("optimizer")


def _problems(model: Model, value: Expr, span: Span) -> Iterator[Diagnostic]:
    for node in walk(value):
        match node:
            case Split(x, axis) if varies(model, x, axis):
                help = f"split what has one value for all places: an input with `axes: []`, or a join over {axis}"
                yield codes.across_axis(span, expression_text(x), f"differs along {axis} already", help)
            case Join(x, axis) if not varies(model, x, axis):
                help = f"join what has a value for each place along {axis}: a stream with that axis, a read of a fast memory, or a split"
                yield codes.across_axis(span, expression_text(x), f"is the same everywhere along {axis}", help)
            case Split(x, axis) | Join(x, axis) if contains(x, lambda part: isinstance(part, State) and part.when is When.FITTED):
                help = f"each place along {axis} fits a state of its own, which cannot depend on the others: read `prev(...)` of the level"
                yield codes.across_axis(span, expression_text(node), f"takes what is being fitted across {axis}", help)
