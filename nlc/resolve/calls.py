"""Calls -> typed algebra: nlc's functions, the spec's own definitions and abbreviations with parameters."""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager
from typing import TYPE_CHECKING

from nlc.codes import resolve as codes
from nlc.codes.code import used_here
from nlc.diagnostics import CompileError
from nlc.ir.algebra import Expr, Index, Join, Size, Split, Where
from nlc.ir.dims import Dim, shape_text
from nlc.ir.spec import Call, DefinitionField, Name, Syntax
from nlc.resolve.alignment import ShapeClash, align, conform
from nlc.resolve.functions import FUNCTIONS, FunctionRule
from nlc.source import Span

if TYPE_CHECKING:
    from nlc.resolve.typing import Typing


def type_function(typing: Typing, name: str, call: Call) -> Expr:
    """A call of one of nlc's own functions."""
    rule = FUNCTIONS[name]
    keywords = {keyword.text: value for keyword, value in call.keywords}
    if len(call.arguments) not in rule.arguments or not set(keywords) <= set(rule.keywords) or len(keywords) != len(call.keywords):
        raise CompileError(codes.wrong_arguments(call.span, name, rule.usage))
    arguments = tuple(typing.expression(argument) for argument in call.arguments)
    if rule.conforming:
        arguments = conform(name, (call.arguments[0], arguments[0]), (call.arguments[1], arguments[1]))
    axis = _axis(typing, keywords["over"], arguments[0]) if "over" in keywords else None
    _check_shapes(name, rule, call, arguments, axis)
    typing.spend_on(arguments[0], rule.copies - 1, call.span)
    return rule.build(arguments, axis)


def _check_shapes(name: str, rule: FunctionRule, call: Call, arguments: tuple[Expr, ...], axis: int | None) -> None:
    shapes = tuple(argument.shape for argument in arguments)
    if rule.accepts(shapes, axis):
        return
    same_rank = len({len(shape) for shape in shapes}) == 1 and len(shapes) == 2
    pairs = tuple(pair for pair in zip(*shapes, strict=True) if pair[0] != pair[1]) if same_rank else ()
    text = ", ".join(shape_text(shape) for shape in shapes)
    raise ShapeClash(codes.wrong_shape(call.arguments[0].span, f"what `{name}` is given", text, rule.wants), pairs)


def type_where(typing: Typing, call: Call) -> Expr:
    """`where(a < b, x, y)`."""
    if len(call.arguments) != 3 or call.keywords:
        raise CompileError(codes.wrong_arguments(call.span, "where", "where(a < b, x, y)"))
    test, yes, no = call.arguments
    condition = typing.condition(test)
    then, otherwise = conform("where", (yes, typing.expression(yes)), (no, typing.expression(no)))
    if condition.shape and condition.shape != then.shape:
        wide_then, wide_otherwise = align(then, condition.shape, yes.span), align(otherwise, condition.shape, no.span)
        if wide_then is None or wide_otherwise is None:
            raise ShapeClash(
                codes.wrong_shape(test.span, "the condition", shape_text(condition.shape), f"a scalar or a {shape_text(then.shape)}")
            )
        then, otherwise = wide_then, wide_otherwise
    return Where(condition, then, otherwise, then.shape)


def type_index(typing: Typing, call: Call) -> Expr:
    """`index(heads)`."""
    match call:
        case Call(_, (Name(axis) as name,), ()):
            if axis not in typing.scope.axes:
                raise CompileError(codes.no_such_stream(name.span, axis, "an axis of this spec", typing.scope.axes))
            return Index(axis)
    raise CompileError(codes.wrong_arguments(call.span, "index", "index(heads), where heads is an axis"))


def type_side(typing: Typing, call: Call) -> Expr:
    """`rows(weights)` and `columns(weights)`, as numbers: the sizes of the matrices that an optimizer moves."""
    match call:
        case Call(Name(side), (Name("weights"),), ()) if f"{side}(weights)" in typing.scope.dims:
            return Size(typing.scope.dims[f"{side}(weights)"])
    raise CompileError(codes.wrong_arguments(call.span, call.function.span.text, "rows(weights) or columns(weights), in an optimizer"))


def type_split(typing: Typing, call: Call) -> Expr:
    """`split(x, heads)`: (heads * size,) to (size,) for each place along the axis, (heads,) to a scalar for each."""
    x, name, axis = _vector_and_axis(typing, call, "split", 1)
    return Split(x, name, () if x.shape[0] == axis else (x.shape[0] / axis,))


def type_join(typing: Typing, call: Call) -> Expr:
    """`join(x, heads)`: (size,) for each place along the axis to (heads * size,), a scalar for each to (heads,)."""
    x, name, axis = _vector_and_axis(typing, call, "join", 0)
    return Join(x, name, (x.shape[0] * axis,) if x.shape else (axis,))


def _vector_and_axis(typing: Typing, call: Call, function: str, least: int) -> tuple[Expr, str, Dim]:
    match call:
        case Call(_, (argument, Name(axis) as name), ()):
            if axis not in typing.scope.axes:
                raise CompileError(codes.no_such_stream(name.span, axis, "an axis of this spec", typing.scope.axes))
            if axis not in typing.scope.dims:
                raise CompileError(codes.axis_without_size(name.span, axis, function))
            x = typing.expression(argument)
            if not least <= len(x.shape) <= 1:
                raise CompileError(codes.wrong_shape(argument.span, f"what `{function}` is given", shape_text(x.shape), "a vector"))
            return x, axis, typing.scope.dims[axis]
    raise CompileError(codes.wrong_arguments(call.span, function, f"{function}(x, heads), where heads is an axis"))


def _axis(typing: Typing, syntax: Syntax, argument: Expr) -> int:
    match syntax:
        case Name(text):
            name = text
        case Call(Name("rows" | "columns" as side), (Name("weights"),), ()):
            name = f"{side}(weights)"
        case _:
            name = ""
    wanted = typing.scope.dims.get(name)
    if wanted is None or wanted not in argument.shape:
        dims = [word for word, dim in typing.scope.dims.items() if dim in argument.shape]
        raise CompileError(codes.no_such_axis(syntax.span, name or syntax.span.text, shape_text(argument.shape), dims))
    if argument.shape.count(wanted) > 1:
        raise CompileError(codes.ambiguous_dim(syntax.span, "`over` could mean", name))
    return argument.shape.index(wanted)


def type_definition(typing: Typing, definition: DefinitionField, call: Call) -> Expr:
    """An entry of `define` or of the library used in an expression: its text, with its parameters bound."""
    body, name = definition.objective or definition.retention, definition.name.text
    if body is None:
        raise CompileError(codes.not_a_function(call.span, f"the memory `{name}`"))
    parameters = [parameter.text for parameter in definition.parameters]
    bound = bind_all(name, parameters, call)
    values = {parameter: typing.expression(value) for parameter, value in bound.items()}
    with told_from(call.span, name), typing.inside(name, body.span):
        return typing.under(typing.scope.with_values(values)).expression(body)


@contextmanager
def told_from(span: Span, name: str) -> Iterator[None]:
    """While the text of something called `name` is read for its use at `span`: mistakes in another file are told from there."""
    try:
        yield
    except CompileError as error:
        told = [item if item.labels[0].span.source is span.source else used_here(item, span, name) for item in error.diagnostics]
        raise (ShapeClash(told[0], error.pairs) if isinstance(error, ShapeClash) else CompileError(*told)) from error


def bind_all(name: str, parameters: list[str], call: Call) -> dict[str, Syntax]:
    """As `bind`; raises CompileError too when an argument is missing."""
    bound = bind(name, parameters, call)
    if len(bound) != len(parameters):
        raise CompileError(codes.wrong_arguments(call.span, name, _usage(name, parameters)))
    return bound


def _usage(name: str, parameters: list[str]) -> str:
    return f"{name}({', '.join(parameters)})" if parameters else name


def bind(name: str, parameters: list[str], call: Call) -> dict[str, Syntax]:
    """A call's arguments by parameter name; raises CompileError for too many, unknown or repeated ones."""
    if len(call.arguments) > len(parameters):
        raise CompileError(codes.wrong_arguments(call.span, name, _usage(name, parameters)))
    bound = dict(zip(parameters, call.arguments, strict=False))
    for keyword, value in call.keywords:
        if keyword.text not in parameters:
            raise CompileError(codes.unknown_binding(keyword.span, name, keyword.text, parameters))
        if keyword.text in bound:
            raise CompileError(codes.repeated_binding(keyword.span, keyword.text))
        bound[keyword.text] = value
    return bound
